"""A release that ran on a real Marathon 1.11 with two real load balancers, again on the sandbox.

``tests/data/real-marathon-1.11-release.json.gz``: first promote r1 over v1, canary r2, rollback r2, canary r3, promote
r3, promote r4 rolling by 2: each write with its answer, and what both load balancers showed of the app's backend until
the next one: how many servers were UP, and how many in MAINT, whenever that changed."""

from __future__ import annotations

import copy
import csv
import gzip
import io
import json
import os
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import requests
from contract.client import Marathon, until

from bgci.sandbox import control

Json = dict[str, Any]
RECORDING = Path(__file__).parents[1] / "data" / "real-marathon-1.11-release.json.gz"
BACKEND = "webapp_10102"
# Tasks that need a while, as there: a placeholder is killed before it serves, and a kill takes time.
SLOW = {"SANDBOX_HEALTH_AFTER": "4", "SANDBOX_STOP_SECONDS": "1"}
FAST = ("--offer-delay", "0.05", "--health-delay", "0.2", "--fetch-delay", "0.05")


class Lab:
    """The sandbox, and what its load balancers show."""

    def __init__(self, description: Json) -> None:
        self.marathon = Marathon(description["marathon_url"])
        self._statistics = [f"{url}/haproxy?stats;csv" for url in description["marathon_lb_urls"]]

    def servers(self) -> list[dict[str, str]]:
        """The state of each server of the app by its address, for each load balancer."""
        return [self._servers(url) for url in self._statistics]

    def _servers(self, url: str) -> dict[str, str]:
        text = requests.get(url, timeout=10).text.removeprefix("# ")
        rows = [row for row in csv.DictReader(io.StringIO(text)) if row["pxname"] == BACKEND]
        return {row["svname"]: row["status"].split()[0] for row in rows if row["svname"] not in ("FRONTEND", "BACKEND")}

    def rotation(self) -> list[tuple[int, int]]:
        """How many servers are UP and in MAINT, for each load balancer."""
        states = [list(servers.values()) for servers in self.servers()]
        return [(of_one.count("UP"), of_one.count("MAINT")) for of_one in states]

    def settled(self) -> None:
        """Waits until no deployment is left."""
        until(lambda: self.marathon.get("/v2/deployments").json() == [])

    def _started(self, app_id: str) -> list[Json]:
        """The tasks of the app once as many as it wants have started."""
        app = self.marathon.app(app_id)
        started = [task for task in app["tasks"] if task.get("startedAt")]
        return started if len(started) >= app["instances"] else []

    def victims(self, app_id: str, count: int) -> list[str]:
        """As there: the tasks of the app that every load balancer has drained; without any, its youngest task."""
        tasks = until(lambda: self._started(app_id))
        servers = self.servers()
        names = {task["id"]: f"{task['host'].replace('.', '_')}_{task['ports'][0]}" for task in tasks}
        drained = [i for i, name in names.items() if all(one.get(name) == "MAINT" for one in servers)]
        youngest = [task["id"] for task in sorted(tasks, key=lambda task: task["startedAt"], reverse=True)]
        return (drained or youngest)[:count]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    middle = os.getpid() % 65536
    addresses = [f"127.{middle // 256}.{middle % 256}.{number}" for number in (81, 82)]
    yield Lab(control.up(tmp_path / "s", addresses=addresses, server_options=FAST))
    control.down(tmp_path / "s")


def slow(definition: Json) -> Json:
    return {**definition, "env": SLOW}


def baseline(first: Json) -> Json:
    """v1, as it served before."""
    app = copy.deepcopy(first)
    app["id"] = "/webapp-blue"
    app["container"]["docker"]["image"] = "testapp:v1"
    app["container"]["docker"]["portMappings"][0]["servicePort"] = 10102
    started = {"HAPROXY_DEPLOYMENT_COLOUR": "blue", "HAPROXY_DEPLOYMENT_STARTED_AT": "2026-11-26T12:00:00.000"}
    app["labels"] = {name: value for name, value in app["labels"].items() if not name.startswith("BGCI_")} | started
    return app


def wanted_of(sent: Json) -> dict[str, int]:
    """How many tasks of which app the recorded request kills."""
    apps = [f"/{task_id.split('.')[0]}" for task_id in sent["ids"]]
    return {app_id: apps.count(app_id) for app_id in apps}


def perform(lab: Lab, write: Json) -> requests.Response:
    """The recorded request with tasks of this cluster."""
    sent = write["sent"]
    if write["path"].startswith("/v2/tasks/delete"):
        sent = {"ids": [i for app_id, count in wanted_of(sent).items() for i in lab.victims(app_id, count)]}
    elif write["method"] == "POST":
        sent = slow(sent)
    return lab.marathon.call(write["method"], write["path"], sent)


def comparable(write: Json, answer: Json) -> Json:
    """The answer without what differs in every run; of versions and ids it stays that there are any."""
    shown = {name: value for name, value in answer.items() if name != "env"}
    for name in ("version", "deploymentId"):
        if name in shown:
            shown[name] = bool(shown[name])
    if "deployments" in shown:
        shown["deployments"] = [sorted(deployment) for deployment in shown["deployments"]]
    return shown


def test_the_same_requests_have_the_same_answers_and_drain_the_same_servers(lab: Lab) -> None:
    with gzip.open(RECORDING, "rt") as file:
        before, *phases = json.load(file)
    lab.marathon.deploy(slow(baseline(phases[0]["write"]["sent"])))
    assert before["rotation"]["lb-1"] == before["rotation"]["lb-2"] == [[4, 0]]
    until(lambda: lab.rotation() == [(4, 0), (4, 0)])
    for phase, following in zip_longest(phases, phases[1:]):
        write, steps = phase["write"], [tuple(step) for step in phase["rotation"]["lb-1"]]
        reply = perform(lab, write)
        assert reply.status_code == write["status"], reply.text
        assert comparable(write, reply.json()) == comparable(write, write["answer"])
        # What is refused comes while the deployment before it runs, and is asked again after it.
        if following and following["write"]["status"] == 409:
            continue
        if write["status"] == 409:
            lab.settled()
        elif len(steps) > 1 or write["method"] == "DELETE":
            follow(lab, steps)


def follow(lab: Lab, steps: list[tuple[int, int]]) -> None:
    """Until both load balancers show what the real ones showed last; on the way as many servers serve as there."""
    assert {up for up, _ in steps} == {4}
    drained = sorted(maint for _, maint in steps)

    def arrived() -> bool:
        seen = lab.rotation()
        assert all(up == 4 and drained[0] <= maint <= drained[-1] for up, maint in seen), seen
        return set(seen) == {steps[-1]}

    until(arrived, 60)
    lab.settled()
