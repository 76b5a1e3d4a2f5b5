"""A load generator: steady requests at the service port, and counts of the answers.

``python -m bgci.sandbox.load URL --out FILE``: until SIGTERM or --seconds. FILE gets one JSON line twice a second
(counts since the line before) and, at the end, one with ``"total": true``. It is a separate process, so that the
measured programs do not slow it down.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import aiohttp

TICK = 0.5  # seconds between two lines
PATIENCE = 60.0  # seconds until a request without an answer counts as failed


@dataclass
class Counts:
    """The outcomes. ``answers``: by revision; ``failures``: by cause."""

    sent: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def plus(self, other: Counts) -> Counts:
        return Counts(self.sent + other.sent, self.answers + other.answers, self.failures + other.failures)

    def as_json(self) -> dict[str, Any]:
        return {
            "sent": self.sent,
            "answered": sum(self.answers.values()),
            "failed": sum(self.failures.values()),
            "answers": dict(self.answers),
            "failures": dict(self.failures),
        }


@dataclass(frozen=True)
class Mix:
    """Requests a second: quick ones on new connections, quick ones on kept connections, and slow ones."""

    fast: float = 20.0
    kept: float = 5.0
    slow: float = 1.0
    slow_seconds: float = 5.0


class Load:
    """Sends a mix to one or more service ports until it is stopped."""

    def __init__(self, urls: list[str], mix: Mix, out: IO[str]) -> None:
        self.urls = urls
        self.mix = mix
        self.out = out
        self.now = Counts()
        self.total = Counts()
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        fresh = aiohttp.TCPConnector(limit=0, force_close=True)
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=fresh) as new,
            aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as kept,
        ):
            streams = [
                self._stream(new, self.mix.fast, "/", stop),
                self._stream(kept, self.mix.kept, "/", stop),
                self._stream(new, self.mix.slow, f"/?sleep={self.mix.slow_seconds:g}", stop),
                self._lines(stop),
            ]
            await asyncio.gather(*streams)
            await asyncio.gather(*self._running)
        self._line()
        self._write({"total": True, **self.total.as_json()})

    async def _stream(self, session: aiohttp.ClientSession, rate: float, path: str, stop: asyncio.Event) -> None:
        """Open loop: the next request starts on time, independently of the last one."""
        if rate <= 0:
            return
        began, count = time.monotonic(), 0
        while not stop.is_set():
            task = asyncio.create_task(self._request(session, self.urls[count % len(self.urls)] + path))
            self._running.add(task)
            task.add_done_callback(self._running.discard)
            count += 1
            with suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), max(0.0, began + count / rate - time.monotonic()))

    async def _request(self, session: aiohttp.ClientSession, url: str) -> None:
        self.now.sent += 1
        try:
            async with session.get(url) as response:
                await response.read()
                if response.status == 200:
                    self.now.answers[response.headers.get("X-Revision", "unknown")] += 1
                else:
                    self.now.failures[f"{response.status} of {response.headers.get('X-Revision', 'HAProxy')}"] += 1
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            self.now.failures[type(error).__name__] += 1

    async def _lines(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            with suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(stop.wait(), TICK)
            self._line()

    def _line(self) -> None:
        counts, self.now = self.now, Counts()
        self.total = self.total.plus(counts)
        self._write({"time": round(time.time(), 3), **counts.as_json()})

    def _write(self, line: dict[str, Any]) -> None:
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()


async def _main(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if arguments.seconds:
        loop.call_later(arguments.seconds, stop.set)
    mix = Mix(arguments.fast, arguments.kept, arguments.slow, arguments.slow_seconds)
    with Path(arguments.out).open("w", encoding="utf-8") as out:
        await Load(arguments.urls, mix, out).run(stop)


def main() -> None:
    """Parse the command line and send until a signal or --seconds."""
    parser = argparse.ArgumentParser(
        prog="bgci.sandbox.load", description="Send steady requests and count the answers."
    )
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--out", required=True)
    parser.add_argument("--seconds", type=float, default=0.0)
    for name, default in vars(Mix()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, default=default)
    asyncio.run(_main(parser.parse_args()))


if __name__ == "__main__":
    main()
