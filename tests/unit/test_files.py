"""Files that are whole or not there, and locks between processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from tezzeret_cli.files import is_locked, lock_file, lock_folder, wait_for_lock, write_new, write_whole

HOLDER = (
    "import sys\nfrom tezzeret_cli.files import lock_file, lock_folder\n"
    "held = {what}\nassert held\nprint('held', flush=True)\nsys.stdin.read()\n"
)


@pytest.fixture
def holder():
    """Starts a process that holds a lock until it is ended."""
    started = []

    def start(what):
        made = subprocess.Popen(
            [sys.executable, "-c", HOLDER.format(what=what)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        started.append(made)
        assert made.stdout.readline() == b"held\n"
        return made

    yield start
    for made in started:
        made.kill()
        made.wait()
        made.stdin.close()
        made.stdout.close()


def test_a_lock_keeps_others_out_until_its_holder_is_dead(tmp_path, holder):
    path = tmp_path / "lock"
    made = holder(f"lock_file({str(path)!r})")
    assert is_locked(path)
    assert lock_file(path) is None
    assert lock_file(path, wait_s=0.1) is None
    made.send_signal(signal.SIGKILL)
    made.wait()
    assert not is_locked(path)
    with_it = lock_file(path)
    assert with_it is not None
    assert lock_file(path) is None
    with_it.release()
    with_it.release()
    assert lock_file(path) is not None


@pytest.mark.parametrize("wait", [wait_for_lock, lambda path: lock_file(path, wait_s=60.0)])
def test_who_waits_for_a_lock_gets_it_when_it_is_released(tmp_path, holder, wait):
    path = tmp_path / "lock"
    made = holder(f"lock_file({str(path)!r})")
    threading.Timer(0.2, made.stdin.close).start()
    assert wait(path) is not None
    assert made.wait() == 0


def test_a_folder_is_shared_by_readers_and_had_alone_by_one(tmp_path, holder):
    holder(f"lock_folder({str(tmp_path)!r}, shared=True)")
    assert lock_folder(tmp_path) is None
    assert lock_folder(tmp_path, shared=True, wait=True) is not None
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_cannot_be_had_says_why(tmp_path):
    before = set(os.listdir("/proc/self/fd"))  # what others left may be closed meanwhile
    with pytest.raises(FileNotFoundError):
        lock_file(tmp_path / "none" / "lock")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        lock_folder(tmp_path / "file")
    lock_folder(tmp_path).release()
    assert set(os.listdir("/proc/self/fd")) <= before


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")
    inode = path.stat().st_ino
    write_whole(path, b"new " * 100_000, draft=tmp_path / "draft")
    assert path.read_bytes() == b"new " * 100_000
    assert path.stat().st_ino != inode

    def full(descriptor, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    for draft in (None, tmp_path / "draft"):
        with pytest.raises(OSError, match="No space"):
            write_whole(path, b"newer", draft=draft)
    assert path.read_bytes() == b"new " * 100_000
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_what_a_dead_process_left_in_a_draft_is_overwritten(tmp_path):
    (tmp_path / "draft").write_bytes(b"much longer than the new one")
    write_whole(tmp_path / "file", b"new", draft=tmp_path / "draft")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_every_byte_is_written_however_few_are_taken_at_a_time(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    write_whole(tmp_path / "file", b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_is_durable_before_its_name_and_its_name_after_it(tmp_path, monkeypatch, durable):
    done = []
    real = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: [done.append(os.readlink(f"/proc/self/fd/{fd}")), real[0](fd)]
    )
    monkeypatch.setattr(os, "replace", lambda a, b: [done.append("replace"), real[1](a, b)])
    draft = tmp_path / "draft"
    write_whole(tmp_path / "file", b"new", draft=draft, durable=durable)
    assert done == ([str(draft), "replace", str(tmp_path)] if durable else ["replace"])


def test_a_new_file_replaces_nothing_and_has_its_mode(tmp_path):
    path = tmp_path / "key"
    before = os.umask(0o777)
    try:
        assert write_new(path, b"first", 0o640)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640
    assert not write_new(path, b"second", 0o640)
    assert path.read_bytes() == b"first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]
