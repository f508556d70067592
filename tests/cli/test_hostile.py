"""One run of healthy and hostile blueprints side by side: the healthy come out, nothing is left behind."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from pathlib import Path

import psutil
import pytest

from tests.support.command import COMMAND, ROOT, Command
from tezzeret_cli.leyline.descriptors import builtin_catalogue

CATALOGUE = ROOT / "fixtures" / "descriptors" / "catalogue.binpb"

OUTCOMES = {
    "healthy": ("compiled", None),
    "healthy_too": ("compiled", None),
    "forks_200": ("failed", "too_many_processes"),
    "leaves_daemons": ("compiled", None),
    "exits": ("failed", "crash"),
    "segfaults": ("failed", "crash"),
    "ignores_sigterm": ("failed", "timeout"),
    "fills_the_disk": ("failed", "refused"),
    "shouts_a_gigabyte": ("compiled", None),
    "eats_50_gigabytes": ("failed", "out_of_memory"),
    "spins_in_c": ("failed", "timeout"),
    "raises_unspeakably": ("failed", "refused"),
    "prints_control_sequences": ("failed", "refused"),
}
"""By factory of ``tests/support/hostile_blueprints.py``: the job's status and the kind of its reason."""

STRESSORS = {
    "BP043": ("compiled", None),
    "BP044": ("compiled", None),
    "BP045": ("compiled", None),
    "BP046": ("failed", "timeout"),
    "BP047": ("fallback", "unsupported"),
    "BP048": ("failed", "timeout"),
    "BP049": ("fallback", "graph_break"),
    "BP050": ("compiled", None),
}
"""The catalogue's stressors, at both ends of their bounds. The two that fail never return in eager either."""

LOWEST = ("scale=5", "decay=0", "frequency=0.01", "iterations=1000", "growth_rate=1", "threads=2")
HIGHEST = ("scale=20", "decay=0.1", "frequency=0.1", "iterations=10000", "growth_rate=5", "threads=16")
ENDS = {
    "lowest": (*LOWEST, "window_ns=10", "epsilon=0.1"),
    "highest": (*HIGHEST, "window_ns=1000", "epsilon=1"),
}

MARK = "TEZZERET_TEST_MARK"
PARENT_LIMIT = 150 << 20


def marked(mark: str) -> list[psutil.Process]:
    """The processes that have ``mark`` in their environment, and so descend from the command."""
    found = []
    for candidate in psutil.process_iter():
        try:
            if candidate.environ().get(MARK) == mark:
                found.append(candidate)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def run(tezzeret: Command, tmp_path: Path, *args: str, memory: str) -> tuple[int, dict, int, str]:
    """Run ``compile``; exit code, report, the forge's own peak memory, stderr. No process may be left."""
    mark = uuid.uuid4().hex
    environment = tezzeret.environment | {
        MARK: mark,
        "TEZZERET_EAGER_TIMEOUT_S": "8",
        "TEZZERET_MEMORY": memory,
        "PYTHONWARNINGS": "default",
    }
    out, err = tmp_path / "out", tmp_path / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        forge = subprocess.Popen(
            [*COMMAND, "compile", "--json", *args], env=environment, cwd=ROOT, stdout=stdout, stderr=stderr
        )
        peak = 0
        while forge.poll() is None:
            try:
                peak = max(peak, psutil.Process(forge.pid).memory_info().rss)
            except psutil.NoSuchProcess:
                break
            time.sleep(0.2)
    code = forge.wait(timeout=600)
    assert marked(mark) == []
    return code, json.loads(out.read_text()), peak, err.read_text()


def outcomes(report: dict) -> dict[str, tuple[str, str | None]]:
    return {job["name"]: (job["status"], job["reason_kind"]) for job in report["jobs"]}


def test_the_healthy_come_out_and_the_hostile_harm_nobody(tezzeret, tmp_path, full):
    """``full`` has the whole catalogue among them, stressors included."""
    descriptors = [{"blueprint_id": f"H_{name}", "name": name} for name in OUTCOMES]
    (tmp_path / "d.json").write_text(json.dumps(descriptors))
    rules = (
        f'[[blueprint]]\nmatch = "{name}"\nfactory = "tests.support.hostile_blueprints:{name}"\n'
        for name in OUTCOMES
    )
    (tmp_path / "p.toml").write_text("".join(rules))
    paths = [str(tmp_path / "d.json"), *((str(CATALOGUE), "--approve", "*") if full else ())]
    expected = OUTCOMES
    if full:
        ordinary = {d.name: ("compiled", None) for d in builtin_catalogue() if not d.quarantine_only}
        stressors = {d.name: STRESSORS[d.blueprint_id] for d in builtin_catalogue() if d.quarantine_only}
        expected = OUTCOMES | ordinary | stressors
    code, report, peak, said = run(
        *(tezzeret, tmp_path, *paths, "--profile", str(tmp_path / "p.toml")),
        *("--store", str(tmp_path / "store"), "--jobs", "2"),
        memory="4GiB" if full else "1536MiB",
    )
    assert outcomes(report) == expected
    assert code == 1
    assert peak < PARENT_LIMIT
    assert "\x1b" not in said
    assert not list((tmp_path / "store" / "tmp").iterdir())


@pytest.mark.parametrize("end", ENDS)
def test_the_stressors_end_as_the_table_says(tezzeret, tmp_path, end):
    parameters = [part for text in ENDS[end] for part in ("--param", text)]
    chosen = [part for name in STRESSORS for part in ("--select", name)]
    code, report, peak, _ = run(
        *(tezzeret, tmp_path, "--store", str(tmp_path / "store"), "--strategy", "fast"),
        *(*chosen, *parameters, "--approve", "*"),
        memory="8GiB",
    )
    found = {job["blueprint_id"]: (job["status"], job["reason_kind"]) for job in report["jobs"]}
    assert found == STRESSORS
    assert code == 0
    assert peak < PARENT_LIMIT
