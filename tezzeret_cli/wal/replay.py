"""From frames to state: a fold, and the transactions of a log. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from tezzeret_cli.errors import JournalDamagedError
from tezzeret_cli.wal.frame import HEADER, Flag, Frame, Type, padded
from tezzeret_cli.wal.segment import name

T = TypeVar("T")


def fold(frames: Iterable[Frame], apply: Callable[[T, Frame], T], initial: T) -> T:
    """What ``apply`` makes of all frames in order, from ``initial``."""
    state = initial
    for frame in frames:
        state = apply(state, frame)
    return state


class State(enum.Enum):
    """Where a transaction stands."""

    OPEN = "open"
    COMMITTED = "committed"
    ABORTED = "aborted"


class Transaction(msgspec.Struct):
    """One transaction: the payloads of its BEGIN, its DATA in order, and its COMMIT or ABORT."""

    id: bytes
    begin: bytes
    first: int
    state: State = State.OPEN
    data: list[bytes] = []
    end: bytes = b""
    last: int = 0


class Transactions:
    """The transactions of a log, and the snapshot it begins with. Feed it every record in order.

    ``by_id`` keeps the order in which they began. Only what came since the log's base is known.
    """

    def __init__(self) -> None:
        self.snapshot: list[bytes] = []
        self.by_id: dict[bytes, Transaction] = {}

    def add(self, frame: Frame) -> None:
        """Take one record. Raises ``JournalDamagedError`` for an order that no writer makes: anything of a
        transaction before its BEGIN or after its end, or a second BEGIN."""
        if frame.flags & Flag.SNAPSHOT:
            self.snapshot.append(frame.payload)
            return
        known = self.by_id.get(frame.txn)
        if frame.type == Type.BEGIN:
            if known:
                raise _impossible(frame, "it had begun already")
            self.by_id[frame.txn] = Transaction(frame.txn, frame.payload, frame.sequence, last=frame.sequence)
            return
        if known is None:
            raise _impossible(frame, "it never began")
        if known.state is not State.OPEN:
            raise _impossible(frame, f"it was {known.state.value} already")
        known.last = frame.sequence
        if frame.type == Type.DATA:
            known.data.append(frame.payload)
            return
        known.state = State.COMMITTED if frame.type == Type.COMMIT else State.ABORTED
        known.end = frame.payload

    def open(self) -> list[Transaction]:
        """Those that neither committed nor aborted."""
        return [transaction for transaction in self.by_id.values() if transaction.state is State.OPEN]


def transactions(frames: Iterable[Frame]) -> Transactions:
    """The transactions of all frames. Raises ``JournalDamagedError`` for an impossible order."""
    found = Transactions()
    for frame in frames:
        found.add(frame)
    return found


def _impossible(frame: Frame, why: str) -> JournalDamagedError:
    offset = frame.next_offset - HEADER - padded(frame.size)
    return JournalDamagedError(
        f"{name(frame.segment)}, byte {offset}: record {frame.sequence} is a {Type(frame.type).name} of "
        f"transaction {frame.txn.hex()}, and {why}",
        path=Path(name(frame.segment)),
        offset=offset,
        last_good=frame.sequence - 1,
        advice="the journal was written by a faulty program; move its folder away to begin anew",
    )
