"""A promotion is complete only under the final configuration; a revision that turns bad is rolled back by itself."""

from __future__ import annotations

import pytest

from e2e.faulty import proxy
from e2e.lab import App, until

SERVER = "  server {serverName} {host_ipv4}:{port} id {serverId}{cookieOptions}{healthCheckOptions}{otherOptions}"
FAILING = {"HAPROXY_0_BACKEND_SERVER_OPTIONS": f"{SERVER} ssl verify none\n"}
LEFT_OUT = {"HAPROXY_0_BACKEND_HTTP_OPTIONS": "  timeout server 5s nonsense\n"}
BLIND = ("--preview", "never", "--check-config", "never")


@pytest.mark.parametrize("labels", [FAILING, LEFT_OUT], ids=["failing", "left out"])
def test_h45_h49_h50_settings_that_do_not_serve_after_the_commit_end_with_10_and_the_baseline_restored(
    app: App, labels: dict[str, str]
) -> None:
    app.promote("v1")
    app.write("v2", labels=labels)
    ended = app.promote("v2", *BLIND, expect=10)
    assert "its own load-balancer settings" in ended.text
    assert app.healthy() == {"v1": 2}
    assert app.least_up() == 2
    assert app.answers() == {"v1": 20}


def test_h56_a_revision_that_does_not_serve_is_rolled_back_from_the_kept_baseline(app: App) -> None:
    app.promote("v1")
    app.write("v2", labels=LEFT_OUT)
    ended = app.promote("v2", *BLIND, "--on-degraded", "leave", expect=8)
    assert "its own load-balancer settings" in ended.text
    assert app.runs() == {"v2": 2}
    app.rollback("v2")
    assert app.healthy() == {"v1": 2}
    assert app.least_up() == 2


def test_h61_a_revision_that_turns_bad_while_the_baseline_drains_is_rolled_back(app: App) -> None:
    app.promote("v1")
    app.write("v2", env={"SANDBOX_CRASH_AFTER": "4"})
    with app.long_session(20):  # the baseline cannot be drained before v2 turns bad
        ended = app.promote("v2", expect=10)
    assert "are in rotation. bgci rolls back." in ended.text
    assert "turned bad" in ended.result["message"]
    assert app.healthy() == {"v1": 2}
    until(lambda: app.least_up() == 2)


def test_a_lost_answer_to_a_changing_request_does_not_end_the_run(app: App) -> None:
    lost: set[str] = set()

    def once(method: str, path: str, body: bytes) -> int | None:
        if method in ("POST", "PUT", "DELETE") and (key := f"{method} {path}") not in lost:
            lost.add(key)
            return 503
        return None

    with proxy(app.lab.marathon_url) as door:
        door.fault = once
        for command, revision in (("promote", "v1"), ("canary", "v2"), ("rollback", "v2"), ("promote", "v3")):
            app.run(command, revision, "--marathon-url", door.url)
    assert len(lost) >= 5
    assert app.healthy() == {"v3": 2}
