"""One run of a journal through everything it does: open, repair, append, roll, compact, close."""

from __future__ import annotations

from pathlib import Path

from tests.support.disks import Image, SimulatedDisk
from tests.support.logs import History, recover
from tezzeret_cli.wal.disk import Disk
from tezzeret_cli.wal.journal import Journal
from tezzeret_cli.wal.writer import Options

FOLDER = Path("/runs/run")
OPTIONS = Options(segment_bytes=1800)
SYNCED = Options(segment_bytes=1800, sync="fsync")


def torn_log() -> tuple[Image, History]:
    """A journal whose process died in an append: one of two records of a group is there, torn."""
    disk, history = SimulatedDisk(), History()
    journal, _ = recover(FOLDER, disk, OPTIONS)
    history.append(journal, 2)
    before = disk.root.view["runs"].view["run"].view["0000000001.wal"].durable
    history.append(journal, 2, size=700)
    image = disk.image(None, 0)
    image["runs"]["run"]["0000000001.wal"] = image["runs"]["run"]["0000000001.wal"][: len(before) + 1400]
    history.known, history.flying = history.known[:2], history.known[2:]
    return image, history


class Run:
    """The workload on one disk. ``history`` is what its user knows when it stops, wherever that is."""

    def __init__(
        self, disk: Disk, history: History, options: Options = OPTIONS, folder: Path = FOLDER
    ) -> None:
        self.disk, self.history, self.options, self.folder = disk, history, options, folder
        self.journal: Journal | None = None

    def run(self) -> None:
        self.open()
        self.history.append(self.journal)
        self.history.append(self.journal, 4, size=300)
        self.history.append(self.journal, 2)
        self.compact()
        self.history.append(self.journal)
        self.close()
        self.open()
        self.history.append(self.journal, 3)
        self.compact()
        self.history.append(self.journal)
        self.close()

    def open(self) -> None:
        self.journal, found = recover(self.folder, self.disk, self.options)
        assert self.history.agrees(found)
        self.history.settle(found)

    def compact(self) -> None:
        self.journal.compact(self.history.known)

    def close(self) -> None:
        journal, self.journal = self.journal, None
        journal.close()
