"""The rules of JUnit XML as Jenkins's xUnit plugin has them (its schema ``junit-10.xsd``), which is what CI
services agree on: elements with the attributes they must and may have, what may stand in them, and how times
are written. That schema has no order inside of a testsuite or a testcase, but Ant's has, and readers that
stream rely on it: properties come first, output last, failures before output."""

from __future__ import annotations

import re
from typing import NamedTuple
from xml.etree import ElementTree as ET

_TIME = re.compile(r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]{0,3})?")
_COUNTS = ("tests", "failures", "errors", "skipped")


class Rule(NamedTuple):
    """Of one element. ``inside`` are the elements that it may hold, in the order that they come in; ``text``
    says whether it may hold text."""

    required: frozenset[str]
    optional: frozenset[str]
    inside: tuple[str, ...]
    text: bool = False


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


RULES = {
    "testsuites": Rule(_words(""), _words("name time tests failures errors"), ("testsuite",)),
    "testsuite": Rule(
        _words("name tests failures errors"),
        _words("group time skipped timestamp hostname id package file log url version"),
        ("properties", "testcase", "system-out", "system-err"),
    ),
    "properties": Rule(_words(""), _words(""), ("property",)),
    "property": Rule(_words("name value"), _words(""), ()),
    "testcase": Rule(
        _words("name"), _words("time classname group"), ("skipped", "failure", "system-out", "system-err")
    ),
    "failure": Rule(_words(""), _words("type message"), (), text=True),
    "skipped": Rule(_words(""), _words("type message"), (), text=True),
    "system-out": Rule(_words(""), _words(""), (), text=True),
    "system-err": Rule(_words(""), _words(""), (), text=True),
}


def breaches(document: bytes) -> list[str]:
    """What a document does against the rules, a line each."""
    root = ET.fromstring(document)
    found = [] if root.tag in ("testsuites", "testsuite") else [f"{root.tag} is the root"]
    for element in root.iter():
        rule = RULES.get(element.tag)
        if rule is None:
            found.append(f"{element.tag} is unknown")
            continue
        has = set(element.attrib)
        found += [f"{element.tag} lacks {name}" for name in sorted(rule.required - has)]
        found += [f"{element.tag} has {name}" for name in sorted(has - rule.required - rule.optional)]
        tags = [child.tag for child in element]
        found += [f"{element.tag} holds {tag}" for tag in tags if tag not in rule.inside]
        places = [rule.inside.index(tag) for tag in tags if tag in rule.inside]
        if places != sorted(places):
            found.append(f"{element.tag} holds {', '.join(tags)} in that order")
        beside = [element.text, *(child.tail for child in element)]
        if not rule.text and any(text and text.strip() for text in beside):
            found.append(f"{element.tag} holds text")
        if not _TIME.fullmatch(element.get("time", "0.000")):
            found.append(f"{element.tag} takes {element.get('time')}")
        found += [f"{name}={value}" for name in _COUNTS if not (value := element.get(name, "0")).isdigit()]
    return found
