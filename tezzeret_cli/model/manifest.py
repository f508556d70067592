"""The manifest of a bundle (format 1). ``docs/format/bundle.md`` is its prose.

What there are many of is hidden from the garbage collector (``gc=False``; it can hold no cycle): a load that
made enough objects to set off a full collection would take ten times as long.
"""

from __future__ import annotations

import enum

import msgspec

from tezzeret_cli.model.descriptor import Descriptor
from tezzeret_cli.model.job import BatchRange, Factory

FORMAT = 1
"""The format number this code writes. A reader refuses a higher one."""


class Encoding(enum.StrEnum):
    IDENTITY = "identity"
    ZSTD = "zstd"


class FileEntry(msgspec.Struct, frozen=True, gc=False):
    """One file of the bundle beside the manifest.

    ``sha256`` and ``stored_size`` are of the bytes on disk, so they are checked before anything is
    inflated; ``size`` is the inflated size in bytes.
    """

    path: str
    size: int
    sha256: str
    stored_size: int
    encoding: Encoding = Encoding.IDENTITY


class Target(msgspec.Struct, frozen=True):
    """Where the compiled code runs.

    ``cpu_flags`` are the instruction-set extensions (names as in /proc/cpuinfo) that the libraries may
    use; ``capability`` is the CUDA compute capability such as ``9.0``; ``symbols`` maps ``GLIBC`` and
    ``GLIBCXX`` to the highest version the libraries need.
    """

    system: str
    architecture: str
    isa: str
    cpu_flags: tuple[str, ...]
    device: str
    capability: str | None = None
    symbols: dict[str, str] = {}


class Toolchain(msgspec.Struct, frozen=True):
    """Versions of what made the bundle."""

    tool: str
    torch: str
    compiler: str
    python: str


class Symbolic(msgspec.Struct, frozen=True, gc=False):
    """A size or stride that moves with the batch: ``factor`` times the product of ``symbols``.

    ``min`` and ``max`` bound the (single) symbol of a size; they are unused in a stride.
    """

    factor: int
    symbols: tuple[str, ...]
    min: int = 1
    max: int = 1


Extent = int | Symbolic

Scalar = None | bool | int | float | str


class Constant(msgspec.Struct, frozen=True, gc=False):
    """A Python value with its type, which canonical JSON does not keep (2.0 becomes 2)."""

    type: str
    text: str

    @classmethod
    def of(cls, value: Scalar) -> Constant:
        return cls(type(value).__name__, str(value))

    @property
    def value(self) -> Scalar:
        match self.type:
            case "bool":
                return self.text == "True"
            case "int":
                return int(self.text)
            case "float":
                return float(self.text)
            case "str":
                return self.text
            case _:
                return None


class GuardKind(enum.StrEnum):
    INPUT = "input"
    PARAMETER = "parameter"
    BUFFER = "buffer"


class TensorGuard(msgspec.Struct, frozen=True, gc=False):
    """What one tensor of a variant must look like (an entry of Urza's ``guard_spec``).

    ``index`` is the position among the tensor inputs for an input, among the module's parameters and
    buffers otherwise; ``name`` is the input's argument path or the parameter's dotted name.
    ``requires_grad`` is whether the variant computes a gradient for it: a tensor that requires one
    where this is false is a guard miss, the other way round is served.
    """

    variant: int
    kind: GuardKind
    index: int
    name: str
    dtype: str
    device: str
    shape: tuple[Extent, ...]
    stride: tuple[Extent, ...]
    requires_grad: bool


class Reason(msgspec.Struct, frozen=True):
    """Why a job did not end as compiled.

    ``kind`` is a stable word (``graph_break``, ``unsupported``, ``timeout``, ``out_of_memory``,
    ``crash``, ``wrong_numbers``, ``refused``, ``internal``, …); ``deterministic`` is true when
    the same job would end the same way again, so that trying again is no use.
    """

    kind: str
    message: str
    deterministic: bool


class TensorSlot(msgspec.Struct, frozen=True, gc=False):
    """A parameter or buffer of the module under its dotted eager name.

    ``alias_of`` names the slot that holds the same tensor (tied weights). A buffer that is not
    ``persistent`` stays out of ``state_dict``. ``stride`` is ``None`` for a contiguous tensor.
    """

    name: str
    is_parameter: bool
    requires_grad: bool
    persistent: bool = True
    alias_of: str | None = None
    stride: tuple[int, ...] | None = None


class SourceKind(enum.StrEnum):
    INPUT = "input"
    TENSOR = "tensor"
    SAVED = "saved"
    TANGENT = "tangent"


class Source(msgspec.Struct, frozen=True, gc=False):
    """Where a library's argument comes from: ``index`` into inputs, slots, saved values or tangents."""

    kind: SourceKind
    index: int


class OutputKind(enum.StrEnum):
    COMPUTED = "computed"
    INPUT = "input"
    TENSOR = "tensor"
    VIEW_OF_INPUT = "view_of_input"
    VIEW_OF_TENSOR = "view_of_tensor"
    VIEW_OF_RESULT = "view_of_result"
    CONSTANT = "constant"


class OutputLeaf(msgspec.Struct, frozen=True, gc=False):
    """One leaf of the module's return value.

    ``computed``: result ``index`` of the forward library. ``input``: the caller's own tensor ``index``
    comes back. ``tensor``: the module's own parameter or buffer in slot ``index``. ``view_of_input``,
    ``view_of_tensor`` and ``view_of_result``: result ``index`` only tells size, stride and offset; the
    output is re-made as that view of input, slot or result ``base``. ``constant`` stands for
    itself.
    """

    kind: OutputKind
    index: int = 0
    base: int = 0
    differentiable: bool = False
    constant: Constant | None = None


class TreeKind(enum.StrEnum):
    LEAF = "leaf"
    CONSTANT = "constant"
    TUPLE = "tuple"
    LIST = "list"
    DICT = "dict"


class Tree(msgspec.Struct, frozen=True, gc=False):
    """The shape of nested arguments or of a return value.

    ``leaf`` is a tensor among the arguments, the next ``OutputLeaf`` in a return value. ``constant``
    is an argument that must equal ``constant`` in type and value. ``keys`` are a dict's keys; at the root
    of the arguments they are the parameter names of ``forward``.
    """

    kind: TreeKind
    keys: tuple[str, ...] = ()
    children: tuple[Tree, ...] = ()
    constant: Constant | None = None


class Graph(msgspec.Struct, frozen=True, gc=False):
    """One ahead-of-time compiled graph, the ``entry``-th (from 1) of those in ``library``, and how to call
    it."""

    library: str
    arguments: tuple[Source, ...]
    results: int
    entry: int = 1


class Tangent(msgspec.Struct, frozen=True, gc=False):
    """The memory layout the backward library expects of the gradient of forward result ``result``.

    ``order`` lists the dimensions from the slowest to the fastest moving when the gradient is dense;
    a layout with gaps gives its exact ``stride`` instead.
    """

    result: int
    order: tuple[int, ...]
    stride: tuple[int, ...] | None = None


class Variant(msgspec.Struct, frozen=True, gc=False):
    """One compiled specialisation: a mode and a family of shapes.

    ``training`` is ``None`` when the two modes are the same. The forward library's results are first
    ``outputs`` values (returned ones and the bases of returned views), then ``saved`` values for the
    backward. ``mutated`` are the tensors that the forward library writes in place. ``gradients``
    says, per result of the backward library, whose gradient it is. ``inference`` serves calls that
    need no gradient where saving activations is dear; without it ``forward`` does.
    """

    name: str
    training: bool | None
    arguments: Tree
    output: Tree
    leaves: tuple[OutputLeaf, ...]
    forward: Graph | None
    backward: Graph | None = None
    inference: Graph | None = None
    outputs: int = 0
    saved: int = 0
    mutated: tuple[Source, ...] = ()
    tangents: tuple[Tangent, ...] = ()
    gradients: tuple[Source, ...] = ()
    random: bool = False


class Timing(msgspec.Struct, frozen=True):
    """Times of the consumer proof in milliseconds, with ``threads`` threads; ``p50`` and ``p95`` are of
    a steady training step."""

    load_ms: float
    first_forward_ms: float
    first_backward_ms: float
    p50_ms: float
    p95_ms: float
    threads: int = 1


class StepTimes(msgspec.Struct, frozen=True, gc=False):
    """A training step (forward and backward) at one batch in the consumer proof: compiled code and eager in
    turns.

    ``batch`` is the size that moves, 0 where none does. ``compiled_ms`` and ``eager_ms`` are lower quartiles
    of ``samples`` steps each (or rows of a few quick ones), of processor time where one thread did them.
    ``slower`` is how many times eager's the compiled step is at least: a lower bound of what
    ``compiled_ms / eager_ms`` is in other runs.
    """

    batch: int
    compiled_ms: float
    eager_ms: float
    slower: float
    samples: int


class Serving(msgspec.Struct, frozen=True, gc=False):
    """Which batches of the ``variant``-th variant eager serves where a gradient is wanted, since it is faster
    there, and the measured steps that decided so (``worker/eager_rule.py``)."""

    variant: int
    times: tuple[StepTimes, ...]
    eager: tuple[BatchRange, ...] = ()


class Signing(enum.StrEnum):
    """How a bundle is signed: by a key, by a certificate for an identity, or not at all."""

    KEY = "key"
    KEYLESS = "keyless"
    NONE = "none"


class Manifest(msgspec.Struct, frozen=True):
    """Everything a consumer needs to know of a bundle before it opens any other file.

    ``signature`` names the signature file, ``signing`` says what was asked for: ``none`` is a bundle that was
    left unsigned on purpose, ``None`` one from before there were signatures.
    ``run`` is the id of the run that published it, in the journal of the host where that run was.
    ``quarantine`` says why nobody gets the bundle who does not ask for it. ``compiler_ms`` is the processor
    time of compilers, within ``compile_ms``. ``serving`` is empty where no step was compared with eager's.
    """

    format: int
    blueprint_id: str
    version: str
    lineage: str
    descriptor: Descriptor
    parameters: dict[str, float]
    factory: Factory
    job_key: str
    key_factors: dict[str, str]
    toolchain: Toolchain
    target: Target
    compile_strategy: str
    eager_fallback: bool
    reason: Reason | None
    created: str
    slots: tuple[TensorSlot, ...]
    modules: tuple[str, ...]
    variants: tuple[Variant, ...]
    guard_spec: tuple[TensorGuard, ...]
    guard_spec_summary: tuple[str, ...]
    guard_digest: str
    files: tuple[FileEntry, ...]
    compile_ms: float = 0.0
    prewarm_ms: float = 0.0
    prewarm_samples: tuple[float, ...] = ()
    timing: Timing | None = None
    inductor_cache_dir: str | None = None
    tags: tuple[str, ...] = ()
    signature: str | None = None
    notes: tuple[str, ...] = ()
    run: str | None = None
    quarantine: str | None = None
    compiler_ms: float = 0.0
    signing: Signing | None = None
    serving: tuple[Serving, ...] = ()
