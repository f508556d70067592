"""What a garbage collection would remove, and why. Writes nothing, and waits for nobody."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tezzeret_cli.bundle.read import MANIFEST
from tezzeret_cli.bundle.scan import BUNDLES, published
from tezzeret_cli.bundle.use import USED, last_use
from tezzeret_cli.files import lock_folder
from tezzeret_cli.model.collect import Item, Kept, Kind, Rules
from tezzeret_cli.ops.gc_policy import GRACE_S, Bundle, choose
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.store.layout import STORE_FILE, TMP
from tezzeret_cli.store.samples import DRAFT, SAMPLES, SUFFIX
from tezzeret_cli.store.staging import PREFIX, left_behind
from tezzeret_cli.store.usage import entries, touched, tree_bytes
from tezzeret_cli.telemetry.numbers import duration
from tezzeret_cli.telemetry.spool import FOLDER

PINS = "pins"
_DAY = 86400.0
_RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_TARGET = re.compile(r"\d+\.\d+[^/]*-\w+")


class Marked(msgspec.Struct, frozen=True):
    """``items`` go, in this order; ``kept`` would go but for the reason given; ``bundle_bytes`` are those of
    the bundles that are left; ``bundles`` are all."""

    items: list[Item]
    kept: list[Kept]
    bundle_bytes: int
    bundles: list[Bundle]


class Needs:
    """What the runs that are alive, or can be resumed, need of a store at this moment."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs.unsettled()
        self._keys: set[str] = set()
        self._bundles: set[str] = set()
        for state in self.runs.values():
            if state is None:
                continue
            self._keys |= {job.key for job in state.plan.jobs} if state.plan else set()
            self._bundles |= {done.report.bundle for done in state.done.values() if done.report.bundle}
            self._bundles |= {job.staged.bundle for job in state.open.values() if job.staged}

    def why(self, bundle: Bundle) -> str | None:
        """Why the bundle must stay, ``None`` when no run needs it."""
        if f"{BUNDLES}/{bundle.blueprint_id}/{bundle.version}" in self._bundles:
            return "an unfinished run made it"
        try:
            made = msgspec.json.decode((Path(bundle.path) / MANIFEST).read_bytes(), type=_Made)
        except FileNotFoundError:
            return "it is gone"
        except (msgspec.DecodeError, OSError):
            return "its manifest cannot be read"
        if made.run in self.runs:
            return "an unfinished run made it"
        return "an unfinished run needs it" if made.job_key in self._keys else None


class _Made(msgspec.Struct):
    job_key: str
    run: str | None = None


def mark(root: Path, runs: Runs, cache: Path, rules: Rules, now: float) -> Marked:
    """Everything that goes from the store at ``root``, the journals of its runs and the cache, by ``rules``
    at the time ``now`` (seconds since 1970). Raises ``InputError`` for a pin that matches nothing, and
    ``OSError``."""
    begun = runs.all_open()  # before what is needed: a run that begins meanwhile is in neither
    needs = Needs(runs)
    there = list(bundles(root))
    choice = choose(there, rules, now, needs.why)
    items = [
        _item(Kind.BUNDLE, bundle.path, reason, bundle.bytes, bundle.used) for bundle, reason in choice.going
    ]
    kept = [Kept(bundle.path, reason) for bundle, reason in choice.kept]
    unsettled = frozenset(needs.runs)
    items += _staging(root, runs, unsettled, begun - unsettled, now)
    items += _records(root)
    items += _spool(root, rules, now)
    outdated = f"it ended more than {duration(rules.journal_ttl_s)} ago"
    items += [_item(Kind.JOURNAL, str(path), outdated) for path in runs.outdated(now - rules.journal_ttl_s)]
    items += _cache(cache, rules, now, kept)
    items += _scratch(cache, unsettled, now)
    left = sum(b.bytes for b in there) - sum(b.bytes for b, _ in choice.going)
    return Marked(items, kept, left, there)


def bundles(root: Path) -> Iterator[Bundle]:
    """The published bundles of a store with size and last use."""
    for item in published(root):
        path = str(item.path)
        try:
            yield Bundle(item.blueprint_id, item.version, path, last_use(path), tree_bytes(path))
        except FileNotFoundError:
            continue


def _item(kind: Kind, path: str, reason: str, size: int | None = None, used: float = 0.0) -> Item:
    return Item(kind, path, tree_bytes(path) if size is None else size, reason, used)


def _staging(
    root: Path, runs: Runs, unsettled: frozenset[str], ended: frozenset[str], now: float
) -> Iterator[Item]:
    for folder in left_behind(root / TMP, unsettled, lambda run: run in ended or runs.ended(run)):
        yield _item(Kind.STAGING, str(folder), "its run is over, or was not heard of for a week")
    for entry in entries(str(root / TMP)):
        draft = entry.name.startswith((f"{STORE_FILE}.", "probe-", DRAFT))
        if draft and not entry.name.startswith(PREFIX) and now - touched(entry) > _DAY:
            yield _item(Kind.STAGING, entry.path, "a draft that nobody finished")


def _records(root: Path) -> Iterator[Item]:
    """Notes on bundles that are gone."""
    for kind, suffix in ((USED, ""), (SAMPLES, SUFFIX)):
        for blueprint in entries(str(root / kind)):
            for entry in entries(blueprint.path):
                version = entry.name.removesuffix(suffix)
                if not (root / BUNDLES / blueprint.name / version).exists():
                    yield _item(Kind.RECORD, entry.path, "its bundle is gone")


def _spool(root: Path, rules: Rules, now: float) -> Iterator[Item]:
    for entry in entries(str(root / FOLDER)):
        if entry.name.endswith(".jsonl") and now - touched(entry) > rules.journal_ttl_s:
            yield _item(Kind.SPOOL, entry.path, f"nothing was added for {duration(rules.journal_ttl_s)}")


def _cache(cache: Path, rules: Rules, now: float, kept: list[Kept]) -> Iterator[Item]:
    for folder in entries(str(cache / "inductor")):
        if not _TARGET.fullmatch(folder.name) or not folder.is_dir(follow_symlinks=False):
            continue
        why_not = in_the_way(folder.path)
        found = [item for part in entries(folder.path) for item in _unused(part, rules, now)]
        if why_not and found:
            kept.append(Kept(folder.path, why_not))
        elif not why_not:
            yield from found


def _unused(folder: os.DirEntry[str], rules: Rules, now: float) -> Iterator[Item]:
    """Files that belong together have one stem: a header and its precompiled form."""
    stems: dict[str, list[os.DirEntry[str]]] = {}
    for entry in entries(folder.path):
        stems.setdefault(entry.name.partition(".")[0], []).append(entry)
    ttl = min(rules.cache_ttl_s, _DAY) if folder.name == "tmp" else rules.cache_ttl_s
    for members in stems.values():
        idle = now - max(map(touched, members))
        if idle > max(ttl, GRACE_S):
            reason = f"unused for {duration(idle)}, {duration(ttl)} allowed"
            for entry in members:
                yield _item(Kind.CACHE, entry.path, reason, used=touched(entry))


def _scratch(cache: Path, unsettled: frozenset[str], now: float) -> Iterator[Item]:
    for entry in entries(str(cache / "scratch")):
        try:
            is_runs = _RUN.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
            if not is_runs or now - entry.stat().st_mtime < GRACE_S or in_the_way(entry.path):
                continue
        except FileNotFoundError:
            continue
        dead = entry.name in unsettled
        yield _item(
            Kind.SCRATCH, entry.path, f"its run {'died; a resume needs none of it' if dead else 'is over'}"
        )


def in_the_way(folder: str) -> str | None:
    """Why a folder of the cache cannot be had alone, ``None`` when it can."""
    try:
        lock = lock_folder(folder)
    except FileNotFoundError:
        return "it is gone"
    except OSError as error:
        return f"it cannot be locked: {error.strerror}"
    if lock is None:
        return "a run is using it"
    lock.release()
    return None
