"""One sandbox per test process, and a separate app for every test."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgci.sandbox import control
from e2e.lab import App, Json, Lab, claim_port
from e2e.secured import SecuredLab


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A sandbox with two load balancer replicas, for all tests of this process."""
    home = tmp_path_factory.mktemp("sandbox")
    yield Lab(home, control.up(home, replicas=2, server_options=["--offer-delay", "0.1"]))
    log = (home / "cluster.log").read_text()
    control.down(home)
    assert "Traceback" not in log


@pytest.fixture(scope="session")
def secured_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredLab]:
    """A sandbox that is a secured DC/OS, with two load balancer replicas, for all tests of this process."""
    home = tmp_path_factory.mktemp("secured")
    yield SecuredLab(home, control.up(home, replicas=2, secured=True, server_options=["--offer-delay", "0.1"]))
    log = (home / "cluster.log").read_text()
    control.down(home)
    assert "Traceback" not in log


@pytest.fixture
def make_app(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., App]]:
    """Apps of the test's own: ``instances``, ``name`` and ``group`` with {} for what makes them unique, ``ports``, and
    any further fields of the definition."""
    yield from app_maker(lab, tmp_path)


@pytest.fixture
def make_secured_app(secured_lab: SecuredLab, tmp_path: Path) -> Iterator[Callable[..., App]]:
    """The same for the secured cluster."""
    yield from app_maker(secured_lab, tmp_path)


def app_maker(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., App]]:
    """A function that makes apps; they are removed afterwards."""
    state = control.status(lab.home)
    assert state["running"], f"the sandbox has lost {state['dead_pids']} of {state['pids']}"
    claims: list[socket.socket] = []
    made: list[App] = []

    def make(instances: int = 2, *, name: str = "/web-{}", group: str = "web-{}", ports: int = 1, **fields: Any) -> App:
        unique = uuid.uuid4().hex[:6]
        numbers = []
        for _ in range(2 * ports):
            port, claim = claim_port()
            numbers.append(port)
            claims.append(claim)
        own, alternative = numbers[:ports], numbers[ports:]
        app_id, group_name = name.format(unique), group.format(unique)
        definition = web(app_id, group_name, instances, own, alternative) | fields
        directory = tmp_path / unique
        directory.mkdir()
        made.append(App(lab, directory, app_id, group_name, own, definition))
        return made[-1]

    yield make
    for app in made:
        for running in app.apps():
            lab.marathon.delete(running["id"])
        for lock_id in app.locks():  # of commands that the test has killed
            lab.marathon.delete(lock_id)
    for claim in claims:
        claim.close()


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    """An app of two instances."""
    return make_app()


def web(app_id: str, group: str, instances: int, ports: list[int], alternative: list[int]) -> Json:
    """A definition in bridge networking, checked every second."""
    check = {"protocol": "HTTP", "path": "/", "gracePeriodSeconds": 30, "intervalSeconds": 1, "timeoutSeconds": 1}
    mappings = [{"containerPort": 80 + n, "servicePort": port} for n, port in enumerate(ports)]
    return {
        "id": app_id,
        "instances": instances,
        "cpus": 0.01,
        "mem": 32,
        "networks": [{"mode": "container/bridge"}],
        "container": {"type": "DOCKER", "docker": {"image": "{{ image }}"}, "portMappings": mappings},
        "env": {"RELEASE": "{{ revision }}"},
        "healthChecks": [{**check, "portIndex": n, "maxConsecutiveFailures": 3} for n in range(len(ports))],
        "labels": {
            "HAPROXY_GROUP": "external",
            "HAPROXY_DEPLOYMENT_GROUP": group,
            "HAPROXY_DEPLOYMENT_ALT_PORT": ",".join(map(str, alternative)),
        },
    }
