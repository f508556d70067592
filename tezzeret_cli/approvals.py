"""Which blueprints that need approval have it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from tezzeret_cli.errors import InputError
from tezzeret_cli.inputs import matches
from tezzeret_cli.model.descriptor import Descriptor

EXAMPLE = 'write it like approve = ["BP036", "graph_*"]'


class Approvals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file: ``approve`` lists ids and names, which may be globs."""

    approve: tuple[str, ...]


def read_approvals(path: Path) -> tuple[str, ...]:
    """The globs of an approvals file (TOML). Raises ``InputError`` when it cannot be read or understood."""
    import tomllib

    try:
        values: Any = tomllib.loads(path.read_text(encoding="utf-8"))
        return msgspec.convert(values, Approvals).approve
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}", advice="check the path") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: malformed TOML: {error}", advice=EXAMPLE) from error
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error}", advice=EXAMPLE) from error


def missing(descriptor: Descriptor, approved: Sequence[str]) -> str | None:
    """Why the blueprint must not be compiled, or ``None``."""
    if not descriptor.approval_required or any(matches(descriptor, glob) for glob in approved):
        return None
    return f"it needs approval: --approve {descriptor.blueprint_id}"
