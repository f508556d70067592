"""What a crashed worker left to say."""

from __future__ import annotations

import subprocess
import sys

from tezzeret_cli.ops.endings import last_words


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
