"""Values of flags that are more than a word: lengths of time, moments, shards."""

from __future__ import annotations

import datetime
import re

from tezzeret_cli.errors import InputError
from tezzeret_cli.model.run import Shard
from tezzeret_cli.settings import LARGEST

_UNITS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w|)", re.IGNORECASE)
_LONGEST_S = 1e11
_SHARD = re.compile(r"([0-9]+)/([0-9]+)")


def parse_duration(text: str, flag: str) -> float:
    """Seconds above 0 of ``90``, ``90s``, ``15m``, ``12h``, ``30d`` or ``2w``. Raises ``InputError``."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{flag} {text}: not a length of time", advice="write it like 30d, 12h or 15m")
    seconds = float(match[1]) * _UNITS[match[2].lower()]
    if not seconds > 0:
        raise InputError(f"{flag} {text}: not above 0", advice="write it like 30d, 12h or 15m")
    if seconds > _LONGEST_S:
        raise InputError(f"{flag} {text}: too long", advice=f"give at most {_LONGEST_S / 86400:.0f}d")
    return seconds


def parse_since(text: str, flag: str, now: float) -> float:
    """The moment, in seconds since 1970, of a length of time before ``now`` or an ISO 8601 date and time, in
    this machine's zone unless it names one. Raises ``InputError``."""
    if _DURATION.fullmatch(text.strip()):
        return max(0.0, now - parse_duration(text, flag))
    try:
        return datetime.datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError, OSError):
        raise InputError(
            f"{flag} {text}: neither a length of time nor a date", advice="write it like 7d or 2026-01-31"
        ) from None


def parse_shard(text: str, flag: str) -> Shard:
    """The shard that ``2/8`` names. Raises ``InputError``."""
    match = _SHARD.fullmatch(text.strip())
    shard = Shard(int(match[1]), int(match[2])) if match and len(text) < 40 else None
    if shard is None or not 1 <= shard.number <= shard.of <= LARGEST:
        raise InputError(f"{flag} {text}: not a shard", advice="write it like 2/8, from 1/8 to 8/8")
    return shard
