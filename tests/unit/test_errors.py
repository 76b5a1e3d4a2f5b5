"""The exit codes and their classes."""

from __future__ import annotations

import signal

import pytest

from bgci.dcos.marathon import Locked
from bgci.errors import (
    ERRORS,
    NAMES,
    AbortedError,
    BgciError,
    ConflictError,
    Failure,
    amended,
    exit_code,
)


@pytest.mark.parametrize("code", sorted(set(NAMES) - {0}))
def test_each_error_has_the_code_and_the_name_of_its_class(code: int) -> None:
    aborted = AbortedError("Why.", signal_number=code - 128, remedy="Do this.")
    error = ERRORS[code]("Why.", remedy="Do this.") if code in ERRORS else aborted
    assert (exit_code(error), error.name) == (code, NAMES[code])
    assert str(error) == "Why.\n  Do this."


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("It fails", "It fails."),
        ("Why?", "Why?"),
        ("Run `bgci status`", "Run `bgci status`"),
        ("a:\n  - b", "a:\n  - b"),
    ],
)
def test_a_message_ends_with_a_full_stop(given: str, shown: str) -> None:
    assert (BgciError(given).message, BgciError("A.", remedy=given).remedy) == (shown, shown)


def test_each_code_has_one_class() -> None:
    assert sorted(ERRORS) == list(range(1, 12))
    assert all(error.code == code for code, error in ERRORS.items())


@pytest.mark.parametrize("expected", [Exception, BgciError])
def test_a_signal_is_never_caught_as_a_handled_failure(expected: type[Exception]) -> None:
    assert not isinstance(AbortedError("aborted", signal_number=signal.SIGTERM), expected)


@pytest.mark.parametrize(
    "error",
    [
        ConflictError("It failed.", remedy="Try."),
        AbortedError("It failed", signal_number=15, remedy="Try."),
        Locked("/web", ["d1"], "said"),
    ],
)
def test_an_amended_error_is_a_new_error_of_the_same_class(error: Failure) -> None:
    before = error.message
    changed = amended(error, more="More.", remedy="")
    assert (type(changed), exit_code(changed)) == (type(error), exit_code(error))
    assert changed.message == f"{before.rstrip('.')}. More."
    assert changed.remedy == ""
    assert str(changed) == changed.message
    assert (error.message, bool(error.remedy)) == (before, True)
