"""How a process makes room for others on the processors, and the time for which it had one."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import NamedTuple

from tezzeret_cli.worker.task import Priority

NICENESS = {Priority.ORDINARY: 10, Priority.YIELDING: 19}
PATIENCE = 10.0
"""A task may take this many times as long as it has, while others keep the processors busy."""
TURNS_S = 0.25
"""Seconds between two looks at the turns that processes got."""
_AUTOGROUP_TRIES = 5


def give_way(priority: Priority) -> None:
    """Let this process, and what it starts, make room for others.

    What yields has the class of the idle, which goes when anything else wants the processor, not at the
    end of its turn; where the kernel refuses that, the niceness alone counts.

    Where the kernel shares processors out among sessions first (autogroup), a process's own niceness counts
    only against its session's other processes, so the session gets it, too. To be called again after
    ``setsid``.
    """
    niceness = NICENESS[priority]
    os.nice(max(0, niceness - os.nice(0)))
    _be_nice_as_a_session(niceness)
    if priority is Priority.YIELDING:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _be_nice_as_a_session(niceness: int) -> None:
    group = Path("/proc/self/autogroup")
    for _ in range(_AUTOGROUP_TRIES):
        try:
            group.write_text(str(niceness))
        except BlockingIOError:  # changes by all users together are rationed to ten a second
            time.sleep(0.1)
        except OSError:  # not shared out among sessions, or not to be changed
            return
        else:
            return


class Turns:
    """A clock's stop for processes that give way: while they wait for a processor it goes slower, by the part
    of the time that they wait, down to a ``PATIENCE``-th. What sleeps or hangs is timed as by any clock."""

    def __init__(self, now: float) -> None:
        self.given = 0.0
        """Seconds for which the clock was stopped until now."""
        self._seen = now
        self._turns: dict[tuple[int, str], _Turn] = {}

    def look(self, tree: list[int], now: float) -> None:
        """Account for the time since the last look by what became of the threads of ``tree``."""
        passed = now - self._seen
        turns = {(pid, thread): turn for pid in tree for thread, turn in _turns(pid)}
        ran = waited = 0.0
        for key, turn in turns.items():
            before = self._turns.get(key, _Turn(0.0, 0.0, True))
            ran += turn.ran - before.ran
            # A wait is counted when it is over, so one that lasts shows as nothing but the wish to run.
            lasts = turn.wants and turn.ran == before.ran
            waited += passed if lasts else min(passed, turn.waited - before.waited)
        if waited > 0:
            self.given += passed * min(waited / (ran + waited), 1 - 1 / PATIENCE)
        self._turns, self._seen = turns, now


class _Turn(NamedTuple):
    """Seconds that a thread ran and waited until now, and whether it runs or wants to."""

    ran: float
    waited: float
    wants: bool


def _turns(pid: int) -> list[tuple[str, _Turn]]:
    """Of each thread; none where the kernel does not count."""
    found: list[tuple[str, _Turn]] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            folder = f"/proc/{pid}/task/{thread}"
            with open(f"{folder}/schedstat", "rb") as file:
                ran, waited, _ = file.read().split()
            with open(f"{folder}/stat", "rb") as file:
                wants = file.read().rpartition(b") ")[2].startswith(b"R")
            found.append((thread, _Turn(int(ran) / 1e9, int(waited) / 1e9, wants)))
    except OSError:  # it has ended
        return found
    return found
