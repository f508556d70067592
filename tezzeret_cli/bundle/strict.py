"""JSON that means one thing only: what is accepted here, every other reader understands in the same way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import msgspec

from tezzeret_cli.errors import VerificationError

T = TypeVar("T")
_WHOLE = re.compile(rb"\.0(?=[,}\]])")


def decode_strict(
    data: bytes,
    decoder: msgspec.json.Decoder[T],
    where: str,
    error: type[VerificationError],
    write: Callable[[T], bytes],
) -> T:
    """The value in ``data``. Raises ``error`` for what is not JSON in UTF-8, bytes after it, a key that is
    there twice, a number that is none, nesting without end, a wrong type, and a field that the type does not
    have. A field with a default may be left out.

    ``write`` is how this program writes such a value: where that gives ``data``, there is nothing else in it.
    Any other writing is looked at closely, which takes many times as long.
    """
    try:
        value = decoder.decode(data)
        if write(value) == data:
            return value
        raw = msgspec.json.decode(data)
        if msgspec.json.encode(raw, order="sorted") != data:
            # Not in canonical form, where nothing is there twice.
            raw = _JSON.decode(data.decode())
        kept = msgspec.json.decode(msgspec.json.encode(value))
        unknown = None if raw == kept else _unknown(raw, kept, "$")
    except RecursionError as problem:
        raise error(f"{where}: it is nested too deep") from problem
    except ValueError as problem:
        raise error(f"{where}: {problem}") from problem
    if unknown is not None:
        raise error(f"{where}: {unknown}")
    return value


def nearly_canonical(value: object) -> bytes:
    """Canonical JSON (RFC 8785), in a moment, for almost every value: whole numbers lose their ``.0``, and so
    does text in which that stands before a comma or a bracket."""
    return _WHOLE.sub(b"", msgspec.json.encode(value, order="sorted"))


def _unknown(raw: Any, kept: Any, path: str) -> str | None:
    """Where ``raw`` says something that did not get into ``kept``."""
    if isinstance(raw, dict) and isinstance(kept, dict):
        for key, value in raw.items():
            if key not in kept:
                return f"unknown field {path}.{key}"
            if (found := _unknown(value, kept[key], f"{path}.{key}")) is not None:
                return found
        return None
    if isinstance(raw, list) and isinstance(kept, list) and len(raw) == len(kept):
        for number, (one, other) in enumerate(zip(raw, kept, strict=True)):
            if (found := _unknown(one, other, f"{path}[{number}]")) is not None:
                return found
        return None
    return None if raw == kept else f"{path} is not written as it is read"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")


_JSON = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_number)
