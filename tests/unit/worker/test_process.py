"""The cheap looks at a process tree agree with the thorough ones."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tezzeret_cli.worker import process

TREE = """
import subprocess, sys, threading, time
held = bytearray(32 << 20)
def start():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
threading.Thread(target=start).start()
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
time.sleep(0.2)
print("ready", flush=True)
time.sleep(100)
"""


@pytest.fixture
def tree():
    """A child that has a child of its own by each of two threads."""
    child = subprocess.Popen([sys.executable, "-c", TREE], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    yield child.pid
    for pid in process.descendants(child.pid):
        os.kill(pid, 9)
    child.kill()
    child.wait()
    child.stdout.close()


def test_both_ways_find_the_same_tree(tree):
    found = process.living_tree(os.getpid())
    assert tree in found
    assert sorted(process.living_tree(tree)) == sorted(process.descendants(tree))
    assert len(process.living_tree(tree)) == 2


def test_without_the_kernels_lists_the_tree_is_found_all_the_same(tree, monkeypatch):
    def none(pid):
        raise FileNotFoundError

    monkeypatch.setattr(process, "_children", none)
    assert sorted(process.living_tree(tree)) == sorted(process.descendants(tree))


def test_private_memory_is_within_its_bound(tree):
    assert 32 << 20 <= process.private_bytes(tree) <= process.memory_bound(tree)


def test_what_is_gone_has_no_memory_and_no_children():
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    time.sleep(0.01)
    assert process.memory_bound(gone.pid) == process.private_bytes(gone.pid) == 0
    assert process.living_tree(gone.pid) == []
