"""``tezzeret stats`` as an operator runs it."""

from __future__ import annotations

import json
import re
import signal

import jsonschema
import pytest

from tests.support.command import ROOT
from tests.support.forging import Simulator, job, plan, script
from tests.support.forging import forge as make_forge
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.ops.execute import Forge
from tezzeret_cli.runs.folder import Runs
from tezzeret_cli.store.layout import open_store


@pytest.fixture
def made(tezzeret, store):
    """A store with a run over two jobs, in the command's own state folder."""
    parts = make_forge(store, Simulator(script))
    runs = Runs(tezzeret.home / "state" / "tezzeret", open_store(store).identity.store_id)
    runs.root.parent.mkdir(parents=True, exist_ok=True)
    forge = Forge(parts.store, runs, {}, parts.make_runner, parts.observer)
    return compile_blueprints(plan(store, [job("BP001"), job("BP002")]), forge)


def test_the_table_has_jobs_strategies_and_sizes(tezzeret, store, made):
    done = tezzeret.run("stats", "--store", str(store))
    assert (done.returncode, done.stderr) == (0, "")
    for part in ("2 compiled", "standard", "hit rate", "would free", "2 bundles of 2 blueprints"):
        assert part in done.stdout
    assert "\x1b" not in done.stdout


def test_json_and_its_schema(tezzeret, store, made):
    done = tezzeret.run("stats", "--store", str(store), "--json", "--since", "1h")
    stats = json.loads(done.stdout)
    jsonschema.validate(stats, json.loads((ROOT / "docs" / "schema" / "stats.schema.json").read_text()))
    assert (stats["jobs"]["compiled"], stats["strategies"][0]["strategy"]) == (2, "standard")


LINE = re.compile(r'(# (HELP|TYPE) \w+ .+|\w+(\{(\w+="[^"]*",?)*\})? -?[0-9.e+-]+)')


def test_prometheus_text_into_a_file(tezzeret, store, made, tmp_path):
    target = tmp_path / "tezzeret.prom"
    done = tezzeret.run("stats", "--store", str(store), "--format", "prometheus", "--output", str(target))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = target.read_text().splitlines()
    assert [line for line in lines if not LINE.fullmatch(line)] == []
    assert 'tezzeret_jobs_completed{strategy="standard"} 2' in lines
    assert 'tezzeret_compilation_duration_ms_count{strategy="standard"} 2' in lines
    assert sorted(path.name for path in tmp_path.iterdir() if "prom" in path.name) == ["tezzeret.prom"]


def test_watch_goes_on_until_interrupted(tezzeret, store, made):
    running = tezzeret.start("stats", "--store", str(store), "--watch", "--interval", "0.1", "--json")
    first, second = running.stdout.readline(), running.stdout.readline()
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=30)
    assert (running.returncode, err) == (0, b"")
    assert json.loads(second)["now"] > json.loads(first)["now"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--since", "yesterday"), "--since yesterday: neither a length of time nor a date"),
        (("--since", ""), "--since : neither"),
        (("--since", "0d"), "--since 0d: not above 0"),
        (("--since", "-1d"), "--since -1d: neither a length of time nor a date"),
        (("--since", "2026-13-01"), "--since 2026-13-01: neither a length of time nor a date"),
        (("--since", "9999999d"), "--since 9999999d: too long; give at most 1157407d"),
        (("--format", "xml"), "--format xml: unknown format; use one of table, json, prometheus"),
        (("--watch", "--interval", "0"), "--interval 0: too small"),
        (("--output", "nowhere/x"), "--output nowhere/x: No such file or directory"),
    ],
)
def test_bad_input_is_one_line(tezzeret, store, made, args, expected):
    done = tezzeret.run("stats", "--store", str(store), *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"tezzeret: error: {expected}")
    assert len(done.stderr.splitlines()) == 1


def test_a_time_before_there_were_clocks_is_the_beginning(tezzeret, store, made):
    done = tezzeret.run("stats", "--store", str(store), "--json", "--since", "1000000d")
    assert json.loads(done.stdout)["jobs"]["compiled"] == 2, done.stderr


def test_a_folder_that_is_no_store(tezzeret, tmp_path):
    done = tezzeret.run("stats", "--store", str(tmp_path))
    assert (done.returncode, "no store is there" in done.stderr) == (2, True)
