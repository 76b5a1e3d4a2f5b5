"""The load balancer's client of Marathon: the apps with their tasks, and the events that require another poll."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable
from typing import Any

import aiohttp

from bgci.errors import UnavailableError
from bgci.sandbox.loadbalancer.drain import Json

log = logging.getLogger(__name__)

RELEVANT = ("api_post_event", "health_status_changed_event", "status_update_event")
HEADERS = {"Accept": "application/json", "User-Agent": "marathon-lb"}
SILENCE = 300.0
"""Seconds without an event after which the stream is opened again: it may have died silently."""


class Marathon:
    """One Marathon, by its base URL. The caller closes the session."""

    def __init__(self, url: str, session: aiohttp.ClientSession, *, max_backoff: float = 300.0) -> None:
        self._url = url.rstrip("/")
        self._session = session
        self._max_backoff = max_backoff

    async def apps(self) -> list[Json]:
        """All apps with their tasks, nulls left out.

        :raises UnavailableError: no answer, or one without ``apps``
        """
        timeout = aiohttp.ClientTimeout(sock_connect=3.05, sock_read=46)
        try:
            async with self._session.get(
                f"{self._url}/v2/apps", params={"embed": "apps.tasks"}, headers=HEADERS, timeout=timeout
            ) as response:
                body = without_nulls(json.loads(await response.text()))
                if not isinstance(body, dict) or "apps" not in body:
                    raise UnavailableError(f"Marathon answered {response.status} without apps: {str(body)[:200]}")
                apps: list[Json] = body["apps"]
                return apps
        except (aiohttp.ClientError, asyncio.TimeoutError, ValueError) as error:
            raise UnavailableError(f"Marathon at {self._url}: {error or type(error).__name__}") from error

    async def follow(self, notify: Callable[[], None]) -> None:
        """Calls ``notify`` for each relevant event and after each attempt to connect, for ever.

        The wait between attempts grows as marathon-lb's does: a random part of 3 s, times 1.5 each time up to the
        maximum, from 3 s again after ten minutes of a good connection.
        """
        wait = 3.0
        while True:
            began = time.monotonic()
            pause = random.random() * wait  # noqa: S311
            try:
                if await self._listen(notify):
                    log.info("no event for %g s; connecting again", SILENCE)
                    continue
                log.info("the event stream ended; connecting again in %.1f s", pause)
            except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError) as error:
                log.warning("event stream: %s; connecting again in %.1f s", error or type(error).__name__, pause)
                notify()
            wait = 3.0 if time.monotonic() - began > 600 else min(wait * 1.5, self._max_backoff)
            await asyncio.sleep(pause)

    async def _listen(self, notify: Callable[[], None]) -> bool:
        """Reads the stream to its end, or until it has been silent for too long: then True."""
        async with self._session.get(
            f"{self._url}/v2/events",
            params=[("plan-format", "light"), *(("event_type", name) for name in RELEVANT)],
            headers={"Accept": "text/event-stream", "Cache-Control": "no-cache"},
            timeout=aiohttp.ClientTimeout(sock_connect=10),
            read_bufsize=2**20,
        ) as response:
            response.raise_for_status()
            notify()
            deadline = time.monotonic() + SILENCE
            while True:
                try:
                    line = await asyncio.wait_for(response.content.readline(), deadline - time.monotonic())
                except asyncio.TimeoutError:
                    return True
                if not line:
                    return False
                if line.startswith(b"data: "):
                    deadline = time.monotonic() + SILENCE
                    if json.loads(line[6:]).get("eventType") in RELEVANT:
                        notify()


def without_nulls(value: Any) -> Any:
    """JSON without its null members, at any depth."""
    if isinstance(value, dict):
        return {key: without_nulls(member) for key, member in value.items() if member is not None}
    if isinstance(value, list):
        return [without_nulls(member) for member in value if member is not None]
    return value
