"""The lines of a job's log, which is read in parts."""

from __future__ import annotations

from bgci.operations.run_watch import LONGEST_LINE, OVERLONG, LogLines


def test_lines_are_those_of_the_log_wherever_it_is_cut() -> None:
    text = "one\ntwo\n\nthree\nrest"
    for size in range(1, len(text) + 1):
        lines = LogLines()
        parts = [text[at : at + size] for at in range(0, len(text), size)]
        assert [line for part in parts for line in lines.complete(part)] == ["one", "two", "", "three"]


def test_a_line_that_never_ends_is_not_kept_and_shows_no_part_of_itself() -> None:
    lines = LogLines()
    for _ in range(3):
        assert lines.complete("x" * (LONGEST_LINE + 1)) == []
        assert len(vars(lines)["_begun"]) <= LONGEST_LINE
    assert lines.complete("secret-tail\nnext\n") == [OVERLONG, "next"]
    assert lines.complete("x" * (LONGEST_LINE + 1) + "\nlast\n") == [OVERLONG, "last"]
