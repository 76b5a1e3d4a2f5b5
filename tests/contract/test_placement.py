"""Constraints, attributes of agents, and fixed host ports: where tasks are placed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from bgci.sandbox.marathon.placement import Situation, crowded, fits
from contract.client import Marathon, Sandbox, start_server, stop_server, until, web_app

# Of this process alone: another one's sandbox may have the same fixed port.
_MIDDLE = os.getpid() % 65536
HOSTS = tuple(f"127.{_MIDDLE // 256}.{_MIDDLE % 256}.{number}" for number in (11, 12, 13))
RACKS = dict(zip(HOSTS, ("r1", "r2", "r1"), strict=True))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    attributes = [part for rack in RACKS.values() for part in ("--attributes", f"rack:{rack};cpu:2.50")]
    options = ("--hosts", ",".join(HOSTS), "--offer-delay", "0.05", "--health-delay", "0.1", *attributes)
    sandbox = start_server(tmp_path_factory.mktemp("three"), *options)
    yield sandbox
    stop_server(sandbox)


@pytest.fixture
def agents(three: Sandbox) -> Iterator[Marathon]:
    client = Marathon(three.marathon_url)
    yield client
    client.clean_up()


def hosts(marathon: Marathon, app_id: str) -> list[str]:
    return sorted(task["host"] for task in marathon.tasks(app_id) if task["state"] == "TASK_RUNNING")


def reasons(marathon: Marathon) -> list[str]:
    queue = marathon.get("/v2/queue").json()["queue"]
    return [r["reason"] for entry in queue for r in entry["processedOffersSummary"]["rejectSummaryLastOffers"]]


def app(name: str, instances: int, *constraint: str, **more: Any) -> dict[str, Any]:
    return web_app(name, instances, health={}, constraints=[list(constraint)], **more)


def test_mesos_shows_the_attributes_of_its_agents(three: Sandbox) -> None:
    slaves = requests.get(f"{three.cluster_url}/mesos/master/slaves", timeout=10).json()["slaves"]
    assert {slave["hostname"]: slave["attributes"]["rack"] for slave in slaves} == RACKS


def test_unique_leaves_an_instance_waiting_without_a_free_agent(agents: Marathon, name: str) -> None:
    agents.create(app(name, 4, "hostname", "UNIQUE"))
    until(lambda: hosts(agents, f"/{name}") == list(HOSTS))
    until(lambda: "UnfulfilledConstraint" in reasons(agents))


@pytest.mark.parametrize(
    ("constraint", "wanted"),
    [
        (("hostname", "CLUSTER", "SECOND"), [1]), (("rack", "IS", "r2"), [1]), (("cpu", "IS", "2.5"), [0, 1, 2]),
        (("rack", "LIKE", "r[2-9]"), [1]), (("rack", "UNLIKE", "r2"), [0, 2]),
        (("hostname", "MAX_PER", "1"), [0, 1, 2]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_constraint_chooses_the_agents(
    agents: Marathon, name: str, constraint: tuple[str, ...], wanted: list[int]
) -> None:
    agents.deploy(app(name, 3, *(part.replace("SECOND", HOSTS[1]) for part in constraint)))
    assert set(hosts(agents, f"/{name}")) == {HOSTS[number] for number in wanted}


def test_cluster_without_a_value_keeps_all_instances_together(agents: Marathon, name: str) -> None:
    agents.deploy(app(name, 3, "rack", "CLUSTER"))
    assert len({RACKS[host] for host in hosts(agents, f"/{name}")}) == 1


def test_group_by_spreads_evenly_and_stays_even_when_scaled_down(agents: Marathon, name: str) -> None:
    agents.deploy(app(name, 4, "rack", "GROUP_BY", "2"))
    assert Counter(RACKS[host] for host in hosts(agents, f"/{name}")) == {"r1": 2, "r2": 2}
    agents.put(f"/v2/apps/{name}", {"instances": 2})
    agents.settled()
    assert Counter(RACKS[host] for host in hosts(agents, f"/{name}")) == {"r1": 1, "r2": 1}


def test_group_by_waits_for_a_missing_group(agents: Marathon, name: str) -> None:
    agents.create(app(name, 3, "rack", "GROUP_BY", "3"))
    until(lambda: len(hosts(agents, f"/{name}")) == 2)
    until(lambda: "UnfulfilledConstraint" in reasons(agents))


def test_fixed_host_port_is_taken_once_on_each_agent(agents: Marathon, name: str) -> None:
    definition = web_app(name, 4, health={})
    definition["container"]["portMappings"] = [{"containerPort": 80, "hostPort": 28080}]
    agents.create(definition)
    until(lambda: hosts(agents, f"/{name}") == list(HOSTS))
    until(lambda: "InsufficientPorts" in reasons(agents))


def test_instances_that_an_upgrade_replaces_do_not_hold_back_new_ones(agents: Marathon, name: str) -> None:
    agents.deploy(app(name, 3, "hostname", "UNIQUE"))
    version = agents.put(f"/v2/apps/{name}", {"labels": {"a": "b"}}).json()["version"]
    agents.settled()
    assert {task["version"] for task in agents.tasks(f"/{name}")} == {version}
    assert hosts(agents, f"/{name}") == list(HOSTS)


AGENTS = [{"hostname": host, "rack": rack} for host, rack in RACKS.items()]


@pytest.mark.parametrize(
    ("constraint", "agent", "placed", "met"),
    [
        (["@hostname", "UNIQUE"], 0, [1, 2], True), (["none", "LIKE", ".*"], 0, [], False),
        (["none", "UNLIKE", ".*"], 0, [], True), (["rack", "GROUP_BY"], 2, [0], True),
        (["rack", "GROUP_BY"], 2, [0, 2], False), (["rack", "MAX_PER", "2"], 0, [0, 2], False),
        (["rack", "CLUSTER"], 1, [0], False), (["rack", "LIKE", "r"], 0, [], False),
    ],
)  # fmt: skip
def test_constraint_is_met_or_not(constraint: list[str], agent: int, placed: list[int], met: bool) -> None:
    now = Situation(AGENTS, [AGENTS[index] for index in placed], 4)
    assert fits([constraint], AGENTS[agent], now) is met


def test_scale_down_takes_from_the_largest_group_until_all_are_even() -> None:
    running = {"a": AGENTS[0], "b": AGENTS[0], "c": AGENTS[1]}
    assert crowded([["hostname", "GROUP_BY"]], running, 3) == ["a"]
    assert crowded([["hostname", "UNIQUE"]], running, 3) == []
