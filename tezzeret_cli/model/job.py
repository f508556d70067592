"""A job: everything that decides what one bundle contains, as plain data for the worker."""

from __future__ import annotations

import msgspec

from tezzeret_cli.model.descriptor import Descriptor


class Strategy(msgspec.Struct, frozen=True):
    """A compile strategy as data: compiler flags and budget.

    ``inductor`` is a flat patch of inductor's configuration (dotted names), ``dynamic`` asks for a
    dynamic batch dimension where the module allows one. ``wrapper`` and ``kernels`` are the C++
    compiler's optimisation levels. ``examples`` limits how many sets of representative shapes are
    compiled. ``extras`` asks for libraries beyond the pair for training (calls without gradients, a
    batch of one); ``lines`` has small convolutions written as products of matrices, which is more to
    compile and less to wait for in a first step. Without ``precompile`` no header is precompiled for the
    first job's sake. ``cpu_only`` overrules the device that was asked for; ``opt_in`` needs to be allowed.
    """

    name: str
    summary: str = ""
    inductor: dict[str, str | int | float | bool | None] = {}
    dynamic: bool = True
    wrapper: str = "O1"
    kernels: str = "O3"
    examples: int | None = None
    extras: bool = True
    lines: bool = True
    precompile: bool = True
    cpu_only: bool = False
    opt_in: bool = False
    timeout_s: float = 250.0
    memory_bytes: int = 8 << 30


class BatchRange(msgspec.Struct, frozen=True):
    """Inclusive range of the dynamic batch dimension."""

    min: int = 1
    max: int = 1024


class Example(msgspec.Struct, frozen=True):
    """One set of representative input shapes, one tuple of sizes per tensor input."""

    shapes: tuple[tuple[int, ...], ...]


class Factory(msgspec.Struct, frozen=True):
    """Where a module comes from.

    ``path`` is ``package.module:function``. ``digest`` is a sha256 over the source that decides what
    the factory builds; ``distribution`` is ``name==version`` when the source belongs to one.
    ``builtin`` is true for the blueprints that ship with Tezzeret.
    """

    path: str
    digest: str
    distribution: str | None = None
    builtin: bool = False


class Job(msgspec.Struct, frozen=True):
    """One bundle to make.

    ``batch`` is ``None`` when a dynamic batch is not wanted. ``examples`` is empty when the factory's
    own example inputs are to be used. ``strategy_reason`` says why it is this strategy, where it was not
    simply asked for. ``dtype`` is ``None`` for the factory's own. ``key`` and
    ``key_factors`` are filled by ``keys``: the key is the sha256 over the factors.
    """

    descriptor: Descriptor
    parameters: dict[str, float]
    factory: Factory
    strategy: Strategy
    strategy_reason: str | None = None
    device: str = "cpu"
    dtype: str | None = None
    examples: tuple[Example, ...] = ()
    batch: BatchRange | None = BatchRange()
    tags: tuple[str, ...] = ()
    key: str = ""
    key_factors: dict[str, str] = {}

    @property
    def blueprint_id(self) -> str:
        return self.descriptor.blueprint_id
