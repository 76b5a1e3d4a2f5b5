"""The lines of a job's log, which is read in parts."""

from __future__ import annotations

from bgci.operations.run_log import LONGEST_LINE, OVERLONG, LogLines


def test_lines_do_not_depend_on_where_the_log_is_split() -> None:
    text = "one\ntwo\n\nthree\nrest"
    for size in range(1, len(text) + 1):
        lines = LogLines()
        parts = [text[at : at + size] for at in range(0, len(text), size)]
        assert [line for part in parts for line in lines.complete(part)] == ["one", "two", "", "three"]


def test_a_line_without_an_end_is_neither_kept_nor_shown() -> None:
    lines = LogLines()
    for _ in range(3):
        assert lines.complete("x" * (LONGEST_LINE + 1)) == []
        assert len(vars(lines)["_begun"]) <= LONGEST_LINE
    assert lines.complete("secret-tail\nnext\n") == [OVERLONG, "next"]
    assert lines.complete("x" * (LONGEST_LINE + 1) + "\nlast\n") == [OVERLONG, "last"]
