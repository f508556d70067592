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
from tezzeret_cli.runtime.layout import Layout, is_hooked

BUILTIN_FACTORIES = ("tezzeret_cli.blueprints.*",)

_KINDS = ("_parameters", "_buffers")


class EagerModule:
    """The module that the factory builds, to be run on another module's parameters and buffers.

    It either borrows them for one call, or is wired to the other module, its owner: then both keep their
    tensors in the same dictionaries, and a call costs next to nothing beside eager's own.

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
        self._names = [slot.name for slot in manifest.slots]
        self._slots = [_slot(self._modules, name) for name in self._names]
        self._own = [
            (module, kind, module.__dict__[kind]) for module in self._modules.values() for kind in _KINDS
        ]
        self._pairs: tuple[nn.Module, list[tuple[nn.Module, nn.Module]]] | None = None
        self._wirable = _is_wirable(self._modules)
        self._owner: nn.Module | None = None
        self._holders: list[tuple[dict[str, Any], int]] = []
        self._below: list[tuple[dict[str, Any], str, nn.Module, nn.Module]] = []
        self.forward: Callable[..., Any] = self._module if _does_more(self._module) else self._module.forward
        """Calls eager, which must be wired. The owner's own call has run the hooks of the whole process."""

    def __call__(
        self,
        owner: nn.Module,
        tensors: Sequence[Tensor],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """Call eager as if it were ``owner``, with the ``tensors`` of the manifest's slots; those that it
        replaces are replaced in ``owner``, too. What it was wired to, it is no more."""
        if self._owner is not None:
            self._unwire()
        pairs = self._pairs
        if pairs is None or pairs[0] is not owner:
            pairs = self._pairs = owner, self._paired(owner)
        _follow(pairs[1])
        for (holder, key), tensor in zip(self._slots, tensors, strict=True):
            holder[key] = tensor
        result = self._module(*args, **kwargs)
        for number, ((holder, key), tensor) in enumerate(zip(self._slots, tensors, strict=True)):
            if (now := holder[key]) is not tensor:
                owners = dict(owner.named_modules(remove_duplicate=False))
                holder, key = _slot(owners, self._names[number])
                holder[key] = now
        return result

    def wire(self, layout: Layout) -> bool:
        """Share the dictionaries in which the module of ``layout``, which is whole, keeps parameters and
        buffers: what either one replaces, the other one has; and take on its modes. ``False`` where that
        cannot be done."""
        if self._owner is not None:
            self._unwire()
        if not self._wirable or self._modules.keys() != layout.nodes.keys():
            return False
        pairs = [(mine, self._modules[name]) for name, mine in layout.nodes.items()]
        if not all(_same_keys(mine, theirs) for mine, theirs in pairs):
            return False
        for mine, theirs in pairs:
            for kind in _KINDS:
                state = theirs.__dict__
                own, shared = state[kind], mine.__dict__[kind]
                state |= {key: None for key, value in own.items() if value is None}
                own |= shared  # what it was built with is not kept alive
                state[kind] = shared
        self._holders = [
            (holder, len(holder)) for mine, _ in pairs for kind in _KINDS if (holder := mine.__dict__[kind])
        ]
        self._below = [(*place, self._modules[name]) for name, place in layout.places()]
        self._pairs = layout.module, pairs
        self._owner = layout.module
        _follow(pairs)
        return True

    def serves(self, owner: nn.Module) -> bool:
        """Whether ``forward`` computes what ``owner`` would: it is wired to it, and ``owner`` was not taken
        apart or hooked inside since. It is in the same modes then."""
        if owner is not self._owner:
            return False
        changed = owner.training is not self._module.training
        for holder, count in self._holders:
            if len(holder) != count:
                return False
        for siblings, key, mine, theirs in self._below:
            if siblings.get(key) is not mine or is_hooked(mine):
                return False
            changed = changed or mine.training is not theirs.training
        if changed and self._pairs is not None:
            _follow(self._pairs[1])
        return True

    def _unwire(self) -> None:
        """Keep tensors in its own dictionaries again, the same for calls that are under way."""
        self._owner = None
        for module, kind, own in self._own:
            own |= {key: value for key, value in module.__dict__[kind].items() if key in own}
            module.__dict__[kind] = own

    def _paired(self, owner: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
        """The modules of ``owner`` with eager's, parents first."""
        named = owner.named_modules(remove_duplicate=False)
        return [(module, self._modules[name]) for name, module in named if name in self._modules]


def _follow(pairs: Sequence[tuple[nn.Module, nn.Module]]) -> None:
    """Bring eager's modules, the second of each pair, into the modes of the bundle's."""
    for mine, theirs in pairs:
        if mine.training is not theirs.training:
            if type(theirs).train is not nn.Module.train or type(theirs).eval is not nn.Module.eval:
                theirs.train() if mine.training else theirs.eval()  # it does more than set the flag
            theirs.training = mine.training


def _does_more(module: nn.Module) -> bool:
    """Whether calling the module is more than calling its ``forward``."""
    plain = type(module).__call__ is nn.Module.__call__ and module._compiled_call_impl is None
    return not plain or is_hooked(module)


def _is_wirable(modules: Mapping[str, nn.Module]) -> bool:
    """Whether tensors may get into the modules without their being told, and each has one name: the bundle's
    module has as many submodules as there are names."""
    distinct = {id(module) for module in modules.values()}
    plain = all(type(module).__setattr__ is nn.Module.__setattr__ for module in modules.values())
    return plain and len(distinct) == len(modules)


def _same_keys(mine: nn.Module, theirs: nn.Module) -> bool:
    return all(
        mine.__dict__[kind].keys()
        == {key for key, value in theirs.__dict__[kind].items() if value is not None}
        for kind in _KINDS
    )


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
