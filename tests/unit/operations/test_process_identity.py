"""Whether the owner of a lock has certainly ended."""

from __future__ import annotations

import time

import pytest

from bgci.engine.lock import Owner, Way
from bgci.operations.process_identity import ASK_AGAIN, HasEnded

OWNER = Owner(Way.JOB, machine="elsewhere", process="7@1", task="web_run.1")


class Mesos:
    """It knows the tasks that have ended. ``asked``: how often it was."""

    def __init__(self) -> None:
        self.ended: set[str] = set()
        self.asked = 0

    def has_ended(self, task_id: str) -> bool:
        self.asked += 1
        return task_id in self.ended


def test_h65_the_owner_has_ended_when_mesos_reports_it_and_mesos_is_asked_only_at_intervals(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    mesos = Mesos()
    gone = HasEnded(mesos)
    assert [gone(OWNER), gone(OWNER)] == [False, False]
    mesos.ended.add(OWNER.task)
    assert not gone(OWNER)
    assert mesos.asked == 1
    now += ASK_AGAIN
    assert [gone(OWNER), gone(OWNER)] == [True, True]
    assert mesos.asked == 2


def test_the_end_of_an_owner_outside_of_the_cluster_is_known_only_on_its_machine() -> None:
    mesos = Mesos()
    assert not HasEnded(mesos)(Owner(Way.PROCESS, machine="elsewhere", process="7@1"))
    assert not HasEnded(None)(OWNER)
    assert mesos.asked == 0
