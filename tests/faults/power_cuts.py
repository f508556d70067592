"""The forge on a real filesystem whose power is cut: what was not synced is gone.

``python -m tests.faults.power_cuts FOLDER FILESYSTEM FIRST STEP [SECOND [PLANTED]]`` makes a loop image in
FOLDER, mounts it, and sweeps as ``forge_sweep`` does: the run is killed at an operation (with SECOND, its
resume too), then the filesystem is shut down without writing its log, mounted again, and the run is resumed.
Exits with 77 where loop devices or the filesystem are not to be had.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.forge_sweep import check, child, compile_all, finish, resume_all
from tezzeret_cli.store import publish as publishing

SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = struct.pack("I", 2)
SIZE = {"ext4": 64 << 20, "xfs": 320 << 20}
UNAVAILABLE = 77


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{' '.join(command)}: {done.stderr.strip()}", file=sys.stderr)
        raise SystemExit(UNAVAILABLE)


class Machine:
    """A mounted image."""

    def __init__(self, image: Path, mount: Path, kind: str) -> None:
        self.image, self.mount, self.kind = image, mount, kind

    def plug_in(self) -> None:
        run("mount", "-o", "loop", "-t", self.kind, str(self.image), str(self.mount))

    def die(self) -> None:
        """Fail every operation from here on; what is not durable is lost."""
        descriptor = os.open(self.mount, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, NO_LOG_FLUSH)
        finally:
            os.close(descriptor)

    def come_back(self) -> None:
        """Be as the disk was at that moment."""
        run("umount", str(self.mount))
        self._let_go()
        self.plug_in()

    def _let_go(self) -> None:
        """Wait until the image is no longer in use. A mount namespace that somebody else on this machine made
        meanwhile holds a copy of the mount, and mounting again would give the dead filesystem."""
        end = time.monotonic() + 300
        while subprocess.run(["losetup", "-j", str(self.image)], capture_output=True, check=True).stdout:
            assert time.monotonic() < end, f"{self.image} is still in use"
            time.sleep(0.02)


@contextlib.contextmanager
def machine(folder: Path, kind: str) -> Iterator[Machine]:
    if shutil.which(f"mkfs.{kind}") is None:
        print(f"mkfs.{kind} is not installed", file=sys.stderr)
        raise SystemExit(UNAVAILABLE)
    image, mount = folder / "image", folder / "mount"
    mount.mkdir(parents=True)
    with image.open("wb") as file:
        file.truncate(SIZE[kind])
    run(f"mkfs.{kind}", "-q", str(image))
    made = Machine(image, mount, kind)
    made.plug_in()
    try:
        yield made
    finally:
        subprocess.run(["umount", "-l", str(mount)], capture_output=True, check=False)


def unsynced_files() -> None:
    """A bundle is renamed before its files are durable."""
    publishing.sync_tree = lambda folder: None


def unsynced_rename() -> None:
    """A bundle's rename is reported before it is durable."""
    publishing.sync_folder = lambda folder: None


BUGS: dict[str, Callable[[], None]] = {bug.__name__: bug for bug in (unsynced_files, unsynced_rename)}


def point(here: Machine, number: int, fault: str, second: int) -> str:
    folder = here.mount / f"{fault}-{number}-{second}"
    folder.mkdir()
    os.sync()
    store = folder / "store"
    ending, said, _ = child(lambda: compile_all(store), fault, number)
    assert ending in ("killed", "through", "done"), said
    if second and ending == "killed":
        child(lambda: resume_all(store), fault, second)
    here.die()
    here.come_back()
    if not folder.exists():
        folder.mkdir()
    report = finish(store)
    check(store, report)
    if ending == "through":
        kept = [item["status"] for item in report["jobs"] if item["blueprint_id"] != "BP003"]
        assert kept == ["cached", "cached"], "a bundle that was reported is gone"
    shutil.rmtree(folder)
    return ending


def main(root: str, kind: str, first: str, step: str, second: str = "0", planted: str = "") -> None:
    if planted:
        BUGS[planted]()
    with machine(Path(root), kind) as here:
        number = int(first)
        while True:
            for fault in ("kill", "after"):
                try:
                    ending = point(here, number, fault, int(second))
                except Exception:
                    print(json.dumps({"at": number, "bad": traceback.format_exc()}), flush=True)
                    raise SystemExit(1) from None
                print(json.dumps({"at": number, "fault": fault, "ending": ending}), flush=True)
            if ending == "through":
                return
            number += int(step)


if __name__ == "__main__":
    main(*sys.argv[1:])
