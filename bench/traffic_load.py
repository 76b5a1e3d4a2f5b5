"""Sends HTTP requests of several kinds as fast as asked, checks each answer, and writes each failure with its sockets.

    python bench/traffic_load.py --out FILE --rate 500 http://127.0.0.1:10101 http://127.0.0.2:10101

Raw sockets, so that a failure has its errno, its number of bytes and the client's port, by which HAProxy's log line is
found. FILE gets a JSON line of totals each second (``"sent"``), and one for each failure (``"error"``).
Nothing is tried again: a request that a careful client would repeat counts as failed.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import os
import random
import signal
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

CHUNK = 65536
PATIENCE = 60.0  # seconds after which a request without its whole answer counts as failed
UPLOAD_BYTES, UPLOAD_PIECES = 200_000, 20
WS_PING = 0.25  # seconds between two messages of a websocket

Address = tuple[str, int]


class Failed(Exception):
    """What was wrong with the answer, or how the connection ended."""


@dataclass
class Connection:
    """A client's socket and the facts that a failure reports about it."""

    address: Address
    sock: socket.socket | None = None
    port: int = 0
    requests: int = 0
    sent: int = 0
    received: bytes = b""
    expired: bool = False
    task: str = ""

    async def open(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(self.sock, self.address)
        self.port = self.sock.getsockname()[1]

    async def send(self, data: bytes) -> None:
        assert self.sock is not None
        await asyncio.get_running_loop().sock_sendall(self.sock, data)
        self.sent += len(data)

    async def more(self) -> None:
        """Reads the next bytes."""
        assert self.sock is not None
        data = await asyncio.get_running_loop().sock_recv(self.sock, CHUNK)
        if not data:
            raise Failed("no answer in time" if self.expired else f"closed after {len(self.received)} bytes")
        self.received += data

    async def exactly(self, count: int) -> bytes:
        while len(self.received) < count:
            await self.more()
        data, self.received = self.received[:count], self.received[count:]
        return data

    async def request(self, text: str, body: bytes = b"") -> None:
        self.requests, self.sent, self.received, self.task = self.requests + 1, 0, b"", ""
        await self.send(text.encode() + body)

    async def answer(self, wanted: str = "200") -> tuple[str, bytes]:
        """Head and body.

        :raises Failed: another status, or cut short
        """
        while b"\r\n\r\n" not in self.received:
            await self.more()
        head_bytes, _, self.received = self.received.partition(b"\r\n\r\n")
        head = head_bytes.decode("latin-1")
        status, self.task = head.split(" ", 2)[1], header(head, "x-task-id")
        if status != wanted:
            raise Failed(f"status {status}")
        length = header(head, "content-length")
        return head, await self.exactly(int(length)) if length else b""

    def expire(self) -> None:
        self.expired = True
        if self.sock is not None:
            self.sock.shutdown(socket.SHUT_RDWR)

    def ended_idle(self) -> bool:
        """Whether the other side has closed it between two requests. Every HTTP client looks before it reuses one."""
        assert self.sock is not None
        try:
            return self.sock.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None


def header(head: str, name: str) -> str:
    """A header's value; "" without it."""
    for line in head.split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key.lower() == name:
            return value.strip()
    return ""


@dataclass
class Totals:
    """Requests that were begun and that ended, by kind. ``served``: good answers by revision. ``closed_idle``: kept
    connections that the load balancer closed between two requests; no request was lost."""

    sent: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    closed_idle: Counter[str] = field(default_factory=Counter)


class Load:
    """Clients of each kind, each at one address after the other, until stopped."""

    def __init__(self, addresses: list[Address], out: IO[str]) -> None:
        self.addresses = addresses
        self.out = out
        self.totals = Totals()
        self.stop = asyncio.Event()
        self._turn = 0

    def next_address(self) -> Address:
        self._turn += 1
        return self.addresses[self._turn % len(self.addresses)]

    async def ticks(self) -> None:
        while not self.stop.is_set():
            await self.pause(1.0)
            self.write({"time": time.time(), **{name: dict(value) for name, value in vars(self.totals).items()}})

    def write(self, line: dict[str, Any]) -> None:
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()

    async def pause(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.stop.wait(), max(0.0, seconds))

    @contextlib.contextmanager
    def counted(self, kind: str, connection: Connection) -> Iterator[None]:
        """One request: counted, and written when it fails; the connection is closed then."""
        began = time.time()
        self.totals.sent[kind] += 1
        patience = asyncio.get_running_loop().call_later(PATIENCE, lambda: connection.expire())
        try:
            yield
        except (OSError, Failed, ValueError, IndexError) as error:
            self.totals.failed[kind] += 1
            told = vars(connection)
            evidence = {name: told[name] for name in ("address", "port", "requests", "sent", "task")}
            said = connection.received[:300].decode("latin-1")
            named = str(error) if isinstance(error, Failed) else repr(error)
            times = {"began": began, "ended": time.time()}
            self.write({"error": named, "kind": kind, **times, **evidence, "received": said})
            connection.close()
        else:
            self.totals.answered[kind] += 1
        finally:
            patience.cancel()

    async def paced(self, kind: str, rate: float, each: Callable[[Connection], Awaitable[None]], reuse: int) -> None:
        """Requests at that rate from one client; a connection has up to ``reuse`` of them."""
        began, count = time.monotonic(), random.random()
        connection = Connection(self.next_address())
        while not self.stop.is_set():
            if connection.sock is not None and connection.ended_idle():
                self.totals.closed_idle[kind] += 1
                connection.close()
            fresh = connection.sock is None
            if fresh:
                connection = Connection(self.next_address())
            with self.counted(kind, connection):
                if fresh:
                    await connection.open()
                await each(connection)
            if connection.requests >= reuse:
                connection.close()
            count += 1
            ahead = began + count / rate - time.monotonic() if rate else 0.0
            if ahead > 0:
                await self.pause(ahead)
            elif ahead < -1:  # the machine is too slow: no burst afterwards
                began -= ahead
        connection.close()

    async def quick(self, connection: Connection, extra: str = "Connection: close\r\n", path: str = "/") -> None:
        host = "{}:{}".format(*connection.address)
        await connection.request(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: load\r\n{extra}\r\n")
        head, body = await connection.answer()
        self.totals.served[header(head, "x-revision")] += 1
        if header(head, "connection") == "close":
            connection.close()
        if not body:
            raise Failed("an empty body")

    async def kept(self, connection: Connection) -> None:
        await self.quick(connection, "")

    async def slow(self, connection: Connection) -> None:
        await self.quick(connection, path="/?sleep=8&bytes=100000")

    async def upload(self, connection: Connection) -> None:
        """A body that takes five seconds."""
        host = "{}:{}".format(*connection.address)
        head = f"POST / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: load\r\nContent-Length: {UPLOAD_BYTES}\r\n"
        await connection.request(f"{head}Connection: close\r\n\r\n")
        for _ in range(UPLOAD_PIECES):
            await connection.send(b"u" * (UPLOAD_BYTES // UPLOAD_PIECES))
            await asyncio.sleep(5 / UPLOAD_PIECES)
        answer, _ = await connection.answer()
        if header(answer, "x-received") != str(UPLOAD_BYTES):
            raise Failed(f"{header(answer, 'x-received')} bytes arrived")

    async def websocket(self, connection: Connection) -> None:
        """Messages and their echoes for eight seconds, and a close by the client."""
        host, key = "{}:{}".format(*connection.address), base64.b64encode(os.urandom(16)).decode()
        await connection.request(
            f"GET / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: load\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        )
        await connection.answer("101")
        until = time.monotonic() + 8
        while time.monotonic() < until:
            text = os.urandom(20).hex().encode()
            await connection.send(frame(1, text))
            if await connection.exactly(2 + len(text)) != bytes([0x81, len(text)]) + text:
                raise Failed("another message came back")
            await asyncio.sleep(WS_PING)
        await connection.send(frame(8, b"\x03\xe8"))
        if (await connection.exactly(4))[0] != 0x88:
            raise Failed("no close came back")


def frame(opcode: int, payload: bytes) -> bytes:
    """A short masked frame, as clients send it."""
    mask = os.urandom(4)
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


async def run(given: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    urls = [urlsplit(url) for url in given.urls]
    with Path(given.out).open("a", encoding="utf-8") as out:
        load = Load([(url.hostname or "", url.port or 80) for url in urls], out)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, load.stop.set)
        if given.seconds:
            loop.call_later(given.seconds, load.stop.set)
        each = given.rate / given.clients
        clients = [load.paced("plain", each / 2, load.quick, 1) for _ in range(given.clients)]
        clients += [load.paced("kept", each / 2, load.kept, 50) for _ in range(given.clients)]
        kinds = (("slow", load.slow), ("websocket", load.websocket), ("upload", load.upload))
        clients += [load.paced(kind, 0, each, 1) for kind, each in kinds for _ in range(getattr(given, kind))]
        ticks = asyncio.create_task(load.ticks())
        await asyncio.gather(*clients)
        await ticks
        load.write({"time": time.time(), **{name: dict(value) for name, value in vars(load.totals).items()}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=200.0, help="short requests a second, half on kept connections")
    parser.add_argument("--clients", type=int, default=10, help="clients of short requests, of each of the two kinds")
    for kind in ("slow", "websocket", "upload"):
        parser.add_argument(f"--{kind}", type=int, default=4, help="of these always in flight")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
