"""Numbers for people, and small charts of one line."""

from __future__ import annotations

from collections.abc import Sequence

_LEVELS = " ▁▂▃▄▅▆▇█"


def size(count: float) -> str:
    """Bytes."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    """Seconds for people, in the largest unit that there is one of."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.0f} s"


def milliseconds(value: float) -> str:
    """A time in the unit that suits it."""
    if value < 100:
        return f"{value:.2g} ms"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def spark(values: Sequence[float]) -> str:
    """One sign for each value, as high as its share of the largest; anything above 0 is to be seen."""
    top = max(values, default=0)
    if top <= 0:
        return " " * len(values)
    steps = len(_LEVELS) - 1
    return "".join(_LEVELS[0 if value <= 0 else max(1, round(value / top * steps))] for value in values)


def bar(value: float, top: float, width: int) -> str:
    """A bar of up to ``width`` signs."""
    length = value / top * width if top > 0 else 0
    return "█" * int(length) + ("▌" if length - int(length) >= 0.5 else "")
