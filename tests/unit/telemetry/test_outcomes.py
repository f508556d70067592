"""Reports for CI services: annotations, step summaries and JUnit XML, whatever the texts hold."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.junit_rules import breaches
from tezzeret_cli.model.prewarm import Prewarmed, PrewarmReport, Sample, VariantTimes
from tezzeret_cli.model.report import JobReport, Report, Status
from tezzeret_cli.model.verification import BundleCheck, VerifyReport
from tezzeret_cli.telemetry.github import summary, workflow_commands
from tezzeret_cli.telemetry.junit import junit
from tezzeret_cli.telemetry.outcomes import Outcome, Suite, Verdict, prewarm_suite, run_suite, verify_suite


def done(blueprint_id, status, reason=None, kind=None, **changes):
    return JobReport(
        blueprint_id=blueprint_id,
        version=None,
        status=status,
        strategy="standard",
        duration_ms=changes.pop("duration_ms", 1500.0),
        eager_fallback=changes.pop("eager_fallback", status is Status.FALLBACK),
        reason=reason,
        bundle=None,
        name="block",
        reason_kind=kind,
        **changes,
    )


REPORT = Report(
    1,
    "compile",
    (
        done("BP001", Status.COMPILED),
        done("BP002", Status.CACHED, duration_ms=0.0),
        done("BP003", Status.CACHED, "no compiler", "unsupported", eager_fallback=True),
        done("BP004", Status.FALLBACK, "a graph break", "graph_break", notes=("made by fast",)),
        done("BP005", Status.FAILED, "it raises", "refused", quarantine_only=True),
        done("BP006", Status.SKIPPED, "it needs approval", "needs_approval"),
    ),
    {},
    run="20260102T030405Z-1a2b3c4d",
)


def verdicts(suite):
    return [outcome.verdict.value for outcome in suite.outcomes]


def test_a_fallback_passes_with_a_warning_and_fails_where_it_is_strict():
    assert verdicts(run_suite(REPORT)) == ["passed", "passed", "warned", "warned", "failed", "skipped"]
    strict = verdicts(run_suite(REPORT, strict=True))
    assert strict == ["passed", "passed", "failed", "failed", "failed", "skipped"]


def test_bundles_that_were_verified_and_warmed_have_outcomes_too():
    checks = (
        BundleCheck("b/1", True, "BP001", "1.0.0+a", signed_by="signed by a key you trust: me"),
        BundleCheck("b/2", False, problem="its signature file is missing", problem_kind="untrusted"),
    )
    found = verify_suite(VerifyReport(1, "verify", checks, {}, ("a journal is damaged",)))
    assert [(o.name, o.status) for o in found.outcomes] == [
        ("BP001 1.0.0+a", "verified"),
        ("b/2", "untrusted"),
    ]
    assert verdicts(found) == ["passed", "failed"]
    assert found.warnings == ("a journal is damaged",)
    sample = Sample(
        0.0, "host", "2.13", 2, "cpu", 10.0, (VariantTimes("v0", 40.0, (25.0, 25.0), 25.0, 25.0),)
    )
    statuses = ("warmed", "fallback", "quarantined", "regressed", "failed")
    bundles = tuple(Prewarmed("BP001", "1.0.0+a", "b", status, sample) for status in statuses)
    warmed = prewarm_suite(PrewarmReport(1, bundles, {}))
    assert verdicts(warmed) == ["passed", "warned", "skipped", "failed", "failed"]
    assert warmed.outcomes[0].seconds == 0.1


def test_an_annotation_for_each_failure_and_fallback():
    assert workflow_commands([run_suite(REPORT)]).splitlines() == [
        "::warning title=BP003 block%3A cached fallback::no compiler",
        "::warning title=BP004 block%3A fallback::a graph break",
        "::error title=BP005 block%3A failed::it raises",
    ]
    warned = Suite("verify", (), warnings=("look, there",))
    assert workflow_commands([warned]) == "::warning title=tezzeret verify::look, there\n"


def test_workflow_commands_are_escaped():
    odd = Outcome("a:b,c%", "failed", Verdict.FAILED, reason="50%, a:b\r\n::error::\x1b[31mred")
    assert workflow_commands([Suite("compile", (odd,))]) == (
        "::error title=a%3Ab%2Cc%25%3A failed::50%25, a:b%0D%0A::error::?[31mred\n"
    )


def test_the_summary_is_a_table_for_each_run():
    text = summary([run_suite(REPORT), Suite("resume", ())])
    assert (
        "### tezzeret compile: 1 compiled, 1 cached, 1 cached fallback, 1 fallback, 1 failed, 1 skipped"
        in text
    )
    assert "| BP005 block | failed | 1.5 s | it raises |" in text
    assert "### tezzeret resume: nothing to do" in text


def test_a_summary_that_is_too_long_is_cut_at_a_line():
    outcomes = tuple(Outcome(f"BP{n}", "failed", Verdict.FAILED, reason="é" * 100) for n in range(100))
    text = summary([Suite("compile", outcomes)], room=2000)
    assert len(text.encode()) <= 2000
    assert text.endswith("|\n\nFurther lines did not fit.\n")


def test_junit_has_a_case_for_each_job():
    root = ET.fromstring(junit([run_suite(REPORT)]).encode())
    (suite,) = root
    assert suite.get("name") == "tezzeret compile"
    for element in (root, suite):
        counts = [element.get(name) for name in ("tests", "failures", "errors", "time")]
        assert counts == ["6", "1", "0", "7.500"]
    assert suite.get("skipped") == "1"
    assert [p.get("value") for p in suite.iter("property")] == ["20260102T030405Z-1a2b3c4d"]
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert cases["BP001 block"].get("time") == "1.500"
    failure = cases["BP005 block"].find("failure")
    assert (failure.get("message"), failure.get("type")) == ("it raises", "refused")
    assert cases["BP006 block"].find("skipped").get("message") == "it needs approval"
    fallback = cases["BP004 block"]
    assert fallback.find("failure") is None
    assert "reason: a graph break" in fallback.find("system-out").text
    assert "made by fast" in fallback.find("system-out").text
    strict = ET.fromstring(junit([run_suite(REPORT, strict=True)]).encode())
    assert len(list(strict.iter("failure"))) == 3


@pytest.mark.parametrize(
    ("document", "breach"),
    [
        ('<testsuites skipped="1"/>', "testsuites has skipped"),
        ('<testsuite name="a" tests="1" failures="0"/>', "testsuite lacks errors"),
        ('<testcase name="a"><system-out/><failure/></testcase>', "testcase holds system-out, failure in"),
        ('<testcase name="a" time="1e3"/>', "testcase takes 1e3"),
        ("<testsuites>text</testsuites>", "testsuites holds text"),
        ("<testsuites><b/></testsuites>", "testsuites holds b"),
    ],
)
def test_the_rules_of_junit_are_told_from_their_breach(document, breach):
    assert any(line.startswith(breach) for line in breaches(document.encode()))


texts = st.text(st.characters(), max_size=40)
cases = st.builds(
    Outcome,
    texts,
    texts,
    st.sampled_from(Verdict),
    reason=st.none() | texts,
    kind=st.none() | texts,
    details=st.tuples(texts),
)


@given(st.lists(cases, max_size=3), texts)
def test_whatever_the_texts_hold_the_documents_are_whole(outcomes, note):
    suites = [Suite("compile", tuple(outcomes), {"run": note}, (note,), (note,))]
    document = junit(suites).encode()
    assert breaches(document) == []
    root = ET.fromstring(document)
    assert len(list(root.iter("testcase"))) == len(outcomes)
    assert len(list(root.iter("failure"))) == sum(o.verdict is Verdict.FAILED for o in outcomes)
    commands = workflow_commands(suites)
    told = sum(o.verdict in (Verdict.FAILED, Verdict.WARNED) for o in outcomes) + 1
    assert commands.count("\n") == told
    assert "\r" not in commands
    assert all(line.startswith(("::error title=", "::warning title=")) for line in commands.split("\n")[:-1])
    commands.encode()
    rows = [line for line in summary(suites).split("\n") if line.startswith("| ")]
    assert len(rows) == len(outcomes) + bool(outcomes)
    summary(suites).encode()


@pytest.mark.parametrize("reason", ["a | b", "<img src=x>", "`code`", "[text](url)", "a\nb"])
def test_a_reason_stays_one_cell_of_plain_text(reason):
    text = summary([Suite("compile", (Outcome("BP001", "failed", Verdict.FAILED, reason=reason),))])
    (row,) = [line for line in text.split("\n") if line.startswith("| BP001")]
    assert row.replace(r"\|", "").count("|") == 5
    for character in "<>`[]":
        assert row.count(character) == row.count(f"\\{character}")
