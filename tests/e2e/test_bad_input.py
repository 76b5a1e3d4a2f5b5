"""Bad input: one clear message, the right code, no traceback, nothing changed."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from e2e.faulty import web_server
from e2e.lab import App, Lab, Ran

GOALS = ("canary", "promote", "rollback")


def everything(lab: Lab) -> Any:
    """The objects of a cluster: versions of apps, deployments, jobs."""
    apps = requests.get(f"{lab.marathon.url}/v2/apps", timeout=10).json()["apps"]
    deployments = requests.get(f"{lab.marathon.url}/v2/deployments", timeout=10).json()
    return [(app["id"], app["version"]) for app in apps], [deployment["id"] for deployment in deployments], lab.jobs()


@pytest.fixture
def untouched(lab: Lab) -> Iterator[None]:
    """Nothing of the cluster changes during the test."""
    before = everything(lab)
    yield
    assert everything(lab) == before


def message(ran: Ran) -> str:
    """The one message of a command that failed, each of its lines marked; the rest of its output is its log."""
    lines = ran.err.splitlines()
    mark = ": ".join(lines[0].split(": ")[:2]) + ": "
    assert mark.startswith("bgci: ")
    assert all(line.startswith(mark) for line in lines), ran.err
    assert [line for line in lines if not line.removeprefix(mark).startswith(" ")] == lines[:1], ran.err
    return ran.err


@pytest.fixture
def closed_port() -> Iterator[str]:
    """A URL whose port is closed."""
    with socket.socket() as kept:
        kept.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{kept.getsockname()[1]}"


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("command", ["render", "publish", "promote", "release"])
def test_a_broken_json_template_is_invalid_and_named_with_its_line(app: App, command: str) -> None:
    (app.directory / app.template("v1")).write_text('{\n  "id": "/web",\n  "cpus": 0.1,,\n}')
    ran = app.run(command, "v1", expect=3)
    assert app.template("v1") in message(ran)
    assert "line 3" in ran.err


@pytest.mark.usefixtures("untouched")
def test_a_missing_variable_is_invalid_and_named(app: App) -> None:
    app.write("v1", env={"SIZE": "{{ size }}"})
    ran = app.canary("v1", expect=3)
    assert "size" in message(ran)
    assert "--set" in ran.err


@pytest.mark.usefixtures("untouched")
def test_all_findings_of_a_definition_are_reported_at_once(app: App) -> None:
    definition = app.definition
    definition["labels"] = {"HAPROXY_GROUP": "external"}
    definition["healthChecks"] = []
    ran = app.canary("v1", expect=3)
    for finding in ("HAPROXY_DEPLOYMENT_GROUP", "HAPROXY_DEPLOYMENT_ALT_PORT", "healthChecks"):
        assert finding in message(ran)


@pytest.mark.usefixtures("untouched")
def test_a_missing_template_is_reported_with_every_searched_path(app: App) -> None:
    app.write("v2")
    running = app.lab.start("canary", "--app", app.id, "--revision", "v1", "--image", "i", directory=app.directory)
    ran = running.end()
    assert ran.code == 2
    assert app.template("v1") in message(ran)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["canary", "--timeout", "90"], "unit"),
        (["canary", "--no-such-flag"], "--no-such-flag"),
        (["canary", "--strategy", "sideways"], "sideways"),
        (["canary", "--instances", "0"], "instances"),
        (["canary", "--set", "novalue"], "novalue"),
        (["frobnicate"], "frobnicate"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_wrong_flag_is_a_usage_error(app: App, words: list[str], said: str) -> None:
    app.write("v1")
    more = ["--app", app.id, "--revision", "v1", "--image", "i"] if words[0] == "canary" else []
    ran = app.lab.start(*words, *more, directory=app.directory).end()
    assert ran.code == 2
    assert said in ran.err


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(("flag", "words"), [("--app", ["--revision", "v1"]), ("--revision", ["--app", "web"])])
def test_a_missing_name_is_a_usage_error(app: App, flag: str, words: list[str]) -> None:
    ran = app.lab.start("canary", *words, "--image", "i", directory=app.directory).end()
    assert ran.code == 2
    assert f"{flag} is missing" in message(ran)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("setting", ["BGCI_CLUSTER_URL", "BGCI_MARATHON_LB_URL"])
def test_a_missing_url_of_cluster_or_load_balancer_is_a_usage_error(app: App, setting: str) -> None:
    ran = app.canary("v1", expect=2, **{setting: ""})
    assert f"--{setting[5:].lower().replace('_', '-')} is missing" in message(ran)


@pytest.mark.usefixtures("untouched")
def test_an_invalid_configuration_file_is_a_usage_error(app: App) -> None:
    (app.directory / "bgci.toml").write_text("timeout = ")
    assert "bgci.toml is not TOML" in message(app.canary("v1", expect=2))
    (app.directory / "bgci.toml").write_text('tiemout = "3s"')
    assert "tiemout" in message(app.canary("v1", expect=2))


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("command", ["rollback", "status", "publish"])
def test_an_unreachable_cluster_is_unavailable(app: App, closed_port: str, command: str) -> None:
    ran = app.run(command, "" if command == "status" else "v1", expect=5, BGCI_CLUSTER_URL=closed_port)
    assert closed_port in message(ran)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("command", ["canary", "status"])
def test_a_plain_web_server_is_not_accepted_as_a_cluster(app: App, command: str) -> None:
    with web_server() as url:
        ran = app.run(command, "" if command == "status" else "v1", expect=5, BGCI_CLUSTER_URL=url)
    assert f"Is {url} the URL of DC/OS?" in message(ran)


@pytest.mark.usefixtures("untouched")
def test_a_plain_web_server_is_not_accepted_as_marathon_or_metronome(app: App) -> None:
    with web_server() as url:
        assert url in message(app.canary("v1", expect=5, BGCI_CLUSTER_URL="", BGCI_MARATHON_URL=url))
        assert url in message(app.publish("v1", expect=5, BGCI_METRONOME_URL=url))


@pytest.mark.usefixtures("untouched")
def test_a_plain_web_server_is_not_accepted_as_a_load_balancer(app: App) -> None:
    with web_server() as url:
        ran = app.canary("v1", "--timeout", "2s", expect=5, BGCI_MARATHON_LB_URL=url)
    assert url in message(ran)


@pytest.mark.usefixtures("untouched")
def test_a_load_balancer_with_an_unknown_host_name_is_unavailable(app: App) -> None:
    ran = app.canary("v1", "--timeout", "2s", expect=5, BGCI_MARATHON_LB_URL="http://nowhere.invalid:9090")
    assert "nowhere.invalid" in message(ran)


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("goal", GOALS)
def test_a_revision_without_jobs_is_a_conflict_that_names_publish(app: App, goal: str) -> None:
    ran = app.run(goal, "v1", "--via", "job", expect=6)
    assert "bgci publish" in message(ran)


def test_a_group_with_three_apps_is_a_conflict_that_names_them(make_app: Callable[..., App]) -> None:
    app = make_app(1)
    app.promote("v1")
    app.canary("v2")
    stray = app.apps()[0]
    own = {key: stray["labels"][key] for key in ("HAPROXY_DEPLOYMENT_STARTED_AT", "HAPROXY_0_PORT")}
    labels = {"HAPROXY_DEPLOYMENT_GROUP": app.group, "HAPROXY_GROUP": "elsewhere", "HAPROXY_APP_ID": app.id, **own}
    definition = {name: stray[name] for name in ("container", "networks", "healthChecks", "cpus", "mem")}
    app.lab.marathon.create({**definition, "id": f"{app.id}-stray", "instances": 0, "labels": labels})
    before = everything(app.lab)
    for goal in GOALS:
        ran = app.run(goal, "v2", expect=6)
        for one in (stray["id"], f"{app.id}-stray", "3 apps"):
            assert one in message(ran)
    assert everything(app.lab) == before
