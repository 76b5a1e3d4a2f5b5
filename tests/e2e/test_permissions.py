"""docs/permissions.md: the refusals of an account without permissions name exactly those that the page lists, and
with it the release succeeds."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from administrator import acl_path

from bgci.dcos.permissions import Permission, needed
from bgci.sandbox import control
from e2e.conftest import app_maker
from e2e.lab import App, Ran
from e2e.secured import SecuredLab

BY_JOB = ("--via", "job")
MOST_REFUSALS = 15


@dataclass
class Account:
    """A service account, and its granted permissions: those that bgci reported as missing."""

    lab: SecuredLab
    uid: str
    granted: set[str] = field(default_factory=set)

    @property
    def credential(self) -> str:
        return json.dumps(self.lab.service_account(self.uid))

    def give(self, permission: str) -> None:
        assert permission not in self.granted, f"{permission} was granted, and is still missing"
        self.granted.add(permission)
        rid, _, action = permission.rpartition(" ")
        self.lab.grant(rid, self.uid, action)

    def lose(self, permissions: Sequence[Permission]) -> None:
        for one in permissions:
            reply = self.lab.request("DELETE", f"{acl_path(one.rid)}/users/{self.uid}/{one.action}")
            assert reply.status_code == 204


@dataclass
class Team:
    """An app of two instances in a folder of its own, and accounts that may do nothing yet."""

    app: App
    ci: Account
    job: Account

    def run(self, *words: str) -> Ran:
        """Runs a command as CI until it succeeds; after each refusal one permission more is granted."""
        for _ in range(MOST_REFUSALS):
            ran = self.app.start(*words, BGCI_SERVICE_ACCOUNT=self.ci.credential).end()
            if ran.code == 0:
                return ran
            assert ran.code == 4, ran.text
            missing = re.findall(r"Missing: (\S+ \w+)[.;]", ran.result["message"])
            assert len(missing) == 1, ran.text
            (self.job if "run" in ran.result else self.ci).give(missing[0])
        raise AssertionError(f"{words}: no end of refusals")

    def give_all(self, *, but: str) -> None:
        """Everything that a release without jobs needs, except for one action."""
        everything = needed(self.app.id, via_job=False).ci
        for one in everything:
            self.ci.give(str(one))
        lost = [one for one in everything if one.action == but]
        self.ci.lose(lost)
        self.ci.granted -= {str(one) for one in lost}

    def refused(self, command: str, revision: str, place: str) -> None:
        """Runs a command that must be refused, because the permission to read this folder or app is missing."""
        refused = self.app.run(command, revision, expect=4, BGCI_SERVICE_ACCOUNT=self.ci.credential)
        assert f"Missing: dcos:service:marathon:marathon:services:{place} read" in refused.result["message"]

    def apps(self) -> list[str]:
        """Every app that is the team's by its name, also without a deployment group."""
        lab = self.app.lab
        listed = requests.get(f"{lab.marathon_url}/v2/apps", timeout=10, **lab.options).json()["apps"]
        return [one["id"] for one in listed if one["id"].startswith(f"{self.app.id}-")]


@pytest.fixture
def team(secured_lab: SecuredLab, make_secured_app: Callable[..., App]) -> Team:
    found = new_team(secured_lab, make_secured_app)
    found.app.promote("v1")  # by the superuser
    return found


@pytest.fixture
def strict_lab(tmp_path: Path) -> Iterator[SecuredLab]:
    """A sandbox in the security mode *strict*."""
    home = tmp_path / "strict"
    yield SecuredLab(home, control.up(home, secured=True, server_options=["--strict", "--offer-delay", "0.1"]))
    control.down(home)


def new_team(lab: SecuredLab, make: Callable[..., App]) -> Team:
    folder = f"team-{uuid.uuid4().hex[:6]}"
    found = Team(make(2, name=f"/{folder}/web"), Account(lab, f"ci-{folder}"), Account(lab, f"job-{folder}"))
    lab.put_secret(f"{folder}/bgci-service-account", found.job.credential)
    lab.service_account(found.ci.uid)
    return found


def said(permissions: Sequence[Permission]) -> set[str]:
    return {str(one) for one in permissions if not one.optional}


def test_a_release_without_jobs_needs_exactly_the_documented_permissions(team: Team) -> None:
    for command in ("canary", "rollback", "canary", "promote"):
        team.run(command, "v2")
    assert team.ci.granted == said(needed(team.app.id, via_job=False).ci)
    assert "Missing: dcos:adminrouter:service:metronome full" in team.run("status").text
    assert team.app.healthy() == {"v2": 2}


def test_an_unreadable_baseline_is_not_taken_for_an_absent_one(team: Team) -> None:
    team.give_all(but="read")
    before = team.app.state()
    for command, revision in (("canary", "v2"), ("promote", "v2"), ("rollback", "v2"), ("status", "")):
        refused = team.app.run(command, revision, expect=4, BGCI_SERVICE_ACCOUNT=team.ci.credential)
        assert "services:/team-" in refused.result["message"]
    assert team.app.state() == before


def test_a_first_deployment_without_read_permission_creates_no_app(
    secured_lab: SecuredLab, make_secured_app: Callable[..., App]
) -> None:
    team = new_team(secured_lab, make_secured_app)
    team.give_all(but="read")
    for command in ("canary", "promote", "release"):
        team.refused(command, "v1", team.app.id.rpartition("/")[0])
    assert team.apps() == []


def test_at_the_root_no_colour_is_created_without_read_permission(
    secured_lab: SecuredLab, make_secured_app: Callable[..., App]
) -> None:
    name = f"root-{uuid.uuid4().hex[:6]}"
    team = Team(make_secured_app(1, name=f"/{name}"), Account(secured_lab, name), Account(secured_lab, ""))
    secured_lab.service_account(name)
    team.give_all(but="read")
    for command in ("canary", "release"):
        team.refused(command, "v1", f"/{name}-blue")
    assert team.apps() == []
    team.ci.give(f"dcos:service:marathon:marathon:services:/{name}-blue read")
    # A command that was killed in the middle of the look at the permission:
    left = {"id": f"/{name}-blue", "instances": 0, "cmd": "true", "labels": {"BGCI_PREVIEW_OF": f"/{name}"}}
    secured_lab.marathon.create(left)
    team.app.run("promote", "v1", BGCI_SERVICE_ACCOUNT=team.ci.credential)
    before = team.app.state()
    team.refused("canary", "v2", f"/{name}-green")
    assert team.app.state() == before
    assert team.apps() == [f"/{name}-blue"]


def test_a_release_by_jobs_needs_exactly_the_documented_permissions(team: Team) -> None:
    page = needed(team.app.id, via_job=True, secret=f"{team.app.id.split('/')[1]}/bgci-service-account")
    optional = [one for one in page.ci if one.optional]
    for one in optional:
        team.ci.lab.grant(one.rid, team.ci.uid, one.action)
    for command in ("publish", "publish", "canary", "rollback", "canary", "promote"):
        team.run(command, "v2", *BY_JOB)
    team.run("status")
    assert team.app.healthy() == {"v2": 2}
    assert team.ci.granted == said(page.ci)
    assert team.job.granted == said(page.job)
    # What is optional shows more, and nothing depends on it.
    team.ci.lose(optional)
    for command in ("publish", "promote"):
        team.run(command, "v3", *BY_JOB)
    assert team.app.healthy() == {"v3": 2}
    assert team.ci.granted == said(page.ci)


def test_in_strict_mode_the_log_needs_the_documented_permissions(strict_lab: SecuredLab, tmp_path: Path) -> None:
    for make in app_maker(strict_lab, tmp_path):
        team = new_team(strict_lab, make)
        page = needed(
            team.app.id, via_job=True, secret=f"{team.app.id.split('/')[1]}/bgci-service-account", strict=True
        )
        for account, permissions in ((team.ci, page.ci), (team.job, page.job)):
            for one in permissions:
                account.give(str(one))
        assert "job | " in team.run("release", "v1", *BY_JOB).text
        team.ci.lose([one for one in page.ci if "strict mode" in one.why])
        assert "job | " not in team.run("release", "v2", *BY_JOB).text
