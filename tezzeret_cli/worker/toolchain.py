"""The C++ compiler: what inductor wrote → one small library. Torch-free.

Inductor's own builder compiles AOTInductor's whole container into every library; this one puts
``native/library.h`` in its place, or ``native/lean.h``, which is less. Headers are precompiled once for all
jobs with the same compiler, flags and torch, and what was compiled once is not compiled again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import hashlib
import os
import secrets
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tezzeret_cli.files import lock_file, write_whole
from tezzeret_cli.worker.lean import lean
from tezzeret_cli.worker.sources import Code
from tezzeret_cli.worker.stand_in import NAMES, stand_in_source

_NATIVE = Path(__file__).parent / "native"
_LIBRARY_HEADER = _NATIVE / "library.h"
_LEAN_HEADER = _NATIVE / "lean.h"
_LEAN_INCLUDES = _NATIVE / "lean"

_COMPILE = ("-std=c++20", "-fPIC", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections", "-w")
_LINK = (
    "-shared",
    "-s",
    "-Wl,--gc-sections",
    "-Wl,--as-needed",
    "-Wl,--build-id=none",
    f"-Wl,--version-script={_NATIVE / 'exports.map'}",
)


class CompilerError(Exception):
    """The compiler refused. The message is its first error, ``output`` all that it said."""

    def __init__(self, output: str) -> None:
        lines = [line for line in output.splitlines() if "error" in line.lower()]
        super().__init__(lines[0] if lines else output.strip()[:300] or "the compiler failed without a word")
        self.output = output


@dataclasses.dataclass(frozen=True)
class Flags:
    """How to compile with one compiler, for one torch release and one instruction set.

    ``release`` names the torch that the headers in ``includes`` belong to. ``wrapper`` and ``kernels``
    are the compiler's arguments for the two halves of the code, ``link`` names the libraries. ``lean`` has
    wrappers compiled with ``native/lean.h`` where they can be; ``stand_ins`` are the libraries among those of
    ``link``, by path, that something small stands in for while linking.
    """

    compiler: str
    release: str
    includes: tuple[str, ...]
    wrapper: tuple[str, ...]
    kernels: tuple[str, ...]
    kernel_header: str
    link: tuple[str, ...]
    lean: bool = False
    stand_ins: tuple[str, ...] = ()


class Toolchain:
    """Compiles with ``flags``. ``shared`` keeps what builds have in common: precompiled headers, and
    objects by what they were compiled from. The same code gives the same bytes. Without ``precompile``,
    a precompiled header is used where there is one, and none is made. ``notes`` say what went another way
    than ``flags`` ask for."""

    def __init__(self, flags: Flags, shared: Path, precompile: bool = True) -> None:
        self._flags = flags
        self._shared = shared
        self._precompile = precompile
        self.notes: list[str] = []

    def build(self, code: Code, folder: Path) -> Path:
        """The library of ``code``, in ``folder``. Raises ``CompilerError``; ``OSError`` for a full disk."""
        flags = self._flags
        objects: tuple[Path, ...] = (
            self._wrapper(code.wrapper, folder / "wrapper.cpp"),
            self._object(
                code.kernels, f"#include <{flags.kernel_header}>\n", flags.kernels, folder / "kernels.cpp"
            ),
        )
        if code.cubins:
            objects += (self._embedded(code.cubins, folder),)
        library = folder / "graph.so"
        first = [f"-L{self._stand_in(Path(path), folder).parent}" for path in flags.stand_ins]
        command = [flags.compiler, *_LINK, "-o", str(library), *map(str, objects), *first, *flags.link]
        self._run(command, folder)
        return library

    def _wrapper(self, text: str, source: Path) -> Path:
        options = self._flags.wrapper
        rewritten = lean(text) if self._flags.lean else None
        if rewritten is not None:
            try:
                lean_options = (f"-I{_LEAN_INCLUDES}", *options)
                return self._object(rewritten, f'#include "{_LEAN_HEADER}"\n', lean_options, source)
            except CompilerError as error:
                self.notes.append(f"its wrapper needs more than {_LEAN_HEADER.name} has: {error}")
        return self._object(text, f'#include "{_LIBRARY_HEADER}"\n', options, source)

    def _embedded(self, cubins: Mapping[str, bytes], folder: Path) -> Path:
        """An object that holds each value at the symbol that is its key."""
        lines = ['.section .note.GNU-stack,"",%progbits']
        for symbol, data in cubins.items():
            (folder / f"{symbol}.cubin").write_bytes(data)
            lines += [
                f'.section .rodata.{symbol},"a"',
                ".balign 64",
                f".global {symbol}",
                f"{symbol}:",
                f'.incbin "{symbol}.cubin"',
            ]
        (folder / "cubins.s").write_text("\n".join([*lines, ""]), encoding="ascii")
        self._run([self._flags.compiler, "-c", "cubins.s", "-o", "cubins.o"], folder)
        return folder / "cubins.o"

    def _object(self, text: str, header: str, options: Sequence[str], source: Path) -> Path:
        flags = self._flags
        command = [flags.compiler, *_COMPILE, *options]
        for path in flags.includes:
            command += (f"-I{path}", f"-fmacro-prefix-map={path}/=")
        key = _digest(flags.release, *command, header, _native_text())
        target = self._shared / "objects" / f"{_digest(key, text)}.o"
        if not target.exists():
            source.write_text(text, encoding="utf-8")
            precompiled = self._precompiled(header, key, command)
            target.parent.mkdir(parents=True, exist_ok=True)
            arguments = ("-include", str(precompiled), "-c", source.name)
            self._made([*command, *arguments], target, source.parent)
        return target

    def _stand_in(self, library: Path, folder: Path) -> Path:
        """A small library of the same name, which is what a link notes as needed."""
        key = _digest(self._flags.release, str(library), *NAMES)
        target = self._shared / "stand-ins" / key / library.name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            (folder / "stand-in.s").write_text(stand_in_source(library), encoding="ascii")
            options = ("-shared", "-nostdlib", "-Wl,--build-id=none", f"-Wl,-soname,{library.name}")
            self._made([self._flags.compiler, *options, "stand-in.s"], target, folder)
        return target

    def _precompiled(self, text: str, key: str, command: Sequence[str]) -> Path:
        """A header file with ``text``, which has its precompiled form beside it unless another process is at
        that just now: reading the header itself takes less long than waiting."""
        folder = self._shared / "headers"
        header = folder / f"{key}.h"
        compiled = folder / f"{key}.h.gch"
        if not compiled.exists():
            folder.mkdir(parents=True, exist_ok=True)
            _write(header, text)
            lock = lock_file(folder / f"{key}.lock") if self._precompile else None
            if lock is not None:
                try:
                    if not compiled.exists():
                        self._made([*command, "-x", "c++-header", header.name], compiled, folder)
                finally:
                    lock.release()
        return header

    def _made(self, command: Sequence[str], target: Path, folder: Path) -> None:
        """Run ``command`` in ``folder``; its result is never seen half done."""
        with _whole(target) as partial:
            self._run([*command, "-o", str(partial)], folder)

    @staticmethod
    def _run(command: Sequence[str], folder: Path) -> None:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=os.environ | {"LC_ALL": "C"},  # its errors are read here
        )
        if done.returncode:
            for number in (errno.ENOSPC, errno.EDQUOT):
                if os.strerror(number) in done.stderr:
                    raise OSError(number, os.strerror(number), str(folder))
            raise CompilerError(done.stderr or f"{command[0]} ended with {done.returncode}")


def _write(path: Path, text: str) -> None:
    """A file that is there whole or not at all, for readers that do not wait."""
    write_whole(path, text.encode(), durable=False)


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A file to write into; it becomes ``target`` when the block ends well, and goes when it does not.

    A process number would not tell writers apart: jobs have namespaces of their own.
    """
    partial = target.with_name(f"{target.name}.{secrets.token_hex(8)}.partial")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


@functools.cache
def _native_text() -> str:
    """All that the headers of this program say."""
    return "".join(path.read_text("utf-8") for path in sorted(_NATIVE.rglob("*.h")))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]
