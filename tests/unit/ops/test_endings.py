"""What a crashed worker left to say."""

from __future__ import annotations

import subprocess
import sys

from tezzeret_cli.health.state import MEMORY, breaker_for
from tezzeret_cli.ops.endings import answer, lacking_line, last_words
from tezzeret_cli.worker.task import Lacking, OutOfMemory


def test_nothing_was_said(tmp_path):
    assert last_words(tmp_path / "absent") == ""
    (tmp_path / "log").write_text("\n \n")
    assert last_words(tmp_path / "log") == ""


def test_the_last_line_that_is_not_blank(tmp_path):
    (tmp_path / "log").write_text("first\nsecond   thing\n\n")
    assert last_words(tmp_path / "log") == "second thing"


def test_a_signal_tells_where_python_was(tmp_path):
    code = (
        "import faulthandler, ctypes\nfaulthandler.enable()\ndef deep():\n    ctypes.string_at(1)\ndeep()\n"
    )
    (tmp_path / "guilty.py").write_text(code)
    with (tmp_path / "log").open("wb") as log:
        done = subprocess.run([sys.executable, "guilty.py"], cwd=tmp_path, stderr=log, check=False)
    assert done.returncode == -11
    said = last_words(tmp_path / "log")
    assert said.startswith("at ")
    assert said.endswith((", in string_at", ", in deep"))


def test_a_job_that_the_kernel_ended_is_out_of_memory_as_any_other_and_says_so():
    by_kernel = answer(OutOfMemory(128 << 20, 128 << 20, by_kernel=True))
    otherwise = answer(OutOfMemory(130 << 20, 128 << 20))
    assert by_kernel.message == "used 128 MiB of 128 MiB allowed; the kernel ended it"
    assert otherwise.message == "used 130 MiB of 128 MiB allowed"
    assert by_kernel.kind == otherwise.kind
    assert breaker_for(by_kernel.kind, "cpu") == MEMORY


def test_what_is_lacking_is_one_line():
    assert lacking_line(Lacking(("no a: b", "no c: d"))) == "this machine gives no a: b; no c: d"
