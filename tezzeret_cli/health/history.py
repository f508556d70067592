"""How often each breaker opened, and how everything stands: from the records, for statistics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tezzeret_cli.errors import JournalError
from tezzeret_cli.health.record import FOLDER
from tezzeret_cli.health.state import apply, phases
from tezzeret_cli.model.health import BreakerRule, Health, HealthRecord, Phase
from tezzeret_cli.wal.frame import Flag
from tezzeret_cli.wal.reader import read


class BreakerHistory(msgspec.Struct, frozen=True):
    """``phases`` of all breakers now, ``opened`` how often since the start of the period, as far back as the
    records go. ``problem`` is why they could not be read to their end."""

    phases: dict[str, Phase]
    opened: dict[str, int]
    conservative: tuple[str, ...] = ()
    problem: str | None = None


def breaker_history(state: Path, rules: Sequence[BreakerRule], since: float, now: float) -> BreakerHistory:
    """Read the records below ``state``, a run's state folder. Locks and writes nothing, and raises nothing
    for records that cannot be read."""
    health = Health()
    opened: Counter[str] = Counter({rule.name: 0 for rule in rules})
    problem = None
    folder = state / FOLDER
    try:
        for frame in read(folder) if folder.exists() else ():
            if frame.flags & Flag.SNAPSHOT:
                health = msgspec.msgpack.decode(frame.payload, type=Health)
                continue
            record = msgspec.msgpack.decode(frame.payload, type=HealthRecord)
            before = {name: breaker.opened for name, breaker in health.breakers.items()}
            health = apply(health, record, rules)
            for name, breaker in health.breakers.items():
                if breaker.opened is not None and breaker.opened != before.get(name):
                    opened[name] += breaker.opened >= since
    except (JournalError, msgspec.MsgspecError) as error:
        problem = str(error)
    return BreakerHistory(phases(health, rules, now), dict(opened), health.conservative, problem)
