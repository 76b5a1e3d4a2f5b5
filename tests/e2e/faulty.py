"""A proxy that fails on request, in front of Marathon, Metronome or a whole cluster; and a plain web server."""

from __future__ import annotations

import http.client
import http.server
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

Fault = Callable[[str, str, bytes], "int | None"]
"""Method, path and body of a request; a status to answer instead of passing it on."""


class Local(http.server.ThreadingHTTPServer):
    """A server of a test's own, on any free port."""

    daemon_threads = True

    def __init__(self, handler: type[http.server.BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A closed connection of a client is not an error."""


class Quiet(http.server.BaseHTTPRequestHandler):
    """Logs nothing; every answer ends its connection."""

    def send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.close_connection = True
        self.send_response_only(status)
        for name, text in {**headers, "Content-Length": str(len(body)), "Connection": "close"}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Suppresses the server's log."""


class Proxy(Local):
    """Forwards each request, except those that ``fault`` answers."""

    def __init__(self, target: str) -> None:
        super().__init__(_Handler)
        self.target = urllib.parse.urlsplit(target).netloc
        self.fault: Fault = lambda method, path, body: None
        self.after: Callable[[str, str], bool] = lambda method, path: False  # whether the answer is lost
        self.seen: list[tuple[str, str]] = []


class _Handler(Quiet):
    server: Proxy

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append((self.command, self.path))
        self.close_connection = True
        status = self.server.fault(self.command, self.path, body)
        if status is not None:
            self.send(status, {"Content-Type": "application/json"}, b'{"message": "as the test wants it"}')
            return
        connection = http.client.HTTPConnection(self.server.target, timeout=600)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        connection.request(self.command, self.path, body=body or None, headers={**headers, "Connection": "close"})
        reply = connection.getresponse()
        if self.server.after(self.command, self.path):
            connection.close()
            return
        self.send_response_only(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        with suppress(OSError):
            while chunk := reply.read1(65536):
                self.wfile.write(chunk)
                self.wfile.flush()
        connection.close()

    do_GET = do_POST = do_PUT = do_DELETE = _pass_on


class _Page(Quiet):
    def do_GET(self) -> None:
        self.send(200, {"Content-Type": "text/html"}, b"<html><body>Welcome to a web server</body></html>")

    do_POST = do_GET


@contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    with Proxy(target) as server:
        yield from served(server)


@contextmanager
def web_server() -> Iterator[str]:
    """The URL of a web server that answers every GET with a page."""
    with Local(_Page) as server:
        for _ in served(server):
            yield server.url


def served(server: Any) -> Iterator[Any]:
    """Yields the server once, while it serves."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
