"""The first deployment in stages, its rollback, and the last steps: undo, remove, a canary that is cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from e2e.faulty import proxy
from e2e.lab import App, Ran

SUITE = """
checks:
  - name: it is the new one
    path: /
    expect: {headers: {X-Revision: "${revision}"}}
  - name: the load balancer answers
    target: load-balancer
    path: /
    expect: {status: 200}
  - name: its share
    target: load-balancer
    path: /
    repeat: 20
    expect: {share: {header: {X-Revision: "${revision}"}, at_least: 10%, at_most: 90%}}
"""
BROKEN = """
checks:
  - name: a page that the new one answers with an error
    path: /?status=500
    expect: {status: 200}
"""
SICK = {"SANDBOX_HEALTH": "fail"}
LIMITS = {"direct": "6s", "job": "15s"}  # a job starts, and has its own time, within a part of it


@pytest.fixture(params=["direct", "job"])
def via(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def suite(app: App, text: str) -> None:
    (app.directory / f"{app.id.strip('/')}.canary.yaml").write_text(text)


def sick(app: App, revision: str) -> None:
    """A revision whose health check fails from the first time on."""
    checks = [{**check, "gracePeriodSeconds": 1} for check in app.definition["healthChecks"]]
    app.write(revision, env=SICK, healthChecks=checks)


def published(app: App, via: str, *revisions: str) -> None:
    for revision in revisions if via == "job" else ():
        app.publish(revision)


def in_empty_directory(app: App, directory: Path, *words: str, expect: int = 0, **environment: str) -> Ran:
    """A command without template, image or artifacts."""
    directory.mkdir(exist_ok=True)
    ran = app.lab.start(*words, "--app", app.id, directory=directory, **environment).end()
    assert ran.code == expect, ran.text
    return ran


# -- the first deployment ---------------------------------------------------------------------------------------------


def test_a_first_deployment_in_stages_succeeds_and_each_stage_can_be_repeated(app: App, via: str) -> None:
    suite(app, SUITE)
    published(app, via, "v1")
    for _ in range(2):
        app.canary("v1", BGCI_VIA=via)
        tested = app.run("test", "v1", "--judge-for", "5s")
        assert "v1 serves alone: there is no baseline to compare it with" in tested.text
        assert (tested.result["tests"]["failed"], tested.result["tests"]["skipped"]) == (0, 1)
        app.promote("v1", BGCI_VIA=via)
    assert app.healthy() == {"v1": 2}


def test_a_first_deployment_that_never_gets_healthy_is_removed_by_its_rollback(app: App, via: str) -> None:
    sick(app, "v1")
    published(app, via, "v1")
    app.canary("v1", "--timeout", LIMITS[via], expect=8, BGCI_VIA=via)
    assert app.runs() == {"v1": 2}
    app.rollback("v1", BGCI_VIA=via)
    assert app.runs() == {}
    assert app.rollback("v1", BGCI_VIA=via).result["message"].startswith("Nothing to do.")


def test_a_release_of_a_first_revision_that_never_gets_healthy_ends_with_8_and_leaves_no_app(
    app: App, via: str
) -> None:
    sick(app, "v1")
    ran = app.run("release", "v1", "--timeout", LIMITS[via], expect=8, BGCI_VIA=via)
    assert "v1 was removed: it is the first revision, and it never served" in ran.result["message"]
    assert app.runs() == {}


def test_a_first_revision_that_serves_cannot_be_rolled_back_and_remove_is_named(app: App, via: str) -> None:
    published(app, via, "v1")
    app.promote("v1", BGCI_VIA=via)
    ran = app.rollback("v1", expect=6, BGCI_VIA=via)
    assert "bgci remove" in ran.text
    assert app.healthy() == {"v1": 2}


# -- undo -------------------------------------------------------------------------------------------------------------


def test_undo_brings_back_the_earlier_revision_with_only_the_app_given(app: App, via: str, tmp_path: Path) -> None:
    published(app, via, "v1", "v2")
    app.write("v1", env={"OWN": "{{ revision }} 'and' {# text #}"})
    app.promote("v1", BGCI_VIA="direct")
    before = app.apps()[0]["env"]
    app.promote("v2", BGCI_VIA=via)
    with app.load():
        ran = in_empty_directory(app, tmp_path / "empty", "undo", BGCI_VIA=via)
    assert app.healthy() == {"v1": 2}
    assert ran.result["revision"] == "v1"
    assert via == "job" or app.apps()[0]["env"] == before
    assert app.apps()[0]["container"]["docker"]["image"] == "image:v1"
    in_empty_directory(app, tmp_path / "empty", "undo", BGCI_VIA=via)  # undone: v2 is back
    assert app.healthy() == {"v2": 2}


def test_undo_without_jobs_uses_the_records_in_the_app(app: App, tmp_path: Path) -> None:
    app.promote("v1")
    app.promote("v2")
    refused = in_empty_directory(app, tmp_path / "empty", "undo", expect=6, BGCI_VIA="job")
    assert "--via direct" in refused.text
    in_empty_directory(app, tmp_path / "empty", "undo", BGCI_VIA="auto")
    assert app.healthy() == {"v1": 2}


def test_undo_of_a_first_revision_and_beside_a_canary_is_a_conflict(app: App, tmp_path: Path) -> None:
    assert "nothing to undo" in in_empty_directory(app, tmp_path / "empty", "undo", expect=6).text
    app.promote("v1")
    assert "bgci remove" in in_empty_directory(app, tmp_path / "empty", "undo", expect=6).text
    app.canary("v2")
    assert "bgci rollback" in in_empty_directory(app, tmp_path / "empty", "undo", expect=6).text
    assert app.healthy() == {"v1": 2, "v2": 1}


def test_undo_brings_back_an_app_that_was_deployed_by_another_tool(app: App, tmp_path: Path) -> None:
    app.promote("v1")
    by_hand = app.apps()[0]
    labels = {name: value for name, value in by_hand["labels"].items() if not name.startswith("BGCI_")}
    requests.put(f"{app.lab.marathon_url}/v2/apps{by_hand['id']}", json={"labels": labels}, timeout=10)
    app.lab.marathon.scale(by_hand["id"], 2)
    app.promote("v2")
    ran = in_empty_directory(app, tmp_path / "empty", "undo")
    assert ran.result["revision"] == "before-v2"
    assert app.healthy() == {"before-v2": 2}


def test_prune_keeps_the_jobs_of_the_revision_that_served_before(app: App) -> None:
    for revision in ("v1", "v2", "v3"):
        app.publish(revision)
        app.promote(revision, BGCI_VIA="job")
    app.run("prune", "", "--keep", "0")
    kept = {job.split("-")[2] for job in app.lab.jobs() if job.startswith(app.id.strip("/"))}
    assert kept == {"v2", "v3"}


# -- remove -----------------------------------------------------------------------------------------------------------


def test_remove_takes_both_colours_and_all_jobs_and_is_safe_to_repeat(app: App, via: str, tmp_path: Path) -> None:
    app.publish("v1")
    app.publish("v2")
    app.promote("v1", BGCI_VIA=via)
    app.canary("v2", BGCI_VIA=via)
    asked = in_empty_directory(app, tmp_path / "empty", "remove", expect=2, BGCI_VIA=via)
    assert "--yes" in asked.text
    planned = in_empty_directory(app, tmp_path / "empty", "remove", "--dry-run", BGCI_VIA=via)
    assert len(planned.result["plan"]) == 8
    assert app.healthy() == {"v1": 2, "v2": 1}
    ran = in_empty_directory(app, tmp_path / "empty", "remove", "--yes", BGCI_VIA=via)
    assert "cannot drain it" in ran.text
    assert (f"Started {app.id.strip('/')}-remove" in ran.text) == (via == "job")
    assert len(ran.result["removed"]) == 8
    assert app.apps() == []
    assert not [job for job in app.lab.jobs() if job.startswith(app.id.strip("/"))]
    again = in_empty_directory(app, tmp_path / "empty", "remove", "--yes", BGCI_VIA=via)
    assert again.result["changed"] is False


def test_remove_touches_no_other_app_of_the_group(make_app: Callable[..., App], tmp_path: Path) -> None:
    app, other = make_app(), make_app(1)
    app.promote("v1")
    other.promote("v1")
    in_empty_directory(app, tmp_path / "empty", "remove", "--yes")
    assert (app.runs(), other.healthy()) == ({}, {"v1": 1})


# -- the way back -----------------------------------------------------------------------------------------------------


def test_an_emergency_rollback_needs_only_app_and_revision(app: App, via: str, tmp_path: Path) -> None:
    published(app, via, "v1", "v2")
    app.promote("v1", BGCI_VIA=via)
    app.canary("v2", BGCI_VIA=via)
    image = {"BGCI_JOB_IMAGE": "another-bgci:2"} if via == "job" else {}
    in_empty_directory(app, tmp_path / "empty", "rollback", "--revision", "v2", BGCI_VIA=via, **image)
    assert app.healthy() == {"v1": 2}


@pytest.mark.parametrize("strategy", ["bluegreen", "rolling"])
def test_a_rejected_canary_is_removed_sooner_with_cut_than_by_draining(
    make_app: Callable[..., App], via: str, strategy: str
) -> None:
    app = make_app(3)
    app.promote("v1", BGCI_VIA="direct")
    suite(app, BROKEN)
    options = ("--strategy", strategy, "--on-rejected", "cut")
    ran = app.run("release", "v2", *options, expect=10, BGCI_VIA=via)
    assert "killed at once" in ran.text
    assert ran.result["cause"]["exit_code"] == 7
    assert ran.result["cause"]["served_on_seconds"] < 5
    assert app.healthy() == {"v1": 3}
    app.canary("v3", BGCI_VIA="direct")
    app.rollback("v3", "--cut")
    assert app.healthy() == {"v1": 3}


def test_a_cut_holds_for_one_rollback_and_is_not_kept_in_its_job(app: App) -> None:
    app.publish("v2")
    app.promote("v1")
    for cut in (True, False):
        app.canary("v2")
        ran = app.rollback("v2", *["--cut"][: int(cut)], BGCI_VIA="job")
        assert ("Delete" in ran.text, "killed at once" in ran.text) == (True, cut)


@pytest.mark.parametrize(("status", "code"), [(422, 3), (409, 6)])
def test_a_release_that_marathon_refuses_before_any_change_ends_with_the_code_of_the_refusal(
    app: App, status: int, code: int
) -> None:
    app.promote("v1")
    before = app.state()
    with proxy(app.lab.where["cluster_url"]) as refusing:
        refusing.fault = lambda method, path, body: status if (method, path[-5:]) == ("POST", "/apps") else None
        ran = app.run("release", "v2", expect=code, BGCI_CLUSTER_URL=refusing.url)
    assert "Rolling back" not in ran.text
    assert app.state() == before


# -- what runs is what was asked for ----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["promote", "canary", "test"])
def test_a_stage_with_another_image_than_the_canary_is_a_conflict_with_both(app: App, command: str) -> None:
    suite(app, SUITE)
    app.promote("v1")
    app.canary("v2")
    words = [command, "--app", app.id, "--revision", "v2", "--image", "image:other"]
    ran = app.lab.start(*words, directory=app.directory).end()
    assert ran.code == 6, ran.text
    assert "image:v2" in ran.text
    assert "image:other" in ran.text
    assert app.healthy() == {"v1": 2, "v2": 1}


def test_a_promotion_from_another_definition_than_the_canary_is_a_conflict_with_the_difference(app: App) -> None:
    app.promote("v1")
    app.canary("v2")
    app.write("v2", env={"NEW": "value"})
    assert '"NEW": "value"' in app.promote("v2", expect=6).text
    app.write("v2", instances=3)
    app.promote("v2")
    assert app.healthy() == {"v2": 3}
