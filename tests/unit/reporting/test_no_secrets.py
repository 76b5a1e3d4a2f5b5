"""No output contains a secret: console, artifacts, journal, JUnit, output for CI systems."""

from __future__ import annotations

import io
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bgci import redaction
from bgci.checks.test_result import Case, Outcome
from bgci.errors import ConflictError
from bgci.reporting import junit
from bgci.reporting.artifacts import Artifacts
from bgci.reporting.ci_systems import Ci, Masks, System, annotation, summary
from bgci.reporting.console import Console, plain
from bgci.reporting.journal import Journal

SECRET = 'Zq1##[a]\t"w:<ö>&%\\=Zq1'
PEM = "-----BEGIN PRIVATE KEY-----\nZq1MIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nBKcwggSjAgEAAoIBAQC7VJTUt9UsZq1\n-----END-----"


@pytest.fixture(autouse=True)
def hidden() -> None:
    redaction.hide(SECRET, PEM)


def clean(text: str) -> bool:
    return "Zq1" not in text and "***" in text


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(
    "text", [SECRET, PEM, f"before\n{PEM}\nafter", f"header {SECRET}!", json.dumps({"a": SECRET}), repr(SECRET)]
)
def test_no_line_of_the_log_contains_a_secret(log_format: Any, text: str) -> None:
    stream = io.StringIO()
    console = Console(stream, log_format)
    console.info(text)
    console.warn(text)
    console.error(ConflictError(text, remedy=text))
    console.foreign(text, text)
    console.command(f"::group::{text}")
    assert clean(stream.getvalue())


def test_removing_characters_reveals_no_secret() -> None:
    redaction.hide("password-of-mine")
    stream = io.StringIO()
    Console(stream).info("pass\x1b[0mword-of\u200e-mine")
    assert "***" in stream.getvalue()


CUTS = ["\x1b[0m", "\x1b(B\x1b[m", "\x1b7", "\x1bc", "\x1b]8;;x\x1b\\", "\x1bPx\x1b\\", "\x9b1m"]
CUTS += ["\0", "\u200b", "\u200d", "\xad", "\ufeff"]


@pytest.mark.parametrize("cut", CUTS)
def test_no_invisible_text_within_a_secret_brings_it_into_the_log_or_a_report(cut: str) -> None:
    redaction.hide("password-of-mine")
    for shown in (plain(f"a pass{cut}word-of-mine z"), junit.clean(f"a pass{cut}word-of-mine z")):
        assert shown == "a *** z"


def test_a_line_of_json_stays_one_line() -> None:
    redaction.hide("false", '": "')
    stream = io.StringIO()
    Console(stream, "json").error(ConflictError("Is it false?", remedy=SECRET))
    line = json.loads(stream.getvalue())
    assert (line["message"], line["kind"], line["remedy"]) == ("Is it ***?", "error", "***.")


def test_artifacts_contain_no_secret_and_stay_valid(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path)
    document = artifacts.write_json("a.json", {"env": {"KEY": PEM, "PASSWORD": SECRET}, "at": SECRET + "!"})
    assert json.loads(document.read_text()) == {"env": {"KEY": "***", "PASSWORD": "***"}, "at": "***!"}
    for content in (SECRET, PEM, json.dumps(SECRET)):
        assert clean(artifacts.write_bytes("traceback.txt", content.encode()).read_text())
    binary = b"\x00\xff\xfe not UTF-8"
    assert artifacts.write_bytes("b.bin", binary).read_bytes() == binary


def test_the_manifest_lists_redacted_copies(tmp_path: Path) -> None:
    about: dict[str, Any] = {"app": "/web", "revision": "v1", "image": "x", "environ": {}}
    artifacts = Artifacts(tmp_path)
    files = [artifacts.write_json("job.json", {"password": SECRET}), artifacts.write_json("app.json", {"id": "/web"})]
    first = json.loads(artifacts.manifest(files=files, **about).read_text())
    assert first["redacted"] == ["job.json"]
    later = Artifacts(tmp_path)
    assert json.loads(later.manifest(files=[later.write_json("c.json", 1)], **about).read_text())["redacted"] == [
        "job.json"
    ]
    again = Artifacts(tmp_path)
    whole = again.manifest(files=[again.write_json("job.json", {"password": ""})], **about)
    assert json.loads(whole.read_text())["redacted"] == []


def test_the_journal_and_its_echo_contain_no_secret(tmp_path: Path) -> None:
    said: list[str] = []
    with closing(Journal(tmp_path / "journal.jsonl", echo=said.append)) as journal:
        journal.result({"why": SECRET})
        journal.copy(json.dumps({"why": PEM}))
        journal.copy(f"no JSON {SECRET}")
    text = (tmp_path / "journal.jsonl").read_text()
    assert clean(text)
    assert json.loads(text.splitlines()[1]) == {"why": "***"}
    assert clean("".join(said))


def test_a_short_secret_breaks_no_file(tmp_path: Path) -> None:
    redaction.hide("test", "name", "state", "BGCI", "html", "body")
    artifacts = Artifacts(tmp_path)
    case = Case("suite", "the test of the name", "state", Outcome.FAILED, "html & <body>")
    found = junit.read(artifacts.write_bytes("junit/x.xml", junit.report([case], {})).read_bytes(), suite="suite")
    assert [(one.name, one.message) for one in found] == [("the *** of the *** [***]", "*** & <***>")]
    page = artifacts.write_bytes("report.html", b'<html><body title="the test">state</body></html>')
    assert page.read_text() == '<html><body title="the ***">***</body></html>'
    environ = {"GITHUB_OUTPUT": str(tmp_path / "out")}
    result = {"command": "x", "code": 0, "name": "ok", "seconds": 1.0, "outputs": {"state": "a=test"}}
    Ci("github", environ, None).finish(result, [], artifacts)
    Ci("gitlab", environ, None).finish(result, [], artifacts)
    assert (tmp_path / "out").read_text() == "state=a=***\n"
    assert (tmp_path / "bgci.env").read_text() == "BGCI_STATE=a=***\n"


def test_junit_contains_no_secret_nor_a_part_of_one() -> None:
    long = "x" * 9_990 + PEM + "y" * 20_000
    case = Case("suite", SECRET, SECRET, Outcome.FAILED, SECRET, long, output=long)
    assert clean(junit.report([case], {"ci": SECRET}).decode())


def test_output_for_github_contains_no_secret_nor_a_part_of_one(tmp_path: Path) -> None:
    result = {"command": "test", "code": 3, "name": "invalid", "seconds": 1.0}
    result |= {"message": "x" * 3_990 + PEM, "remedy": SECRET, "outputs": {"state": SECRET}}
    assert "Zq1" not in annotation(result)
    told_in_markdown = "\n".join(summary(result, [("image", SECRET, "flag")]))
    assert "Zq1" not in told_in_markdown
    assert "&#42;" * 3 in told_in_markdown
    told: list[str] = []
    environ = {"GITHUB_OUTPUT": str(tmp_path / "out"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    Ci("github", environ, told.append).finish(result, [], Artifacts(tmp_path))
    assert (tmp_path / "out").read_text() == "state=***\n"


def test_github_gets_each_mask_before_the_first_line_and_once() -> None:
    stream = io.StringIO()
    console = Console(stream, masks=Masks("github"))
    console.mask()
    console.info("one")
    redaction.hide("a-token-of-later")
    console.info("two")
    console.info("three")
    lines = stream.getvalue().splitlines()
    masks = [f"::add-mask::{text.replace('%', '%25')}" for text in (SECRET, *PEM.splitlines()[1:-1])]
    assert lines[:3] == masks
    assert [line.startswith("::add-mask::") for line in lines[3:]] == [False, True, False, False]
    assert lines[4] == "::add-mask::a-token-of-later"


@pytest.mark.parametrize("system", ["gitlab", "jenkins", ""])
def test_only_github_gets_masks(system: System) -> None:
    assert Masks(system)() == []
