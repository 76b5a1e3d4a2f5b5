"""Real HTTP servers in separate threads."""

from __future__ import annotations

import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from bgci.checks.runner import Place


class Server(ThreadingHTTPServer):
    """Answers as its query says: ``status``, ``body``, ``sleep``, ``bytes``, ``trickle``; remembers what it got."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, revision: str, certificate: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.revision = revision
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.lock = threading.Lock()
        self.open = self.most_open = 0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def place(self) -> Place:
        netloc = f"127.0.0.1:{self.server_address[1]}"
        return Place(netloc, (f"http://{netloc}",), netloc)

    def end(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores closed connections of clients, which some tests cause."""


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do(self) -> None:
        query = {key: value[0] for key, value in parse_qs(urlsplit(self.path).query).items()}
        size = int(self.headers.get("Content-Length") or 0)
        got = (self.command, self.path, dict(self.headers), self.rfile.read(size))
        with self.server.lock:
            self.server.seen.append(got)
            self.server.open += 1
            self.server.most_open = max(self.server.most_open, self.server.open)
        time.sleep(float(query.get("sleep", "0")))
        with self.server.lock:
            self.server.open -= 1  # before the answer: whoever has it may ask again at once
        self.answer(query)

    do_GET = do_POST = do_HEAD = do_PUT = do

    def answer(self, query: dict[str, str]) -> None:
        if "cut" in query:
            self.close_connection = True
            return
        body = query.get("body", "hello").encode() + b"x" * int(query.get("bytes", "0"))
        self.send_response(int(query.get("status", "200")))
        self.send_header("X-Revision", self.server.revision)
        self.send_header("Set-Cookie", "session=hush-hush")
        self.send_header("Content-Type", query.get("type", "text/plain"))
        self.send_header("Content-Length", str(len(body) * (1 + ("trickle" in query))))
        self.end_headers()
        if self.command == "HEAD":
            return
        while "trickle" in query:
            self.wfile.write(b"x")
            self.wfile.flush()
            time.sleep(0.02)
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Suppresses the server's log."""


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of an app's name with its key, signed by itself: as an instance shows it."""
    path = tmp_path_factory.mktemp("tls") / "app.pem"
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path, "-out", path]
    named = ["-subj", "/CN=app.example.com", "-addext", "subjectAltName=DNS:app.example.com", "-days", "2"]
    subprocess.run(["openssl", "req", "-x509", *new, *named], check=True, capture_output=True)
    return path


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(revision: str = "v2", certificate: Path | None = None) -> Server:
        servers.append(Server(revision, certificate))
        return servers[-1]

    yield start
    for server in servers:
        server.end()
