"""The exit codes and their classes."""

from __future__ import annotations

import signal

import pytest

from bgci.errors import ERRORS, NAMES, AbortedError, BgciError, exit_code, from_code


@pytest.mark.parametrize("code", sorted(set(NAMES) - {0}))
def test_a_code_from_another_process_becomes_the_error_of_that_code(code: int) -> None:
    error = from_code(code, "why", remedy="what to do")
    assert (exit_code(error), error.name) == (code, NAMES[code])
    assert str(error) == "why\n  what to do"


def test_each_code_has_one_class() -> None:
    assert len({error.code for error in ERRORS}) == len(ERRORS)


@pytest.mark.parametrize("expected", [Exception, BgciError])
def test_a_signal_is_never_taken_for_a_failure_that_is_handled(expected: type[Exception]) -> None:
    assert not isinstance(AbortedError("aborted", signal_number=signal.SIGTERM), expected)
