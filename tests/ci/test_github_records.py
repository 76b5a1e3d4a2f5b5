"""The optional records of the action on GitHub: a deployment with its status, and a comment with the plan."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "action" / "github.py"
PLAN = "## Dry run of bgci release web v2: nothing was changed\n\n- create v2"


@dataclass
class Api:
    """GitHub's REST API, as far as the action uses it. ``refuse``: the status of every answer."""

    url: str = ""
    refuse: int = 0
    comments: list[dict[str, Any]] = field(default_factory=list)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    raw: bytes = b""  # the whole answer in place of a good one


class Handler(BaseHTTPRequestHandler):
    api: Api

    def answer(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        assert self.headers["Authorization"] == "Bearer t0ken"
        path, _, query = self.path.partition("?")
        self.api.asked.append((self.command, path.removeprefix("/repos/me/web/"), body))
        page = int(dict(pair.split("=") for pair in query.split("&")).get("page", 1)) if query else 1
        listed = self.api.comments[100 * (page - 1) : 100 * page]
        content = json.dumps({"id": 42} if self.command != "GET" else listed).encode()
        if self.api.raw:
            self.wfile.write(self.api.raw)
            self.close_connection = True
            return
        self.send_response(self.api.refuse or 201)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = answer

    def log_message(self, *words: object) -> None:
        """Suppresses the server's log."""


@pytest.fixture
def api() -> Iterator[Api]:
    found = Api()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"api": found}))
    found.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


def record(
    api: Api, when: str, tmp_path: Path, outputs: dict[str, str] | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    event = tmp_path / "event.json"
    if not event.exists():
        event.write_text(json.dumps({"pull_request": {"number": 7}}))
    given = {
        "PATH": os.environ["PATH"],
        "GITHUB_API_URL": api.url,
        "GITHUB_EVENT_PATH": str(event),
        "GITHUB_OUTPUT": str(tmp_path / "outputs"),
        "GITHUB_REPOSITORY": "me/web",
        "GITHUB_RUN_ID": "17",
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_SHA": "a1" * 20,
        "GITHUB_TOKEN": "t0ken",
        "BGCI_ACTION_INPUTS": json.dumps({"command": "release", "app": "web\n", "working-directory": ""}),
        "BGCI_ACTION_OUTPUTS": json.dumps(outputs or {}),
        **environment,
    }
    words = [sys.executable, "-I", str(SCRIPT), when]
    done = subprocess.run(words, env=given, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done


def test_a_deployment_begins_in_progress_and_its_id_is_an_output(api: Api, tmp_path: Path) -> None:
    record(api, "begin", tmp_path, BGCI_ACTION_DEPLOYMENT="production\n")
    (_, _, made), (_, path, status) = api.asked
    assert (made["environment"], made["ref"], made["required_contexts"]) == ("production", "a1" * 20, [])
    assert (path, status["state"]) == ("deployments/42/statuses", "in_progress")
    assert (tmp_path / "outputs").read_text() == "id=42\n"


@pytest.mark.parametrize(
    ("outputs", "state"),
    [
        ({"result": "ok", "url": "http://web.example"}, "success"),
        ({"result": "rolled-back"}, "failure"),
        ({"result": "ok", "dry-run": "true"}, "inactive"),
        ({}, "failure"),  # the stage did not begin
    ],
)
def test_a_deployment_ends_as_the_release_did(outputs: dict[str, str], state: str, api: Api, tmp_path: Path) -> None:
    record(api, "end", tmp_path, outputs, BGCI_ACTION_DEPLOYMENT_ID="42")
    ((method, path, body),) = api.asked
    assert (method, path, body["state"]) == ("POST", "deployments/42/statuses", state)
    assert body["log_url"] == "https://github.example/me/web/actions/runs/17"
    assert body.get("environment_url") == outputs.get("url")


def test_a_comment_has_the_plan_of_a_dry_run(api: Api, tmp_path: Path) -> None:
    outputs = {"result": "ok", "dry-run": "true", "plan": PLAN}
    record(api, "end", tmp_path, outputs, BGCI_ACTION_COMMENT="true\n")
    _, (method, path, body) = api.asked
    assert (method, path) == ("POST", "issues/7/comments")
    assert body["body"].startswith("<!-- bgci release web  -->\n" + PLAN)
    assert "https://github.example/me/web/actions/runs/17" in body["body"]


def test_a_later_run_replaces_its_own_comment_and_keeps_those_of_users(api: Api, tmp_path: Path) -> None:
    mark = "<!-- bgci release web  -->"
    others = [{"id": number, "body": "fine", "user": {"type": "User"}} for number in range(100)]
    forged = {"id": 500, "body": f"{mark}\nx", "user": {"type": "User"}}
    api.comments = [*others, forged, {"id": 501, "body": f"{mark}\nold", "user": {"type": "Bot"}}]
    record(api, "end", tmp_path, {"result": "ok"}, BGCI_ACTION_COMMENT="true")
    assert [method for method, _, _ in api.asked] == ["GET", "GET", "PATCH"]
    assert api.asked[-1][1] == "issues/comments/501"
    assert "`bgci release`: **ok**" in api.asked[-1][2]["body"]


def test_a_run_without_a_pull_request_is_a_warning(api: Api, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text("{}")
    done = record(api, "end", tmp_path, {"result": "ok"}, BGCI_ACTION_COMMENT="true")
    assert done.stdout.startswith("::warning title=bgci action::The record on GitHub was not written: ")
    assert api.asked == []


@pytest.mark.parametrize("when", ["begin", "end"])
def test_a_refused_request_is_a_warning_with_its_remedy_and_fails_no_release(
    when: str, api: Api, tmp_path: Path
) -> None:
    api.refuse = 403
    done = record(api, when, tmp_path, BGCI_ACTION_DEPLOYMENT="production", BGCI_ACTION_DEPLOYMENT_ID="42")
    assert "HTTP Error 403" in done.stdout
    assert "Remedy: grant the permission that docs/github.md names" in done.stdout
    assert done.stdout.count("\n") == 1
    assert not (tmp_path / "outputs").exists()


def test_an_api_that_cannot_be_reached_is_a_warning(api: Api, tmp_path: Path) -> None:
    done = record(api, "begin", tmp_path, BGCI_ACTION_DEPLOYMENT="x", GITHUB_API_URL="http://127.0.0.1:9")
    assert "::warning" in done.stdout


def answer(body: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    "raw",
    [
        answer('{"id": null}'),
        answer("[]"),
        answer("7"),
        answer('["x"]'),
        answer("{")[:-1],
        b"HTTP/9 what\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n{}",
    ],
)
@pytest.mark.parametrize("when", ["begin", "end"])
def test_no_answer_of_github_fails_a_good_release(raw: bytes, when: str, api: Api, tmp_path: Path) -> None:
    api.raw = raw
    record(api, when, tmp_path, {"result": "ok"}, BGCI_ACTION_COMMENT="true", BGCI_ACTION_DEPLOYMENT="production")
