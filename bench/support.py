"""What the benchmarks share: the store they measure, consumers in fresh processes, and summaries."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from tezzeret_cli.bundle.read import read_manifest
from tezzeret_cli.bundle.scan import published
from tezzeret_cli.leyline.descriptors import builtin_catalogue
from tezzeret_cli.model.manifest import Manifest

Row = dict[str, str | float | None]

ROOT = Path(__file__).resolve().parents[1]
STORE = Path(os.environ.get("TEZZERET_STORE") or ROOT / ".store")


BLOCK = """
class Block(torch.nn.Module):
    # A module of torch.nn at the top would be wrapped, and the wrapper's arguments guarded instead.
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
    def forward(self, *args):
        return self.inner(*args)
"""
"""What the stock ways are given; code for a fresh process."""


class Figures(msgspec.Struct):
    """What a bench measured: rows by table. A key ends in its unit, and a ratio's in none.
    ``tools/make_charts.py`` draws from such files."""

    bench: str
    machine: str
    tables: dict[str, list[Row]] = {}

    def add(self, table: str, **row: str | float | None) -> None:
        self.tables.setdefault(table, []).append(
            {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in row.items()}
        )


@contextlib.contextmanager
def measuring(bench: str, args: list[str]) -> Iterator[Figures]:
    """Print the machine and collect figures. ``--json FILE``, which is taken out of ``args``, is written when
    the bench has ended well, never before."""
    target = option(args, "--json", "")
    figures = Figures(bench, machine())
    print(figures.machine, flush=True)
    yield figures
    if target:
        Path(target).write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")


def option(args: list[str], name: str, default: str) -> str:
    """The value after ``name``, both of which are taken out of ``args``, or ``default``."""
    if name not in args:
        return default
    at = args.index(name)
    if at + 1 == len(args):
        sys.exit(f"{name}: give a value")
    value = args[at + 1]
    del args[at : at + 2]
    return value


def ordinary() -> list[str]:
    """The ids of the catalogue's blueprints that are not stressors."""
    return [d.blueprint_id for d in builtin_catalogue() if not d.quarantine_only]


def apart(folder: Path) -> dict[str, str]:
    """The environment of a command whose settings, state and caches are below ``folder`` only."""
    home = {
        name: str(folder / name.lower()) for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME")
    }
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("TEZZERET_")},
        **home,
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "PYTHONPATH": str(ROOT),
    }


def bundles(wanted: Sequence[str]) -> list[tuple[Path, Manifest]]:
    """The newest compiled bundle of each ordinary blueprint in ``STORE``, or of the ``wanted`` ids."""
    newest: dict[str, tuple[Path, Manifest]] = {}
    for item in published(STORE):
        manifest, _ = read_manifest(item.path)
        ordinary = not manifest.descriptor.quarantine_only
        if not manifest.eager_fallback and (item.blueprint_id in wanted if wanted else ordinary):
            newest[item.blueprint_id] = (item.path, manifest)
    if not newest:
        sys.exit(f"{STORE} holds no compiled bundle; run `tezzeret compile --store {STORE}` first")
    return [newest[key] for key in sorted(newest)]


def consumer(code: str, *args: str, compiler: bool = False) -> dict[str, float]:
    """Run code in a fresh process with an empty cache, and by default without a compiler; what it
    prints as JSON."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": os.environ["PATH"] if compiler else "",
            "HOME": home,
            "XDG_CONFIG_HOME": os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config"),
            "TMPDIR": home,
            "TORCHINDUCTOR_CACHE_DIR": f"{home}/cache",
            "PYTHONPATH": str(ROOT),
            **{name: os.environ[name] for name in ("LD_LIBRARY_PATH", "CUDA_HOME") if name in os.environ},
        }
        done = subprocess.run(
            [sys.executable, "-c", code, *args], env=environment, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def geometric_mean(values: Iterable[float]) -> float:
    return math.exp(statistics.fmean(math.log(value) for value in values))


def machine() -> str:
    """One line: what the figures were measured on."""
    import torch

    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    gpus = "".join(f"{torch.cuda.get_device_name(i)}, " for i in range(torch.cuda.device_count()))
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{gpus}{model}, {os.cpu_count()} cores, {versions}"
