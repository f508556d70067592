"""Every use of torch's private modules on the consumer's side.

What is relied on: AOTInductor's container runners open a bare library by path; Dynamo's C++ tensor
guards compare many tensors in a microsecond; and the questions "is a mode or transform active" have
only private answers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
import torch.nn.modules.module as hooks
from torch import Tensor
from torch._C._dynamo.guards import TensorGuards

Run = Callable[[Sequence[Tensor]], list[Tensor]]

function_modes: Callable[[], int] = torch._C._len_torch_function_stack


def open_library(path: str, device: torch.device, entry: int) -> Run:
    """Open an ahead-of-time library; the returned function runs the ``entry``-th of its graphs, from 1.

    Raises ``RuntimeError`` when the dynamic linker refuses it.
    """
    runner: Any
    if device.type == "cuda":
        runner = torch._C._aoti.AOTIModelContainerRunnerCuda(path, entry, str(device))
    else:
        runner = torch._C._aoti.AOTIModelContainerRunnerCpu(path, entry)
    run: Run = runner.run
    if device.type == "cuda" and torch.cuda.device_count() > 1:
        return functools.partial(_run_on, device, run)
    return run


def _run_on(device: torch.device, run: Run, arguments: Sequence[Tensor]) -> list[Tensor]:
    """The runner takes the stream of the current device, which may be another one."""
    with torch.cuda.device(device):
        return run(arguments)


def tensor_check(
    tensors: Sequence[Tensor],
    sizes: Sequence[Sequence[int | None]],
    strides: Sequence[Sequence[int | None]],
) -> Callable[..., bool]:
    """A fast test for "like these tensors, in a thread state like this one".

    It compares exact type, dispatch keys (so autocast, inference mode, transforms and modes too),
    dtype, device, requires_grad, and sizes and strides where these are not ``None``.
    """
    wanted: dict[str, Any] = {
        "dynamic_dims_sizes": [list(size) for size in sizes],
        "dynamic_dims_strides": [list(stride) for stride in strides],
    }
    guards = TensorGuards(*tensors, **wanted)
    check: Callable[..., bool] = guards.check
    return check


def direct_apply(function: type[torch.autograd.Function]) -> Callable[..., tuple[Tensor, ...]]:
    """``function.apply`` without what that does first, in Python, for transforms of ``torch.func`` and for
    the tensors that such a transform left behind. The guards have refused both. The engine calls its
    backward without looking for it first, in Python, in every step."""
    node: Any = function._backward_cls
    node.apply = function.backward
    base: Any = super(torch.autograd.Function, function)
    apply: Callable[..., tuple[Tensor, ...]] = base.apply
    return apply


def not_again(gradients: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
    """The gradients, so that differentiating them raises: they would silently count as constants."""
    text = "the gradient that a bundle computes cannot be differentiated again"
    refuse: Any = torch._C._functions.DelayedError(text.encode(), len(gradients))
    marked = [None if grad is None else grad.detach().requires_grad_() for grad in gradients]
    found: Any = refuse(*marked)
    return tuple(found)


def module_hooks() -> bool:
    """Whether hooks are registered for every module of the process."""
    return bool(
        hooks._global_forward_hooks
        or hooks._global_forward_pre_hooks
        or hooks._global_backward_hooks
        or hooks._global_backward_pre_hooks
    )


def forward_ad_level() -> int:
    """The current level of forward-mode differentiation, -1 outside."""
    return forward_ad._current_level


def ambient_refusal(device: str) -> str | None:
    """Why compiled code must not run in the current thread state, if so."""
    if torch.is_autocast_enabled(device):
        return f"autocast is on for {device}"
    if torch._C._functorch.peek_interpreter_stack() is not None:
        return "a torch.func transform is active"
    if torch._C._is_tracing():
        return "torch.jit.trace is active"
    if torch._C._len_torch_dispatch_stack():
        return "a torch dispatch mode is active"
    if torch._C._len_torch_function_stack():
        return "a torch function mode is active (such as set_default_device)"
    if torch.are_deterministic_algorithms_enabled():
        return "deterministic algorithms are asked for"
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation is active"
    return None


def has_memory(tensor: Tensor) -> bool:
    """Whether a tensor has memory of its own to point to, which one of vmap's has not."""
    return torch._C._has_storage(tensor)


def is_plain(tensor: Any) -> bool:
    """An ordinary strided tensor or parameter: no subclass, no lazy conjugation or negation, none of a
    transform of ``torch.func`` that is active or was."""
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.layout is torch.strided
        and not tensor.is_conj()
        and not tensor.is_neg()
        and not torch._is_functional_tensor(tensor)
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
    )
