"""Load balancers: sessions in older workers, replicas that are down, missed events."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import requests

from e2e.faulty import proxy
from e2e.lab import App, until


@dataclass
class Replica:
    """A third load balancer, of the test's own."""

    process: subprocess.Popen[bytes]
    url: str


@contextlib.contextmanager
def replica(home: Path, marathon_url: str) -> Iterator[Replica]:
    home.mkdir()
    options = ["--marathon", marathon_url, "--address", "127.0.0.3", "--state-dir", str(home), "--health-check"]
    with (home / "lb.log").open("wb") as log:
        command = [sys.executable, "-m", "bgci.sandbox.loadbalancer", *options]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: (home / "ready.json").exists())
        yield Replica(process, json.loads((home / "ready.json").read_text())["url"])
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(timeout=30)


def with_replica(app: App, third: Replica) -> None:
    app.lab = replace(app.lab, where={**app.lab.where, "marathon_lb_urls": [*app.lab.balancers, third.url]})


def test_h05_h18_a_server_in_maint_lives_until_its_session_in_an_old_worker_has_ended(app: App) -> None:
    app.promote("v1")
    began = time.monotonic()
    with app.long_session(9) as session:
        until(lambda: sum(int(row["scur"]) for row in app.rows(app.lab.balancers[0])) == 1)
        done = app.promote("v2")
        assert time.monotonic() - began >= 9
    assert (session.status, session.revision) == (200, "v1")
    assert "older HAProxy workers that can hold sessions" in done.out
    assert done.result["timings"]["waited_seconds"]["drain"] > 0


def test_h18_the_drain_timeout_aborts_and_the_same_command_continues(app: App) -> None:
    app.promote("v1")
    with app.long_session(14) as session:
        until(lambda: sum(int(row["scur"]) for row in app.rows(app.lab.balancers[0])) == 1)
        aborted = app.promote("v2", "--drain-timeout", "1s", expect=9)
        assert "--on-drain-timeout force" in aborted.err
        assert app.healthy() == {"v1": 2, "v2": 2}
        app.promote("v2")
    assert (session.status, session.revision) == (200, "v1")
    assert app.healthy() == {"v2": 2}


def test_h18_the_drain_timeout_cuts_the_session_with_force(app: App) -> None:
    app.promote("v1")
    with app.long_session(20) as session:
        until(lambda: sum(int(row["scur"]) for row in app.rows(app.lab.balancers[0])) == 1)
        app.promote("v2", "--drain-timeout", "1s", "--on-drain-timeout", "force")
        assert app.healthy() == {"v2": 2}
    assert session.status != 200


def test_h18_a_task_whose_idle_probe_passes_does_not_wait_for_older_workers(make_app: Callable[..., App]) -> None:
    """An old worker lives on for another app's session."""
    other = make_app(1)
    other.promote("v1")
    app = make_app(2)
    app.definition["labels"]["BGCI_DRAIN_PATH"] = "/idle"
    app.promote("v1")
    with other.long_session(15) as session:
        until(lambda: sum(int(row["scur"]) for row in other.rows(other.lab.balancers[0])) == 1)
        app.promote("v2")
        assert session.is_alive()
    assert session.status == 200


def test_h19_a_replica_that_is_down_from_the_start_changes_nothing_and_ends_with_5(app: App, tmp_path: Path) -> None:
    app.promote("v1")
    before = app.state()
    with replica(tmp_path / "lb3", app.lab.marathon.url) as third:
        with_replica(app, third)
        third.process.terminate()
        third.process.wait(timeout=30)
        for command in ("canary", "promote"):
            down = app.run(command, "v2", "--timeout", "2s", expect=5)
            assert third.url in down.err
    assert app.state() == before


def test_h19_a_replica_that_hangs_stops_all_changes_until_it_answers_again(app: App, tmp_path: Path) -> None:
    with replica(tmp_path / "lb3", app.lab.marathon.url) as third, proxy(third.url) as door:
        with_replica(app, Replica(third.process, door.url))
        app.promote("v1")
        app.canary("v2")
        before = app.state()
        door.fault = lambda method, path, body: 503
        down = app.promote("v2", "--timeout", "3s", expect=5)
        assert door.url in down.err
        assert app.state() == before

        running = app.start("promote", "v2")
        seen = len(door.seen)
        until(lambda: len(door.seen) > seen + 4)
        assert app.state() == before
        door.fault = lambda method, path, body: None
        assert running.end().code == 0
    assert app.healthy() == {"v2": 2}


def test_h38_a_load_balancer_that_missed_an_event_is_asked_to_reload(app: App, tmp_path: Path) -> None:
    app.promote("v1")
    with (
        proxy(app.lab.marathon.url) as door,
        replica(tmp_path / "lb3", door.url) as third,
        proxy(third.url) as statistics,
    ):
        with_replica(app, replace(third, url=statistics.url))
        until(lambda: app.up(third.url) == 2)
        door.fault = lambda method, path, body: 503 if path.startswith("/v2/apps") else None
        running = app.start("canary", "v2")
        until(lambda: app.healthy().get("v2") == 1)
        until(lambda: all(len(app.rows(url)) == 3 for url in app.lab.balancers[:2]))
        door.fault = lambda method, path, body: None
        missed = len(statistics.seen)
        done = running.end()
        assert done.code == 0, done.text
        assert len(app.rows(third.url)) == 3
        # A renewal of the app's lock is an event, too: the load balancer would follow that as well.
        assert "/_mlb_signal/hup" in [path for _, path in statistics.seen[missed:]]


def test_a_load_balancer_url_without_marathon_lb_behind_it_is_not_taken_for_a_drained_one(app: App) -> None:
    """HAProxy's statistics are there, the pages that marathon-lb adds are not."""
    app.promote("v1")
    before = app.state()
    with proxy(app.lab.balancers[1]) as door:
        door.fault = lambda method, path, body: 404 if path.startswith("/_haproxy_get") else None
        app.lab = replace(app.lab, where={**app.lab.where, "marathon_lb_urls": [app.lab.balancers[0], door.url]})
        refused = app.promote("v2", "--timeout", "2s", expect=5)
    assert door.url in refused.err
    assert app.state() == before


@pytest.mark.parametrize("path", ["/_haproxy_getpids", "/haproxy?stats;csv"])
def test_the_sandbox_answers_as_marathon_lb(app: App, path: str) -> None:
    for balancer in app.lab.balancers:
        assert requests.get(balancer + path, timeout=10).status_code == 200
