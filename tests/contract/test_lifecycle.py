"""The sandbox itself: no process outlives it, and its state survives only on request."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from bgci.errors import UnavailableError
from bgci.sandbox import control
from contract.client import Marathon, Metronome, Sandbox, until, web_app

FAST = ("--offer-delay", "0.05", "--health-delay", "0.1")


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Starts a cluster without load balancers in the background."""
    yield lambda **options: control.up(tmp_path / "s", replicas=0, server_options=FAST, **options)
    control.down(tmp_path / "s")


def runs(pid: int) -> bool:
    """True while the process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def children(sandbox: Sandbox, name: str) -> list[int]:
    """An app of one task and a job with a child of its own, both running; their processes."""
    marathon, metronome = Marathon(sandbox.marathon_url), Metronome(sandbox.metronome_url)
    marathon.deploy(web_app(name))
    metronome.create({"id": name, "run": {"cmd": "sleep 300 & echo $! $$; wait", "cpus": 1, "mem": 32, "disk": 0}})
    metronome.post(f"/v1/jobs/{name}/runs")
    logs = sandbox.directory / "sandboxes" / "metronome"
    log = until(lambda: [path for path in logs.glob("*/stdout") if path.read_text()])[0]
    task = marathon.tasks(f"/{name}")[0]
    found = [pid for pid in os.listdir("/proc") if pid.isdigit() and task["id"] in environment(pid)]
    return [*(int(pid) for pid in found), *(int(pid) for pid in log.read_text().split())]


def environment(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:
        return ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_outlives_the_sandbox(server: Callable[..., Sandbox], name: str, number: signal.Signals) -> None:
    sandbox = server(*FAST)
    pids = children(sandbox, name)
    assert len(pids) >= 3
    assert all(runs(pid) for pid in pids)
    sandbox.process.send_signal(number)
    sandbox.process.wait(timeout=20)
    until(lambda: not any(runs(pid) for pid in pids), 5)


def test_up_describes_a_cluster_that_answers(up: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    description = up()
    assert json.loads((tmp_path / "s" / "sandbox.json").read_text()) == description
    assert description.keys() == {
        "cluster_url", "marathon_url", "metronome_url", "marathon_lb_urls", "addresses", "pids",
    }  # fmt: skip
    assert requests.get(f"{description['cluster_url']}/service/marathon/ping", timeout=10).text == "pong"
    assert control.status(tmp_path / "s") == {**description, "running": True, "dead_pids": []}
    assert up() == description


def test_agents_and_version_follow_the_options(up: Callable[..., dict[str, Any]]) -> None:
    described = up(agents=2, agent_attributes=["rack:a", "rack:b"], marathon_version="1.7")
    marathon = Marathon(described["marathon_url"])
    assert not marathon.modern
    app = marathon.deploy(web_app("racks", 1, constraints=[["rack", "IS", "b"]]))
    assert [task["host"] for task in app["tasks"]] == ["127.0.0.12"]


@pytest.mark.skipif(shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin") is None, reason="no HAProxy")
def test_each_load_balancer_serves_on_its_own_address(tmp_path: Path, name: str) -> None:
    middle = os.getpid() % 65536
    addresses = [f"127.{middle // 256}.{middle % 256}.{number}" for number in (91, 92)]
    description = control.up(tmp_path / "s", addresses=addresses, server_options=FAST)
    try:
        assert (description["addresses"], len(description["marathon_lb_urls"])) == (addresses, 2)
        app = Marathon(description["marathon_url"]).deploy(web_app(name, labels={"HAPROXY_GROUP": "external"}))
        port = app["container"]["portMappings"][0]["servicePort"]
        for address in addresses:
            until(lambda url=f"http://{address}:{port}": answers(url))
        for url in description["marathon_lb_urls"]:
            assert f"{name}_{port}" in requests.get(f"{url}/haproxy?stats;csv", timeout=10).text
    finally:
        control.down(tmp_path / "s")
    assert not any(runs(pid) for pid in description["pids"])


def answers(url: str) -> bool:
    with contextlib.suppress(requests.ConnectionError):
        return "It works!" in requests.get(url, timeout=10).text
    return False


def test_down_leaves_no_process_and_no_directory(up: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    pids = up()["pids"]
    control.down(tmp_path / "s")
    assert not (tmp_path / "s").exists()
    assert not any(runs(pid) for pid in pids)
    assert control.status(tmp_path / "s") == {"running": False, "dead_pids": []}
    control.down(tmp_path / "s")


def test_state_survives_down_only_if_persistent(up: Callable[..., dict[str, Any]], tmp_path: Path, name: str) -> None:
    description = up()
    before = Marathon(description["marathon_url"]).deploy(web_app(name, labels={"a": "b"}))
    metronome = Metronome(description["metronome_url"])
    metronome.create({"id": name, "run": {"cmd": "true", "cpus": 1, "mem": 32, "disk": 0}})
    metronome.post(f"/v1/jobs/{name}/runs")
    until(lambda: metronome.history(name)["successCount"])
    control.down(tmp_path / "s", keep_state=True)

    description = up()
    marathon = Marathon(description["marathon_url"])
    until(lambda: marathon.app(f"/{name}")["tasksHealthy"] == 1)
    after = marathon.app(f"/{name}")
    assert {key: after[key] for key in ("labels", "versionInfo")} == {k: before[k] for k in ("labels", "versionInfo")}
    assert Metronome(description["metronome_url"]).history(name)["successCount"] == 1
    control.down(tmp_path / "s")

    assert Marathon(up()["marathon_url"]).get("/v2/apps").json() == {"apps": []}


def test_persistent_sandbox_survives_kill_9(up: Callable[..., dict[str, Any]], tmp_path: Path, name: str) -> None:
    description = up(persist=True)
    Marathon(description["marathon_url"]).deploy(web_app(name))
    until(lambda: [path for path in (tmp_path / "s").glob("state.json") if name in path.read_text()])
    os.kill(description["pids"][0], signal.SIGKILL)
    until(lambda: control.status(tmp_path / "s")["dead_pids"] == description["pids"])
    marathon = Marathon(up(persist=True)["marathon_url"])
    until(lambda: marathon.app(f"/{name}")["tasksHealthy"] == 1)


def test_server_that_cannot_start_is_reported_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="unrecognized arguments: --nonsense"):
        control.up(tmp_path / "s", replicas=0, server_options=["--nonsense"])


def test_missing_haproxy_names_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(UnavailableError) as caught:
        control.up(tmp_path / "s")
    assert "`haproxy`" in caught.value.remedy


def test_missing_aiohttp_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UnavailableError) as caught:
        control.up(tmp_path / "s")
    assert "pip install 'bgci[sandbox]'" in caught.value.remedy
