"""Ownership of apps: bgci never touches another app, and names a foreign server before it changes anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

from e2e.lab import App, until

COMMANDS = ("canary", "promote", "release")


@pytest.fixture
def pair(make_app: Callable[..., App]) -> tuple[App, App]:
    """A serving app of another team, and ours, whose template has the other's deployment group."""
    other = make_app(2, name="/other-{}")
    other.promote("v1")
    ours = make_app(2)
    ours.definition["labels"]["HAPROXY_DEPLOYMENT_GROUP"] = other.group
    return other, ours


@pytest.mark.parametrize("command", COMMANDS)
def test_h51_another_app_of_the_group_is_a_conflict_before_anything_changes(
    pair: tuple[App, App], command: str
) -> None:
    other, ours = pair
    before = other.state()
    for revision in ("v1", "v2"):  # the other app's own revision name is nobody's business either
        ran = ours.run(command, revision, expect=6)
        for part in (
            f"{other.id}-blue",
            ours.id,
            f"HAPROXY_DEPLOYMENT_GROUP={other.group}",
            "different deployment group",
        ):
            assert part in ran.text
        assert f"--replaces {other.id}" in ran.text
    assert other.state() == before


@pytest.mark.parametrize("command", ["canary", "rollback", "publish", "release"])
def test_h51_another_app_of_the_group_is_a_conflict_for_jobs_and_dry_runs(pair: tuple[App, App], command: str) -> None:
    other, ours = pair
    before = other.state()
    if command != "rollback":
        assert other.id in ours.run(command, "v1", "--dry-run", expect=6).text
    for via in ("direct", "job"):
        assert other.id in ours.run(command, "v1", expect=6, BGCI_VIA=via).text
    assert other.state() == before
    assert not [name for name in ours.lab.jobs() if name.startswith(ours.id.strip("/"))]


def test_h51_doctor_names_another_app_of_the_group(pair: tuple[App, App]) -> None:
    other, ours = pair
    ran = ours.run("doctor", "v1", expect=6)
    assert other.id in ran.text


def test_h51_an_app_of_the_same_name_in_another_folder_is_another_app(make_app: Callable[..., App]) -> None:
    theirs = make_app(1, name="/tb-{}/web")
    theirs.promote("v1")
    before = theirs.state()
    ours = make_app(1, name="/ta-{}/web")
    ours.definition["labels"]["HAPROXY_DEPLOYMENT_GROUP"] = theirs.group
    assert f"{theirs.id}-blue" in ours.run("release", "v1", expect=6).text
    assert theirs.state() == before


def test_an_app_with_a_new_name_is_released_when_replaces_names_the_old_one(pair: tuple[App, App]) -> None:
    other, ours = pair
    ours.definition["container"]["portMappings"] = other.definition["container"]["portMappings"]
    ours.definition["labels"]["HAPROXY_DEPLOYMENT_ALT_PORT"] = other.definition["labels"]["HAPROXY_DEPLOYMENT_ALT_PORT"]
    ours.run("promote", "v2", "--replaces", other.id)
    assert [app["id"] for app in other.apps()] == [f"{ours.id}-green"]


def test_h52_a_renamed_group_is_a_conflict_with_both_names(app: App) -> None:
    app.promote("v1")
    before = app.state()
    app.write("v2", labels={"HAPROXY_DEPLOYMENT_GROUP": f"{app.group}-renamed"})
    for command in COMMANDS:
        ran = app.run(command, "v2", expect=6)
        assert f"'{app.group}'" in ran.text
        assert f"'{app.group}-renamed'" in ran.text
    assert app.state() == before


def test_h53_a_stranger_on_the_service_port_is_named_before_anything_is_created(
    app: App, make_app: Callable[..., App]
) -> None:
    stranger = make_app(1, name="/hand-{}")
    stranger.definition["container"]["portMappings"][0]["servicePort"] = app.port
    stranger.promote("v1")
    until(lambda: requests.get(f"http://127.0.0.1:{app.port}/", timeout=10).ok)
    ran = app.run("canary", "v1", expect=6)
    assert f"{stranger.id}-blue (not ours)" in ran.text
    assert "100% of the traffic" in ran.text
    assert app.apps() == []


def test_h53_a_stranger_during_a_release_is_a_warning_and_is_listed_by_status(
    app: App, make_app: Callable[..., App]
) -> None:
    app.promote("v1")
    app.canary("v2")
    stranger = make_app(1, name="/hand-{}")
    stranger.definition["container"]["portMappings"][0]["servicePort"] = app.port
    definition = {**stranger.definition, "id": f"{stranger.id}-blue"}
    definition["container"]["docker"]["image"] = "image:v1"
    app.lab.marathon.create(definition)
    until(lambda: any(one["app"] == f"{stranger.id}-blue" for one in app.status()["strangers"]))
    assert "(not ours)" in app.run("status").out
    ran = app.promote("v2")
    assert f"{stranger.id}-blue (not ours)" in ran.text
    app.lab.marathon.delete(f"{stranger.id}-blue")
