"""A task of an app: a small web server that answers with its revision, with faults by its environment variables.

The sandbox runs it as a separate process (``python -S -E -s task_server.py``), so it imports little: twenty of them
start on two cores. It ends at once on SIGTERM, so that a kill during a request causes a failure.

Environment: ``SANDBOX_LISTEN`` (``address:port``, comma separated; else ``HOST`` and every ``PORT<n>``),
``BGCI_SANDBOX_BODY``, ``SANDBOX_START_SECONDS``, ``SANDBOX_HEALTH=fail``, ``SANDBOX_HEALTH_AFTER`` (seconds),
``SANDBOX_HEALTH_PATH``, ``SANDBOX_CRASH_AFTER`` (seconds), ``SANDBOX_ERROR_SHARE`` (0..1), ``SANDBOX_LATENCY``
(seconds), ``SANDBOX_STOP_SECONDS`` (continues to serve that long after SIGTERM).
Requests: ``?sleep=SECONDS``, ``?status=NNN``, ``?bytes=N``; ``/idle`` is 200 when no other one is in flight, else 503.
``X-Received`` in an answer is the number of bytes of the request's body. A request for a websocket gets one that sends
each message back. It logs a connection that ends inside a request or an answer on stderr, with the peer's port.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time

Headers = dict[str, str]

STARTED = time.monotonic()
WEBSOCKET_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
WEBSOCKET_CLOSE = 8
REASONS = {200: "OK", 404: "Not Found", 500: "Internal Server Error", 503: "Service Unavailable"}
MAX_HEAD = 65536


def number(name: str, default: float = 0.0) -> float:
    """A number from the environment; invalid text counts as the default."""
    try:
        return float(os.environ.get(name, ""))
    except ValueError:
        return default


def default_body(image: str, version: str) -> str:
    """The answer of the image of that name on ``/``."""
    name = image.rsplit("/", 1)[-1]
    if "httpd" in name or "apache" in name:
        return "<html><body><h1>It works!</h1></body></html>\n"
    if "nginx" in name:
        return "<html><body><h1>Welcome to nginx!</h1></body></html>\n"
    return f"{image or os.environ.get('MARATHON_APP_ID', 'app')} {version}\n"


HEALTH_PATH = os.environ.get("SANDBOX_HEALTH_PATH") or "/health"
HEALTH_FAILS = os.environ.get("SANDBOX_HEALTH", "") == "fail"
HEALTH_AFTER = number("SANDBOX_HEALTH_AFTER")
ERROR_SHARE = number("SANDBOX_ERROR_SHARE")
LATENCY = number("SANDBOX_LATENCY")
VERSION = os.environ.get("MARATHON_APP_VERSION", "")
BODY = os.environ.get("BGCI_SANDBOX_BODY") or default_body(os.environ.get("MARATHON_APP_DOCKER_IMAGE", ""), VERSION)
IDENTITY = "".join(
    f"{header}: {os.environ.get(name, '')}\r\n"
    for header, name in (
        ("X-App-Id", "MARATHON_APP_ID"),
        ("X-App-Version", "MARATHON_APP_VERSION"),
        ("X-Task-Id", "MESOS_TASK_ID"),
        ("X-Revision", "MARATHON_APP_LABEL_BGCI_REVISION"),
    )
)


class Traffic:
    """How many requests are in flight, and which of them are to fail: an even share, not a random one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.in_flight = 0
        self.count = 0

    def enter(self) -> None:
        with self.lock:
            self.in_flight += 1

    def leave(self) -> None:
        with self.lock:
            self.in_flight -= 1

    def fails(self, share: float) -> bool:
        """True for ``share`` of the calls, spread evenly."""
        with self.lock:
            self.count += 1
            return int(self.count * share) > int((self.count - 1) * share)


TRAFFIC = Traffic()


def parse_query(text: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in text.split("&") if part)


def answer(path: str, query: dict[str, str], headers: Headers) -> tuple[int, bytes]:
    """Status and body for one request. With ``/`` as health path, only requests without a User-Agent are checks."""
    if path == "/idle":
        return (200, b"idle\n") if TRAFFIC.in_flight <= 1 else (503, b"busy\n")
    if path == HEALTH_PATH and (path != "/" or "user-agent" not in headers):
        unhealthy = HEALTH_FAILS or time.monotonic() - STARTED < HEALTH_AFTER
        return (500, b"unhealthy\n") if unhealthy else (200, b"healthy\n")
    pause = LATENCY + float(query.get("sleep") or 0)
    if pause:
        time.sleep(pause)
    if TRAFFIC.fails(ERROR_SHARE):
        return 500, b"error share\n"
    status = int(query.get("status") or 200)
    return status, b"x" * int(query["bytes"]) if "bytes" in query else BODY.encode()


def read_head(connection: socket.socket, buffer: bytes) -> tuple[str, Headers, bytes] | None:
    """The request line, the headers (names in lower case) and the bytes read after them; None at the end."""
    while b"\r\n\r\n" not in buffer:
        chunk = connection.recv(MAX_HEAD)
        if not chunk or len(buffer) > MAX_HEAD:
            return None
        buffer += chunk
    head, _, rest = buffer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":")[::2] for line in lines[1:])
    return lines[0], {name.strip().lower(): value.strip() for name, value in pairs}, rest


def skip_body(connection: socket.socket, headers: Headers, rest: bytes) -> bytes | None:
    """The bytes after the request's body; None if the connection ended inside it."""
    missing = int(headers.get("content-length") or 0) - len(rest)
    if missing <= 0:
        return rest[len(rest) + missing :]
    while missing > 0:
        chunk = connection.recv(min(missing, MAX_HEAD))
        if not chunk:
            return None
        missing -= len(chunk)
    return b""


def one_request(connection: socket.socket, buffer: bytes) -> bytes | None:
    """Answers one request; the bytes of the next one, or None when the connection is to end."""
    request = read_head(connection, buffer)
    if request is None:
        return None
    line, headers, rest = request
    TRAFFIC.enter()
    try:
        if headers.get("upgrade", "").lower() == "websocket":
            echo_websocket(connection, headers.get("sec-websocket-key", ""), rest)
            return None
        after = skip_body(connection, headers, rest)
        method, target, protocol = [*line.split(" "), "", ""][:3]
        path, _, query = target.partition("?")
        try:
            status, body = answer(path, parse_query(query), headers)
        except ValueError as error:
            status, body = 400, f"{error}\n".encode()
        asked = headers.get("connection", "").lower()
        close = after is None or asked == "close" or (protocol != "HTTP/1.1" and asked != "keep-alive")
        received = headers.get("content-length") or "0"
        head = (
            f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\nContent-Type: text/html; charset=utf-8\r\n"
            f"X-Received: {received if after is not None else 'cut'}\r\n"
            f"Content-Length: {len(body)}\r\n{IDENTITY}Connection: {'close' if close else 'keep-alive'}\r\n\r\n"
        )
        connection.sendall(head.encode("latin-1", "replace") + (b"" if method == "HEAD" else body))
    finally:
        TRAFFIC.leave()
    return None if close else after


class Frames:
    """The frames of a websocket's client, one after the other (RFC 6455)."""

    def __init__(self, connection: socket.socket, buffer: bytes) -> None:
        self._connection = connection
        self._buffer = buffer

    def next(self) -> tuple[int, bytes]:
        """The first byte (final bit and opcode) and the payload of the next frame."""
        first, second = self._read(2)
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(self._read(2 if length == 126 else 8), "big")
        mask = self._read(4) if second & 0x80 else bytes(4)
        return first, bytes(byte ^ mask[index % 4] for index, byte in enumerate(self._read(length)))

    def _read(self, count: int) -> bytes:
        while len(self._buffer) < count:
            chunk = self._connection.recv(MAX_HEAD)
            if not chunk:
                raise ConnectionError("a websocket ended without a close")
            self._buffer += chunk
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data


def server_frame(first: int, payload: bytes) -> bytes:
    """A frame as servers send it."""
    size = len(payload)
    if size < 126:
        return bytes([first, size]) + payload
    return (
        bytes([first, 126]) + size.to_bytes(2, "big") + payload
        if size < 65536
        else (bytes([first, 127]) + size.to_bytes(8, "big") + payload)
    )


def echo_websocket(connection: socket.socket, key: str, buffer: bytes) -> None:
    """Sends each message back, until the client's close."""
    import base64  # few tasks need these two
    import hashlib

    digest = hashlib.sha1((key + WEBSOCKET_MAGIC).encode(), usedforsecurity=False).digest()
    head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{IDENTITY}"
    accept = f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}\r\n\r\n"
    connection.sendall((head + accept).encode("latin-1", "replace"))
    frames = Frames(connection, buffer)
    first = 0
    while first & 0x0F != WEBSOCKET_CLOSE:
        first, payload = frames.next()
        connection.sendall(server_frame(first, payload))


def serve(connection: socket.socket, peer: tuple[str, int]) -> None:
    buffer: bytes | None = b""
    with connection:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while buffer is not None:
                buffer = one_request(connection, buffer)
        except (OSError, ValueError) as error:
            print(f"{time.time():.3f} the connection from {peer[0]}:{peer[1]} was cut: {error}", file=sys.stderr)


def accept(listener: socket.socket) -> None:
    while True:
        try:
            connection, peer = listener.accept()
        except OSError:
            continue
        threading.Thread(target=serve, args=(connection, peer), daemon=True).start()


def addresses() -> list[tuple[str, int]]:
    """The addresses and ports to listen on."""
    listen = os.environ.get("SANDBOX_LISTEN", "")
    if listen:
        pairs = (part.rpartition(":") for part in listen.split(","))
        return [(host, int(port)) for host, _, port in pairs]
    host = os.environ.get("HOST", "127.0.0.1")
    ports: list[tuple[str, int]] = []
    while f"PORT{len(ports)}" in os.environ:
        ports.append((host, int(os.environ[f"PORT{len(ports)}"])))
    return ports


def listen_on(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(512)
    return listener


def stop_late(seconds: float) -> None:
    """Ends the process that long after SIGTERM."""
    signal.sigwait({signal.SIGTERM})
    time.sleep(seconds)
    os._exit(0)


def main() -> None:
    threading.stack_size(256 * 1024)
    stop_seconds = number("SANDBOX_STOP_SECONDS")
    if stop_seconds > 0:
        # A handler could be lost between two calls of pause(): a thread waits for the signal, which all others block.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=stop_late, args=(stop_seconds,), daemon=True).start()
    crash_after = number("SANDBOX_CRASH_AFTER", -1.0)
    if crash_after >= 0:
        timer = threading.Timer(crash_after, os._exit, (1,))
        timer.daemon = True
        timer.start()
    time.sleep(number("SANDBOX_START_SECONDS"))
    for host, port in addresses():
        threading.Thread(target=accept, args=(listen_on(host, port),), daemon=True).start()
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
