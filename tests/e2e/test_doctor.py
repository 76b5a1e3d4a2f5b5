"""`bgci doctor`: a healthy cluster is green, and each planted defect is found, with its remedy and its exit code."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests

from e2e.lab import App, Json, until

GROUP = "HAPROXY_DEPLOYMENT_GROUP"
STARTED, TARGET = "HAPROXY_DEPLOYMENT_STARTED_AT", "HAPROXY_DEPLOYMENT_TARGET_INSTANCES"


def doctor(app: App, *options: str, expect: int = 0, **environment: str) -> list[Json]:
    """The rows of a doctor for the app and its template."""
    ran = app.run("doctor", "v9", *options, "--output", "json", expect=expect, **environment)
    told: Json = json.loads(ran.out)
    assert told["checks"] == ran.result["checks"]
    rows: list[Json] = told["checks"]
    return rows


def row(rows: list[Json], name: str, outcome: str) -> Json:
    """The one row of that name and outcome."""
    found = [one for one in rows if (one["name"], one["outcome"]) == (name, outcome)]
    assert len(found) == 1, rows
    return found[0]


def outcomes(rows: list[Json]) -> set[str]:
    return {one["outcome"] for one in rows}


@contextmanager
def foreign(app: App, app_id: str, labels: dict[str, str], **fields: Any) -> Iterator[str]:
    """Another app in the cluster while the block runs: the test's definition with these labels only."""
    base: Json = {key: value for key, value in app.definition.items() if key not in ("id", "labels")}
    image = {"docker": {"image": "old"}}
    definition = {**base, "id": app_id, "env": {}, "container": {**base["container"], **image}, **fields}
    app.lab.marathon.create({**definition, "labels": {"HAPROXY_GROUP": "external", **labels}})
    count = definition["instances"]
    try:
        until(lambda: app.lab.marathon.counts(app_id) == (count, count, []))
        yield app_id
    finally:
        app.lab.marathon.delete(app_id)
        until(lambda: requests.get(f"{app.lab.marathon.url}/v2/apps{app_id}", timeout=10).status_code == 404)


def test_a_healthy_cluster_has_no_finding_before_and_after_the_first_release(app: App) -> None:
    before = doctor(app)
    assert outcomes(before) == {"ok"}
    assert {"url", "tls", "cluster", "clock", "login", "marathon", "metronome", "permissions", "load-balancer"} <= {
        one["name"] for one in before
    }
    assert "HAProxy 2." in str([one["found"] for one in before if one["name"] == "load-balancer"])
    app.promote("v1")
    assert outcomes(doctor(app)) == {"ok"}


def test_doctor_changes_nothing(app: App) -> None:
    app.promote("v1")
    before, jobs = app.state(), app.lab.jobs()
    doctor(app, BGCI_VIA="auto")
    assert (app.state(), app.lab.jobs()) == (before, jobs)


def test_a_stuck_hybrid_is_a_warning_with_the_command_that_ends_it(app: App) -> None:
    app.promote("v1")
    app.canary("v2")
    found = row(doctor(app), "state", "warning")
    assert found["command"] == f"bgci promote --app {app.id} --revision v2"
    app.promote("v2")
    assert outcomes(doctor(app)) == {"ok"}


def test_a_group_or_a_port_of_another_app_is_a_conflict(app: App) -> None:
    alternative = app.definition["labels"]["HAPROXY_DEPLOYMENT_ALT_PORT"]
    mapping = [{**app.definition["container"]["portMappings"][0], "servicePort": int(alternative)}]
    container = {**app.definition["container"], "docker": {"image": "x"}, "portMappings": mapping}
    with foreign(app, f"{app.id}-shop", {GROUP: f"{app.group}-shop"}, container=container):
        ports = row(doctor(app, expect=6), "ports", "failure")
        assert alternative in ports["found"]
        assert f"{app.id}-shop" in ports["found"]
        assert ports["remedy"]
    with foreign(app, f"{app.id}-api", {GROUP: app.group, "HAPROXY_APP_ID": f"{app.id}-api"}):
        assert f"{app.id}-api" in row(doctor(app, expect=6), "group", "failure")["found"]


def test_invalid_start_times_and_vips_of_one_colour_are_reported(app: App) -> None:
    mappings = [{**app.definition["container"]["portMappings"][0], "labels": {"VIP_0": f"{app.id}-blue:80"}}]
    container = {**app.definition["container"], "docker": {"image": "x"}, "portMappings": mappings}
    labels = {GROUP: app.group, STARTED: "yesterday", TARGET: "2"}
    with foreign(app, f"{app.id}-blue", labels, container=container):
        rows = doctor(app, expect=6)
        assert "yesterday" in row(rows, "started-at", "failure")["found"]
        assert f"{app.id}-blue:80" in row(rows, "vips", "warning")["found"]
    with foreign(app, f"{app.id}-blue", {**labels, STARTED: "2099-01-01T00:00:00"}):
        row(doctor(app), "started-at", "warning")


def test_an_invalid_template_is_a_failure_and_the_apps_are_still_checked(app: App) -> None:
    app.write("v9", labels={GROUP: f"{app.id.strip('/')}-blue"})
    rows = doctor(app, expect=3)
    assert "one colour" in row(rows, "template", "failure")["found"]
    row(rows, "ports", "skipped")
    row(rows, "apps", "ok")


def test_an_unreachable_load_balancer_does_not_stop_the_other_checks(app: App) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{closed.getsockname()[1]}"
        rows = doctor(app, expect=5, BGCI_MARATHON_LB_URL=f"{away} {app.lab.balancers[0]}")
    assert away in row(rows, "load-balancer", "failure")["found"]
    row(rows, "load-balancer", "ok")
    row(rows, "state", "ok")


def test_an_unreachable_or_wrong_cluster_is_reported_and_the_other_checks_still_run(app: App) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = f"http://127.0.0.1:{closed.getsockname()[1]}"
        rows = doctor(app, expect=5, BGCI_CLUSTER_URL=away)
    assert row(rows, "cluster", "failure")["remedy"]
    assert "cluster failed" in row(rows, "login", "skipped")["found"]
    row(rows, "template", "ok")
    stranger = doctor(app, expect=5, BGCI_CLUSTER_URL=str(app.lab.where["marathon_url"]))
    assert "not a DC/OS" in row(stranger, "cluster", "failure")["found"]


def test_doctor_without_an_app_checks_the_cluster(app: App, tmp_path: Any) -> None:
    app.promote("v1")
    app.canary("v2")
    ran = app.lab.start("doctor", directory=tmp_path).end()
    assert ran.code in (0, 6)  # other tests plant their defects in the same cluster
    assert f"bgci promote --app {app.id} --revision v2" in ran.out
    assert "give --app" in ran.out


def test_doctor_without_any_url_is_a_usage_error(app: App) -> None:
    rows = doctor(app, expect=2, BGCI_CLUSTER_URL="", BGCI_MARATHON_LB_URL="")
    row(rows, "url", "failure")
    row(rows, "load-balancer", "failure")


def test_doctor_accepts_a_marathon_without_dcos(app: App) -> None:
    rows = doctor(app, BGCI_CLUSTER_URL="", BGCI_MARATHON_URL=str(app.lab.where["marathon_url"]))
    assert outcomes(rows) == {"ok"}
    assert "without DC/OS" in row(rows, "cluster", "ok")["found"]


# -- what it looks like -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [80, 150])
def test_the_table_fits_into_the_terminal(app: App, columns: int) -> None:
    app.promote("v1")
    app.canary("v2")
    app.write("v9")
    text = on_terminal(app, columns)
    lines = [line for line in text.splitlines() if not line.strip().startswith("$")]
    assert max(map(len, lines)) <= columns
    assert "warning  state" in text
    assert f"$  bgci promote --app {app.id} --revision v2" in text


def on_terminal(app: App, columns: int) -> str:
    """What a doctor writes on a terminal of so many columns."""
    import fcntl
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    command = [sys.executable, "-m", "bgci", "doctor", "--app", app.id, "--revision", "v9"]
    with subprocess.Popen(
        command, cwd=app.directory, env=app.lab.environment(TERM="xterm"), stdout=theirs, stderr=subprocess.PIPE
    ) as process:
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not part:
                break
            parts.append(part)
        os.close(ours)
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0
    return b"".join(parts).decode()


def test_a_signal_ends_doctor(app: App) -> None:
    """A check reports its failures as findings, but a signal is not a finding."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        running = app.start("doctor", "v9", BGCI_CLUSTER_URL=url)
        connection, _ = silent.accept()
        with connection:
            running.process.send_signal(signal.SIGTERM)
            assert running.end().code == 143
