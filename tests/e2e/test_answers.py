"""Answers of commands: status, release, dry runs, and the artifacts."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Callable

import pytest

from e2e.lab import BGCI, App


def test_status_without_running_apps_is_empty(app: App) -> None:
    app.publish("v1")
    assert "nothing runs" in app.run("status").out
    assert app.status()["state"]["apps"] == []


def test_status_without_an_app_lists_all_and_an_unknown_one_is_a_conflict_with_near_names(app: App) -> None:
    app.promote("v1")
    app.canary("v2")
    for form in ((), ("--output", "json")):
        listed = app.lab.start("status", *form, directory=app.directory).end()
        assert (listed.code, app.id in listed.out) == (0, True)
    row = next(row for row in json.loads(listed.out)["apps"] if row["app"] == app.id)
    assert (row["state"], row["revisions"], row["instances"]) == ("hybrid", ["v1", "v2"], 3)
    unknown = app.lab.start("status", "--app", f"{app.id}x", directory=app.directory).end()
    assert unknown.code == 6, unknown.text
    assert app.id in unknown.err.partition("Did you mean")[2]


def test_the_share_at_a_load_balancer_that_cannot_be_read_is_unknown(app: App) -> None:
    app.promote("v1")
    ran = app.run("status", BGCI_MARATHON_LB_URL="http://127.0.0.1:9")
    assert ran.out.count("unknown") == 2
    assert "0%" not in ran.out


def test_output_into_a_closed_pipe_ends_with_141(app: App) -> None:
    app.promote("v1")
    reader, writer = os.pipe()
    os.close(reader)
    command = [*BGCI, "status", "--app", app.id]
    environment = app.lab.environment()
    ended = subprocess.run(
        command, cwd=app.directory, env=environment, stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert (ended.returncode, "Broken" in ended.stderr, "Traceback" in ended.stderr) == (141, False, False)


def test_status_of_a_hybrid_as_text_and_as_json(make_app: Callable[..., App]) -> None:
    app = make_app(4)
    app.publish("v2")
    app.promote("v1")
    app.canary("v2")
    text = app.run("status").out
    assert "hybrid" in text
    assert "75%" in text
    assert "3 up 1 out" in text
    found = app.status()
    assert {one["revision"]: one["instances"] for one in found["state"]["apps"]} == {"v1": 4, "v2": 1}
    assert found["share"] == {app.id_of("v1"): 0.75, app.id_of("v2"): 0.25}
    assert [job["revision"] for job in found["jobs"]] == ["v2", "v2", "v2"]
    assert found["group"] == app.group


def test_release_deploys_a_first_revision_and_replaces_it_with_the_next(app: App) -> None:
    app.run("release", "v1", BGCI_VIA="job")
    assert app.healthy() == {"v1": 2}
    with app.load():
        done = app.run("release", "v2")
    assert app.healthy() == {"v2": 2}
    assert done.result["command"] == "release"
    assert done.result["name"] == "ok"


def test_release_that_fails_is_rolled_back_and_names_the_cause(app: App) -> None:
    app.promote("v1")
    app.write("v2", env={"SANDBOX_HEALTH": "fail"})
    with app.load():
        failed = app.run("release", "v2", "--timeout", "4s", expect=10)
    assert app.healthy() == {"v1": 2}
    assert failed.result["name"] == "rolled-back"
    assert failed.result["cause"]["exit_code"] == 8
    assert "0 of 1 instances" in failed.result["cause"]["message"]


def test_release_that_fails_is_not_rolled_back_with_on_failure_leave(app: App) -> None:
    app.promote("v1")
    app.write("v2", env={"SANDBOX_HEALTH": "fail"})
    failed = app.run("release", "v2", "--timeout", "3s", "--on-failure", "leave", expect=8)
    assert failed.result["cause"]["exit_code"] == 8
    assert app.runs() == {"v1": 2, "v2": 1}


def test_release_that_fails_without_a_baseline_keeps_its_exit_code(app: App) -> None:
    app.write("v1", env={"SANDBOX_HEALTH": "fail"})
    failed = app.run("release", "v1", "--timeout", "3s", expect=8)
    assert failed.result["cause"]["exit_code"] == 8


@pytest.mark.parametrize("missing", ["BGCI_CLUSTER_URL", "BGCI_MARATHON_LB_URL"])
def test_release_that_cannot_begin_does_not_roll_back(app: App, missing: str) -> None:
    failed = app.run("release", "v1", expect=2, **{missing: ""})
    assert "Give --" in failed.err
    assert "Rolling back" not in failed.text
    assert [stage["command"] for stage in failed.result["stages"]] == ["render"]


def test_release_by_jobs_needs_no_load_balancer_from_the_ci_runner(app: App) -> None:
    app.promote("v1")
    app.run("release", "v2", "--test-command", "true", BGCI_VIA="job", BGCI_MARATHON_LB_URL="")
    assert app.healthy() == {"v2": 2}


def test_dry_run_of_a_release_reports_the_expected_failure_and_does_not_roll_back(app: App) -> None:
    app.promote("v1")
    app.canary("v2")
    before = app.state()
    failed = app.run("release", "v3", "--dry-run", expect=6)
    assert "canary of v3 cannot begin" in failed.err
    assert "Rolling back" not in failed.text
    assert app.state() == before


def test_dry_run_shows_the_plan_and_the_difference_and_changes_nothing(app: App) -> None:
    would = app.canary("v1", "--dry-run")
    assert app.apps() == []
    assert "Plan: Create v1 with 2 instances." in would.out

    app.promote("v1")
    before = app.state()
    would = app.canary("v2", "--dry-run")
    assert "Plan: Create v2 with 1 instance." in would.out
    assert '+    "RELEASE": "v2"' in would.out
    assert '-    "RELEASE": "v1"' in would.out
    page = (would.artifacts / "report.html").read_text()
    assert "dry run: nothing was changed" in page
    assert "- Create v2 with 1 instance." in page
    plan = [line.partition("Plan: ")[2] for line in app.run("release", "v2", "--dry-run").out.splitlines()]
    assert [line.split(".")[0] for line in plan if line.startswith(("Create", "Scale", "Delete", "v2"))] == [
        "Create v2 with 1 instance",
        "v2 has 1 instances in rotation beside v1 (" + app.id_of("v1") + ")",
        f"Scale {app.id}-green to 2 instances (from 1)",
        f"Delete {app.id_of('v1')}",
        "v2 serves alone with 2 instances",
    ]
    assert "Plan: v1 serves alone" in app.promote("v1", "--dry-run").out
    assert "nothing to go back to" in app.rollback("v1", "--dry-run", expect=6).err
    assert app.state() == before


def test_rendering_twice_gives_identical_bytes_and_the_manifest_their_hashes(app: App) -> None:
    app.run("render", "v1", BGCI_CLUSTER_URL="", BGCI_ARTIFACTS="one")
    app.run("render", "v1", BGCI_CLUSTER_URL="", BGCI_ARTIFACTS="two")
    stem = f"{app.id.strip('/')}-v1"
    kinds = ("new-app-definition", "deploy-single-canary", "deploy-canary-completely", "rollback-single-canary")
    expected = [f"{stem}-{kind}.json" for kind in kinds]
    for name in [*expected, "manifest.json"]:
        assert (app.directory / "one" / name).read_bytes() == (app.directory / "two" / name).read_bytes()
    manifest = json.loads((app.directory / "one" / "manifest.json").read_text())
    hashes = {name: hashlib.sha256((app.directory / "one" / name).read_bytes()).hexdigest() for name in expected}
    assert manifest["files"] == hashes
    assert manifest["image"] == "image:v1"
    assert manifest["revision"] == "v1"


def test_a_rendered_definition_is_deployed_later_without_a_template(app: App) -> None:
    app.run("render", "v1")
    (app.directory / app.template("v1")).unlink()
    words = ("promote", "--app", app.id, "--revision", "v1")
    assert app.lab.start(*words, directory=app.directory).end().code == 0
    assert app.apps()[0]["container"]["docker"]["image"] == "image:v1"


def test_the_result_and_the_journal_of_a_goal(app: App) -> None:
    app.promote("v1")
    done = app.canary("v2")
    result = done.result
    assert (result["command"], result["code"], result["name"]) == ("canary", 0, "ok")
    assert (result["app"], result["revision"], result["changed"]) == (app.id, "v2", True)
    assert [(one["revision"], one["colour"]) for one in result["state"]["apps"]] == [("v1", "blue"), ("v2", "green")]
    assert result["timings"]["total_seconds"] >= result["timings"]["limit_seconds"] > 0
    entries = done.journal()
    assert [step["do"] for step in done.decisions() if "do" in step] == ["create", "create"]
    assert {entry["event"] for entry in entries} >= {"goal", "observed", "result"}
    assert all(entry["time"].endswith("Z") for entry in entries)
    assert any(step.get("wait") == "health" for step in done.decisions())


def test_the_result_of_a_failure_has_message_and_remedy(app: App) -> None:
    app.promote("v1")
    failed = app.rollback("v1", expect=6)
    assert failed.result["code"] == 6
    assert failed.result["message"] in failed.err
    assert failed.result["remedy"] in failed.err


@pytest.mark.parametrize("form", ["text", "json"])
def test_every_line_of_the_log_has_the_chosen_format(app: App, form: str) -> None:
    done = app.promote("v1", "--log-format", form)
    lines = done.out.splitlines()
    assert lines
    if form == "json":
        assert all("message" in json.loads(line) for line in lines)
    else:
        assert all(line.startswith("[") for line in lines)
