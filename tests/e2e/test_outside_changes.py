"""Outside changes of one of the two apps while a command runs (docs/engine.md)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import requests

from e2e.lab import App, until


def by_hand(app: App, revision: str, method: str, path: str = "", **body: Any) -> None:
    """One request to Marathon, as an operator sends it."""
    url = f"{app.lab.marathon_url}/v2/apps{app.id_of(revision)}{path}"
    reply = requests.request(method, url, params={"force": "true"}, json=body or None, timeout=10)
    assert reply.status_code < 300, reply.text


def test_an_outside_change_is_reported_and_never_undone(app: App) -> None:
    app.promote("v1")
    # The canary cannot become healthy, so each command waits until the test has made its outside change.
    app.write("v2", env={"SANDBOX_HEALTH": "fail"})
    with app.load(slow=0):
        canary = app.start("canary", "v2")
        until(lambda: app.runs() == {"v1": 2, "v2": 1})
        until(lambda: app.tasks("v2"))
        by_hand(app, "v1", "PUT", instances=3)
        until(lambda: "v1" in app.healthy() and app.healthy()["v1"] == 3)
        until(lambda: app.runs().get("v2"))  # with the baseline scaled last, the canary begins again
        by_hand(app, "v2", "PUT", instances=0)
        ended = canary.end()
        assert ended.code == 6, ended.text
        blue, green = app.id_of("v1"), app.id_of("v2")
        assert f"{blue} was scaled from 2 to 3 instances by somebody else." in ended.text
        assert f"{green} was suspended (0 instances) by somebody else." in ended.result["message"]
        assert app.runs() == {"v1": 3, "v2": 0}, "nothing is undone"

        promote = app.start("promote", "v2")
        until(lambda: app.runs().get("v2"))
        by_hand(app, "v2", "DELETE")
        ended = promote.end()
        assert ended.code == 6, ended.text
        assert f"{green} was deleted by somebody else." in ended.result["message"]
        assert app.runs() == {"v1": 3}

        app.rollback("v2")
        app.write("v2")
        assert app.promote("v2").code == 0
    assert app.runs() == {"v2": 2}


def test_an_outside_change_during_the_tests_is_reported_and_a_deleted_canary_is_not_created_again(
    make_app: Callable[..., App],
) -> None:
    app = make_app(1)
    app.promote("v1")
    program = app.directory / "hand.py"
    program.write_text(
        "import os, sys, urllib.request as web\n"
        "request = web.Request(sys.argv[1], sys.argv[3].encode(), {'Content-Type': 'application/json'})\n"
        "request.get_method = lambda: sys.argv[2]\n"
        "assert web.urlopen(request).status == 200\n"
    )
    url = f"{app.lab.marathon_url}/v2/apps{app.id_of('v1')}"
    hand = f"{sys.executable} {program} {url}?force=true PUT '{{\"instances\": 2}}'"
    released = app.run("release", "v2", "--test-command", hand)
    blue, green = f"{app.id}-blue", f"{app.id}-green"
    assert f"warning: {blue} was scaled from 1 to 2 instances by somebody else." in released.text
    assert f"{blue} was scaled from 1 to 2 instances by somebody else." in released.result["message"]
    assert app.runs() == {"v2": 1}

    hand = f"{sys.executable} {program} {app.lab.marathon_url}/v2/apps{blue}?force=true DELETE ''"
    ended = app.run("release", "v3", "--test-command", hand, expect=7)
    assert f"{blue} was deleted by somebody else." in ended.result["message"]
    assert app.runs() == {"v2": 1}
    assert green == app.id_of("v2")
