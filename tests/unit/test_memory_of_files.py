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

MEBIBYTES = 150
RENDER = ("render", "--app", "web", "--revision", "v1", "--image", "i:1", "--template")
TEST = ("test", "--app", "web", "--revision", "v1", "--suite")
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
    # What a process has used at most, its parent's memory at the fork counts: so a small one starts it.
    launcher = "import resource, subprocess, sys; print(subprocess.run(sys.argv[1:]).returncode, file=sys.stderr); " + (
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
    )
    command = [sys.executable, "-S", "-c", launcher, sys.executable, "-m", "bgci", *words, name, *more]
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    ended = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    code, kibibytes = ended.stderr.split()[-2:]
    assert int(code) in (0, 2, 3), ended.stderr
    assert int(kibibytes) / 1024 <= MEBIBYTES


@pytest.mark.parametrize("one", ["<testcase/>", '<testcase a="" b="" c="" d="" e="" f="" g="" h="" i=""/>'])
def test_a_junit_file_of_too_many_parts_is_refused_before_it_is_parsed(one: str) -> None:
    with pytest.raises(ValueError, match="too many"):
        junit.read(full("<testsuite>", one, "</testsuite>", junit.MOST_BYTES).encode(), suite="s")


def test_a_junit_file_of_100000_tests_is_read() -> None:
    document = "<testsuite>" + '<testcase name="a" time="1"/>' * 100_000 + "</testsuite>"
    found = junit.read(document.encode(), suite="s")
    assert len(found) == 100_000
