"""Entries that misbehave, for the supervision to survive."""

from __future__ import annotations

import ctypes
import getpass
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

Stage = Callable[[str], None]


def answers(payload: bytes, stage: Stage) -> bytes:
    stage("one")
    stage("two")
    print("a line for the log")
    return b"answer to " + payload


def environment(payload: bytes, stage: Stage) -> bytes:
    return repr((sorted(os.environ), os.getcwd(), os.readlink("/proc/self/fd/0"))).encode()


def raises(payload: bytes, stage: Stage) -> bytes:
    raise ValueError("this one raises")


class Unshowable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even its message can be shown")

    def __reduce__(self) -> str:
        raise TypeError("cannot be pickled")


def raises_unshowable(payload: bytes, stage: Stage) -> bytes:
    raise Unshowable


def raises_system_exit(payload: bytes, stage: Stage) -> bytes:
    raise SystemExit(0)


def raises_keyboard_interrupt(payload: bytes, stage: Stage) -> bytes:
    raise KeyboardInterrupt


def answers_text(payload: bytes, stage: Stage) -> bytes:
    return "text"  # type: ignore[return-value]


def answers_too_much(payload: bytes, stage: Stage) -> bytes:
    return bytes(1 << 20)


def exits_quietly(payload: bytes, stage: Stage) -> bytes:
    os._exit(0)


def exits_with_three(payload: bytes, stage: Stage) -> bytes:
    os._exit(3)


def segfaults(payload: bytes, stage: Stage) -> bytes:
    ctypes.string_at(0)
    return b""


def stops_itself(payload: bytes, stage: Stage) -> bytes:
    os.kill(os.getpid(), signal.SIGSTOP)
    return b""


def kills_itself(payload: bytes, stage: Stage) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    return b""


def ignores_sigterm_and_hangs(payload: bytes, stage: Stage) -> bytes:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    stage("hanging")
    while True:
        time.sleep(1)


def spins_in_c(payload: bytes, stage: Stage) -> bytes:
    ctypes.PyDLL(None).sleep(1000)
    return b""


def forks_60(payload: bytes, stage: Stage) -> bytes:
    for _ in range(60):
        if os.fork() == 0:
            time.sleep(1000)
            os._exit(0)
    return b"forked"


def forks_200_and_waits(payload: bytes, stage: Stage) -> bytes:
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(1000)
            os._exit(0)
    time.sleep(1000)
    return b""


def calls_home(payload: bytes, stage: Stage) -> bytes:
    """Whether a server on this machine's loopback answers; ``payload`` is its port."""
    try:
        socket.create_connection(("127.0.0.1", int(payload)), timeout=5).close()
    except OSError as error:
        return type(error).__name__.encode()
    return b"reached"


def tells_its_niceness(payload: bytes, stage: Stage) -> bytes:
    group = Path("/proc/self/autogroup")
    of_session = group.read_text().split()[-1] if group.exists() else ""
    program = "import os; print(os.sched_getscheduler(0))"
    of_child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return f"{os.nice(0)} {of_child.stdout.strip()} {of_session}".encode()


def leaves_a_daemon(payload: bytes, stage: Stage) -> bytes:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    os.wait()
    return b"left"


def leaves_daemons_and_waits(payload: bytes, stage: Stage) -> bytes:
    """Five in sessions of their own, whose parents are gone."""
    for _ in range(5):
        leaves_a_daemon(payload, stage)
    stage("left")
    time.sleep(1000)
    return b""


def kills_its_parent(payload: bytes, stage: Stage) -> bytes:
    """After it left a daemon."""
    leaves_a_daemon(payload, stage)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(0.2)
    return b"still here"


def tells_who_it_is(payload: bytes, stage: Stage) -> bytes:
    """Numbers of processes as it sees them, and what it may: as JSON."""
    own = Path("made by the task")
    own.touch()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    found = {
        "user": [os.getuid(), os.geteuid(), own.stat().st_uid],
        "group": [os.getgid(), os.getegid(), own.stat().st_gid],
        "name": getpass.getuser(),
        "capabilities": int(status["CapEff"], 16),
        "numbers": [os.getpid(), os.getppid(), int(os.readlink("/proc/self"))],
        "seen": sum(name.isdigit() for name in os.listdir("/proc")),
        "networks": [name for _, name in socket.if_nameindex()],
        "reaped": _orphans_are_reaped(),
    }
    return json.dumps(found).encode()


def _orphans_are_reaped() -> bool:
    read, write = os.pipe()
    if os.fork() == 0:
        orphan = os.fork()
        if orphan != 0:
            os.write(write, str(orphan).encode())
        os._exit(0)
    os.wait()
    orphan = int(os.read(read, 20))
    for _ in range(100):
        try:
            os.kill(orphan, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def allocates_in_a_process_and_answers(payload: bytes, stage: Stage) -> bytes:
    """One that it starts takes too much; it makes nothing of how that ended."""
    child = os.fork()
    if child == 0:
        eats_memory(payload, stage)
    os.waitpid(child, 0)
    return b"never mind"


def eats_memory(payload: bytes, stage: Stage) -> bytes:
    kept = []
    while True:
        kept.append(bytearray(b"x") * (8 << 20))
        time.sleep(0.002)


def eats_memory_in_grandchildren(payload: bytes, stage: Stage) -> bytes:
    for _ in range(4):
        if os.fork() == 0:
            kept = bytearray(b"x") * (40 << 20)
            time.sleep(1000)
            os._exit(len(kept))
    time.sleep(1000)
    return b""


def shouts(payload: bytes, stage: Stage) -> bytes:
    for _ in range(64):
        os.write(1, b"\x1b[31mx" * (1 << 18))
    return b"hoarse"


def writes_garbage(payload: bytes, stage: Stage) -> bytes:
    for number in range(3, 64):
        try:
            os.write(number, b"\xff" * 4096)
        except OSError:
            continue
    return b"answer"


def closes_everything(payload: bytes, stage: Stage) -> bytes:
    os.closerange(0, 64)
    time.sleep(1000)
    return b""


def slow(payload: bytes, stage: Stage) -> bytes:
    time.sleep(float(payload))
    return b"slow"


def slow_for_a_minute(payload: bytes, stage: Stage) -> bytes:
    time.sleep(60)
    return b"slow"


def spins_on(payload: bytes, stage: Stage) -> bytes:
    """For ever, on one processor."""
    os.sched_setaffinity(0, {int(payload)})
    while True:
        pass
