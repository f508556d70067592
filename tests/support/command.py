"""Run the real command the way a user does: a process of its own with a clean environment."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_KEPT = ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_HOME")
COMMAND = (sys.executable, "-m", "tezzeret_cli")


class Command:
    """``run`` starts ``tezzeret`` with private XDG folders and no Tezzeret variables."""

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        self.environment = kept | {
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "PYTHONWARNINGS": "error",
        }

    @property
    def trusted(self) -> Path:
        """The public keys that are trusted in this home."""
        return self.home / "config" / "tezzeret" / "trusted-keys.d"

    def run(
        self,
        *args: str,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        stdin: bytes | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *args],
            env=self.environment | (env or {}),
            cwd=cwd,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def start(
        self, *args: str, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """The running command, in a process group of its own."""
        return subprocess.Popen(
            [*COMMAND, *args],
            env=self.environment | (env or {}),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def on_terminal(self, *args: str) -> tuple[int, str]:
        """The exit code, and all that a terminal of 200 columns was sent."""
        ours, theirs = pty.openpty()
        environment = self.environment | {"TERM": "xterm", "COLUMNS": "200"}
        running = subprocess.Popen(
            [*COMMAND, *args], env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        sent = bytearray()
        with contextlib.suppress(OSError):  # a terminal that nobody writes to any more ends so
            while data := os.read(ours, 1 << 16):
                sent += data
        os.close(ours)
        return running.wait(), sent.decode().replace("\r\n", "\n")
