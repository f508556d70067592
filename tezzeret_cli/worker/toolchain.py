"""The C++ compiler: what inductor wrote for one graph → one small library. Torch-free.

Inductor's own builder compiles AOTInductor's whole container into every library; this one puts
``native/library.h`` in its place. Headers are precompiled once for all jobs with the same compiler,
flags and torch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

LIBRARY_HEADER = Path(__file__).parent / "native" / "library.h"

_CODE = ("-std=c++20", "-fPIC", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections", "-w")
_LINK = ("-shared", "-s", "-Wl,--gc-sections", "-Wl,--as-needed", "-Wl,--build-id=none", "-Wl,-z,relro")


class CompilerError(Exception):
    """The compiler refused. The message is its first error, ``output`` all that it said."""

    def __init__(self, output: str) -> None:
        lines = [line for line in output.splitlines() if "error" in line.lower()]
        super().__init__(lines[0] if lines else output.strip()[:300] or "the compiler failed without a word")
        self.output = output


@dataclasses.dataclass(frozen=True)
class Code:
    """The C++ of one graph: ``wrapper`` calls what ``kernels`` defines."""

    wrapper: str
    kernels: str


@dataclasses.dataclass(frozen=True)
class Flags:
    """How to compile for one torch release and one instruction set.

    ``release`` names the torch that the headers in ``includes`` belong to. ``wrapper`` and ``kernels``
    are the compiler's arguments for the two halves of a source, ``link`` the libraries.
    """

    compiler: str
    release: str
    includes: tuple[str, ...]
    wrapper: tuple[str, ...]
    kernels: tuple[str, ...]
    kernel_header: str
    link: tuple[str, ...]


class Toolchain:
    """Compiles with ``flags``; ``shared`` keeps what jobs have in common."""

    def __init__(self, flags: Flags, shared: Path) -> None:
        self._flags = flags
        self._shared = shared

    def build(self, code: Code, folder: Path, name: str) -> Path:
        """The library ``folder/name.so``. Raises ``CompilerError``."""
        flags = self._flags
        halves = [
            self._object(code.wrapper, f'#include "{LIBRARY_HEADER}"\n', flags.wrapper, folder, f"{name}.wrapper"),
            self._object(
                code.kernels, f"#include <{flags.kernel_header}>\n", flags.kernels, folder, f"{name}.kernels"
            ),
        ]
        library = folder / f"{name}.so"
        self._run([flags.compiler, *_LINK, "-o", str(library), *map(str, halves), *flags.link])
        return library

    def _object(self, text: str, header: str, options: Sequence[str], folder: Path, name: str) -> Path:
        source = folder / f"{name}.cpp"
        source.write_text(text, encoding="utf-8")
        target = source.with_suffix(".o")
        command = [self._flags.compiler, *_CODE, *options, *(f"-I{path}" for path in self._flags.includes)]
        precompiled = self._precompiled(header, command)
        self._run([*command, "-include", str(precompiled), "-c", str(source), "-o", str(target)])
        return target

    def _precompiled(self, text: str, command: Sequence[str]) -> Path:
        """A header file with ``text`` that has its precompiled form beside it.

        Only a whole one is ever visible under its name; whoever comes second waits.
        """
        local = LIBRARY_HEADER.read_bytes()
        factors = "\0".join((self._flags.release, *command, text)).encode()
        key = hashlib.sha256(factors + local).hexdigest()[:32]
        folder = self._shared / "headers"
        folder.mkdir(parents=True, exist_ok=True)
        header = folder / f"{key}.h"
        compiled = folder / f"{key}.h.gch"
        if compiled.exists():
            return header
        with _locked(folder / f"{key}.lock"):
            if not compiled.exists():
                header.write_text(text, encoding="utf-8")
                partial = folder / f"{key}.{os.getpid()}.partial"
                self._run([*command, "-x", "c++-header", str(header), "-o", str(partial)])
                partial.replace(compiled)
        return header

    @staticmethod
    def _run(command: Sequence[str]) -> None:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode:
            raise CompilerError(done.stderr or f"{command[0]} ended with {done.returncode}")


def with_own_container(wrapper: str, stock_include: str, stock_container: str) -> str | None:
    """``wrapper`` without AOTInductor's container; ``None`` where it is not written as expected.

    What checks arguments once more is left out too: the guards have done it.
    """
    if wrapper.count(stock_include) != 1 or wrapper.count(stock_container) != 1:
        return None
    text = wrapper.replace(stock_container, "").replace(stock_include, "")
    text = re.sub(r"^AOTI_NOINLINE static void check_input_\d+\(.*?^\}\n", "", text, flags=re.M | re.S)
    return re.sub(r"^\s*check_input_\d+\(input_handles\);\n", "", text, flags=re.M)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
