"""Reference values of the proof: what eager computes, written by the build, read by the prover.

A case is one training step of the eager module from its initial state: its inputs, the gradients fed
to its outputs, what came out, every gradient, and every tensor that the step changed. Values travel in
one safetensors file, their description in a JSON file beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tezzeret_cli.model.manifest import Tree
from tezzeret_cli.worker.subject import Subject, fresh_inputs, unflatten_arguments

SEED = 20_230
"""Random modules are compared under this seed, set right before each call."""


def prepared(name: str) -> torch.device:
    """The device of that name, ready for values to be compared.

    A GPU, with its index, multiplies float32 as such: it would otherwise let convolutions round to 10 bits,
    each algorithm in its own way. What is compiled leaves that choice to the consumer.
    """
    device = torch.device(name)
    if device.type != "cuda":
        return device
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)


def wait_for(device: torch.device) -> None:
    """Return when what was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


GRADIENTS = ("input_gradients/", "gradient/")
"""What names of gradients begin with in the file: an input's, by its index; a parameter's, by its name."""

DRAWS = 3
"""So many times a step is repeated with other last bits."""

MARGIN = 8
"""Another order of the same sums may move a gradient by so many times what other last bits did."""


class Case(msgspec.Struct, frozen=True):
    """One step. Strides restore layouts that the file does not keep. ``rounding`` has what a gradient may be
    off by at least, absolute, by its name in the file."""

    training: bool
    arguments: Tree
    strides: tuple[tuple[int, ...], ...]
    outputs: int
    tolerance: float
    rounding: dict[str, float] = {}


class Values(msgspec.Struct, frozen=True):
    """The tensors of a case; ``None`` where there is no gradient."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor | None, ...]
    cotangents: tuple[Tensor | None, ...]
    input_gradients: tuple[Tensor | None, ...]
    gradients: dict[str, Tensor]
    state: dict[str, Tensor]


def leaves(value: object) -> Iterator[Tensor | None]:
    """The tensors in a return value, ``None`` for every other leaf."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from leaves(item)
    else:
        yield None


def differentiable(value: Tensor | None) -> bool:
    return value is not None and value.requires_grad and value.grad_fn is not None


def scalar_loss(outputs: Sequence[Tensor | None], cotangents: Sequence[Tensor | None]) -> Tensor | None:
    """A scalar whose gradient with respect to each output is its cotangent; ``None`` without any."""
    terms = [
        torch.sum(out * cotangent)
        for out, cotangent in zip(outputs, cotangents, strict=True)
        if out is not None and cotangent is not None
    ]
    return sum(terms[1:], terms[0]) if terms else None


def eager_step(
    subject: Subject, arguments: Tree, example: Sequence[Tensor], *, training: bool, device: torch.device
) -> Values:
    """Run one eager step from the module's initial state and put that state back.

    Raises whatever the module raises.
    """
    before = subject.initial_state()
    subject.module.train(training)
    torch.manual_seed(SEED)
    inputs = fresh_inputs(example, device)
    for tensor in inputs:
        if tensor.requires_grad:
            tensor.retain_grad()
    originals = tuple(tensor.detach().clone() for tensor in inputs)
    value = subject.module(*unflatten_arguments(arguments, inputs))
    outputs = tuple(leaves(value))
    cotangents = tuple(
        torch.randn_like(out) if out is not None and differentiable(out) else None for out in outputs
    )
    results = tuple(None if out is None else out.detach().clone() for out in outputs)
    loss = scalar_loss(outputs, cotangents)
    if loss is not None:
        loss.backward()
    named = {
        slot.name: tensor
        for slot, tensor in zip(subject.slots, subject.tensors, strict=True)
        if slot.alias_of is None
    }
    values = Values(
        inputs=originals,
        outputs=results,
        cotangents=cotangents,
        input_gradients=tuple(tensor.grad if tensor.requires_grad else None for tensor in inputs),
        gradients={name: t.grad for name, t in named.items() if t.grad is not None},
        state={name: t.detach().clone() for name, t in named.items() if not torch.equal(t, before[name])},
    )
    subject.restore(before)
    return values


def rounding(
    subject: Subject,
    arguments: Tree,
    example: Sequence[Tensor],
    expected: Values,
    tolerance: float,
    *,
    training: bool,
    device: torch.device,
) -> dict[str, float]:
    """What each gradient may be off by because eager's own is not known any better; see ``Case``.

    A gradient may be what is left of terms that cancel, such as that of a bias before a batch norm or of
    the keys of an attention: zero, and rounding. So the step is repeated from inputs and parameters that
    differ in their last bit. What moves by more than ``tolerance`` of the step's largest gradient is not
    rounding any more, and not forgiven; nothing is where the module refuses such arguments. Puts the initial
    state back.
    """
    theirs = _gradients_of(expected)
    largest = max((_magnitude(gradient) for gradient in theirs.values()), default=0.0)
    moved = dict.fromkeys(theirs, 0.0)
    before = subject.initial_state()
    generator = torch.Generator().manual_seed(SEED)
    parameters = [t for slot, t in zip(subject.slots, subject.tensors, strict=True) if slot.is_parameter]
    for _ in range(DRAWS if theirs else 0):
        with torch.no_grad():
            for tensor in parameters:
                tensor.copy_(_other_last_bits(tensor, generator))
        inputs = [_other_last_bits(tensor, generator) for tensor in example]
        try:
            values = eager_step(subject, arguments, inputs, training=training, device=device)
        except Exception:
            return {}
        finally:
            subject.restore(before)
        for name, gradient in _gradients_of(values).items():
            if name in theirs:
                moved[name] = max(moved[name], _magnitude(gradient - theirs[name]))
    return {
        name: min(MARGIN * distance, tolerance * largest) for name, distance in moved.items() if distance > 0
    }


def _gradients_of(values: Values) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in _named(values) if name.startswith(GRADIENTS)}


def _magnitude(tensor: Tensor) -> float:
    """The largest; 0 where there is none that is finite."""
    found = tensor.abs()
    found = found[found.isfinite()]
    return float(found.max()) if found.numel() else 0.0


def _other_last_bits(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Each element a little more or less, or as it was."""
    if not tensor.is_floating_point():
        return tensor
    step = torch.randint(-1, 2, tensor.shape, generator=generator).to(tensor.device, tensor.dtype)
    return (tensor.detach() * (1 + step * torch.finfo(tensor.dtype).eps)).requires_grad_(tensor.requires_grad)


def depends_on_gradients(
    subject: Subject,
    arguments: Tree,
    example: Sequence[Tensor],
    expected: Values,
    *,
    training: bool,
    device: torch.device,
) -> bool:
    """Whether the module gives something else when no gradient is wanted: under ``no_grad``, or for inputs
    that require none. Puts the initial state back. Raises whatever the module raises."""
    before = subject.initial_state()
    subject.module.train(training)
    for grad in (False, True):
        torch.manual_seed(SEED)
        inputs = [tensor.detach().clone() for tensor in fresh_inputs(example, device)]
        with torch.set_grad_enabled(grad):
            found = tuple(leaves(subject.module(*unflatten_arguments(arguments, inputs))))
        subject.restore(before)
        if len(found) != len(expected.outputs) or not all(map(_alike, found, expected.outputs)):
            return True
    return False


def _alike(found: Tensor | None, expected: Tensor | None) -> bool:
    if found is None or expected is None:
        return found is expected
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    return torch.allclose(found.detach(), expected, rtol=1e-2, atol=1e-3, equal_nan=True)


def write(directory: Path, cases: Sequence[tuple[Case, Values]]) -> None:
    """Write the cases. Raises ``OSError``."""
    tensors: dict[str, Tensor] = {}
    for number, (_, values) in enumerate(cases):
        for key, tensor in _named(values):
            tensors[f"{number}/{key}"] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    save_file(tensors, directory / "reference.safetensors")
    text = msgspec.json.encode([case for case, _ in cases])
    (directory / "reference.json").write_bytes(text)


def read(directory: Path, device: torch.device) -> list[tuple[Case, Values]]:
    """Read what ``write`` wrote."""
    cases = msgspec.json.decode((directory / "reference.json").read_bytes(), type=list[Case])
    tensors = load_file(directory / "reference.safetensors", device=str(device))
    found = []
    for number, case in enumerate(cases):
        prefix = f"{number}/"
        mine = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
        found.append((case, _values(case, mine)))
    return found


def _named(values: Values) -> Iterator[tuple[str, Tensor]]:
    for group in ("inputs", "outputs", "cotangents", "input_gradients"):
        for index, tensor in enumerate(getattr(values, group)):
            if tensor is not None:
                yield f"{group}/{index}", tensor
    for name, tensor in values.gradients.items():
        yield f"gradient/{name}", tensor
    for name, tensor in values.state.items():
        yield f"state/{name}", tensor


def _values(case: Case, tensors: dict[str, Tensor]) -> Values:
    def group(name: str, count: int) -> tuple[Tensor | None, ...]:
        return tuple(tensors.get(f"{name}/{index}") for index in range(count))

    def under(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}

    inputs = tuple(
        _with_stride(tensors[f"inputs/{index}"], stride) for index, stride in enumerate(case.strides)
    )
    return Values(
        inputs=inputs,
        outputs=group("outputs", case.outputs),
        cotangents=group("cotangents", case.outputs),
        input_gradients=group("input_gradients", len(inputs)),
        gradients=under("gradient/"),
        state=under("state/"),
    )


def _with_stride(tensor: Tensor, stride: tuple[int, ...]) -> Tensor:
    if tensor.stride() == stride:
        return tensor
    laid_out = torch.empty_strided(tensor.shape, stride, dtype=tensor.dtype, device=tensor.device)
    return laid_out.copy_(tensor)
