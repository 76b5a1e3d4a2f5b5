"""A preview tests new load-balancer settings before they serve users (hazards 44, 45 and 50)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import requests

from e2e.lab import App, Ran, until

TLS = "  server {serverName} {host_ipv4}:{port}{healthCheckOptions}{otherOptions} ssl verify none\n"
HEADER = "  http-response set-header X-Balanced yes\n"
CHANGED = {"HAPROXY_0_BACKEND_HTTP_OPTIONS": "  option forwardfor\n" + HEADER}


def preview_apps(app: App) -> list[str]:
    reply = requests.get(f"{app.lab.marathon_url}/v2/apps", timeout=10).json()
    return [one["id"] for one in reply["apps"] if one["id"] == f"{app.id}-preview"]


def canary(app: App, revision: str, *options: str, expect: int = 0, via: str = "direct") -> Ran:
    if via == "job":
        app.publish(revision)
    ran = app.run("canary", revision, *options, expect=expect, BGCI_VIA=via)
    assert preview_apps(app) == []
    return ran


@pytest.mark.parametrize("via", ["direct", "job"])
def test_h45_h50_settings_that_do_not_fit_the_app_are_found_before_they_serve_users(app: App, via: str) -> None:
    app.promote("v1")
    before = app.state()
    app.write("v2", labels={"HAPROXY_0_BACKEND_SERVER_OPTIONS": TLS})
    with app.load():
        ran = canary(app, "v2", expect=8, via=via)
    assert "HAProxy's own checks fail with the new load-balancer settings" in ran.text
    assert "No user was affected" in ran.text
    assert app.state() == before


def test_h44_settings_that_haproxy_refuses_are_found_without_the_program_haproxy(app: App) -> None:
    app.promote("v1")
    app.write("v2", labels={"HAPROXY_0_BACKEND_HTTP_OPTIONS": "  timeout server 5s nonsense\n"})
    ran = canary(app, "v2", "--check-config", "never", expect=8)
    assert "marathon-lb leaves the app out" in ran.text
    assert app.runs() == {"v1": 2}


def test_changed_settings_are_previewed_and_tested_and_the_release_continues(app: App) -> None:
    app.promote("v1")
    app.write("v2", labels=CHANGED)
    suite = "checks: [{path: /, target: preview, expect: {headers: {X-Balanced: 'yes', X-Revision: v2}}}]"
    (app.directory / f"{app.id.strip('/')}.canary.yaml").write_text(suite.replace(", X-Revision: v2", ""))
    with app.load():
        ran = app.run("release", "v2")
    alternative = app.definition["labels"]["HAPROXY_DEPLOYMENT_ALT_PORT"]
    assert ran.result["outputs"]["preview-url"].endswith(f":{alternative}")
    assert "Preview: 1 checks" in ran.text
    assert (ran.artifacts / "junit" / "bgci-preview.xml").exists()
    assert app.runs() == {"v2": 2}
    assert preview_apps(app) == []


@pytest.mark.parametrize("via", ["direct", "job"])
def test_a_failing_check_for_the_preview_rejects_the_revision(app: App, via: str) -> None:
    app.promote("v1")
    app.write("v2", labels=CHANGED)
    suite = "checks: [{path: /, target: preview, expect: {headers: {X-Balanced: 'no'}}}]"
    (app.directory / f"{app.id.strip('/')}.canary.yaml").write_text(suite)
    ran = canary(app, "v2", expect=7, via=via)
    assert "X-Balanced" in ran.text
    assert app.runs() == {"v1": 2}


def test_unchanged_settings_are_previewed_only_on_request(app: App) -> None:
    app.promote("v1")
    assert "preview" not in canary(app, "v2").text
    app.rollback("v2")
    assert "The preview of v2 served at every load balancer" in canary(app, "v2", "--preview", "always").text
    assert "preview" not in canary(app, "v2", "--preview", "always").text  # it runs already


def test_a_preview_that_a_killed_command_left_is_removed_by_the_next_one(app: App) -> None:
    app.promote("v1")
    app.write("v2", labels=CHANGED)
    running = app.start("canary", "v2")
    until(lambda: preview_apps(app))
    running.kill()
    app.rollback("v2")
    assert preview_apps(app) == []


def test_a_dry_run_plans_the_preview(app: App) -> None:
    app.promote("v1")
    app.write("v2", labels=CHANGED)
    ran = app.run("canary", "v2", "--dry-run")
    assert f"{app.id}-preview" in ran.text
    assert preview_apps(app) == []


def test_h45_a_first_deployment_whose_settings_do_not_fit_ends_with_8(app: App) -> None:
    app.write("v1", labels={"HAPROXY_0_BACKEND_SERVER_OPTIONS": TLS})
    ran = app.run("promote", "v1", expect=8, BGCI_TIMEOUT="60s")
    assert "HAProxy's own checks fail with its load-balancer settings" in ran.text


def test_a_preview_whose_tasks_fail_repeatedly_ends_before_the_timeout(make_app: Callable[..., App]) -> None:
    app = make_app(1)
    app.promote("v1")
    app.write("v2", env={"SANDBOX_CRASH_AFTER": "0.1"}, labels=CHANGED, backoffSeconds=1, backoffFactor=1.1)
    ran = canary(app, "v2", expect=8)
    assert f"3 tasks of {app.id}-preview failed, and none became healthy." in ran.result["message"]
    assert "last task failure: TASK_FAILED" in ran.result["message"]
    assert app.runs() == {"v1": 1}
