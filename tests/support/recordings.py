"""What a program does to the files below a folder, recorded, to be played on a simulated disk."""

from __future__ import annotations

import contextlib
import functools
import linecache
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.disks import Image, SimulatedDisk
from tezzeret_cli.store import publish, quarantine

ROOMS = ("/wal/", "/store/", "/runs/")
HELPERS = ("sync", "sync_folder", "fsync")
"""Functions that only pass a sync on: its site is where they are called."""


class Recording:
    """Operations below ``root``, in order, as calls of a simulated disk; between them, what the program said.

    ``root`` itself is there before; what is in its ``cache`` need not survive and is left out. Nothing is
    made durable for real meanwhile. A step is ``(name, arguments)``; ``("said", words)`` tells that
    the program let somebody know.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.steps: list[tuple[str, tuple[Any, ...]]] = []
        self._open: set[int] = set()

    def said(self, *words: Any) -> None:
        self.steps.append(("said", words))

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Record what this process does in the block."""
        with contextlib.ExitStack() as stack:
            for name in ("rename", "replace", "link"):
                _patch(stack, os, name, functools.partial(self._two_names, getattr(os, name), name))
            for name in ("unlink", "remove", "rmdir", "mkdir"):
                _patch(stack, os, name, functools.partial(self._one_name, getattr(os, name), name))
            for name in ("open", "close", "write", "fsync"):
                _patch(stack, os, name, functools.partial(getattr(self, f"_on_{name}"), getattr(os, name)))
            renamed = functools.partial(self._two_names, publish.rename_no_replace, "rename")
            _patch(stack, publish, "rename_no_replace", renamed)
            _patch(stack, quarantine, "rename_no_replace", renamed)
            real = Path.write_bytes
            _patch(stack, Path, "write_bytes", lambda path, data: self._put(path, data, real(path, data)))
            copy = shutil.copyfile
            _patch(
                stack,
                shutil,
                "copyfile",
                lambda a, b: self._put(Path(b), Path(a).read_bytes(), copy(a, b)),
            )
            yield

    def play(self, disk: SimulatedDisk, steps: int | None = None) -> list[tuple[Any, ...]]:
        """Do the first ``steps`` operations on ``disk``; what was said until then."""
        descriptors: dict[int, int] = {}
        said = []
        for name, args in self.steps[:steps]:
            match name:
                case "said":
                    said.append(args)
                case "open":
                    descriptors[args[0]] = disk.open(args[1], args[2])
                case "close":
                    disk.close(descriptors.pop(args[0]))
                case "write" | "fsync":
                    getattr(disk, name)(descriptors[args[0]], *args[1:])
                case _:
                    getattr(disk, name)(*args)
        return said

    def _step(self, name: str, *args: Any) -> None:
        self.steps.append((name, args))

    def _place(self, path: Any, folder: int | None = None) -> Path | None:
        """A path on the simulated disk, ``None`` for one outside."""
        place = Path(os.fspath(path))
        if folder is not None:
            place = Path(os.readlink(f"/proc/self/fd/{folder}")) / place
        place = Path(os.path.abspath(place))
        if not place.is_relative_to(self.root) or place.is_relative_to(self.root / "cache"):
            return None
        return Path("/") / place.relative_to(self.root.parent)

    def _on_open(self, real: Callable[..., int], path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        descriptor = real(path, flags & ~os.O_DSYNC, *args, **kwargs)
        place = self._place(path, kwargs.get("dir_fd"))
        if place is not None:
            self._open.add(descriptor)
            self._step("open", descriptor, place, flags)
        return descriptor

    def _on_close(self, real: Callable[..., None], descriptor: int) -> None:
        if descriptor in self._open:
            self._open.discard(descriptor)
            self._step("close", descriptor)
        real(descriptor)

    def _on_write(self, real: Callable[..., int], descriptor: int, data: Any) -> int:
        taken = real(descriptor, data)
        if descriptor in self._open:
            self._step("write", descriptor, bytes(data[:taken]))
        return taken

    def _on_fsync(self, real: Callable[..., None], descriptor: int) -> None:
        if descriptor in self._open:
            self._step("fsync", descriptor, _site())

    def _one_name(self, real: Callable[..., None], name: str, path: Any, *args: Any, **kwargs: Any) -> None:
        place = self._place(path, kwargs.get("dir_fd"))
        real(path, *args, **kwargs)
        if place is not None:
            self._step("mkdir" if name == "mkdir" else "unlink", place)

    def _two_names(self, real: Callable[..., None], name: str, source: Any, target: Any) -> None:
        real(source, target)
        places = self._place(source), self._place(target)
        if places != (None, None):
            assert None not in places, f"{name} {source} {target}"
            self._step("link" if name == "link" else "rename", *places)

    def _put(self, path: Path, data: bytes, result: Any) -> Any:
        place = self._place(path)
        if place is not None:
            self._step("open", -1, place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            self._step("write", -1, data)
            self._step("close", -1)
        return result


def _patch(stack: contextlib.ExitStack, owner: Any, name: str, value: Any) -> None:
    stack.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)


def _site() -> str:
    """The line of the program that asks for a sync, with its file and function."""
    frame = sys._getframe(2)
    while frame:
        code = frame.f_code
        path = code.co_filename
        if any(f"tezzeret_cli{room}" in path for room in ROOMS) and code.co_name not in HELPERS:
            line = linecache.getline(path, frame.f_lineno).strip()
            return f"{Path(path).stem}.{code.co_name}: {line}"
        frame = frame.f_back
    raise AssertionError("a sync from nowhere")


def lay_out(image: Image, folder: Path) -> None:
    """Make real files of a simulated disk's."""
    for name, content in image.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            (folder / name).mkdir()
            lay_out(content, folder / name)


def taken_in(folder: Path) -> Image:
    """Real files as a simulated disk's."""
    return {
        path.name: taken_in(path) if path.is_dir() else path.read_bytes() for path in sorted(folder.iterdir())
    }
