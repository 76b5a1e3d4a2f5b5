"""The sandbox's load balancers with its Marathon: the effect of strangers, bad labels and deletions on users."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from e2e.lab import App, Json, until
from e2e.secured import SecuredLab


def stranger_of(app: App, name: str, **changes: Any) -> Json:
    """Another app with this app's service port."""
    return {
        **app.definition,
        "id": name,
        "labels": {"HAPROXY_GROUP": "external", "BGCI_REVISION": "stranger"},
        **changes,
    }


@pytest.fixture
def create(app: App) -> Iterator[Callable[[Json], None]]:
    """Creates apps, and deletes them after the test, also when marathon-lb is frozen by one of them."""
    made: list[str] = []

    def one(definition: Json) -> None:
        made.append(definition["id"])
        app.lab.marathon.create(definition)

    yield one
    for name in made:
        app.lab.marathon.delete(name)
    signal(app)


def signal(app: App) -> None:
    for balancer in app.lab.balancers:
        assert requests.get(f"{balancer}/_mlb_signal/hup", timeout=10).status_code == 200


def test_app_that_an_account_cannot_read_is_still_in_the_backend(
    make_secured_app: Callable[..., App], secured_lab: SecuredLab
) -> None:
    app = make_secured_app(1, name="/ours-{}/web")
    account = secured_lab.service_account("bgci-reader")
    secured_lab.grant("dcos:adminrouter:service:marathon", "bgci-reader")
    folder = app.id.split("/")[1]
    secured_lab.grant(f"dcos:service:marathon:marathon:services:/{folder}", "bgci-reader", "read")
    theirs = {**app.definition, "id": app.id.replace("/ours", "/theirs")}
    secured_lab.marathon.create(app.definition)
    secured_lab.marathon.create(theirs)
    until(lambda: len(app.rows(secured_lab.balancers[0])) == 2)
    reply = secured_lab.request("GET", "/service/marathon/v2/apps", token=secured_lab.login(account))
    assert [one["id"] for one in reply.json()["apps"]] == [app.id]


def test_other_app_on_a_service_port_gets_its_share_of_the_requests(app: App, create: Callable[[Json], None]) -> None:
    app.definition["labels"]["BGCI_REVISION"] = "ours"
    app.lab.marathon.create(app.definition)
    until(lambda: app.least_up() == 2)
    name = f"{app.id}-stranger"
    create(stranger_of(app, name))
    balancer = app.lab.balancers[0]
    until(lambda: f"{name[1:]}_{app.port}" in requests.get(f"{balancer}/haproxy?stats;csv", timeout=10).text)
    until(lambda: set(app.answers(10)) == {"ours", "stranger"})


def test_unreadable_label_freezes_the_load_balancers_until_its_app_is_deleted(
    app: App, create: Callable[[Json], None]
) -> None:
    labels = {"HAPROXY_GROUP": "another", "HAPROXY_0_BACKEND_WEIGHT": "high"}
    bad = f"{app.id}-bad"
    create(stranger_of(app, bad, instances=0, labels=labels))
    app.lab.marathon.create(app.definition)
    until(lambda: app.lab.marathon.counts(app.definition["id"]) == (2, 2, []))
    logs = [app.lab.home / name / "lb.log" for name in ("lb1", "lb2")]
    before = [log.read_text().count("'high'") for log in logs]
    signal(app)
    until(lambda: all(log.read_text().count("'high'") > count for log, count in zip(logs, before, strict=True)))
    assert app.least_up() == 0
    app.lab.marathon.delete(bad)
    signal(app)
    until(lambda: app.least_up() == 2)


def test_h49_deletion_of_an_app_is_seen_at_the_next_signal(app: App) -> None:
    app.lab.marathon.create(app.definition)
    until(lambda: app.least_up() == 2)
    app.lab.marathon.delete(app.id)
    signal(app)
    until(lambda: not any(app.rows(balancer) for balancer in app.lab.balancers))
