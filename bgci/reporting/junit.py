"""Writes test results as JUnit XML, which every CI system reads, and reads the JUnit XML of other programs.

junit-xml writes the document; attributes that Jenkins' schema (junit-10.xsd) does not have are removed again.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bgci.checks.test_result import Case, Outcome
from bgci.redaction import INVISIBLE, redacted
from bgci.reporting.console import ANSI

MAX_TEXT = 20_000  # characters of one text in the report
MAX_NAME = 500
MOST_BYTES = 8_000_000  # bytes; limit of a document: its texts take many times as much memory
MOST_MARKS = 250_000  # of a kind, such as <: more than 200,000 tests that pass
# XML 1.0 allows no others. It discourages \x7f-\x9f, which are control characters, too.
ILLEGAL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def report(cases: Iterable[Case], properties: Mapping[str, str]) -> bytes:
    """A document with one suite for each ``Case.suite``, in the order of their first cases."""
    suites: dict[str, list[Case]] = {}
    for case in cases:
        suites.setdefault(case.suite, []).append(case)
    root = ET.Element("testsuites", name="bgci")
    for name, members in suites.items():
        root.append(_suite(name, members, properties))
    for total in ("tests", "failures", "errors"):
        root.set(total, str(sum(int(suite.get(total, "0")) for suite in root)))
    root.set("time", f"{sum(case.seconds for members in suites.values() for case in members):.3f}")
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + text + b"\n"


def _suite(name: str, cases: Sequence[Case], properties: Mapping[str, str]) -> ET.Element:
    from junit_xml import TestSuite

    addresses = {f"address of {case.place}": case.address for case in cases if case.address}
    known = {clean(key, MAX_NAME): clean(value, MAX_NAME) for key, value in {**properties, **addresses}.items()}
    began = cases[0].began or None
    suite = TestSuite(clean(name, MAX_NAME), [_case(case) for case in cases], properties=known, timestamp=began)
    element: ET.Element = suite.build_xml_doc()
    element.attrib.pop("disabled", None)  # the schema has none
    element.set("time", f"{sum(case.seconds for case in cases):.3f}")  # nor more than three decimals
    return element


def _case(case: Case) -> Any:
    from junit_xml import TestCase

    name = f"{case.name} [{case.place}]" if case.place else case.name
    one = TestCase(
        clean(name, MAX_NAME) or "?",
        classname=clean(f"bgci.{case.suite}", MAX_NAME),
        elapsed_sec=round(case.seconds, 3),
        stdout=clean(case.output) or None,
    )
    message = clean(case.message, MAX_NAME) or case.outcome.value
    if case.outcome is Outcome.FAILED:
        one.add_failure_info(message, clean(case.details) or message)
    elif case.outcome is Outcome.ERROR:
        one.add_error_info(message, clean(case.details) or message)
    elif case.outcome is Outcome.SKIPPED:
        one.add_skipped_info(message)
    return one


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """The text without control characters, escape sequences and secrets, without its middle if it is too long."""
    text = ILLEGAL.sub("", ANSI.sub("", text.replace("\r\n", "\n").replace("\r", "\n")))
    text = redacted(INVISIBLE.sub("", redacted(text)))
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n… {len(text) - 2 * half} characters omitted …\n{text[-half:]}"


def read(document: bytes, *, suite: str) -> list[Case]:
    """The cases in a JUnit document of any dialect, in one ``suite``. Raises ValueError for any other document."""
    plain = document.replace(b"\0", b"")  # in UTF-16 too
    if b"<!ENTITY" in plain or b"<!ATTLIST" in plain:  # default values of attributes multiply as entities do
        raise ValueError("it declares entities or attributes")
    if document.count(b"<") > MOST_MARKS or document.count(b"=") > MOST_MARKS:
        raise ValueError("it has too many tests, elements or attributes")
    try:
        root = ET.fromstring(document)  # noqa: S314 - no entities: see above
    except (ET.ParseError, LookupError) as error:  # LookupError: an unknown encoding
        raise ValueError(str(error)) from None
    if _tag(root) not in ("testsuites", "testsuite"):
        raise ValueError(f"its outermost element is {_tag(root)}")
    return [_read_case(element, suite) for element in root.iter() if _tag(element) == "testcase"]


def _read_case(element: ET.Element, suite: str) -> Case:
    found = {_tag(child): child for child in reversed(list(element))}
    bad = {"error": Outcome.ERROR, "failure": Outcome.FAILED, "skipped": Outcome.SKIPPED}
    tag, outcome = next(((tag, bad[tag]) for tag in bad if tag in found), ("", Outcome.PASSED))
    details = "".join(found[tag].itertext()).strip() if tag else ""
    output = [("".join(found[name].itertext())).strip() for name in ("system-out", "system-err") if name in found]
    return Case(
        suite,
        _short(element.get("name"), MAX_NAME) or "?",
        _short(element.get("classname"), MAX_NAME),
        outcome,
        (_short(found[tag].get("message") or details.partition("\n")[0], MAX_NAME) or tag) if tag else "",
        _short(details),
        "\n".join(_short(text) for text in output if text),
        _seconds(element.get("time")),
    )


def _short(text: str | None, limit: int = MAX_TEXT) -> str:
    """A text of any length as the report will have it, so that it takes no memory until then."""
    return text if text and len(text) <= limit else clean(text or "", limit)


def _tag(element: ET.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _seconds(text: str | None) -> float:
    try:
        return max(0.0, min(float((text or "0").replace(",", "")), 1e7))
    except ValueError:
        return 0.0
