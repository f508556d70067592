"""Call a factory and check what it gives."""

from __future__ import annotations

import importlib
import os
import random
import sys
from typing import Any

import torch
from torch import Tensor, nn

from tezzeret_cli.errors import FactoryError
from tezzeret_cli.model.job import Factory

SEED = 0
"""What a factory draws decides initial values, and sometimes what is computed."""


def construct(factory: Factory, parameters: dict[str, float]) -> tuple[nn.Module, list[tuple[Any, ...]]]:
    """The module and its example calls, at least one.

    torch and random are seeded with ``SEED`` first, so that every process builds the same; torch's
    generator stays so. A module in the current directory can be named, as with ``python -m``. Raises
    ``FactoryError`` when the factory does not import, is not callable, raises, or returns something else
    than a module and one tuple (or a list of tuples) of example inputs with a tensor in each.
    """
    name, _, attribute = factory.path.partition(":")
    if not factory.builtin:
        _see_current_directory()
    try:
        function = getattr(importlib.import_module(name), attribute)
    except AttributeError:
        raise FactoryError(f"the factory {factory.path} is not there: {name} has no {attribute!r}") from None
    except Exception as error:
        raise FactoryError(f"the factory {factory.path} does not import: {_text(error)}") from error
    if not callable(function):
        raise FactoryError(f"the factory {factory.path} is a {type(function).__name__}, not a function")
    before = random.getstate()
    random.seed(SEED)
    torch.manual_seed(SEED)
    try:
        made = function(dict(parameters))
    except Exception as error:
        raise FactoryError(f"the factory {factory.path} raised {_text(error)}") from error
    finally:
        random.setstate(before)
    return _checked(factory.path, made)


def _see_current_directory() -> None:
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def _checked(path: str, made: object) -> tuple[nn.Module, list[tuple[Any, ...]]]:
    if not isinstance(made, tuple) or len(made) != 2:
        raise FactoryError(f"the factory {path} did not return (module, example_inputs)")
    module, examples = made
    if not isinstance(module, nn.Module):
        raise FactoryError(f"the factory {path} returned a {type(module).__name__} instead of a module")
    calls = [examples] if isinstance(examples, tuple) else examples
    if not isinstance(calls, list) or not calls or not all(isinstance(call, tuple) for call in calls):
        raise FactoryError(f"the factory {path} gave examples that are neither a tuple nor a list of tuples")
    if not all(_has_tensor(call) for call in calls):
        raise FactoryError(f"the factory {path} gave an example without any tensor")
    return module, calls


def _has_tensor(value: object) -> bool:
    if isinstance(value, Tensor):
        return True
    if isinstance(value, dict):
        return any(_has_tensor(item) for item in value.values())
    return isinstance(value, tuple | list) and any(_has_tensor(item) for item in value)


def _text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as worse:
        text = f"its message cannot be shown ({type(worse).__name__})"
    return f"{type(error).__name__}: {text}".splitlines()[0][:300]
