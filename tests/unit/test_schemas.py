"""Others read manifests, reports and journal records by their checked-in JSON Schemas alone."""

from __future__ import annotations

import json

import jsonschema
import make_schemas
import msgspec
import pytest

from tests.support.command import ROOT
from tests.support.forging import Simulator, forge, job, plan, script
from tezzeret_cli.bundle.scan import published
from tezzeret_cli.ops.compile import compile_blueprints
from tezzeret_cli.wal.reader import read


def validator(name):
    schema = json.loads((ROOT / "docs" / "schema" / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture
def made(store):
    """A run over two jobs: its report, and the forge that made it."""
    parts = forge(store, Simulator(script))
    return compile_blueprints(plan(store, [job("BP001"), job("BP002")]), parts), parts


@pytest.mark.parametrize("name", make_schemas.STRUCTS)
def test_the_checked_in_schema_is_what_the_structs_say(name):
    path = ROOT / "docs" / "schema" / f"{name}.schema.json"
    assert path.read_text() == make_schemas.schema(name), "run tools/make_schemas.py"


def test_every_record_of_a_run_is_read_by_schema(made):
    report, parts = made
    folder = parts.runs.root / "done" / report.run
    records = [msgspec.msgpack.decode(frame.payload) for frame in read(folder)]
    first, *between, last = (record["type"] for record in records)
    assert (first, last) == ("run_began", "run_ended")
    # How two jobs side by side take turns is theirs.
    assert sorted(between) == sorted(["job_began", "job_staged", "job_ended"] * 2)
    check = validator("record")
    for record in records:
        check.validate(record)
    with pytest.raises(jsonschema.ValidationError):
        check.validate({**records[1], "number": "first"})


def test_a_manifest_is_read_by_schema(made, store):
    check = validator("manifest")
    for item in published(store):
        manifest = json.loads((item.path / "manifest.json").read_text())
        check.validate(manifest)
        with pytest.raises(jsonschema.ValidationError):
            check.validate({name: value for name, value in manifest.items() if name != "files"})


def test_a_report_is_read_by_schema(made):
    check = validator("report")
    report = json.loads(msgspec.json.encode(made[0]))
    check.validate(report)
    with pytest.raises(jsonschema.ValidationError):
        check.validate({**report, "jobs": [{"status": "fine"}]})
