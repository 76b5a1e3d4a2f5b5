"""Load balancer labels: bgci refuses labels that marathon-lb or HAProxy refuses, before it creates anything."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from e2e.lab import App, until

SERVER = "  server {serverName} {host_ipv4}:{port}{cookieOptions}{healthCheckOptions}{otherOptions}"
BAD = {
    "number": {"HAPROXY_0_BACKEND_WEIGHT": "high"},
    "brace": {"HAPROXY_0_BACKEND_HEAD": "\nbackend {backend}\n  balance {balance}\n  mode {mode}\n  # {\n"},
    "syntax": {"HAPROXY_0_BACKEND_SERVER_OPTIONS": f"{SERVER}  timeout server 600s\n"},
    "no-otherOptions": {"HAPROXY_0_BACKEND_SERVER_OPTIONS": SERVER.replace("{otherOptions}", "\n")},
    "misspelt": {"HAPROXY_O_VHOST": "a.example.com"},
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("command", ["render", "canary", "promote", "release"])
def test_h42_h43_h44_h46_h55_bad_label_is_refused_and_nothing_is_created(app: App, command: str, bad: str) -> None:
    app.write("v1", labels=BAD[bad])
    ran = app.run(command, "v1", expect=3)
    assert f"$.labels.{next(iter(BAD[bad]))}" in ran.err
    assert app.apps() == []


def test_h44_label_that_only_the_live_configuration_disproves_is_refused(app: App) -> None:
    """`render` does not know the sections of the load balancer."""
    app.promote("v1")
    before = app.state()
    glue = "  use_backend {backend}_spare if TRUE\n  use_backend {backend}\n"
    app.write("v2", labels={"HAPROXY_0_FRONTEND_BACKEND_GLUE": glue})
    app.run("render", "v2")
    ran = app.canary("v2", expect=3)
    assert f"{app.group}_{app.port}_spare" in ran.err
    assert app.state() == before


def test_check_of_the_configuration_can_be_left_out_and_demanded(app: App) -> None:
    app.write("v1", labels=BAD["syntax"])
    app.run("render", "v1", "--check-config", "never")
    ran = app.run("render", "v1", "--check-config", "always", expect=2, PATH="/nonexistent")
    assert "needs the program haproxy" in ran.err
    app.run("render", "v1", PATH="/nonexistent")


@pytest.mark.parametrize("command", ["canary", "promote", "release"])
def test_h54_service_port_that_would_be_lost_is_a_conflict(app: App, command: str) -> None:
    app.promote("v1")
    before = app.state()
    app.write("v2", container=mapped(app, app.port + 5000))
    ran = app.run(command, "v2", expect=6)
    assert f"serves on port {app.port}, but v2 does not" in ran.err
    assert "--allow-port-change" in ran.err
    assert app.state() == before


def test_h54_service_port_can_be_given_up_on_purpose(app: App) -> None:
    app.promote("v1")
    app.write("v2", container=mapped(app, app.port + 5000))
    ran = app.run("release", "v2", "--allow-port-change")
    assert app.runs() == {"v2": 2}
    assert ran.result["balancer_changes"] == [
        {"kind": "service port", "name": "service port 0", "before": str(app.port), "after": str(app.port + 5000)}
    ]


def test_changes_are_in_the_plan_the_log_the_summary_and_the_page(app: App) -> None:
    app.promote("v1")
    app.write("v2", labels={"HAPROXY_0_STICKY": "true"})
    planned = app.canary("v2", "--dry-run")
    assert "HAPROXY_0_STICKY is new: 'true'" in planned.out
    assert "HAPROXY_0_STICKY is new" in (planned.artifacts / "plan.md").read_text()
    summary = app.directory / "summary.md"
    ran = app.canary("v2", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    assert "HAPROXY_0_STICKY is new: 'true'" in ran.out
    assert ran.result["balancer_changes"][0]["name"] == "HAPROXY_0_STICKY"
    assert re.search(r"\| HAPROXY.*STICKY \| none \| .*true.* \|", summary.read_text())
    assert "The load balancer changes after the promotion" in (ran.artifacts / "report.html").read_text()


def test_h42_frozen_load_balancer_is_named_with_its_cause(app: App) -> None:
    """The label of another app. Without this check each canary of the cluster would hang without a reason."""
    bad = {key: value for key, value in app.definition.items() if key != "labels"}
    bad_id = f"{app.id}-bad"
    app.lab.marathon.create({**bad, "id": bad_id, "instances": 0, "labels": {"HAPROXY_0_BACKEND_WEIGHT": "high"}})
    try:
        ran = app.canary("v1", "--timeout", "22s", expect=9)
        cause = f"{bad_id}: the label HAPROXY_0_BACKEND_WEIGHT is 'high'"
        for text in (ran.out, ran.err):
            assert "is frozen for every app" in text
            assert cause in text
        found = app.run("doctor", "v1", expect=5)
        assert cause in " ".join(found.text.split())
        assert "is frozen for every app" in " ".join(found.text.split())
    finally:
        app.lab.marathon.delete(bad_id)
    app.canary("v1")
    app.run("doctor", "v1")


def test_h44_app_that_is_left_out_is_distinguished_from_a_frozen_load_balancer(
    app: App, make_app: Callable[..., App]
) -> None:
    app.write("v1", labels=BAD["syntax"])
    running = app.start("canary", "v1", "--check-config", "never", "--timeout", "40s")
    until(lambda: app.healthy() == {"v1": 2})
    make_app().promote("v1")
    ran = running.end()
    assert ran.code == 9
    assert f"leaves out only {app.id}" in ran.err
    app.write("v1")
    found = app.run("doctor", "v1", expect=6)
    assert f"leaves out only {app.id}" in " ".join(found.text.split())


def mapped(app: App, port: int) -> dict[str, Any]:
    """The app's container with another service port."""
    return {**app.definition["container"], "portMappings": [{"containerPort": 80, "servicePort": port}]}
