"""The largest files that are read, full of the smallest values: no command takes more than 150 MiB of memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bgci.bounded import MOST_OF_A_FILE
from bgci.configuration import MOST_OF_A_CONFIGURATION
from bgci.operations.suites import MOST_OF_A_SUITE
from bgci.reporting import junit
from bgci.reporting.journal_reader import MOST_OF_A_JOURNAL
from bgci.reporting.page import MAX_JOURNAL

MEBIBYTES = 150
RENDER = ("render", "--app", "web", "--revision", "v1", "--image", "i:1", "--template")
TEST = ("test", "--app", "web", "--revision", "v1", "--suite")
SAMPLE = (
    '{"time":"2026-01-01T00:00:01Z","event":"sample","offset":1,"canary":{"requests":1,"errors":0},'
    '"baseline":{"requests":1,"errors":0}}\n'
)
LARGEST = ("<testsuite>", f'<testcase name="{"n" * 200}"/>', "</testsuite>")
LINE = '{"time":"2026-01-01T00:00:00Z","event":"observed","now":1,"full":{"a":['


def full(first: str, one: str, last: str, most: int) -> str:
    """A text of that many characters."""
    return first + one * ((most - len(first) - len(last)) // len(one)) + last


TEMPLATES = {
    "objects.template.json": full('{"id": ["{{ image }}",', '{"a":[]},', "1]}", 1_190_000),
    "wide.template.json": full('{"id": "{{ image }}\U0001f600', "a", '"}', 1_190_000),
    "inserted.template.json": '{% set a = image * 9000000 %}{"id": "{{ a ~ a ~ a }}"}',
    "numbers.template.yaml": full("# {{ image }}\nid: [", "1,", "1]", MOST_OF_A_FILE),
}
FILES: dict[str, tuple[tuple[str, ...], str]] = {
    **{name: (RENDER, text) for name, text in TEMPLATES.items()},
    "numbers.canary.yaml": (TEST, full("checks: [", "1,", "1]", MOST_OF_A_SUITE)),
    "numbers.toml": (("--config",), full("template-env = [", "1,", "1]", MOST_OF_A_CONFIGURATION)),
    "objects.jsonl": (("replay",), full(LINE, "{},", "1]}}\n", MOST_OF_A_JOURNAL)),
    "blanks.jsonl": (("replay",), "\n" * MOST_OF_A_JOURNAL),
}


@pytest.mark.parametrize("name", FILES)
def test_no_file_takes_more_than_150_mebibytes(tmp_path: Path, name: str) -> None:
    words, text = FILES[name]
    (tmp_path / name).write_text(text, encoding="utf-8")
    more = ("slug", "x") if words == ("--config",) else ()
    code, mebibytes, said = ended(tmp_path, *words, name, *more)
    assert code in (0, 2, 3), said
    assert mebibytes <= MEBIBYTES


JOURNALS = {
    "blank lines": "\n" * MAX_JOURNAL,
    "a line": "x" * MAX_JOURNAL,
    "a wide line": "\U0001f600" + "x" * (MAX_JOURNAL - 4),
    "results": full("", '{"time":"2026-01-01T00:00:00Z","event":"result","code":0}\n', "", MAX_JOURNAL),
    "samples": full("", SAMPLE, "", MAX_JOURNAL),
}


@pytest.mark.parametrize("name", JOURNALS)
def test_no_journal_of_a_page_takes_more_than_150_mebibytes(tmp_path: Path, name: str) -> None:
    (tmp_path / "bgci-artifacts" / "junit").mkdir(parents=True)
    (tmp_path / "bgci-artifacts" / "journal.jsonl").write_text(JOURNALS[name], encoding="utf-8")
    for number in range(3):
        (tmp_path / "bgci-artifacts" / "junit" / f"{number}.xml").write_text(full(*LARGEST, junit.MOST_BYTES // 2))
    (tmp_path / "t.json").write_text("{}")
    code, mebibytes, said = ended(tmp_path, *RENDER, "t.json")
    assert code == 3, said
    assert (tmp_path / "bgci-artifacts" / "report.html").exists()
    assert mebibytes <= MEBIBYTES


def ended(place: Path, *words: str) -> tuple[int, float, str]:
    """The command's exit code, its memory in MiB, and what it said."""
    # What a process has used at most, its parent's memory at the fork counts: so a small one starts it.
    launcher = "import resource, subprocess, sys; print(subprocess.run(sys.argv[1:]).returncode, file=sys.stderr); " + (
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
    )
    command = [sys.executable, "-S", "-c", launcher, sys.executable, "-m", "bgci", *words]
    environ = {"PATH": os.environ["PATH"], "HOME": str(place)}
    found = subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, check=False)
    code, kibibytes = found.stderr.split()[-2:]
    return int(code), int(kibibytes) / 1024, found.stderr


@pytest.mark.parametrize("one", ["<testcase/>", '<testcase a="" b="" c="" d="" e="" f="" g="" h="" i=""/>'])
def test_a_junit_file_of_too_many_parts_is_refused_before_it_is_parsed(one: str) -> None:
    with pytest.raises(ValueError, match="too many"):
        junit.read(full("<testsuite>", one, "</testsuite>", junit.MOST_BYTES).encode(), suite="s")


def test_a_junit_file_of_100000_tests_is_read() -> None:
    document = "<testsuite>" + '<testcase name="a" time="1"/>' * 100_000 + "</testsuite>"
    found = junit.read(document.encode(), suite="s")
    assert len(found) == 100_000
