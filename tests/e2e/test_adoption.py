"""`bgci doctor --adopt`: suggests the adoption without a restart first, and a restart never leaves the app locked."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import requests

from e2e.lab import App, Json, Ran, until
from e2e.test_doctor import GROUP, STARTED, doctor, foreign, outcomes, row

APP_ID = "HAPROXY_APP_ID"
RESTART = ("--adopt", "--adopt-restart")
NO_ROOM = {"minimumHealthCapacity": 1, "maximumOverCapacity": 0}


def running(app: App, app_id: str) -> Json:
    found: Json = requests.get(f"{app.lab.marathon.url}/v2/apps{app_id}", timeout=10).json()["app"]
    return found


def tasks(app: App, app_id: str) -> set[str]:
    return {task["id"] for task in running(app, app_id)["tasks"]}


def pasted(app: App, command: str) -> Ran:
    """Runs the command as a user pastes it."""
    program, *words = shlex.split(command)
    assert program == "bgci"
    ran = app.lab.start(*words, directory=app.directory).end()
    assert ran.code == 0, ran.text
    return ran


def test_a_manually_deployed_app_is_restarted_for_adoption_only_on_request(app: App) -> None:
    with foreign(app, app.id, {}, upgradeStrategy={"minimumHealthCapacity": 1, "maximumOverCapacity": 0.5}):
        before = tasks(app, app.id)
        refused = app.run("canary", "v1", expect=6)
        assert f"`bgci doctor --app {app.id.strip('/')} --adopt`" in refused.text
        seen = row(doctor(app, expect=6), "baseline", "failure")
        assert seen["command"] == f"bgci doctor --app {app.id} --adopt"
        offered = row(doctor(app, "--adopt", expect=6), "adopt", "failure")
        for part in ("replaces 2 tasks", "at least 2 of 2", "at most 3", f"{GROUP}={app.group}"):
            assert part in offered["found"]
        assert tasks(app, app.id) == before
        adopted = pasted(app, offered["command"])
        assert "is adopted" in adopted.out
        assert not tasks(app, app.id) & before
        rows = doctor(app, "--adopt")
        assert outcomes(rows) == {"ok"}
        assert "can be a baseline" in row(rows, "baseline", "ok")["found"]
        app.canary("v1")
        app.rollback("v1")  # drained, as beside a baseline of our own: nothing to force
        app.promote("v1")


@pytest.mark.parametrize("least", [0, 0.5, 1])
def test_h57_adoption_ends_where_the_apps_own_strategy_would_lock_it_for_ever(app: App, least: float) -> None:
    with foreign(app, app.id, {}, upgradeStrategy={"minimumHealthCapacity": least, "maximumOverCapacity": 0}):
        assert "is adopted" in row(doctor(app, *RESTART), "adopt", "ok")["found"]
        assert running(app, app.id)["upgradeStrategy"] == {"minimumHealthCapacity": 1, "maximumOverCapacity": 0.5}


def test_h57_a_single_instance_that_would_stay_locked_is_not_touched(app: App) -> None:
    labels = {"MARATHON_SINGLE_INSTANCE_APP": "true"}
    strategy = {"minimumHealthCapacity": 0, "maximumOverCapacity": 0}
    with foreign(app, app.id, labels, instances=1, upgradeStrategy=strategy):
        before = running(app, app.id)["version"]
        refused = row(doctor(app, *RESTART, expect=6), "adopt", "failure")
        assert "never ends" in refused["found"]
        assert f"dcos marathon app remove {app.id}" in refused["remedy"]
        assert running(app, app.id)["version"] == before


def no_room_for_another_task(app: App) -> AbstractContextManager[str]:
    """A fixed host port leaves no room for a second task, so that the adoption waits."""
    mapping = {**app.definition["container"]["portMappings"][0], "hostPort": app.port + 5000}
    container = {**app.definition["container"], "docker": {"image": "x"}, "portMappings": [mapping]}
    return foreign(app, app.id, {}, instances=1, container=container, upgradeStrategy=NO_ROOM)


def test_h57_an_adoption_that_does_not_end_in_time_is_cancelled_and_leaves_no_lock(app: App) -> None:
    with no_room_for_another_task(app):
        ended = row(doctor(app, *RESTART, "--timeout", "10s", expect=6), "adopt", "failure")
        assert ended["exit_name"] == "timeout"
        assert "No deployment holds the app, it has its earlier labels again" in ended["found"]
        until(lambda: app.lab.marathon.counts(app.id) == (1, 1, []))


def test_h57_an_aborted_adoption_leaves_no_lock(app: App) -> None:
    with no_room_for_another_task(app):
        before = tasks(app, app.id)
        command = app.start("doctor", "v9", *RESTART)
        until(lambda: app.lab.marathon.counts(app.id)[2])
        command.process.send_signal(signal.SIGTERM)
        ended = command.end()
        assert ended.code == 143
        assert "No deployment holds the app, it has its earlier labels again" in ended.text
        assert app.lab.marathon.counts(app.id) == (1, 1, [])
        assert tasks(app, app.id) == before


def test_an_app_without_tasks_is_adopted_without_a_restart(app: App) -> None:
    with foreign(app, app.id, {}, instances=0, upgradeStrategy=NO_ROOM):
        assert "is adopted" in row(doctor(app, "--adopt"), "adopt", "ok")["found"]
        assert running(app, app.id)["labels"][APP_ID] == app.id
        assert running(app, app.id)["upgradeStrategy"] == NO_ROOM


def test_a_member_of_the_group_is_adopted_by_the_suggested_release(app: App) -> None:
    with foreign(app, f"{app.id}-blue", {GROUP: app.group}, upgradeStrategy=NO_ROOM):
        before = tasks(app, f"{app.id}-blue")
        offered = row(doctor(app, "--adopt"), "adopt", "warning")
        assert "Not needed" in offered["remedy"]
        assert tasks(app, f"{app.id}-blue") == before
        with app.load():
            pasted(app, offered["command"])
        assert app.healthy() == {"v9": 2}


def test_an_app_in_another_group_is_adopted_with_its_group_in_the_template(app: App) -> None:
    other = f"{app.group}-old"
    with foreign(app, app.id, {GROUP: other}):
        before = tasks(app, app.id)
        offered = row(doctor(app, "--adopt", expect=6), "adopt", "failure")
        assert f"{GROUP}={other} in the template" in offered["remedy"]
        app.write("v1", labels={GROUP: other})
        app.promote("v1")
        assert [one["labels"]["BGCI_REVISION"] for one in app.lab.marathon.apps(other)] == ["v1"]
        assert not before & {task["id"] for one in app.lab.marathon.apps(other) for task in one["tasks"]}
        app.lab.marathon.delete(f"{app.id}-green")
        app.lab.marathon.delete(f"{app.id}-blue")


@pytest.fixture
def renamed(make_app: Callable[..., App]) -> App:
    """An app whose template has another name than what runs: ``<id>-old``, in its group."""
    return make_app(2)


def test_h51_an_app_under_another_name_is_moved_by_the_suggested_release(renamed: App) -> None:
    old = f"{renamed.id}-old"
    with foreign(renamed, old, {GROUP: renamed.group}):
        refused = renamed.run("canary", "v9", expect=6)
        assert f"--replaces {old}" in refused.text
        offered = row(doctor(renamed, "--adopt", expect=6), "adopt", "failure")
        assert f"--adopt --adopt-restart --replaces {old}`" in offered["remedy"]
        with renamed.load():
            pasted(renamed, offered["command"])
        assert renamed.healthy() == {"v9": 2}


def test_h51_an_app_under_another_name_is_adopted_only_when_the_user_names_it(renamed: App) -> None:
    old = f"{renamed.id}-old"
    with foreign(renamed, old, {GROUP: renamed.group}, upgradeStrategy=NO_ROOM):
        before = running(renamed, old)["version"]
        row(doctor(renamed, *RESTART, expect=6), "adopt", "failure")
        assert running(renamed, old)["version"] == before
        assert "is adopted" in row(doctor(renamed, *RESTART, "--replaces", old), "adopt", "ok")["found"]
        assert running(renamed, old)["labels"][APP_ID] == renamed.id
        assert outcomes(doctor(renamed, "--adopt")) == {"ok"}
        with renamed.load():
            renamed.canary("v1")
            renamed.rollback("v1")
            renamed.promote("v1")
        assert renamed.healthy() == {"v1": 2}


def test_two_apps_side_by_side_are_not_adopted(app: App) -> None:
    mapping = [{**app.definition["container"]["portMappings"][0], "servicePort": app.port + 5000}]
    container: dict[str, Any] = {**app.definition["container"], "docker": {"image": "x"}, "portMappings": mapping}
    with (
        foreign(app, f"{app.id}-blue", {GROUP: app.group, STARTED: "2020-01-01T00:00:00"}),
        foreign(app, f"{app.id}-green", {GROUP: app.group, STARTED: "2020-01-02T00:00:00"}, container=container),
    ):
        assert "side by side" in row(doctor(app, "--adopt", expect=6), "adopt", "failure")["found"]


def test_an_app_deployed_by_bgci_needs_no_adoption(app: App) -> None:
    app.promote("v1")
    assert "nothing to adopt" in row(doctor(app, "--adopt"), "adopt", "ok")["found"]
