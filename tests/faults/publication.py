"""Search for a way to lose what a forge has published: power cuts and dead processes on a simulated disk.

The real forge of ``forge_sweep`` runs once on real files, and every operation on its store and its journals
is recorded. A prefix of the recording, played on the simulated disk, gives the states that can survive a
power cut there; each is laid out as files again, and the real ``resume`` goes on from it.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Collection, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tests.faults.forge_sweep import NAMES, check, script
from tests.support.disks import Image, SimulatedDisk
from tests.support.forging import FACTS, Simulator, forge, job, plan
from tests.support.recordings import Recording, lay_out, taken_in
from tezzeret_cli.bundle.read import MANIFEST, read_files, read_manifest
from tezzeret_cli.bundle.scan import published
from tezzeret_cli.model.events import JobFinished, RunFinished, RunStarted
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.ops.resume import resume_run
from tezzeret_cli.runs.folder import Runs

EMPTY: Image = {"mount": {}, "host": {}}
"""What is there before: the folder that holds stores, and the one that holds this host's journals."""


@dataclass
class Told:
    """What somebody who watched knows: the run is on record, these jobs ended so, all of it ended."""

    began: bool = False
    jobs: dict[str, tuple[str | None, bytes]] = field(default_factory=dict)
    ended: bool = False

    def hear(self, words: list[tuple[Any, ...]]) -> Told:
        told = deepcopy(self)
        for what, *rest in words:
            if what == "job":
                name, bundle, data = rest
                told.jobs[name] = (bundle, data)
            if what == "began" and told.ended:
                told = Told(jobs={name: job for name, job in told.jobs.items() if job[0]})
            told.began |= what == "began"
            told.ended |= what == "ended"
        return told


class Teller:
    """An observer that puts into the recording what it is told."""

    def __init__(self, store: Path, recording: Recording) -> None:
        self.store, self.recording = store, recording

    def on_event(self, event: Any) -> None:
        match event:
            case RunStarted():
                self.recording.said("began")
            case JobFinished(_, report):
                data = (self.store / report.bundle / MANIFEST).read_bytes() if report.bundle else b""
                self.recording.said("job", report.blueprint_id, report.bundle, data)
            case RunFinished():
                self.recording.said("ended")


class Search:
    """Looks for violations with some syncs left out (``without``), or none; iterating gives each in words.

    ``samples`` states are tried at each cut, and every ``stride``-th step is one. ``states`` counts the disks
    that were resumed from, ``sites`` the syncs that were seen.
    """

    def __init__(
        self, folder: Path, *, without: Collection[str] = (), samples: int = 4, stride: int = 1
    ) -> None:
        self.base, self.without, self.samples, self.stride = folder / "base", without, samples, stride
        self.store = self.base / "mount" / "new" / "store"
        self.state = self.base / "host" / "new" / "state"
        self.rng = random.Random(1)
        self.states = 0
        self.sites: set[str] = set()
        self._lay_out(EMPTY)
        self.recording = Recording(self.base)
        with self.recording.running():
            self._compile(self.recording, [])
        disk = self._disk()
        self.recording.play(disk)
        assert disk.image(None, 1) == {"base": self._files()}, "the recording is not whole"

    def __iter__(self) -> Iterator[str]:
        steps = self.recording.steps
        cuts = list(range(0, len(steps) + self.stride, self.stride))
        if self.without:  # most is at stake right after a rename
            cuts = [number for number, step in enumerate(steps, 1) if step[0] == "rename"] + cuts
        for cut in cuts:
            yield from self._power_cut(cut)
            yield from self._dead_process(cut)

    def _power_cut(self, cut: int) -> Iterator[str]:
        """The power goes at a step; and again while that is resumed."""
        disk = self._disk()
        told = Told().hear(self.recording.play(disk, cut))
        for image in disk.states(self.rng, self.samples):
            again = Recording(self.base)
            yield from self._check(image, told, f"power cut at {cut}", again)
            second = self.rng.randrange(len(again.steps) + 1)
            nested = self._disk(image)
            more = told.hear(again.play(nested, second))
            what = f"power cut at {cut}, again at {second} of the resume"
            yield from self._check(nested.image(self.rng, 0.5), more, what)

    def _dead_process(self, cut: int) -> Iterator[str]:
        """The process dies at a step, another resumes, and the power goes meanwhile or afterwards."""
        disk = self._disk()
        told = Told().hear(self.recording.play(disk, cut))
        again = Recording(self.base)
        yield from self._check(disk.image(None, 1), told, f"killed at {cut}", again)
        for second in (self.rng.randrange(len(again.steps) + 1), len(again.steps)):
            cached = self._disk()
            self.recording.play(cached, cut)
            cached.reboot()
            more = told.hear(again.play(cached, second))
            for image in cached.states(self.rng, self.samples // 2):
                what = f"killed at {cut}, power cut at {second} of the resume"
                yield from self._check(image, more, what)

    def _check(
        self, image: Image, told: Told, what: str, recording: Recording | None = None
    ) -> Iterator[str]:
        """Nothing half is visible, and a resume makes everything as if nothing had happened."""
        self.states += 1
        self._lay_out(image["base"])
        recording = recording or Recording(self.base)
        try:
            for item in published(self.store):
                read_files(item.path, read_manifest(item.path)[0])
            self._go_on(told, recording)
        except Exception as error:
            yield f"{what}: {type(error).__name__}: {error}"

    def _go_on(self, told: Told, recording: Recording) -> None:
        built: list[str] = []
        with recording.running():
            report = self._resume(recording, built)
            if report is None and list(self.state.glob("*/done/*")):
                recording.said("ended")
            elif report is None:
                assert not told.began, "the run is gone"
            for name, (bundle, data) in told.jobs.items():
                if bundle:
                    found = self.store / bundle / MANIFEST
                    assert found.exists(), f"the bundle of {name} is gone"
                    assert found.read_bytes() == data, f"the bundle of {name} is another one"
                assert name not in built or (told.ended and not bundle), f"{name} was done again"
            report = report or self._compile(recording, built)
        aside = self.store / "quarantine"
        if self.without and aside.exists() and all(path.name.startswith("tmp~") for path in aside.iterdir()):
            shutil.rmtree(aside)  # what was staged and is not whole is no loss
        check(self.store, msgspec.to_builtins(report))
        assert list(self.state.glob("*/open/*")) == [], "a run is still open"

    def _compile(self, recording: Recording, built: list[str]) -> Any:
        asked = plan(self.store, [job(name) for name in NAMES], workers=2)
        options = msgspec.structs.replace(asked.options, cache=str(self.base / "cache"))
        asked = msgspec.structs.replace(asked, options=options)
        return compile_blueprints(asked, self._forge(recording, built))

    def _resume(self, recording: Recording, built: list[str]) -> Any:
        parts = self._forge(recording, built)
        report = None
        for run in parts.runs.unfinished():
            ledger = parts.runs.reopen(run)
            if ledger is not None:
                report = resume_run(parts, ledger, lambda plan: FACTS)
        return report

    def _forge(self, recording: Recording, built: list[str]) -> Any:
        def work(step: str, request: Any) -> tuple[Any, str]:
            if step == "build":
                built.append(request.job.blueprint_id)
            return script(step, request)

        made = forge(self.store, Simulator(work), Teller(self.store, recording))
        runs = Runs(self.state, made.store.identity.store_id)
        return msgspec.structs.replace(made, runs=runs)

    def _disk(self, image: Image | None = None) -> SimulatedDisk:
        disk = SimulatedDisk(image or {"base": EMPTY}, without=self.without)
        disk.sites = self.sites
        return disk

    def _lay_out(self, image: Image) -> None:
        shutil.rmtree(self.base, ignore_errors=True)
        self.base.mkdir(parents=True)
        lay_out(image, self.base)

    def _files(self) -> Image:
        return {name: content for name, content in taken_in(self.base).items() if name != "cache"}
