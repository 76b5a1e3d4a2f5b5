"""docs/hazards.md: every number in code or tests has a row, every row has a test, and the last column is correct."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "hazards"))
PAGE = (ROOT / "docs" / "hazards.md").read_text(encoding="utf-8")
CITED = re.compile(r"\bhazards? (\d+(?:(?:, | and |, and )\d+)*)")


def test_rows_are_numbered_from_1_without_a_gap() -> None:
    rows = TOOL["hazards"](PAGE)
    assert rows == list(range(1, len(rows) + 1))


def test_every_hazard_number_in_the_code_has_a_row() -> None:
    files = [file for folder in ("bgci", "tests", "docs", "bench") for file in (ROOT / folder).rglob("*.[pm][yd]")]
    cited = {
        int(number)
        for file in files
        for found in CITED.findall(file.read_text(encoding="utf-8"))
        for number in re.findall(r"\d+", found)
    }
    assert cited
    assert cited <= set(TOOL["hazards"](PAGE))


def test_every_row_has_a_test_and_every_test_a_row() -> None:
    assert set(TOOL["tests_by_hazard"]()) == set(TOOL["hazards"](PAGE))


def test_the_column_of_tests_is_generated() -> None:
    assert TOOL["with_tests"](PAGE, TOOL["tests_by_hazard"]()) == PAGE, "run tools/hazards"
