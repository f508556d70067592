"""Outcomes as one JUnit XML document: a testsuite for each run, a testcase for each job or bundle. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from tezzeret_cli.telemetry.outcomes import Outcome, Suite, Verdict

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 does not allow, not even escaped."""


def junit(suites: Sequence[Suite]) -> str:
    """The document. Characters that XML does not allow are replaced by U+FFFD."""
    totals = _totals([outcome for suite in suites for outcome in suite.outcomes])
    del totals["skipped"]  # which readers know of a suite only
    root = ET.Element("testsuites", {"name": "tezzeret", **totals})
    for suite in suites:
        _suite(root, suite)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _suite(root: ET.Element, suite: Suite) -> None:
    name = _valid(f"tezzeret {suite.command}")
    element = ET.SubElement(root, "testsuite", {"name": name, **_totals(suite.outcomes)})
    if suite.facts:
        properties = ET.SubElement(element, "properties")
        for fact, value in suite.facts.items():
            ET.SubElement(properties, "property", {"name": _valid(fact), "value": _valid(value)})
    for outcome in suite.outcomes:
        _case(element, outcome, suite.command)
    if said := (*suite.notes, *suite.warnings):
        ET.SubElement(element, "system-out").text = _valid("\n".join(said))


def _case(suite: ET.Element, outcome: Outcome, command: str) -> None:
    about = {"classname": f"tezzeret.{command}", "name": outcome.name, "time": f"{outcome.seconds:.3f}"}
    case = ET.SubElement(suite, "testcase", {name: _valid(value) for name, value in about.items()})
    message = _valid(outcome.reason or outcome.status)
    if outcome.verdict is Verdict.FAILED:
        failure = {"message": message, "type": _valid(outcome.kind or outcome.status)}
        ET.SubElement(case, "failure", failure).text = message
    elif outcome.verdict is Verdict.SKIPPED:
        ET.SubElement(case, "skipped", {"message": message})
    said = [f"status: {outcome.status}", *outcome.details]
    if outcome.reason and outcome.verdict in (Verdict.PASSED, Verdict.WARNED):
        said.insert(1, f"reason: {outcome.reason}")
    ET.SubElement(case, "system-out").text = _valid("\n".join(said))


def _totals(outcomes: Sequence[Outcome]) -> dict[str, str]:
    verdicts = [outcome.verdict for outcome in outcomes]
    return {
        "tests": str(len(outcomes)),
        "failures": str(verdicts.count(Verdict.FAILED)),
        "errors": "0",
        "skipped": str(verdicts.count(Verdict.SKIPPED)),
        "time": f"{sum(outcome.seconds for outcome in outcomes):.3f}",
    }


def _valid(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
