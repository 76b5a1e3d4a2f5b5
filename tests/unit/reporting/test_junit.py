"""JUnit: valid for Jenkins, readable by other programs, and without harmful content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import junitparser
import pytest
import xmlschema

from bgci.checks.test_result import Case, Outcome
from bgci.reporting import junit

XSD = Path(__file__).parents[3].parent / "shared/reference/schemas/jenkins/junit-10.xsd"
PROPERTIES = {"app": "/web", "revision": "v2", "ci.BUILD_URL": "http://ci/1?a=b&c=<d>"}
SAID = "status: expected 200, got 500"
BEGAN = "2026-11-26T13:24:37"
WHERE = [("10.0.0.5:31000", BEGAN), ("10.0.0.6:31000", BEGAN)]
CASES = [
    Case("canary", "home", "instance 1", Outcome.PASSED, "", "", "1 of 1 requests succeeded", 0.1, *WHERE[0]),
    Case("canary", "home", "instance 2", Outcome.FAILED, SAID, "all of it", "> GET /", 0.2, *WHERE[1]),
    Case("baseline", "home", outcome=Outcome.SKIPPED, message="there is no baseline"),
    Case("commands", "pytest tests/smoke", outcome=Outcome.ERROR, message="", seconds=1e-5),
    Case(
        "judge", "<odd> & \x1b[31mred\x00 \ud800 \uffff\x07", outcome=Outcome.FAILED, message="a\nb]]>", output="\x08x"
    ),
]


def parsed(tmp_path: Path, document: bytes) -> junitparser.JUnitXml:
    path = tmp_path / "bgci.xml"
    path.write_bytes(document)
    found = junitparser.JUnitXml.fromfile(str(path))
    assert isinstance(found, junitparser.JUnitXml)
    return found


def test_one_suite_per_target_one_case_per_check_and_instance(tmp_path: Path) -> None:
    document = parsed(tmp_path, junit.report(CASES, PROPERTIES))
    suites = {suite.name: suite for suite in document}
    assert list(suites) == ["canary", "baseline", "commands", "judge"]
    canary = suites["canary"]
    assert (canary.tests, canary.failures, canary.errors, canary.skipped) == (2, 1, 0, 0)
    addresses = {"address of instance 1": "10.0.0.5:31000", "address of instance 2": "10.0.0.6:31000"}
    assert {one.name: one.value for one in canary.properties()} == PROPERTIES | addresses
    assert canary.timestamp == BEGAN
    well, sick = canary
    assert (well.name, well.classname, well.is_passed) == ("home [instance 1]", "bgci.canary", True)
    (failure,) = sick.result
    assert isinstance(failure, junitparser.Failure)
    assert (failure.message, failure.text) == ("status: expected 200, got 500", "all of it")
    assert sick.system_out == "> GET /"
    assert (document.tests, document.failures, document.errors) == (5, 2, 1)
    assert next(iter(suites["baseline"])).is_skipped


@pytest.mark.skipif(not XSD.exists(), reason="Jenkins' schema is not beside this repository")
@pytest.mark.parametrize("cases", [CASES, CASES[:1], []])
def test_a_report_is_valid_by_the_schema_that_jenkins_uses(cases: list[Case]) -> None:
    xmlschema.XMLSchema10(str(XSD)).validate(junit.report(cases, PROPERTIES).decode())


def test_invalid_characters_are_removed_and_texts_are_limited() -> None:
    text = junit.report([*CASES, Case("canary", "long", output="x" * 10**6)], {}).decode()
    assert not junit.ILLEGAL.search(text)
    assert "[31m" not in text
    assert len(text) < 30_000
    assert "characters omitted" in text


def test_names_contain_no_address_because_ci_systems_compare_names() -> None:
    elsewhere = [replace(case, address="10.9.9.9:1") for case in CASES]
    names = [
        [(case.name, case.place) for case in junit.read(junit.report(cases, PROPERTIES), suite="x")]
        for cases in (CASES, elsewhere)
    ]
    assert names[0] == names[1]


def test_a_written_report_is_readable() -> None:
    found = junit.read(junit.report(CASES[:4], PROPERTIES), suite="commands")
    assert [case.outcome for case in found] == [case.outcome for case in CASES[:4]]
    assert found[1] == Case(
        "commands",
        "home [instance 2]",
        "bgci.canary",
        Outcome.FAILED,
        "status: expected 200, got 500",
        "all of it",
        "> GET /",
        0.2,
    )


def test_other_dialects_of_junit_are_parsed() -> None:
    document = b"""<testsuite xmlns="urn:x" name="pytest"><properties/>
        <testcase classname="tests.smoke" name="one" time="1,000.5"><system-err>e</system-err></testcase>
        <testcase name="two" time="soon"><failure>first\nsecond</failure><system-out>o</system-out></testcase>
        <testsuite><testcase name="three"><skipped/></testcase></testsuite></testsuite>"""
    one, two, three = junit.read(document, suite="commands")
    assert (one.name, one.place, one.seconds, one.output) == ("one", "tests.smoke", 1000.5, "e")
    assert (two.outcome, two.message, two.details, two.seconds) == (Outcome.FAILED, "first", "first\nsecond", 0)
    assert three.outcome is Outcome.SKIPPED


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"", "no element found"),
        (b"<html/>", "outermost element is html"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><testsuite name="&a;"/>', "declares entities"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><testsuite name="&a;"/>'.encode("utf-16"), "declares entities"),
        (b'<!DOCTYPE x [<!ATTLIST testcase a CDATA "b">]><testsuite/>', "declares entities or attributes"),
        (b'<?xml version="1.0" encoding="bogus"?><testsuite/>', "bogus"),
        (b"<testsuite>" * 100_000, "no element found|depth|memory"),
    ],
)
def test_a_document_that_is_not_junit_is_refused(document: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        junit.read(document, suite="commands")


def test_texts_of_a_parsed_case_have_the_limits_of_a_report():
    text = "x" * 1_000_000
    document = f'<testsuite><testcase name="{text}" classname="{text}"><failure>{text}</failure></testcase></testsuite>'
    (case,) = junit.read(document.encode(), suite="s")
    assert max(len(case.name), len(case.place), len(case.message)) < 600
    assert len(case.details) < 21_000
