"""Search for a way to lose a journal: cuts at every operation, every kind of survivor, dead processes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from copy import deepcopy

from tests.support.disks import Image, PowerCut, SimulatedDisk
from tests.support.logs import History, recover
from tests.support.workload import FOLDER, Run, torn_log
from tezzeret_cli.errors import JournalError
from tezzeret_cli.wal.writer import Options


class Search:
    """Looks for violations with one sync left out (``without``), or none; iterating gives each in words.

    ``samples`` states are tried at each cut, and every ``stride``-th operation is one. ``states`` counts the
    surviving disks that were recovered, ``sites`` the syncs that were seen.
    """

    def __init__(self, options: Options, *, without: str = "", samples: int = 6, stride: int = 1) -> None:
        self.options, self.without, self.samples, self.stride = options, without, samples, stride
        self.rng = random.Random(1)
        self.states = 0
        self.sites: set[str] = set()
        self.image, self.start = torn_log()

    def __iter__(self) -> Iterator[str]:
        for start, history in ((None, History()), (self.image, self.start)):
            for kind in (self._power_cuts, self._dead_processes, self._failed_syncs):
                yield from kind(start, history)

    def _power_cuts(self, start: Image | None, known: History) -> Iterator[str]:
        """The power goes at an operation; and again while that is recovered."""
        cut = 0
        while True:
            disk, history = self._disk(start, cut=cut), deepcopy(known)
            done = self._run(disk, history)
            for image in disk.states(self.rng, self.samples):
                yield from self._check(image, history, f"power cut at {cut}")
                yield from self._check_nested(image, history, f"power cut at {cut}")
            if done:
                return
            cut += self.stride

    def _dead_processes(self, start: Image | None, known: History) -> Iterator[str]:
        """The process dies at an operation, another goes on, then the power goes."""
        cut = 0
        while True:
            disk, history = self._disk(start, cut=cut), deepcopy(known)
            done = self._run(disk, history)
            for again in self.rng.sample(range(9), min(9, self.samples // 6)):
                dead, told = deepcopy((disk, history))
                yield from self._cut_recovery(dead, told, again, f"killed at {cut}")
            yield from self._go_on(disk, history, f"killed at {cut}")
            if done:
                return
            cut += self.stride

    def _failed_syncs(self, start: Image | None, known: History) -> Iterator[str]:
        """A sync fails and loses its pages, another process goes on, then the power goes."""
        fail = 0
        while True:
            disk, history = self._disk(start, fail=fail), deepcopy(known)
            self._run(disk, history)
            if disk.syncs <= fail:
                return
            yield from self._go_on(disk, history, f"sync {fail} failed")
            fail += self.stride

    def _run(self, disk: SimulatedDisk, history: History) -> bool:
        try:
            Run(disk, history, self.options).run()
        except (PowerCut, JournalError):
            return False
        finally:
            self.sites |= disk.sites
        return True

    def _cut_recovery(self, disk: SimulatedDisk, history: History, cut: int, what: str) -> Iterator[str]:
        """The power goes while the next process recovers with what the caches still hold."""
        disk.reboot()
        disk.cut = disk.count + cut
        try:
            recover(FOLDER, disk, self.options)
        except PowerCut:
            for image in disk.states(self.rng, 3):
                yield from self._check(image, history, f"{what}, power cut at {cut} of the recovery")
        except JournalError as error:
            yield f"{what}: the next process: {error}"

    def _go_on(self, disk: SimulatedDisk, history: History, what: str) -> Iterator[str]:
        disk.reboot()
        disk.cut = disk.fail = -1
        try:
            journal, found = recover(FOLDER, disk, self.options)
            if not history.agrees(found):
                yield f"{what}: the next process found {len(found)} of {len(history.known)}"
                return
            history.settle(found)
            history.append(journal)
        except JournalError as error:
            yield f"{what}: the next process: {error}"
            return
        for image in disk.states(self.rng, self.samples):
            yield from self._check(image, history, f"{what}, power cut after the next process")

    def _check_nested(self, image: Image, history: History, what: str) -> Iterator[str]:
        """Cut the power at one operation of the recovery, too."""
        cut = self.rng.randrange(12)
        disk = self._disk(image, cut=cut)
        try:
            recover(FOLDER, disk, self.options)
        except PowerCut:
            yield from self._check(
                disk.image(self.rng, 0.5), history, f"{what}, again at {cut} of the recovery"
            )
        except JournalError as error:
            yield f"{what}: {error}"

    def _check(self, image: Image, history: History, what: str) -> Iterator[str]:
        """The journal can be recovered from this disk, goes on, and keeps what it acknowledges then."""
        self.states += 1
        history = deepcopy(history)
        disk = self._disk(image)
        try:
            journal, found = recover(FOLDER, disk, self.options)
            if not history.agrees(found):
                yield f"{what}: recovered {len(found)} of {len(history.known)} (+{len(history.flying)})"
                return
            history.settle(found)
            history.append(journal)
            last = SimulatedDisk(disk.image(None, 0))
            if not history.agrees(recover(FOLDER, last, self.options)[1]):
                yield f"{what}: lost what was acknowledged after the recovery"
        except JournalError as error:
            yield f"{what}: {error}"
        finally:
            self.sites |= disk.sites

    def _disk(self, image: Image | None, *, cut: int = -1, fail: int = -1) -> SimulatedDisk:
        return SimulatedDisk(image, cut=cut, fail=fail, without={self.without})
