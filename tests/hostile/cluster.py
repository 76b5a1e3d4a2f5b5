"""A cluster of canned answers on one address, one of whose endpoints gives a hostile answer.

The sandbox answers well, so what it cannot say is said here: nothing is simulated, every answer stays the same. The
address speaks http and https, and is a proxy to itself: an address of 192.0.2.0/24 behind it is this cluster too.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress

from hostile.good_answers import LOCK, GoodAnswers
from hostile.tls import Certificate, certificate

Send = Callable[[bytes], None]
Answer = Callable[[Send, bytes, threading.Event], None]
"""Writes a whole answer to ``Send``, head and body, instead of this good body; ends when the event is set."""

# The name of a request's endpoint: the first pattern that its method, its target and its body match. A handshake of TLS
# is the endpoint "handshake", and a login after the first one "login-again".
ENDPOINTS: tuple[tuple[str, str], ...] = (
    ("proxy", r"CONNECT "),
    ("route", r"GET /(mesos/state-summary|secrets/v1/ping|agent/bgci-doctor|system/v1/logs/v2/task/bgci-doctor)"),
    ("version", r"GET /dcos-metadata/dcos-version\.json"),
    ("login", r"POST /acs/api/v1/auth/login"),
    ("permissions", r"GET /acs/api/v1/users/"),
    ("secrets", r"GET /secrets/.*[?&]list="),
    ("secret", r"GET /secrets/v1/secret/"),
    ("ca", r"GET /ca/"),
    ("marathon-ping", r"GET /service/marathon/ping"),
    ("info", r"GET /service/marathon/v2/info"),
    ("queue", r"GET /service/marathon/v2/queue"),
    ("cancel", r"DELETE /service/marathon/v2/deployments"),
    ("locks", rf"GET /service/marathon/v2/apps\?.*{LOCK}"),
    ("apps", r"GET /service/marathon/v2/apps($|\?| )"),
    ("app", r"GET /service/marathon/v2/apps/"),
    ("create-lock", rf"POST /service/marathon/v2/apps .*{LOCK}"),
    ("create", r"POST /service/marathon/v2/apps"),
    ("renew-lock", rf"PUT /service/marathon/v2/apps.*{LOCK}"),
    ("change", r"PUT /service/marathon/v2/apps"),
    ("delete-lock", r"DELETE /service/marathon/v2/apps/[^ ]*-lock-"),
    ("delete-task", r"DELETE /service/marathon/v2/apps/[^ ]*/tasks/"),
    ("delete", r"DELETE /service/marathon/v2/apps"),
    ("kill", r"POST /service/marathon/v2/tasks/delete"),
    ("metronome-ping", r"GET /service/metronome/ping"),
    ("metronome-info", r"GET /service/metronome/info"),
    ("jobs", r"GET /service/metronome/v1/jobs( |\?)"),
    ("runs", r"GET /service/metronome/v1/jobs/[^/]*/runs "),
    ("run", r"GET /service/metronome/v1/jobs/[^/]*/runs/"),
    ("history", r"GET /service/metronome/v1/jobs/.*=history"),
    ("job", r"GET /service/metronome/v1/jobs/"),
    ("start", r"POST /service/metronome/v1/jobs/[^/]*/runs "),
    ("stop", r"POST /service/metronome/v1/jobs/[^/]*/runs/.*/stop"),
    ("create-job", r"POST /service/metronome/v1/jobs"),
    ("change-job", r"PUT /service/metronome/v1/jobs"),
    ("delete-job", r"DELETE /service/metronome/v1/jobs"),
    ("log", r"GET /system/v1/logs/"),
    ("files", r"GET /agent/"),
    ("state", r"GET /mesos/master/state"),
    ("tasks", r"POST /mesos/api/v1"),
    ("statistics", r"GET /haproxy\?stats;csv"),
    ("statistics-page", r"GET /haproxy\?stats"),
    ("pids", r"GET /_haproxy_getpids"),
    ("config", r"GET /_haproxy_getconfig"),
    ("reload", r"GET /_mlb_signal"),
    ("instance", r"[A-Z]+ /"),
)
TEXTS = {"marathon-ping", "metronome-ping", "ca", "log", "statistics", "statistics-page", "pids", "config", "reload"}
TEXTS |= {"instance"}


class Cluster(GoodAnswers):
    """The cluster, its load balancer and the instances of ``/web``, revision v1 beside its canary v2.

    ``hostile``: the endpoint that answers by ``answer``. ``asked``: which endpoints were asked, in order. ``heard``:
    the last request.
    """

    def __init__(self) -> None:
        super().__init__()
        self.hostile = ""
        self.answer: Answer | Certificate = _nothing
        self.asked: list[str] = []
        self.heard = b""
        self.over = threading.Event()
        self._listeners: list[socket.socket] = []
        while len(self._listeners) < 2:  # until a port is free at both addresses
            for listener in self._listeners:
                listener.close()
            self._listeners = [socket.create_server(("127.0.0.1", 0), backlog=64)]
            self.port = self._listeners[0].getsockname()[1]
            with suppress(OSError):
                self._listeners.append(socket.create_server(("127.0.0.2", self.port), backlog=64))
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Cluster:
        for listener in self._listeners:
            threading.Thread(target=self._serve, args=(listener,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for listener in self._listeners:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def answering(self, endpoint: str, answer: Answer | Certificate) -> None:
        """Sets the answer of this endpoint. Unfinished hostile answers end."""
        self.over.set()
        self.over = threading.Event()
        self.hostile, self.answer, self.asked, self.created = endpoint, answer, [], {}

    def _serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._handle, args=(connection,), daemon=True).start()

    def _handle(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(60)
            if self._received(connection):  # a proxy's tunnel
                self._received(connection)

    def _received(self, connection: socket.socket) -> bool:
        """Answers one request. Whether another one follows on this connection."""
        if connection.recv(1, socket.MSG_PEEK) != b"\x16":  # the first byte of TLS
            return self._answered(connection)
        if secured := self._secured(connection):
            with secured:
                self._answered(secured)
        return False

    def _answered(self, connection: socket.socket) -> bool:
        head, body = _request(connection)
        if not head:
            return False
        method, target = head.split("\r\n")[0].split(" ")[:2]
        target = re.sub("^http://[^/]*", "", target)  # as a proxy gets it
        endpoint = self._endpoint(f"{method} {target} {body.decode('latin-1')}")
        self.heard = f"{head}\r\n\r\n".encode("latin-1") + body
        self.asked.append(endpoint)
        good = b"" if endpoint == "proxy" else self.good(endpoint, target, body)
        if endpoint == self.hostile and not isinstance(self.answer, Certificate):
            self.answer(connection.sendall, good, self.over)
        elif endpoint == "proxy":
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            return True
        else:
            kind = "text/plain" if endpoint in TEXTS else "application/json"
            connection.sendall(whole(good, kind, self.status(endpoint, good)))
        return False

    def _endpoint(self, request: str) -> str:
        found = next(name for name, form in ENDPOINTS if re.match(form, request))
        again = found == "login" != self.hostile and "login" in self.asked
        return "login-again" if again else found

    def _secured(self, connection: socket.socket) -> ssl.SSLSocket | None:
        """The connection after its handshake; None after a hostile one."""
        self.asked.append("handshake")
        hostile = self.hostile == "handshake"
        if hostile and not isinstance(self.answer, Certificate):
            connection.recv(65536)
            self.answer(connection.sendall, b"", self.over)
            return None
        shown = self.answer if hostile and isinstance(self.answer, Certificate) else certificate()
        return shown.context.wrap_socket(connection, server_side=True)


def _request(connection: socket.socket) -> tuple[str, bytes]:
    """The head and the body of the next request; an empty head at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return "", b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: *([0-9]+)", head)
    while length and len(body) < int(length[1]):
        body += connection.recv(65536)
    return head.decode("latin-1"), body


def whole(body: bytes, kind: str = "application/json", status: str = "200 OK", *more: str) -> bytes:
    """Sends a whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close", *more]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def _nothing(send: Send, good: bytes, over: threading.Event) -> None:
    """Closes the connection."""
