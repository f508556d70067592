"""``--output-format``: what CI services read, from the real command."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest

from tests.support.junit_rules import breaches
from tests.support.signing import manifest, write

FACTORIES = "tests.support.hostile_blueprints"
JOBS = {"falls": "healthy", "fails": "prints_control_sequences"}


@pytest.fixture
def mixed(tezzeret, store, tmp_path):
    """Run ``compile`` over one blueprint that falls back (there is no compiler), one that fails and one that
    is not approved."""
    described = [{"blueprint_id": f"X_{name}", "name": name} for name in (*JOBS, "waits")]
    described[-1]["approval_required"] = True
    (tmp_path / "d.json").write_text(json.dumps(described))
    rules = [
        f'[[blueprint]]\nmatch = "{name}"\nfactory = "{FACTORIES}:{factory}"\n'
        for name, factory in {**JOBS, "waits": "healthy"}.items()
    ]
    (tmp_path / "p.toml").write_text("".join(rules))
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "env").symlink_to("/usr/bin/env")
    (tools / "sh").symlink_to("/bin/sh")

    def run(*args: str, **env: str):
        paths = (str(tmp_path / "d.json"), "--profile", str(tmp_path / "p.toml"), "--store", str(store))
        environment = {"PATH": str(tools), "PYTHONWARNINGS": "default", **env}
        return tezzeret.run("compile", *paths, *args, env=environment, timeout=300)

    return run


def test_annotations_a_step_summary_and_junit(mixed, tmp_path):
    summary = tmp_path / "summary.md"
    summary.write_text("what was there\n")
    done = mixed("--output-format", "github", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == 1, done.stderr
    fails, falls = done.stdout.splitlines()
    assert fails.startswith("::error title=X_fails fails%3A failed::")
    assert falls.startswith("::warning title=X_falls falls%3A fallback::")
    assert "\x1b" not in done.stdout
    text = summary.read_text()
    assert text.startswith("what was there\n### tezzeret compile: 1 failed, 1 fallback, 1 skipped\n")
    assert text.count("\n| X\\_") == 3
    strict = mixed("--output-format", "junit", "--strict")
    assert strict.returncode == 1, strict.stderr
    assert breaches(strict.stdout.encode()) == []
    root = ET.fromstring(strict.stdout.encode())
    found = {case.get("name"): [part.tag for part in case] for case in root.iter("testcase")}
    assert found == {
        "X_fails fails": ["failure", "system-out"],
        "X_falls falls": ["failure", "system-out"],
        "X_waits waits": ["skipped", "system-out"],
    }


def planned(tezzeret, store, *args, **env):
    return tezzeret.run("compile", "--store", str(store), "--select", "BP001", "--dry-run", *args, env=env)


def test_json_has_a_short_and_a_long_form(tezzeret, store):
    short, long = planned(tezzeret, store, "--json"), planned(tezzeret, store, "--output-format", "json")
    assert json.loads(short.stdout) == json.loads(long.stdout)
    both = planned(tezzeret, store, "--json", "--output-format", "json")
    assert json.loads(both.stdout) == json.loads(short.stdout)
    text = planned(tezzeret, store, "--output-format", "text")
    assert text.stdout == planned(tezzeret, store).stdout
    assert text.stdout.startswith("id\tname\t")


def test_a_document_is_utf8_in_any_locale(tezzeret, store):
    done = planned(tezzeret, store, "--output-format", "junit", PYTHONIOENCODING="ascii")
    assert done.stdout.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites ')
    (case,) = ET.fromstring(done.stdout.encode()).iter("testcase")
    assert case.find("skipped").get("message") == "would be compiled"


@pytest.mark.parametrize("command", ["compile", "resume", "verify", "prewarm"])
@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (
            ("--output-format", "xml"),
            "--output-format xml: unknown format; use one of text, json, github, junit",
        ),
        (("--output-format", "junit", "--json"), "--json and --output-format junit exclude each other"),
    ],
    ids=["unknown", "two"],
)
def test_a_wrong_form_is_one_clear_line(tezzeret, store, command, args, expected):
    done = tezzeret.run(command, "--store", str(store), *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"tezzeret: error: {expected}")
    assert len(done.stderr.splitlines()) == 1
    assert not store.exists()


def test_a_summary_that_cannot_be_written_is_told_and_changes_nothing(tezzeret, store, tmp_path):
    done = planned(tezzeret, store, "--output-format", "github", GITHUB_STEP_SUMMARY=str(tmp_path))
    assert done.returncode == 0
    assert f"warning: GITHUB_STEP_SUMMARY: {tmp_path}: Is a directory" in done.stderr.splitlines()


def test_verify_annotates_what_is_not_trusted(tezzeret, store):
    (store / "tmp").mkdir(parents=True)
    (store / "store.json").write_text('{"format":1,"store_id":"0123456789abcdef0123456789abcdef"}\n')
    write(store / "bundles" / "BP001" / manifest().version)
    done = tezzeret.run("verify", str(store), "--output-format", "github")
    assert done.returncode == 4
    (line,) = done.stdout.splitlines()
    assert line.startswith(
        f"::error title=BP001 {manifest().version}%3A untrusted::it is signed by a key that"
    )
    assert tezzeret.run("verify", str(store), "--json").returncode == 4
    junit = tezzeret.run("verify", str(store), "--output-format", "junit")
    assert [f.get("type") for f in ET.fromstring(junit.stdout.encode()).iter("failure")] == ["untrusted"]


def test_resume_has_a_suite_of_nothing_and_a_list_has_none(tezzeret, store):
    (store / "tmp").mkdir(parents=True)
    (store / "store.json").write_text('{"format":1,"store_id":"0123456789abcdef0123456789abcdef"}\n')
    done = tezzeret.run("resume", "--store", str(store), "--output-format", "junit")
    (suite,) = ET.fromstring(done.stdout.encode())
    assert (suite.get("name"), suite.get("tests"), done.returncode) == ("tezzeret resume", "0", 0)
    listed = tezzeret.run("resume", "--store", str(store), "--list", "--output-format", "junit")
    assert (listed.returncode, "use text or json here" in listed.stderr) == (2, True)
