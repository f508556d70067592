"""Disks for the journal's tests: one that fails, and one that simulates what survives a power cut."""

from __future__ import annotations

import errno
import os
import random
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tezzeret_cli.wal.disk import Disk

SECTOR = 512


class FailingDisk(Disk):
    """A disk on which operation number ``at``, counted from 0, goes wrong in one ``way``.

    ``once``: it fails, and nothing happened. ``effect``: it fails, and it happened all the same. ``good``:
    it and every operation after it fail. ``short``: a write takes half, once. ``full``: a write takes half
    and later ones fail.
    """

    WAYS = ("once", "effect", "good", "short", "full")

    def __init__(self, inner: Disk, at: int, number: int, way: str) -> None:
        self.inner, self.at, self.number, self.way = inner, at, number, way
        self.count = 0
        self.hit: str | None = None
        """The operation that went wrong, once one did."""

    def lock(self, path):
        return self.inner.lock(path)

    def is_locked(self, path):
        return self.inner.is_locked(path)

    def _run(self, name: str, args: tuple) -> object:
        position, self.count = self.count, self.count + 1
        real = getattr(self.inner, name)
        if self.hit and (self.way == "good" or (self.way == "full" and name == "write")):
            self._fail()
        if position != self.at:
            return real(*args)
        if self.way in ("short", "full"):
            if name == "write":
                self.hit = name
                return real(args[0], bytes(args[1])[: len(args[1]) // 2])
            return real(*args)
        self.hit = name
        if self.way == "effect" or name == "close":
            real(*args)
        return self._fail()

    def _fail(self):
        raise OSError(self.number, os.strerror(self.number))


def _passing(name):
    def run(self, *args):
        return self._run(name, args)

    return run


for _name in (
    *("open", "close", "write", "fsync", "rename", "unlink", "mkdir"),
    *("read", "size", "listdir", "drop_cache"),
):
    setattr(FailingDisk, _name, _passing(_name))


class PowerCut(BaseException):
    """The machine, or only the process, stops here."""


@dataclass(eq=False)
class File:
    """What readers see, what the device holds, and the writes between the two."""

    view: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    pending: list[tuple[int, bytes]] = field(default_factory=list)


@dataclass(eq=False)
class Folder:
    """Like a file: names as seen, names on the device, and the changes between, each all or nothing."""

    view: dict[str, File | Folder] = field(default_factory=dict)
    durable: dict[str, File | Folder] = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)

    def change(self, names: dict[str, File | Folder | None]) -> Change:
        change = Change(self, names)
        self.pending.append(change)
        _apply(self.view, names)
        return change

    def persist(self, change: Change) -> None:
        """One pending change is on the device: earlier ones of the same names are overtaken."""
        for earlier in self.pending[: self.pending.index(change)]:
            for name in change.names:
                earlier.names.pop(name, None)
        self.pending.remove(change)
        _apply(self.durable, change.names)


@dataclass(eq=False)
class Change:
    """Names of one folder that come and go together; with ``twin``, those of another folder too."""

    folder: Folder
    names: dict[str, File | Folder | None]
    twin: Change | None = None


Image = dict[str, "bytes | Image"]


class _Lock:
    def __init__(self, held: set[Path], path: Path) -> None:
        self._held, self._path = held, path
        held.add(path)

    def release(self) -> None:
        self._held.discard(self._path)


class SimulatedDisk(Disk):
    """A disk in memory that stops at operation ``cut`` (only those that change something count), and then
    tells which states can have survived.

    Nothing is ordered but by syncs: any subset of the writes, cut at sectors, and of the changes of names
    since then survives. A rename is one change, between two folders too: a sync of either makes it durable.
    ``without`` names syncs that do nothing, by site: the functions of the journal that led to it. ``fail`` is
    the number of a sync that fails and loses what it should have kept, as Linux does.
    """

    def __init__(
        self,
        image: Image | None = None,
        *,
        cut: int = -1,
        without: Collection[str] = (),
        fail: int = -1,
    ) -> None:
        self.root = _load({"runs": {}} if image is None else image)
        self.cut, self.without, self.fail = cut, without, fail
        self.count = 0
        self.syncs = 0
        self.sites: set[str] = set()
        self.reboot()

    def reboot(self) -> None:
        """A new process on the same machine: descriptors and locks are gone, caches stay."""
        self._descriptors: dict[int, tuple[File | Folder, int]] = {}
        self._next = 100
        self._held: set[Path] = set()

    # The port.

    def open(self, path: Path, flags: int) -> int:
        folder, name = self._parent(path)
        node = folder.view.get(name) if name else folder
        if flags & os.O_CREAT and (node is None or flags & os.O_TRUNC):
            self._step()
            node = File()
            folder.change({name: node})
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        self._next += 1
        self._descriptors[self._next] = (node, flags)
        return self._next

    def close(self, descriptor: int) -> None:
        del self._descriptors[descriptor]

    def write(self, descriptor: int, data: bytes | memoryview) -> int:
        file, flags = self._descriptors[descriptor]
        file.pending.append((len(file.view), bytes(data)))
        file.view += data
        self._step()
        if flags & os.O_DSYNC == os.O_DSYNC:
            self._sync(file, "O_DSYNC")
        return len(data)

    def read(self, descriptor: int, count: int, offset: int) -> bytes:
        return bytes(self._descriptors[descriptor][0].view[offset : offset + count])

    def size(self, descriptor: int) -> int:
        return len(self._descriptors[descriptor][0].view)

    def fsync(self, descriptor: int, site: str | None = None) -> None:
        self._step()
        self._sync(self._descriptors[descriptor][0], site or _site())

    def drop_cache(self, descriptor: int) -> None:
        file = self._descriptors[descriptor][0]
        if self._works("drop_cache") and not file.pending:
            file.view = bytearray(file.durable)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        folder, name = self._parent(source)
        other, wanted = self._parent(target)
        if other is folder:
            folder.change({name: None, wanted: folder.view[name]})
            return
        node = folder.view[name]
        leaving, coming = folder.change({name: None}), other.change({wanted: node})
        leaving.twin, coming.twin = coming, leaving

    def unlink(self, path: Path) -> None:
        self._step()
        folder, name = self._parent(path)
        if name not in folder.view:
            raise FileNotFoundError(errno.ENOENT, "No such file", str(path))
        folder.change({name: None})

    def link(self, source: Path, target: Path) -> None:
        self._step()
        folder, name = self._parent(source)
        other, wanted = self._parent(target)
        other.change({wanted: folder.view[name]})

    def mkdir(self, path: Path) -> None:
        self._step()
        folder, name = self._parent(path)
        if name in folder.view:
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        folder.change({name: Folder()})

    def listdir(self, path: Path) -> list[str]:
        folder, name = self._parent(path)
        node = folder.view.get(name) if name else folder
        if node is None:
            raise FileNotFoundError(errno.ENOENT, "No such folder", str(path))
        return list(node.view)

    def lock(self, path: Path):
        return None if path in self._held else _Lock(self._held, path)

    def is_locked(self, path: Path) -> bool:
        return path in self._held

    # What survives.

    def image(self, rng: random.Random | None, keep: float) -> Image:
        """One state that can have survived: each change since the last sync does so with probability
        ``keep``. Without ``rng``, all of them if ``keep``, else none."""

        def survives() -> bool:
            return rng.random() < keep if rng else keep > 0

        return _survive(self.root, survives)

    def states(self, rng: random.Random, samples: int) -> Iterator[Image]:
        """Distinct states that can have survived: nothing, everything, and samples between."""
        seen: set[str] = set()
        few = [(None, 0.0), (None, 1.0)]
        for chooser, keep in [*few, *((rng, rng.choice((0.1, 0.5, 0.9))) for _ in range(samples))]:
            image = self.image(chooser, keep)
            key = repr(image)
            if key not in seen:
                seen.add(key)
                yield image

    def _sync(self, node: File | Folder, site: str) -> None:
        if not self._works(site):
            return
        number, self.syncs = self.syncs, self.syncs + 1
        if number == self.fail:
            if isinstance(node, File):
                node.durable = node.durable.ljust(len(node.view), b"\0")
                node.pending.clear()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if isinstance(node, File):
            node.durable = _survive_file(node, lambda: True)
        else:
            for change in node.pending:
                if change.twin:
                    change.twin.folder.persist(change.twin)
                    change.twin.twin = None
            node.durable = dict(node.view)
        node.pending.clear()

    def _works(self, site: str) -> bool:
        self.sites.add(site)
        return site not in self.without

    def _step(self) -> None:
        position, self.count = self.count, self.count + 1
        if position == self.cut:
            raise PowerCut

    def _parent(self, path: Path) -> tuple[Folder, str]:
        folder = self.root
        *above, name = path.parts[1:] or ("",)
        for part in above:
            node = folder.view.get(part)
            if not isinstance(node, Folder):
                raise FileNotFoundError(errno.ENOENT, "No such folder", str(path))
            folder = node
        return folder, name


def _site() -> str:
    """The functions of the journal that lead here, outermost first."""
    names = []
    frame = sys._getframe(2)
    while frame:
        if "/wal/" in frame.f_code.co_filename and "tezzeret_cli" in frame.f_code.co_filename:
            names.append(frame.f_code.co_name)
        frame = frame.f_back
    return ">".join(reversed(names))


def _apply(names: dict, change: dict) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def _load(image: Image) -> Folder:
    folder = Folder()
    for name, content in image.items():
        node = File(bytearray(content), content) if isinstance(content, bytes) else _load(content)
        folder.view[name] = folder.durable[name] = node
    return folder


def _survive(folder: Folder, survives, decided: dict[Change, bool] | None = None) -> Image:
    decided = {} if decided is None else decided
    names = dict(folder.durable)
    for change in folder.pending:
        if change not in decided:
            decided[change] = survives()
            if change.twin:
                decided[change.twin] = decided[change]
        if decided[change]:
            _apply(names, change.names)
    return {
        name: _survive(node, survives, decided) if isinstance(node, Folder) else _survive_file(node, survives)
        for name, node in names.items()
    }


def _survive_file(file: File, survives) -> bytes:
    data = bytearray(file.durable)
    for offset, written in file.pending:
        position = offset
        while position < offset + len(written):
            end = min((position // SECTOR + 1) * SECTOR, offset + len(written))
            if survives():
                data.extend(bytes(max(0, end - len(data))))
                data[position:end] = written[position - offset : end - offset]
            position = end
    if file.pending and survives():
        data.extend(bytes(max(0, len(file.view) - len(data))))
    return bytes(data)
