"""Bad input gets one clear line that names file, field and remedy, exit 2, and nothing is written."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

from tests.support.command import COMMAND, ROOT

GOOD = {"blueprint_id": "BP005", "name": "relu_activation", "tier": "BLUEPRINT_TIER_SAFE"}
BOUNDED = {**GOOD, "allowed_parameters": {"scale": {"min_value": 0.5, "max_value": 2}}}


def with_bounds(low, high):
    return {**GOOD, "allowed_parameters": {"scale": {"min_value": low, "max_value": high}}}


@pytest.fixture
def refused(tezzeret, store, tmp_path):
    """Run ``compile`` and check that it was refused in one line and wrote nothing."""

    def run(*args: str, **options) -> str:
        done = tezzeret.run("compile", "--store", str(store), *args, cwd=tmp_path, **options)
        assert done.returncode == 2, (done.stdout, done.stderr)
        assert done.stdout == ""
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, done.stderr
        assert lines[0].startswith("tezzeret: error: ")
        assert not store.exists()
        return lines[0]

    return run


@pytest.fixture
def file(tmp_path):
    def write(content: object, name: str = "d.json") -> str:
        path = tmp_path / name
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        path.write_bytes(data)
        return str(path)

    return write


def test_a_missing_path(refused):
    assert "nowhere.json: no such file or folder" in refused("nowhere.json")


def test_a_folder_without_descriptors(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no descriptor in this folder" in refused("empty")


def test_malformed_json_names_line_and_column(refused, file):
    assert "malformed JSON at line 1, column 18" in refused(file(b'{"blueprint_id": '))


def test_text_that_is_not_utf8(refused, file):
    assert "not UTF-8" in refused(file(b'{"name": "\xff\xfe"}'))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({**GOOD, "stage": "soon"}, "stage"),
        ({**GOOD, "name": 7}, "name"),
        ({**GOOD, "quarantine_only": "yes"}, "quarantine"),
        ({**GOOD, "allowed_parameters": [1]}, "allowed"),
        ({**GOOD, "stage": -1}, "stage"),
        (["text"], "item 0"),
        ([], "empty array"),
        ("text", "expected an object"),
        ({**GOOD, "tier": "BLUEPRINT_TIER_LEGENDARY"}, "tier"),
        ({**GOOD, "tier": 9}, "tier"),
        ({**GOOD, "name": " "}, "name"),
        (with_bounds("NaN", 1), "allowed_parameters.scale"),
        (with_bounds(1, "Infinity"), "allowed_parameters.scale"),
        (with_bounds(2, 1), "min_value 2 is above max_value 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_value_is_named_by_its_field(refused, file, value, expected):
    line = refused(file(value))
    assert expected in line
    assert "d.json" in line


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "x" * 200, "nul\u0000l", "a b"])
def test_an_id_that_cannot_name_a_folder(refused, file, name):
    assert "blueprint_id" in refused(file({**GOOD, "blueprint_id": name}))


def test_an_id_described_twice(refused, file):
    path = file([GOOD, {**GOOD, "stage": 3}])
    assert "already described differently" in refused(path)


def test_the_same_key_twice_in_one_object(refused, file):
    assert "the key stands there twice" in refused(file(b'{"name": "a", "name": "b"}'))


def test_json_nested_too_deeply(refused, file):
    assert "d.json" in refused(file(b"[" * 200_000))


def test_a_truncated_protobuf(refused, file, tezzeret):
    from tezzeret_cli.leyline.descriptors import builtin_catalogue, catalogue_to_binary

    data = catalogue_to_binary(builtin_catalogue())
    assert "truncated" in refused(file(data[:-3], "c.binpb"))


def test_a_file_of_100_megabytes_is_refused_unread(refused, tmp_path):
    with (tmp_path / "big.json").open("wb") as file:
        file.truncate(100 << 20)
    assert "too large for descriptors" in refused("big.json")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(refused, file):
    path = file(GOOD)
    os.chmod(path, 0)
    assert "Permission denied" in refused(path)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--param", "warp=9"), "no selected blueprint has a parameter 'warp'"),
        (("--param", "scale=9"), "scale goes from 0.5 to 2"),
        (("--param", "scale=nan"), "not NAME=NUMBER"),
        (("--param", "scale"), "not NAME=NUMBER"),
        (("--select", "BP9*"), "no blueprint has such an id or name"),
        (("--tier", "mythic"), "unknown tier"),
        (("--stage", "99"), "no blueprint is left"),
        (("--strategy", "heroic"), "unknown strategy"),
        (("--device", "abacus"), "unknown device"),
        (("--jobs", "-1"), "--jobs: -1 is negative"),
        (("--timeout", "0"), "--timeout: 0 is not a time to wait"),
        (("--memory", "lots"), "not a size"),
        (("--profile", "none.toml"), "none.toml: No such file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_wrong_option_says_what_is_right(refused, file, args, expected):
    assert expected in refused(file(BOUNDED), *args)


def test_a_fractional_value_for_a_whole_parameter(refused):
    assert "not a whole number" in refused("--select", "BP023", "--param", "layers=2.5")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[blueprint]\n", "malformed TOML"),
        ("[[blueprint]]\nmatch = 'x'\nfactroy = 'a:b'\n", "factroy"),
        ("[[blueprint]]\nshapes = [[[1]]]\n", "match"),
        ("[[blueprint]]\nmatch = '*'\ndtype = 'float7'\n", "dtype"),
        ("[[blueprint]]\nmatch = '*'\nbatch = [9, 1]\n", "batch"),
        ("[[blueprint]]\nmatch = '*'\nfactory = 'not a path'\n", "not a factory"),
        ("[[blueprint]]\nmatch = '*'\nfactory = 'no_such_module_here:f'\n", "no module named"),
        ("[[blueprint]]\nmatch = '*'\nfactory = 'textwrap:fil'\n", "did you mean textwrap:fill"),
        ("[[blueprint]]\nmatch = '*'\nfactory = 'torch.nm:Linear'\n", "no module named 'torch.nm'"),
        ("[[blueprint]]\nmatch = '*'\nfactory = 'string.re:f'\n", "no module named 'string.re'"),
        ("[[blueprint]]\nmatch = '*'\nparameters = {warp = 1}\n", "has no parameter 'warp'"),
    ],
)
def test_a_wrong_profile_is_named_by_its_field(refused, file, text, expected):
    assert expected in refused(file(GOOD), "--profile", file(text.encode(), "p.toml"))


def test_a_blueprint_that_nobody_can_build(refused, file):
    assert "no blueprint is called 'unheard_of'" in refused(file({**GOOD, "name": "unheard_of"}))


def test_no_store_at_all(tezzeret):
    done = tezzeret.run("compile")
    assert done.returncode == 2
    assert "name one with --store DIR or TEZZERET_STORE" in done.stderr


def test_an_unknown_setting_in_the_settings_file(refused, file):
    path = file(b"colour = 'red'\n", "config.toml")
    assert "colour: unknown setting" in refused("--select", "BP005", env={"TEZZERET_CONFIG": path})


def test_a_wrong_setting_in_the_environment_is_named(refused):
    assert "TEZZERET_JOBS: 'many'" in refused("--select", "BP005", env={"TEZZERET_JOBS": "many"})


def test_a_store_where_a_file_is(tezzeret, tmp_path):
    (tmp_path / "file").write_text("")
    done = tezzeret.run("compile", "--store", str(tmp_path / "file"), "--select", "BP005")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_dry_run_on_a_file_in_the_place_of_a_store(tezzeret, tmp_path):
    (tmp_path / "file").write_text("")
    for store in (tmp_path / "file", tmp_path / "file" / "below"):
        done = tezzeret.run("compile", "--store", str(store), "--select", "BP005", "--dry-run")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"tezzeret: error: store {store}: Not a directory; give a folder as --store\n"


@pytest.mark.parametrize("command", [("compile", "--select", "BP005"), ("resume",)], ids=lambda args: args[0])
def test_a_current_folder_that_is_gone(tezzeret, store, tmp_path, command):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'cd {gone} && rmdir {gone} && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *COMMAND, *command, "--store", str(store)],
        env=tezzeret.environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        "tezzeret: error: the current folder: No such file or directory; go to one that exists\n"
    )
    assert not store.exists()


@pytest.mark.parametrize("name", ["cache", "state", "profile"])
def test_a_nul_byte_in_a_path(refused, file, name):
    path = file(f'{name} = "a\\u0000b"\n'.encode(), "config.toml")
    line = refused("--select", "BP005", env={"TEZZERET_CONFIG": path})
    assert f"{name}: it has a NUL byte" in line


def test_a_nul_byte_in_the_path_of_the_store(tezzeret, file):
    path = file(b'store = "a\\u0000b"\n', "config.toml")
    for command in (("compile", "--select", "BP005"), ("resume",)):
        done = tezzeret.run(*command, env={"TEZZERET_CONFIG": path})
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"tezzeret: error: {path}: store: it has a NUL byte; take it out\n"


@pytest.mark.parametrize(
    ("compiler", "expected"),
    [
        ("/nowhere/g++", "CXX=/nowhere/g++: no such program"),
        ("/bin/false", "/bin/false does not work as a C++ compiler"),
        ("/bin/true", "it does not tell its version (it said nothing)"),
    ],
)
def test_a_compiler_that_is_none(refused, compiler, expected):
    assert expected in refused("--select", "BP005", env={"CXX": compiler})


@pytest.mark.parametrize(
    ("name", "value"), [("memory", "99999999T"), ("memory", "9" * 400), ("jobs", "9" * 30)], ids=str
)
def test_a_number_that_is_too_large(refused, name, value):
    assert "is too large" in refused("--select", "BP005", env={f"TEZZERET_{name.upper()}": value})


@pytest.mark.parametrize("name", ["run_ttl_s", "oona_interval_s", "telemetry_interval_s"])
def test_a_length_of_time_that_is_none(refused, name):
    variable = f"TEZZERET_{name.upper()}"
    for value, expected in (
        ("0", "0 is not a time to wait"),
        ("-3", "-3 is not a time to wait"),
        ("nan", "nan is not a time to wait"),
        ("soon", "'soon' is not a number"),
        ("inf", "inf is too large; give at most 1e+09"),
    ):
        assert f"{variable}: {expected}" in refused("--select", "BP005", env={variable: value})


@pytest.mark.parametrize(
    "command",
    [
        ("compile", "--select", "BP005"),
        ("compile", "--select", "BP005", "--dry-run"),
        ("compile", "--select", "BP005", "--shard", "1/2"),
        ("resume",),
        ("resume", "--list"),
        ("stats",),
        ("gc", "--ttl", "1d"),
        ("prewarm",),
        ("verify",),
    ],
    ids=" ".join,
)
def test_a_store_of_a_newer_format(tezzeret, store, command):
    (store / "bundles").mkdir(parents=True)
    (store / "store.json").write_text('{"format": 9, "store_id": "x"}')
    done = tezzeret.run(*command, "--store", str(store))
    assert (done.returncode, done.stdout) == (2, "")
    known = "the store is of format 9, this program knows 1; use a newer tezzeret"
    assert done.stderr == f"tezzeret: error: {store}: {known}\n"
    assert sorted(path.name for path in store.rglob("*")) == ["bundles", "store.json"]


def test_a_typo_in_an_option_suggests_the_right_one(tezzeret):
    done = tezzeret.run("compile", "--stroe", "x")
    assert done.returncode == 2
    assert "--store" in done.stderr


def test_a_traceback_is_shown_on_request_only(tezzeret, store):
    assert "Traceback" not in tezzeret.run("compile", "nowhere", "--store", str(store)).stderr
    assert "Traceback" in tezzeret.run("compile", "nowhere", "--store", str(store), "-vv").stderr


def test_control_characters_from_outside_never_reach_the_terminal(tezzeret, store, tmp_path):
    path = tmp_path / "d.json"
    path.write_text(json.dumps({**GOOD, "blueprint_id": "\x1b[2Jboom"}))
    assert "\x1b" not in tezzeret.run("compile", str(path), "--store", str(store)).stderr
