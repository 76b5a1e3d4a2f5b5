"""The driver and a stale task id, which no longer means the task of the decision."""

from __future__ import annotations

import sys
from collections.abc import Callable

import requests

from bgci.dcos.http import Http
from bgci.dcos.marathon import Marathon
from bgci.engine.decisions import Goal, Kill, Kind, Policy, Release
from bgci.engine.ownership import Claim
from bgci.engine.rollout import Rollout
from bgci.operations.observer import Observer
from bgci.operations.rollout_driver import Driver
from bgci.reporting.console import Console
from bgci.reporting.journal import Journal
from e2e.lab import App, Lab, until


def test_h21_a_stale_task_id_kills_no_task_and_changes_no_count(lab: Lab, make_app: Callable[..., App]) -> None:
    app = make_app(1)
    assert app.canary("v1").code == 0
    (running,) = app.apps()
    marathon = Marathon(Http(lab.where["marathon_url"]))
    observer = Observer(marathon, [], claim=Claim(app.id, app.group))
    driver = Driver(marathon, observer, journal=Journal(None), console=Console(sys.stdout))
    rollout = Rollout(Goal(Kind.PROMOTE, "v1", target=1), Policy())
    seen = driver.observer.observe(app.group)
    rollout.decide(seen)
    stale = seen.apps[0].tasks[0].id

    def task_ids() -> list[str]:
        found = marathon.app(running["id"])
        return [task.id for task in found.app.tasks if not task.dying] if found else []

    # The instance lives on: its next task has another id, and Marathon takes the old id for the new task.
    requests.post(f"{lab.where['marathon_url']}/v2/tasks/delete", json={"ids": [stale]}, timeout=10).raise_for_status()
    (fresh,) = until(lambda: [task for task in task_ids() if task != stale])
    driver._perform(Kill((stale,)), seen, rollout, Release(app.group, "v1"))
    (after,) = app.apps()
    assert after["instances"] == 1
    assert task_ids() == [fresh]
