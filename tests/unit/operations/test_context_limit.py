"""The time limits of a command: of its requests, and of the deletion of its lock."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

from bgci.errors import AbortedError, ConflictError, UnavailableError
from bgci.interruption import SLACK, left
from bgci.operations.app_lock import DELETED, DELETED_ABORTED, DELETED_LATE, AppLock
from bgci.operations.context import LIMITS, stage
from bgci.options import Settings


@pytest.mark.parametrize("command", ["status", "prune", "publish", "remove", "undo", "release", "doctor"])
def test_a_command_has_a_fixed_limit_or_one_derived_from_its_timeout(tmp_path: Path, command: str) -> None:
    settings = replace(Settings(), artifacts=str(tmp_path), timeout=100.0)
    with stage(command, settings):
        limit = left()
    assert LIMITS.get(command, 100 + SLACK) - 5 < limit <= LIMITS.get(command, 100 + SLACK)
    assert left() == math.inf


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (AbortedError("Aborted.", signal_number=15, remedy=""), DELETED_ABORTED),
        (UnavailableError("No answer.", remedy=""), DELETED_LATE),
        (ConflictError("Locked.", remedy=""), DELETED),
    ],
)
def test_there_is_less_time_for_the_lock_after_a_signal_or_a_deadline(
    tmp_path: Path, error: Exception, seconds: float
) -> None:
    lock = mock.Mock()

    def carried_out() -> None:
        with stage("promote", replace(Settings(), artifacts=str(tmp_path))) as context:
            context.lock = lock
            raise error

    with pytest.raises(type(error)):
        carried_out()
    assert lock.release.mock_calls[0] == mock.call(seconds)


def test_a_signal_while_the_lock_is_removed_leaves_less_time_for_another_attempt() -> None:
    marathon, seconds = mock.Mock(), []
    marathon.free.return_value = marathon

    def remove_lock(lock_id: str) -> bool:
        seconds.append(left())
        if len(seconds) == 1:
            raise AbortedError("Aborted.", signal_number=15, remedy="")
        return True

    marathon.remove_lock = remove_lock
    lock = AppLock(marathon, "/web", mock.Mock(), 0.0, mock.Mock(), lambda owner: False)
    lock._own.append("/web-lock-1")
    with pytest.raises(AbortedError):
        lock.release()
    assert DELETED_ABORTED < seconds[0] <= DELETED
    assert seconds[1] <= DELETED_ABORTED
    assert not lock.owns("/web-lock-1")
