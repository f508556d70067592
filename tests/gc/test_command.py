"""``tezzeret gc`` as an operator runs it."""

from __future__ import annotations

import json
import time

import jsonschema
import pytest

from tests.support.command import ROOT, Command
from tests.support.stores import DAY, put
from tezzeret_cli.bundle.scan import published
from tezzeret_cli.store.layout import open_store


@pytest.fixture
def tezzeret(tmp_path):
    """The command with a cache of its own: what other tests left behind is garbage, too."""
    return Command(tmp_path / "home")


@pytest.fixture
def opened(store):
    return open_store(store)


@pytest.fixture
def old(opened):
    return put(opened, "BP001", "1.0.0+a", published=time.time() - 40 * DAY)


def test_it_says_what_goes_and_why_then_does_it(tezzeret, store, old):
    told = tezzeret.run("gc", "--store", str(store), "--ttl", "30d", "--dry-run")
    kind, size, path, why = told.stdout.rstrip("\n").split("\t")
    assert (kind, path, why) == ("bundle", str(old), "unused for 40 d, 30 d allowed")
    assert (told.returncode, told.stderr.split(";")[0]) == (0, f"1 would be removed, {size}")
    assert old.exists()
    done = tezzeret.run("gc", "--store", str(store), "--ttl", "30d")
    assert (done.returncode, done.stdout) == (0, told.stdout)
    assert list(published(store)) == []


def test_without_rules_it_leaves_the_bundles(tezzeret, store, old):
    done = tezzeret.run("gc", "--store", str(store))
    assert (done.returncode, done.stdout) == (0, "")
    assert old.exists()


def test_the_report_is_read_by_schema(tezzeret, store, old):
    done = tezzeret.run("gc", "--store", str(store), "--ttl", "30d", "--json")
    report = json.loads(done.stdout)
    jsonschema.validate(report, json.loads((ROOT / "docs" / "schema" / "gc.schema.json").read_text()))
    assert [item["path"] for item in report["removed"]] == [str(old)]
    assert report["run"]


def test_pins_of_the_store_are_kept_in_a_file(tezzeret, store, old):
    (store / "pins").write_text("# ours\nBP001/1.0.0  # in production\n")
    done = tezzeret.run("gc", "--store", str(store), "--ttl", "30d", "-v")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"kept: {old}: it is pinned" in done.stderr


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--ttl", "0"), "--ttl 0: not above 0; write it like 30d, 12h or 15m"),
        (("--ttl", "-3d"), "--ttl -3d: not a length of time"),
        (("--ttl", "soon"), "--ttl soon: not a length of time"),
        (("--ttl", ""), "--ttl : not a length of time"),
        (("--keep", "0"), "--keep 0: too small; give 1 or more"),
        (("--max-size", "big"), "--max-size: 'big' is not a size"),
        (("--max-size", "0"), "--max-size 0: too small"),
        (("--ttl", "1d", "--pin", "BP999"), "pin 'BP999' matches no bundle; correct it; nothing was removed"),
        (("--cache-ttl", "x"), "--cache-ttl x: not a length of time"),
        (("--journal-ttl", "0d"), "--journal-ttl 0d: not above 0"),
    ],
)
def test_bad_input_is_one_line_and_nothing_goes(tezzeret, store, old, args, expected):
    for extra in ((), ("--dry-run",)):
        done = tezzeret.run("gc", "--store", str(store), *args, *extra)
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith(f"tezzeret: error: {expected}")
        assert len(done.stderr.splitlines()) == 1
        assert old.exists()


def test_a_pin_of_the_store_that_matches_nothing_is_told_and_nothing_goes(tezzeret, store, old):
    (store / "pins").write_text("BP001\nBP9*  # gone\n")
    done = tezzeret.run("gc", "--store", str(store), "--ttl", "1d")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tezzeret: error: pin 'BP9*' matches no bundle; correct it; nothing was removed\n"
    assert old.exists()


def test_a_folder_that_is_no_store_is_refused_and_left_alone(tezzeret, tmp_path):
    done = tezzeret.run("gc", "--store", str(tmp_path), "--ttl", "1d")
    assert (done.returncode, "no store is there" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_store_of_a_newer_format_is_refused(tezzeret, store, old):
    (store / "store.json").write_text(json.dumps({"format": 9, "store_id": "0" * 32}))
    done = tezzeret.run("gc", "--store", str(store), "--ttl", "1d")
    assert (done.returncode, "format 9" in done.stderr) == (2, True)
    assert old.exists()


def test_pins_that_cannot_be_read(tezzeret, store, old):
    (store / "pins").write_bytes(b"\xff")
    done = tezzeret.run("gc", "--store", str(store), "--ttl", "1d")
    assert (done.returncode, "pins: not UTF-8" in done.stderr) == (2, True)
    assert old.exists()
