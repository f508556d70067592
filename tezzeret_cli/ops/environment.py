"""The environments of the worker processes; the forge's own is never changed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from tezzeret_cli.files import Lock, lock_folder
from tezzeret_cli.model.run import HostFacts
from tezzeret_cli.store.layout import explained
from tezzeret_cli.worker.task import BUILDER, CONSUMER, Template

_NO_THREADS = {"OPENBLAS_NUM_THREADS": "1"}
"""A process that others are forked from must not have threads; numpy's library starts some when imported."""

_PASSED_TO_PROOF = ("LD_LIBRARY_PATH", "PYTHONPATH", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")


class Environments:
    """Folders and variables for one run. Each job computes with ``threads`` threads, so that jobs side
    by side do not fight for cores; what it compiles uses as many as the consumer has.

    Compiled headers are shared by all runs with the same torch and target, in ``shared``; everything else
    of a job is in its own scratch folder. Both are locked as long as the run goes on, so that they are not
    collected under its feet. Making folders raises ``StoreError``.
    """

    def __init__(
        self, inherited: Mapping[str, str], cache: Path, run: str, facts: HostFacts, threads: int
    ) -> None:
        self._inherited = dict(inherited)
        self._threads = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self.shared = cache / "inductor" / f"{facts.torch}-{facts.isa}"
        self._scratch = _scratch(cache, run)
        self.cache = cache
        with explained(cache, "cache"):
            (self.shared / "tmp").mkdir(parents=True, exist_ok=True)
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch.mkdir(parents=True)
        self._locks = [_held(self.shared, shared=True), _held(self._scratch, shared=False)]

    def scratch(self, number: int) -> Path:
        """A new, empty scratch folder for one job."""
        folder = self._scratch / str(number)
        with explained(self.cache, "cache"):
            folder.mkdir()
        return folder

    def templates(self) -> dict[str, Template]:
        """The warm processes of the run: what compiles, and what has no compiler and proves."""
        builder = Template(
            ("tezzeret_cli.worker.build", "tezzeret_cli.worker.private_imports"), self._builder()
        )
        environment = self.proof(self._scratch) | _NO_THREADS
        consumer = Template(("tezzeret_cli.worker.prove",), environment, isolated=True)
        return {BUILDER: builder, CONSUMER: consumer}

    def _builder(self) -> dict[str, str]:
        """The whole environment of the warm process that compiles.

        How strict the caller is about Python's warnings is not for torch's own code to meet.
        """
        inherited = {name: value for name, value in self._inherited.items() if name != "PYTHONWARNINGS"}
        return (
            inherited
            | self._threads
            | _NO_THREADS
            | {
                "TMPDIR": str(self.shared / "tmp"),
                "TORCHINDUCTOR_CACHE_DIR": str(self.shared / "cache"),
                "TORCHINDUCTOR_COMPILE_THREADS": "1",
                # Sets of names in one order: the same graph gives the same code.
                "PYTHONHASHSEED": "0",
                # "Is there a GPU" is asked of NVML: asking CUDA itself would spoil it for every fork.
                "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
                # Triton's source, which a GPU's kernels would carry along, is over half of their size.
                "TRITON_DISABLE_LINE_INFO": "1",
                # NVML leaves a thread behind, and this would ask it while inductor is imported.
                "TORCHINDUCTOR_USE_EXPERIMENTAL_BENCHMARKER": "0",
            }
        )

    def build(self, scratch: Path) -> dict[str, str]:
        """What a build has over the warm process: caches of its own, so that no job reads what another
        one wrote."""
        return {
            "TORCHINDUCTOR_CACHE_DIR": str(scratch / "cache"),
            "TRITON_CACHE_DIR": str(scratch / "triton"),
        }

    def proof(self, scratch: Path) -> dict[str, str]:
        """The whole environment of a proof."""
        return consumer_environment(self._inherited, scratch, int(self._threads["OMP_NUM_THREADS"]))

    def close(self) -> None:
        """Remove the run's scratch folders."""
        shutil.rmtree(self._scratch, ignore_errors=True)
        for lock in self._locks:
            if lock is not None:
                lock.release()


def consumer_environment(inherited: Mapping[str, str], scratch: Path, threads: int) -> dict[str, str]:
    """The whole environment of a consumer without compiler, with an empty cache."""
    kept = {name: inherited[name] for name in _PASSED_TO_PROOF if name in inherited}
    return (
        kept
        | {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        | {
            "PATH": "",
            "HOME": str(scratch),
            "TORCHINDUCTOR_CACHE_DIR": str(scratch / "no-cache"),
        }
    )


def _held(folder: Path, *, shared: bool) -> Lock | None:
    """The lock on a folder of the cache; ``None`` on a filesystem without such locks, where the garbage
    collector leaves it alone."""
    try:
        return lock_folder(folder, shared=shared, wait=True)
    except OSError:
        return None


def remove_scratch(cache: Path, run: str) -> None:
    """Remove what a dead run left in its scratch folders."""
    shutil.rmtree(_scratch(cache, run), ignore_errors=True)


def _scratch(cache: Path, run: str) -> Path:
    return cache / "scratch" / run
