"""Namespaces of the kernel's that a task is put into, as far as this user may make them.

Root makes them as it is. Others need a user namespace around them, in which they have their own user and
group alone, so that what belongs to them still does; where the kernel allows those to root only, there are
none.
"""

from __future__ import annotations

import ctypes
import os
import select
from pathlib import Path

import msgspec

_NEWNS, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_SLAVE = 2, 4, 8, 0x4000, 1 << 19
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class Spaces(msgspec.Struct, frozen=True):
    """What a task gets of its own: ``processes``, which all end with the first of them, and a ``network``
    without any device. ``user`` is whether it takes a user namespace."""

    processes: bool = False
    network: bool = False
    user: bool = False

    @property
    def flags(self) -> int:
        """As ``unshare`` takes them."""
        wanted = ((self.processes, _NEWPID), (self.network, _NEWNET), (self.user, _NEWUSER))
        return sum(flag for want, flag in wanted if want)


class Available(msgspec.Struct, frozen=True):
    """What can be had here, and why not more; ``refusal`` is empty where all can."""

    spaces: Spaces
    refusal: str = ""


def available() -> Available:
    """Try in a child what this process may make. The process must have no threads."""
    user = os.geteuid() != 0
    refusal = ""
    for processes, network in ((True, True), (True, False), (False, True)):
        spaces = Spaces(processes, network, user)
        number = _tried(spaces)
        if number == 0:
            return Available(spaces, refusal)
        refusal = refusal or os.strerror(number)
    return Available(Spaces(), refusal)


def enter(spaces: Spaces) -> None:
    """Move into namespaces as ``spaces`` says; of processes, the next child is the first. All or nothing.

    Raises ``OSError``.
    """
    own_user, own_group = os.geteuid(), os.getegid()
    if spaces.flags:
        _check(_libc.unshare(ctypes.c_int(spaces.flags)))
    if spaces.user:
        own = Path("/proc/self")
        (own / "setgroups").write_text("deny")
        (own / "uid_map").write_text(f"{own_user} {own_user} 1")
        (own / "gid_map").write_text(f"{own_group} {own_group} 1")


def show_own_processes() -> bool:
    """For the first process of a namespace: mount a ``/proc`` that counts as it does, seen here alone;
    whether that may be. Where not, ``/proc`` has the outer numbers, and ``/proc/self`` still is who looks."""
    try:
        _check(_libc.unshare(ctypes.c_int(_NEWNS)))
        _mount(None, "/", None, _MS_REC | _MS_SLAVE)
        _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    except OSError:
        return False
    return True


def drop_capabilities() -> None:
    """Give up what the user namespace gave: an ordinary user is to be one inside it, too."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    _check(_libc.capset(ctypes.byref(header), ctypes.byref(none)))


def is_read(pipe: int) -> bool:
    """Whether anybody still holds the other end of a pipe that this process writes into."""
    poll = select.poll()
    poll.register(pipe, 0)
    return not poll.poll(0)


def _tried(spaces: Spaces) -> int:
    """The error's number, or 0."""
    child = os.fork()
    if child == 0:
        try:
            enter(spaces)
            if spaces.processes:
                first = os.fork()
                if first == 0:
                    os._exit(0 if os.getpid() == 1 else 1)
                os.waitpid(first, 0)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _mount(source: str | None, target: str, kind: str | None, flags: int) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind)]
    _check(_libc.mount(*texts, ctypes.c_ulong(flags), None))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
