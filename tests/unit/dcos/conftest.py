"""A real HTTP server in a thread, with prepared answers and a record of its requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest


@dataclass(frozen=True)
class Answer:
    """``cut``: the connection is closed instead. ``hold``: answers only once that event is set."""

    status: int = 200
    body: Any = None
    kind: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    hold: threading.Event | None = None

    @property
    def content(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        if self.kind == "application/json":
            return b"" if self.body is None else json.dumps(self.body).encode()
        return str(self.body or "").encode()


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, str]
    body: Any
    connection: int  # the client's port: one for each connection


class Stub:
    """``tell(method, path, *answers)``: one answer after the other, the last one for ever. Unknown paths are 404."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answers: dict[tuple[str, str], list[Answer]] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def tell(self, method: str, path: str, *answers: Answer) -> None:
        self._answers[method, path] = list(answers)

    def json(self, path: str, body: Any, status: int = 200, method: str = "GET") -> None:
        self.tell(method, path, Answer(status, body))

    def __enter__(self) -> Stub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _next(self, method: str, path: str) -> Answer:
        answers = self._answers.get((method, path), [Answer(404, "404 Not Found: service not found.", "text/plain")])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.loads(raw) if raw else None
                headers = {name.lower(): value for name, value in self.headers.items()}
                query = parse_qsl(parts.query)
                stub.asked.append(Asked(self.command, parts.path, query, headers, body, self.client_address[1]))
                answer = stub._next(self.command, parts.path)
                if answer.hold:
                    answer.hold.wait(20)
                if answer.cut:
                    self.close_connection = True
                    return
                with suppress(OSError):  # the client can have closed the connection
                    self._answer(answer)

            def _answer(self, answer: Answer) -> None:
                self.send_response(answer.status)
                self.send_header("Content-Length", str(len(answer.content)))
                if answer.content:
                    self.send_header("Content-Type", answer.kind)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.content)

            do_GET = do_POST = do_PUT = do_DELETE = _serve

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def stub() -> Iterator[Stub]:
    with Stub() as server:
        yield server


@pytest.fixture
def other() -> Iterator[Stub]:
    """A second server: another origin."""
    with Stub() as server:
        yield server


@pytest.fixture
def answer() -> type[Answer]:
    return Answer
