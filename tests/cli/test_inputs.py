"""Every way to hand descriptors over, through the real command's plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "descriptors"


@pytest.fixture
def planned(tezzeret, store):
    """The ids that ``compile --dry-run`` would compile."""

    def run(*args: str, **options) -> list[str]:
        done = tezzeret.run("compile", "--store", str(store), "--dry-run", "--json", *args, **options)
        assert done.returncode == 0, done.stderr
        assert not store.exists()
        return [job["blueprint_id"] for job in json.loads(done.stdout)["jobs"]]

    return run


ALL = [f"BP{number:03d}" for number in range(1, 51)]


def test_without_a_path_the_built_in_catalogue(planned):
    assert planned() == ALL


def test_a_folder_and_the_catalogue_in_binary(planned):
    assert planned(str(FIXTURES)) == ALL
    assert planned(str(FIXTURES / "catalogue.binpb")) == ALL


def test_standard_input_as_json_array_object_and_binary(planned):
    one = json.loads((FIXTURES / "BP007_pooling_max.json").read_text())
    two = {**one, "blueprint_id": "X1"}
    assert planned("-", stdin=json.dumps(one).encode()) == ["BP007"]
    assert planned("-", stdin=json.dumps([two, one]).encode()) == ["BP007", "X1"]
    assert planned("-", stdin=(FIXTURES / "catalogue.binpb").read_bytes()) == ALL


def test_lower_camel_case_unknown_fields_and_numbers_as_text(planned, tmp_path):
    path = tmp_path / "d.json"
    path.write_text(
        json.dumps(
            {
                "blueprintId": "Y1",
                "name": "pooling_max",
                "tier": 1,
                "allowedParameters": {"kernel": {"minValue": "2", "maxValue": 5.0}},
                "quarantineOnly": None,
                "aFieldOfTomorrow": {"a": 1},
            }
        )
    )
    assert planned(str(path)) == ["Y1"]


def test_folders_are_searched_recursively(planned, tmp_path):
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "d.json").write_text((FIXTURES / "BP005_relu_activation.json").read_text())
    assert planned(str(tmp_path)) == ["BP005"]


def test_selection_by_glob_tier_and_stage(planned):
    assert planned("--select", "BP00[12]", "--select", "neural_*") == ["BP001", "BP002", "BP039"]
    assert planned("--tier", "high-risk") == ALL[42:]
    assert planned("--stage", "5", "--tier", "EXPERIMENTAL") == ALL[35:42]


def test_the_store_may_come_from_the_environment(tezzeret, store):
    done = tezzeret.run("compile", "--dry-run", "--select", "BP001", env={"TEZZERET_STORE": str(store)})
    assert done.returncode == 0
    assert "BP001" in done.stdout


def test_fixtures_and_the_packaged_catalogue_are_equal():
    import io

    from tezzeret_cli.inputs import read_descriptors
    from tezzeret_cli.leyline.descriptors import builtin_catalogue

    paths = [str(path) for path in sorted(FIXTURES.glob("*.json"))]
    assert len(paths) == 50
    assert read_descriptors(paths, stdin=io.BytesIO()) == builtin_catalogue()
    binary = [str(FIXTURES / "catalogue.binpb")]
    assert read_descriptors(binary, stdin=io.BytesIO()) == builtin_catalogue()


def test_every_fixture_says_in_words_what_the_block_does():
    for path in FIXTURES.glob("*.json"):
        value = json.loads(path.read_text())
        assert path.name == f"{value['blueprint_id']}_{value['name']}.json"
        for name in value.get("allowed_parameters", {}):
            assert f"`{name}`" in value["description"] or name in ("epsilon", "scale"), path.name


def test_a_relative_store_means_the_same_folder_for_every_process(tezzeret, tmp_path):
    done = tezzeret.run(
        "compile", "--store", "here", "--select", "BP001", "--json", cwd=tmp_path, timeout=300
    )
    assert done.returncode == 0, done.stderr
    (job,) = json.loads(done.stdout)["jobs"]
    assert (tmp_path / "here" / job["bundle"] / "manifest.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["here"]
