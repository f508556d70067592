"""The prewarm operation: published bundles are loaded, run and timed, each in a process of its own."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from tezzeret_cli.bundle.read import MANIFEST, read_manifest
from tezzeret_cli.bundle.scan import BUNDLES, published
from tezzeret_cli.errors import BundleError, InputError
from tezzeret_cli.model.events import BundlePrewarmed, Notice, Observer, VerificationFailed
from tezzeret_cli.model.manifest import Reason
from tezzeret_cli.model.prewarm import Prewarmed, PrewarmReport, PrewarmRequest, PrewarmResult, Sample
from tezzeret_cli.model.trust import Trust
from tezzeret_cli.model.verification import BundleCheck
from tezzeret_cli.ops.endings import answer, lacking_line
from tezzeret_cli.ops.environment import consumer_environment
from tezzeret_cli.ops.prewarm_record import Recorder, RunsOf, Timed
from tezzeret_cli.store.layout import read_identity, store_of_bundle
from tezzeret_cli.store.samples import read
from tezzeret_cli.worker.task import Cancelled, Ending, Lacking, Limits, Returned, Runner, Task, TaskEnded

REPORT_SCHEMA = 1
ENTRY = "tezzeret_cli.worker.prewarm:prewarm"
MEMORY = 16 << 30
_POLL_S = 0.25
STATUSES = ("warmed", "regressed", "fallback", "quarantined", "failed")


class Place(msgspec.Struct, frozen=True):
    """The folder of a bundle to warm. ``root`` is its store, ``None`` for one that is in none: then its times
    are not kept."""

    path: Path
    root: Path | None


class Wish(msgspec.Struct, frozen=True):
    """``repeat`` timed steps of each variant; ``jobs`` bundles at once with ``threads`` threads each.
    ``max_regression`` is how much slower than its record a bundle may be, 0.1 for 10 %; ``None``: however
    much. ``allowed`` are patterns of the factories that may run, for the comparison with eager;
    ``trust`` says whose bundles are opened."""

    repeat: int
    jobs: int
    threads: int
    timeout_s: float
    device: str | None = None
    max_regression: float | None = None
    allowed: tuple[str, ...] = ()
    trust: Trust = Trust()


class Warming:
    """A prewarm that is going on. ``stop`` may be called from a signal handler."""

    def __init__(self) -> None:
        self.stopped = False

    def stop(self) -> None:
        """Start nothing more, and end what is running."""
        self.stopped = True


def places(paths: Sequence[Path]) -> list[Place]:
    """The bundles that ``paths`` name: each a bundle, its manifest, or a store with all its bundles.

    Raises ``InputError`` for anything else, and for a store without bundles.
    """
    found: list[Place] = []
    for path in paths:
        folder = path.parent if path.name == MANIFEST else path
        if (folder / MANIFEST).is_file():
            root = store_of_bundle(folder)
            found.append(Place(folder if root is None else folder.resolve(), root))
        elif read_identity(folder) is not None:
            root = folder.resolve()
            here = [Place(item.path, root) for item in published(root)]
            if not here:
                raise InputError(f"{folder}: the store has no bundle", advice="compile something first")
            found += here
        else:
            raise InputError(f"{path}: neither a bundle nor a store", advice="check the path")
    return found


def prewarm(
    bundles: Sequence[Place],
    wish: Wish,
    runner: Runner,
    environment: Mapping[str, str],
    observer: Observer,
    runs_of: RunsOf,
    on_start: Callable[[Warming], None] = lambda warming: None,
) -> PrewarmReport:
    """Warm every bundle and report on them in their order. Samples are added to their store's, on record in a
    run of each store.

    ``on_start`` is handed what ends it early. Raises ``StoreError`` when a sample cannot be kept, and
    ``JournalError``; the next prewarm, compile or resume keeps what is on record. ``InputError`` where no
    temporary files can be made.
    """
    with _explained():
        scratch = Path(tempfile.mkdtemp(prefix="tezzeret-prewarm-"))
    warming = Warming()
    on_start(warming)
    waiting = list(enumerate(bundles))
    running: dict[int, Timed] = {}
    done: dict[int, Prewarmed] = {}
    cancelled = False
    recorder = Recorder(runs_of)
    try:
        recorder.begin(
            _by_store(bundles),
            repeat=wish.repeat,
            jobs=wish.jobs,
            threads=wish.threads,
            device=wish.device,
            observer=observer,
        )
        while running or (waiting and not warming.stopped):
            if warming.stopped and not cancelled:
                cancelled = True
                runner.cancel()
            while waiting and len(running) < wish.jobs and not warming.stopped:
                number, place = waiting.pop(0)
                running[number] = recorder.timing(place.root, place.path)
                runner.start(_task(number, place, wish, scratch, environment))
            for event in runner.wait(_POLL_S):
                if isinstance(event, Lacking):
                    observer.on_event(Notice("warning", lacking_line(event)))
                if isinstance(event, TaskEnded):
                    timed = running.pop(event.task)
                    if isinstance(event.ending, Cancelled):
                        timed.ended("interrupted")
                        continue
                    made = _judged(bundles[event.task], event.ending, wish, timed, observer)
                    timed.ended(made.status)
                    done[event.task] = made
        recorder.end()
    finally:
        runner.close()
        recorder.close()
        shutil.rmtree(scratch, ignore_errors=True)
    reports = tuple(done[number] for number in sorted(done))
    counts = Counter(report.status for report in reports)
    shown = {name: counts[name] for name in STATUSES}
    return PrewarmReport(REPORT_SCHEMA, reports, shown, interrupted=warming.stopped)


def regression(sample: Sample, earlier: Sequence[Sample]) -> float | None:
    """How much slower the slowest variant is than the median of its record; below 0 when it is faster,
    ``None`` without earlier samples of the same host, torch, device and number of threads."""
    alike = [
        old
        for old in earlier
        if (old.host, old.torch, old.threads, old.device)
        == (sample.host, sample.torch, sample.threads, sample.device)
    ]
    worst = None
    for variant in sample.variants:
        before = [v.p50_ms for old in alike for v in old.variants if v.name == variant.name]
        if before:
            change = variant.p50_ms / max(statistics.median(before), 1e-6) - 1.0
            worst = change if worst is None else max(worst, change)
    return None if worst is None else round(worst, 6)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    """Turn what the system says about the folder for temporary files into an ``InputError``."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"TMPDIR {tempfile.gettempdir()}: {error.strerror}", advice="name a folder that can be written"
        ) from error


def _by_store(bundles: Sequence[Place]) -> dict[Path, list[Path]]:
    found: dict[Path, list[Path]] = {}
    for place in bundles:
        if place.root is not None:
            found.setdefault(place.root, []).append(place.path)
    return found


def _task(number: int, place: Place, wish: Wish, scratch: Path, environment: Mapping[str, str]) -> Task:
    folder = scratch / str(number)
    with _explained():
        folder.mkdir()
    request = PrewarmRequest(
        str(place.path.resolve()),
        wish.repeat,
        wish.device,
        wish.allowed,
        wish.trust,
    )
    return Task(
        id=number,
        entry=ENTRY,
        payload=msgspec.msgpack.encode(request),
        limits=Limits(wish.timeout_s, MEMORY),
        workdir=str(folder),
        log=str(folder / "log"),
        fresh=True,
        env=consumer_environment(environment, folder, wish.threads),
    )


def _judged(place: Place, ending: Ending, wish: Wish, timed: Timed, observer: Observer) -> Prewarmed:
    """What became of one bundle; its sample is kept before it is reported."""
    blueprint_id, version, strategy = place.path.parent.name, place.path.name, ""
    try:
        manifest, _ = read_manifest(place.path)
        blueprint_id, version, strategy = manifest.blueprint_id, manifest.version, manifest.compile_strategy
    except BundleError as error:
        made = Prewarmed(blueprint_id, version, str(place.path), "failed", reason=str(error))
        return _refused(place, made, "damaged", observer)
    result = _result(ending)
    made = Prewarmed(blueprint_id, version, str(place.path), "failed", reason=result.problem)
    if result.refused:
        return _refused(place, made, result.refused, observer)
    if result.fallback:
        return msgspec.structs.replace(made, status="fallback", reason="it runs eager")
    if result.quarantine:
        return msgspec.structs.replace(made, status="quarantined")
    sample = result.sample
    if sample is None:
        return made
    change = None
    if place.root is not None:
        change = regression(sample, read(place.root, place.path.parent.name, place.path.name))
        timed.keep(sample)
    regressed = change is not None and wish.max_regression is not None and change > wish.max_regression
    slowest = max(sample.variants, key=lambda variant: variant.p50_ms, default=None)
    if slowest is not None:
        event = BundlePrewarmed(
            str(place.root or ""), blueprint_id, version, strategy, slowest.p50_ms, slowest.p95_ms
        )
        observer.on_event(event)
    if regressed and change is not None and wish.max_regression is not None:
        reason = f"{change:.0%} slower than its record, {wish.max_regression:.0%} allowed"
        observer.on_event(Notice("warning", f"{blueprint_id} {version}: {reason}"))
        return msgspec.structs.replace(
            made, status="regressed", sample=sample, regression=change, reason=reason
        )
    return msgspec.structs.replace(made, status="warmed", sample=sample, regression=change)


def _refused(place: Place, made: Prewarmed, kind: str, observer: Observer) -> Prewarmed:
    """Tell of a bundle that could not be verified."""
    bundle = f"{BUNDLES}/{made.blueprint_id}/{made.version}" if place.root else made.bundle
    check = BundleCheck(
        bundle, False, made.blueprint_id, made.version, problem=made.reason, problem_kind=kind
    )
    observer.on_event(VerificationFailed(str(place.root or ""), (check,)))
    return made


def _result(ending: Ending) -> PrewarmResult:
    """What the worker measured, or why there is nothing."""
    if isinstance(ending, Returned):
        try:
            return msgspec.msgpack.decode(ending.result, type=PrewarmResult)
        except msgspec.MsgspecError as error:
            return PrewarmResult(problem=f"the worker's answer does not decode: {error}")
    reason = answer(ending)
    return PrewarmResult(problem=reason.message if isinstance(reason, Reason) else "an unexpected answer")
