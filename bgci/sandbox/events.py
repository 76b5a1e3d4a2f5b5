"""Marathon's event stream (marathon: S/core/event/impl/stream): server-sent events with CRLF, no replay."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Collection, Iterator
from typing import Any

from aiohttp import web

from bgci.sandbox import clock
from bgci.sandbox.web import reply

HEARTBEAT_SECONDS = 10.0
MAX_OUTSTANDING = 1024
END = b""


class EventBus:
    """Hands every event to every open stream. A stream that does not read is cut off."""

    def __init__(self) -> None:
        self._streams: dict[asyncio.Queue[bytes], frozenset[str]] = {}

    def publish(self, event_type: str, **fields: Any) -> None:
        """Sends one event; ``eventType`` and ``timestamp`` are added."""
        wanted = [queue for queue, types in self._streams.items() if not types or event_type in types]
        if not wanted:
            return
        data = json.dumps({**fields, "eventType": event_type, "timestamp": clock.now()}, separators=(",", ":"))
        frame = f"event: {event_type}\r\ndata: {data}\r\n\r\n".encode()
        for queue in wanted:
            self._offer(queue, frame)

    def _offer(self, queue: asyncio.Queue[bytes], frame: bytes) -> None:
        if queue.qsize() >= MAX_OUTSTANDING:
            self._cut(queue)
        else:
            queue.put_nowait(frame)

    def _cut(self, queue: asyncio.Queue[bytes]) -> None:
        self._streams.pop(queue, None)
        queue.put_nowait(END)

    def close(self) -> None:
        """Ends every stream, as a change of leader does."""
        for queue in list(self._streams):
            self._cut(queue)

    @contextlib.contextmanager
    def subscription(self, types: Collection[str]) -> Iterator[asyncio.Queue[bytes]]:
        """A queue of frames; an empty one ends the stream. No types means all."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._streams[queue] = frozenset(types)
        try:
            yield queue
        finally:
            self._streams.pop(queue, None)


async def stream(request: web.Request, bus: EventBus) -> web.StreamResponse:
    """``GET /v2/events``: 405 unless exactly ``text/event-stream`` is accepted; a bare CRLF every 10 s."""
    if request.headers.get("Accept") != "text/event-stream":
        return reply({"message": "HTTP 405 Method Not Allowed"}, 405)
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream;charset=utf-8", "Connection": "close", "Cache-Control": "no-cache"}
    )
    await response.prepare(request)
    with bus.subscription(request.query.getall("event_type", [])) as queue, contextlib.suppress(ConnectionError):
        bus.publish("event_stream_attached", remoteAddress=request.remote)
        while True:
            try:
                frame = await asyncio.wait_for(queue.get(), HEARTBEAT_SECONDS)
            except asyncio.TimeoutError:
                frame = b"\r\n"
            if frame == END:
                break
            await response.write(frame)
    bus.publish("event_stream_detached", remoteAddress=request.remote)
    return response
