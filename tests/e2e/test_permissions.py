"""docs/permissions.md: an account that is given nothing is told, refusal by refusal, exactly what that page lists, and
with it the release succeeds."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from administrator import acl_path

from bgci.platform.permissions import Permission, needed
from e2e.lab import App, Ran
from e2e.secured import SecuredLab

BY_JOB = ("--via", "job")
MOST_REFUSALS = 15


@dataclass
class Account:
    """A service account, and what it was granted because bgci said that it was missing."""

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
            missing = re.findall(r"Missing: (\S+ \w+)\.", ran.result["message"])
            assert len(missing) == 1, ran.text
            (self.job if "run" in ran.result else self.ci).give(missing[0])
        raise AssertionError(f"{words}: no end of refusals")


@pytest.fixture
def team(secured_lab: SecuredLab, make_secured_app: Callable[..., App]) -> Team:
    folder = f"team-{uuid.uuid4().hex[:6]}"
    app = make_secured_app(2, name=f"/{folder}/web")
    found = Team(app, Account(secured_lab, f"ci-{folder}"), Account(secured_lab, f"job-{folder}"))
    secured_lab.put_secret(f"{folder}/bgci-service-account", found.job.credential)
    secured_lab.service_account(found.ci.uid)
    app.promote("v1")  # by the superuser
    return found


def said(permissions: Sequence[Permission]) -> set[str]:
    return {str(one) for one in permissions if not one.optional}


def test_a_release_without_jobs_is_refused_whatever_the_page_lists_and_nothing_else(team: Team) -> None:
    for command in ("canary", "rollback", "canary", "promote"):
        team.run(command, "v2")
    assert team.ci.granted == said(needed(team.app.id, via_job=False).ci)
    assert "Missing: dcos:adminrouter:service:metronome full" in team.run("status").text
    assert team.app.healthy() == {"v2": 2}


def test_a_release_by_jobs_is_refused_whatever_the_page_lists_and_nothing_else(team: Team) -> None:
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
