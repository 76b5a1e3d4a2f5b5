"""Teams with separate accounts and folders: their permissions in CI and inside the jobs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from e2e.lab import App, Json
from e2e.secured import SecuredLab

ROUTER = ("service:marathon", "service:metronome", "ops:mesos", "ops:slave", "system-logs", "secrets")
ACTIONS = ("create", "read", "update", "delete")


@pytest.fixture
def app(make_secured_app: Callable[..., App]) -> App:
    return make_secured_app(1, name="/team-{}/web")


@pytest.fixture
def account(app: App, secured_lab: SecuredLab) -> Json:
    """A service account with the permissions for a release in the folder of the app, and none elsewhere."""
    folder = folder_of(app)
    uid = f"bgci-{folder}"
    made = secured_lab.service_account(uid)
    for route in ROUTER:
        secured_lab.grant(f"dcos:adminrouter:{route}", uid)
    for action in ACTIONS:
        secured_lab.grant(f"dcos:service:marathon:marathon:services:/{folder}", uid, action)
        secured_lab.grant(f"dcos:service:metronome:metronome:jobs:{folder}", uid, action)
    secured_lab.grant(f"dcos:secrets:list:default:/{folder}", uid, "read")
    return made


def folder_of(app: App) -> str:
    return app.id.strip("/").partition("/")[0]


def environment(account: Json) -> dict[str, str]:
    return {"BGCI_VIA": "job", "BGCI_SERVICE_ACCOUNT": json.dumps(account)}


def written(directory: Path) -> str:
    return "".join(path.read_text() for path in directory.rglob("*") if path.is_file())


def jobs(app: App, lab: SecuredLab) -> list[Json]:
    return [lab.job(name) for name in lab.jobs() if name.startswith(f"{folder_of(app)}.web-")]


def test_a_team_can_release_only_in_its_folder(
    app: App, make_secured_app: Callable[..., App], secured_lab: SecuredLab, account: Json
) -> None:
    secret = f"{folder_of(app)}/bgci-service-account"
    missing = app.run("release", "v1", expect=3, **environment(account))
    assert f"The secret {secret} for the login of the jobs does not exist" in missing.text
    assert f"create-sa-secret PRIVATE-KEY.pem ACCOUNT {secret}" in missing.text
    assert jobs(app, secured_lab) == []

    secured_lab.put_secret(secret, json.dumps(account))
    app.promote("v1")  # by the superuser, in this process
    app.run("release", "v2", **environment(account))
    assert app.healthy() == {"v2": 1}
    published = jobs(app, secured_lab)
    assert {job["id"] for job in published} >= {f"{folder_of(app)}.web-v2-deploy-canary-completely"}
    assert all(job["run"]["secrets"] == {"bgci_service_account": {"source": secret}} for job in published)
    assert "PRIVATE KEY" not in json.dumps(published)

    other = make_secured_app(1, name="/other-{}/web")
    denied = other.run("release", "v1", expect=4, **environment(account))
    assert f"dcos:service:metronome:metronome:jobs:{folder_of(other)}" in denied.text
    assert other.run("canary", "v1", "--via", "direct", expect=4, **environment(account)).result["name"] == "denied"
    assert other.apps() == []


def test_a_secret_of_another_folder_is_refused_before_any_change(app: App, account: Json) -> None:
    refused = app.publish("v1", "--job-secret", "other/bgci", expect=3, **environment(account))
    assert "cannot use the secret other/bgci" in refused.text


def test_a_login_embedded_in_the_jobs_works_and_is_written_nowhere_else(
    app: App, secured_lab: SecuredLab, account: Json
) -> None:
    key = account["private_key"].splitlines()[5]
    options = ("--job-service-account", "embed")
    done = app.publish("v1", *options, **environment(account))
    assert "every account with read permission for the jobs" in done.text
    promoted = app.promote("v1", **environment(account))
    assert app.healthy() == {"v1": 1}
    manifest = json.loads((done.artifacts / "manifest.json").read_text())
    assert len(manifest["redacted"]) == 3
    assert key in json.dumps([job["run"]["env"] for job in jobs(app, secured_lab)])
    again = app.publish("v1", *options, "--dry-run", **environment(account))
    other_way = app.publish("v1", "--dry-run", "--job-service-account", "none", **environment(account))
    assert '-      "BGCI_SERVICE_ACCOUNT": "***' in other_way.text
    assert key not in "".join(ran.text for ran in (done, promoted, again, other_way)) + written(done.artifacts)


def test_a_job_without_a_login_ends_with_the_remedy(app: App, account: Json) -> None:
    denied = app.run("release", "v1", "--job-service-account", "none", expect=4, **environment(account))
    assert denied.result["name"] == "denied"
    assert "--job-service-account secret" in denied.result["remedy"]
    assert app.apps() == []
