"""The way out of a guard miss: the original module, run on the bundle module's own tensors."""

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

    def __call__(
        self,
        owner: nn.Module,
        tensors: Mapping[str, Tensor],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Call eager as if it were ``owner``; tensors it replaces are replaced there too."""
        for name, module in owner.named_modules(remove_duplicate=False):
            if name in self._modules:
                self._modules[name].training = module.training
        for name, tensor in tensors.items():
            _holder(self._modules, name)[name.rpartition(".")[2]] = tensor
        result = self._module(*args, **kwargs)
        owners = dict(owner.named_modules(remove_duplicate=False))
        for name, tensor in tensors.items():
            key = name.rpartition(".")[2]
            now = _holder(self._modules, name)[key]
            if now is not tensor:
                _holder(owners, name)[key] = now
        return result


def _in_clean_thread(make: Callable[[], nn.Module]) -> nn.Module:
    """Call ``make`` free of the caller's modes and transforms, which belong to its thread, and leave
    the random generators as they were."""

    def run() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            return make()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()


def _holder(modules: Mapping[str, nn.Module], name: str) -> dict[str, Any]:
    module = modules[name.rpartition(".")[0]]
    key = name.rpartition(".")[2]
    holder: dict[str, Any] = module._parameters if key in module._parameters else module._buffers
    return holder
