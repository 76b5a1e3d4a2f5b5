"""`bgci doctor` on a secured DC/OS, as an account that may only touch its own folder."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from bgci.dcos.permissions import JOBS, Permission, needed
from e2e.lab import App, Json
from e2e.secured import SecuredLab
from e2e.test_doctor import outcomes, row


@dataclass
class Team:
    """A folder, an app in it, and the account of its CI."""

    lab: SecuredLab
    app: App
    uid: str

    def grant(self, *wanted: Permission) -> None:
        for one in wanted:
            self.lab.grant(one.rid, self.uid, one.action)

    def needed(self, *, via_job: bool) -> list[Permission]:
        return needed(self.app.id, via_job=via_job, secret=self.secret).ci

    @property
    def secret(self) -> str:
        return f"{self.app.id.split('/')[1]}/bgci-service-account"

    def doctor(self, *options: str, expect: int = 0, **environment: str) -> list[Json]:
        account = {"BGCI_SERVICE_ACCOUNT": json.dumps(self.lab.service_account(self.uid)), "BGCI_VIA": "auto"}
        more = {**account, **environment}
        ran = self.app.run("doctor", "v9", *options, "--output", "json", expect=expect, **more)
        assert "PRIVATE KEY" not in ran.text
        rows: list[Json] = json.loads(ran.out)["checks"]
        return rows


@pytest.fixture
def team(secured_lab: SecuredLab, make_secured_app: Callable[..., App]) -> Team:
    folder = f"team-{uuid.uuid4().hex[:6]}"
    found = Team(secured_lab, make_secured_app(name=f"/{folder}/web-{{}}"), f"ci-{folder}")
    secured_lab.service_account(found.uid)
    return found


def test_an_account_with_the_least_privilege_has_no_failure(team: Team) -> None:
    team.grant(*team.needed(via_job=True))
    team.lab.put_secret(team.secret, "{}")
    rows = team.doctor()
    assert outcomes(rows) <= {"ok", "skipped"}, rows
    assert f"service account {team.uid}" in row(rows, "login", "ok")["found"]
    assert "certificate until" in row(rows, "tls", "ok")["found"]
    assert "Enterprise" in row(rows, "cluster", "ok")["found"]
    assert team.secret in row(rows, "secret", "ok")["found"]
    granted = row(rows, "permissions", "ok")["found"]
    assert f"{JOBS}:{team.app.id.split('/')[1]} update" in granted
    unknown = [one["found"] for one in rows if (one["name"], one["outcome"]) == ("permissions", "skipped")]
    assert any("cannot be probed" in text and " delete" in text for text in unknown)
    assert any("the job's own account" in text for text in unknown)


def test_a_superuser_sees_all_of_its_permissions(team: Team) -> None:
    team.lab.put_secret(team.secret, "{}")
    rows = team.doctor(BGCI_SERVICE_ACCOUNT="", BGCI_TOKEN=team.lab.token)
    granted = row(rows, "permissions", "ok")["found"]
    assert f"{JOBS}:{team.app.id.split('/')[1]} delete" in granted


@pytest.mark.parametrize(
    ("lacking", "what"),
    [("service:metronome full", "metronome"), ("jobs:", "permissions"), ("ops:mesos full", "permissions")],
)
def test_a_missing_permission_is_reported_with_the_command_that_grants_it(team: Team, lacking: str, what: str) -> None:
    wanted = team.needed(via_job=True)
    team.grant(*(one for one in wanted if lacking not in str(one)))
    team.lab.put_secret(team.secret, "{}")
    optional = all(one.optional for one in wanted if lacking in str(one))
    rows = team.doctor(expect=0 if optional else 4)
    found = row(rows, what, "warning" if optional else "failure")
    assert lacking in found["found"]
    assert lacking in found["command"]


def test_writing_apps_is_probed_on_an_app_that_runs_without_touching_it(team: Team) -> None:
    team.app.promote("v1")
    before = team.app.state()
    wanted = team.needed(via_job=False)
    team.grant(*(one for one in wanted if one.action != "update"))
    lack = row(team.doctor(BGCI_VIA="direct", expect=4), "permissions", "failure")
    assert " update" in lack["found"]
    assert lack["command"].startswith(f"dcos security org users grant {team.uid} dcos:service:marathon:")
    team.grant(*wanted)
    rows = team.doctor(BGCI_VIA="direct")
    assert " update" in row(rows, "permissions", "ok")["found"]
    assert team.app.state() == before


def test_a_missing_secret_and_a_secret_of_another_folder_are_failures(team: Team) -> None:
    team.grant(*team.needed(via_job=True))
    missing = row(team.doctor(expect=6), "secret", "failure")
    assert team.secret in missing["command"]
    other = row(team.doctor("--job-secret", "elsewhere/sa", expect=3), "secret", "failure")
    assert team.secret in other["remedy"]


def test_a_secret_that_is_not_readable_is_not_a_failure(team: Team) -> None:
    team.grant(*(one for one in team.needed(via_job=True) if "secrets" not in one.rid))
    team.lab.put_secret(team.secret, "{}")
    rows = team.doctor()
    assert "not readable by this account" in row(rows, "secret", "skipped")["found"]
    assert "failure" not in outcomes(rows)


def test_a_wrong_password_is_one_failure_and_the_rest_is_skipped(team: Team) -> None:
    team.lab.user(f"{team.uid}-p", "right Password1!")
    wrong: dict[str, Any] = {"BGCI_USERNAME": f"{team.uid}-p", "BGCI_PASSWORD": "wrong", "BGCI_SERVICE_ACCOUNT": ""}
    rows = team.doctor(expect=4, **wrong)
    row(rows, "login", "failure")
    assert "login failed" in row(rows, "marathon", "skipped")["found"]
    assert team.lab.logins(f"{team.uid}-p") == (0, 1)


def test_an_untrusted_certificate_is_a_failure_and_an_unverified_one_a_warning(team: Team) -> None:
    rows = team.doctor(expect=5, BGCI_CA_CERT="")
    assert "not trusted" in row(rows, "tls", "failure")["found"]
    assert "not trusted" in row(rows, "cluster", "failure")["found"]
    team.grant(*team.needed(via_job=False))
    loud = team.doctor("--insecure", BGCI_CA_CERT="", BGCI_VIA="direct")
    assert "--insecure" in row(loud, "tls", "warning")["found"]
