"""A prewarm on a simulated disk: what was told is kept after a power cut, unless a sync is left out."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.test_prewarm import Place
from tests.support.disks import Image, SimulatedDisk
from tests.support.prewarming import Stopwatch
from tests.support.recordings import Recording, lay_out, taken_in
from tezzeret_cli.model.events import BundlePrewarmed
from tezzeret_cli.ops.prewarm import Wish, places, prewarm

WHOLE = "samples.append: write_whole(path, before + ended + line, draft=root / TMP / DRAFT)"
FOLDERS = "samples.append: sync_folder(folder)"


@pytest.fixture
def scratch(tmp_path):
    """A folder in memory where that is to be had."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="tezzeret-") as name:
        yield Path(name)


class Teller:
    """An observer that puts into the recording what it is told."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def on_event(self, event) -> None:
        if isinstance(event, BundlePrewarmed):
            self._recording.said(event.blueprint_id)


class Search:
    """Cuts the power at every step of a prewarm; iterating gives what was lost, in words."""

    def __init__(self, folder: Path, without: frozenset[str] = frozenset(), samples: int = 4) -> None:
        self.place = Place(folder / "base", earlier=False)
        self.before: Image = taken_in(self.place.folder)
        self.without, self.samples, self.rng = without, samples, random.Random(1)
        self.sites: set[str] = set()
        self.states = 0
        self.recording = Recording(self.place.folder)
        with self.recording.running():
            wish = Wish(repeat=1, jobs=1, threads=1, timeout_s=9.0)
            teller = Teller(self.recording)
            prewarm(places([self.place.root]), wish, Stopwatch(), {}, teller, self.place.runs)

    def __iter__(self) -> Iterator[str]:
        for cut in range(len(self.recording.steps) + 1):
            disk = SimulatedDisk({"base": self.before}, without=self.without)
            disk.sites = self.sites
            told = Counter(name for (name,) in self.recording.play(disk, cut))
            for image in disk.states(self.rng, self.samples):
                self.states += 1
                shutil.rmtree(self.place.folder)
                self.place.folder.mkdir()
                lay_out(image["base"], self.place.folder)
                try:
                    self.place.settle()
                    kept = self.place.kept()
                    assert told <= kept, f"told of {told}, kept are {kept}"
                    assert kept == self.place.on_record()
                except Exception as error:
                    yield f"power cut at {cut}: {type(error).__name__}: {error}"


def test_no_power_cut_takes_a_measurement_that_was_told(scratch, full, tally):
    search = Search(scratch, samples=24 if full else 4)
    assert list(search) == []
    assert {WHOLE, FOLDERS} <= search.sites
    assert search.states > (250 if full else 100)
    tally("simulated disk states, prewarm", search.states)


@pytest.mark.parametrize("site", [WHOLE, FOLDERS])
def test_a_sync_left_out_is_noticed(scratch, site):
    assert next(iter(Search(scratch, frozenset({site}), samples=16)), None)
