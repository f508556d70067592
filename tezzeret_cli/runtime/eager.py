"""The original module, run on the bundle module's own tensors: the way out of a guard miss, and what serves
the steps that are faster in eager."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch import Tensor, nn

from tezzeret_cli.errors import EagerUnavailableError, TezzeretError
from tezzeret_cli.model.manifest import Manifest

BUILTIN_FACTORIES = ("tezzeret_cli.blueprints.*",)


class EagerModule:
    """The module that the factory builds, borrowing another module's parameters and buffers per call.

    Raises ``EagerUnavailableError`` when the caller's policy does not allow the factory, when it is
    not installed, or when its source is not the one that the bundle was made from.
    """

    def __init__(self, manifest: Manifest, allowed: Sequence[str]) -> None:
        from tezzeret_cli.blueprints.construct import construct
        from tezzeret_cli.blueprints.resolve import Resolver

        factory = manifest.factory
        name = factory.path.replace(":", ".")
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in allowed):
            raise EagerUnavailableError(
                f"the factory {factory.path} is not allowed to run",
                advice="name it in allow_factories",
            )
        try:
            found = Resolver().resolve(manifest.descriptor, None if factory.builtin else factory.path)
            if found.digest != factory.digest:
                raise EagerUnavailableError(
                    f"the factory {factory.path} here is not what {manifest.blueprint_id} was made from"
                )
            self._module = _in_clean_thread(lambda: construct(factory, manifest.parameters)[0])
        except EagerUnavailableError:
            raise
        except TezzeretError as error:
            raise EagerUnavailableError(f"the factory {factory.path} cannot be used: {error}") from error
        self._modules = dict(self._module.named_modules(remove_duplicate=False))
        self._slots = [_slot(self._modules, slot.name) for slot in manifest.slots]
        self._names = [slot.name for slot in manifest.slots]
        self._pairs: tuple[nn.Module, list[tuple[nn.Module, nn.Module]]] | None = None

    def __call__(
        self,
        owner: nn.Module,
        tensors: Sequence[Tensor],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Call eager as if it were ``owner``, with the ``tensors`` of the manifest's slots; those that it
        replaces are replaced in ``owner``, too."""
        pairs = self._pairs
        if pairs is None or pairs[0] is not owner:
            pairs = self._pairs = owner, self._paired(owner)
        for mine, theirs in pairs[1]:
            if mine.training is not theirs.training:
                self._follow(pairs[1])
                break
        for (holder, key), tensor in zip(self._slots, tensors, strict=True):
            holder[key] = tensor
        result = self._module(*args, **kwargs)
        for number, ((holder, key), tensor) in enumerate(zip(self._slots, tensors, strict=True)):
            if (now := holder[key]) is not tensor:
                owners = dict(owner.named_modules(remove_duplicate=False))
                holder, key = _slot(owners, self._names[number])
                holder[key] = now
        return result

    def _paired(self, owner: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
        """The modules of ``owner`` with eager's, parents first."""
        named = owner.named_modules(remove_duplicate=False)
        return [(module, self._modules[name]) for name, module in named if name in self._modules]

    @staticmethod
    def _follow(pairs: Sequence[tuple[nn.Module, nn.Module]]) -> None:
        """Bring eager's modules into the modes of the bundle's."""
        for mine, theirs in pairs:
            if mine.training is not theirs.training:
                if type(theirs).train is not nn.Module.train or type(theirs).eval is not nn.Module.eval:
                    theirs.train() if mine.training else theirs.eval()  # it does more than set the flag
                theirs.training = mine.training


def _in_clean_thread(make: Callable[[], nn.Module]) -> nn.Module:
    """Call ``make`` free of the caller's modes and transforms, which belong to its thread, and leave
    the random generators as they were."""

    def run() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            return make()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def _slot(modules: Mapping[str, nn.Module], name: str) -> tuple[dict[str, Any], str]:
    """Where the tensor of that dotted name is kept."""
    parent, _, key = name.rpartition(".")
    module = modules[parent]
    return module._parameters if key in module._parameters else module._buffers, key
