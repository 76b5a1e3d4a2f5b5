"""The platform that the tests talk to: a sandbox of their own, or any cluster.

``BGCI_CONTRACT_MARATHON_URL`` and ``BGCI_CONTRACT_METRONOME_URL`` name a real one; tests marked ``sandbox_only`` are
then left out, and whatever a test creates it removes. The tests know the answers of Marathon 1.8 to 1.11 and of 1.7;
``GET /v2/info`` says which to expect, and ``BGCI_CONTRACT_MARATHON_VERSION=1.7`` makes the sandbox give those of 1.7.
A test of one version's answers gets a sandbox of that version, and no cluster of another one.
``BGCI_CONTRACT_CLUSTER_URL`` names a secured DC/OS for the tests of logins and permissions, with
``BGCI_CONTRACT_CA_CERT`` and ``BGCI_CONTRACT_SUPERUSER``: a JSON file with the uid and the password of a superuser."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.client import Marathon, Metronome, Sandbox, start_server, stop_server
from contract.secured import Secured, of_sandbox

MARATHON_URL = os.environ.get("BGCI_CONTRACT_MARATHON_URL")
METRONOME_URL = os.environ.get("BGCI_CONTRACT_METRONOME_URL")
MARATHON_VERSION = os.environ.get("BGCI_CONTRACT_MARATHON_VERSION", "1.11")
CLUSTER_URL = os.environ.get("BGCI_CONTRACT_CLUSTER_URL")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sandbox_only: needs what only the sandbox can do, such as a crash at will")
    config.addinivalue_line("markers", "since_1_8: about answers that Marathon 1.7 does not give")
    config.addinivalue_line("markers", "until_1_7: about answers that Marathon 1.8 and later do not give")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects the tests that the cluster under test does not support."""
    if not (MARATHON_URL or METRONOME_URL or CLUSTER_URL):
        return
    other = "until_1_7" if MARATHON_URL and Marathon(MARATHON_URL).modern else "since_1_8"
    left_out = [item for item in items if Path(__file__).parent in item.path.parents and _not_for(item, other)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def _not_for(item: pytest.Item, other_version: str) -> bool:
    """Whether the test needs the sandbox, a server whose address is not given, or another version."""
    given = {"sandbox": None, "marathon": MARATHON_URL, "metronome": METRONOME_URL, "secured": CLUSTER_URL}
    missing = [name for name in getattr(item, "fixturenames", ()) if name in given and not given[name]]
    return bool(missing) or any(item.get_closest_marker(name) for name in ("sandbox_only", other_version))


@pytest.fixture(scope="session")
def _clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Sandbox]]:
    """The sandbox of a version of Marathon, started at its first use."""
    started: dict[str, Sandbox] = {}

    def of(version: str) -> Sandbox:
        if version not in started:
            options = ("--offer-delay", "0.05", "--health-delay", "0.1", "--marathon-version", version)
            started[version] = start_server(tmp_path_factory.mktemp("sandbox"), *options)
        return started[version]

    yield of
    for server in started.values():
        stop_server(server)


@pytest.fixture
def _cluster(_clusters: Callable[[str], Sandbox], request: pytest.FixtureRequest) -> Sandbox | None:
    if MARATHON_URL or METRONOME_URL or CLUSTER_URL:
        return None
    if request.node.get_closest_marker("until_1_7"):
        return _clusters("1.7")
    modern = MARATHON_VERSION != "1.7"
    return _clusters("1.11" if request.node.get_closest_marker("since_1_8") and not modern else MARATHON_VERSION)


@pytest.fixture
def sandbox(_cluster: Sandbox | None) -> Sandbox:
    assert _cluster is not None
    return _cluster


@pytest.fixture
def marathon(_cluster: Sandbox | None) -> Iterator[Marathon]:
    """Marathon; the apps that a test creates are deleted after it."""
    url = _cluster.marathon_url if _cluster else str(MARATHON_URL)
    client = Marathon(url)
    yield client
    client.clean_up()


@pytest.fixture
def metronome(_cluster: Sandbox | None) -> Iterator[Metronome]:
    """Metronome; the jobs that a test creates are deleted after it."""
    url = _cluster.metronome_url if _cluster else str(METRONOME_URL)
    client = Metronome(url)
    yield client
    client.clean_up()


@pytest.fixture(scope="session")
def _secured_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    if CLUSTER_URL:
        yield Secured(CLUSTER_URL, os.environ["BGCI_CONTRACT_CA_CERT"], os.environ["BGCI_CONTRACT_SUPERUSER"])
        return
    options = ("--offer-delay", "0.05", "--health-delay", "0.1", "--fetch-delay", "0.05")
    server = start_server(tmp_path_factory.mktemp("secured"), "--secured", *options)
    yield of_sandbox(server)
    stop_server(server)


@pytest.fixture
def secured(_secured_cluster: Secured) -> Iterator[Secured]:
    """A secured cluster. Objects that a test creates through it are removed after the test."""
    one = Secured(_secured_cluster.url, _secured_cluster.ca_cert, _secured_cluster.credentials)
    one.token = _secured_cluster.token
    yield one
    one.clean_up()


@pytest.fixture
def name() -> str:
    """A unique name."""
    return f"bgci-{uuid.uuid4().hex[:10]}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., Sandbox]]:
    """Starts further sandboxes, with other options."""
    started: list[Sandbox] = []

    def start(*options: str) -> Sandbox:
        started.append(start_server(tmp_path / f"sandbox{len(started)}", *options))
        return started[-1]

    yield start
    for one in started:
        stop_server(one)


@pytest.fixture
def task_server() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the program of the tasks with an environment."""
    program = Path(__file__).parents[2] / "bgci" / "sandbox" / "task_server.py"
    started: list[subprocess.Popen[bytes]] = []

    def start(port: int, **environment: str) -> subprocess.Popen[bytes]:
        env = {"HOST": "127.0.0.1", "PORT0": str(port), **environment}
        started.append(subprocess.Popen([sys.executable, "-S", "-E", "-s", str(program)], env=env))
        return started[-1]

    yield start
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.wait()
