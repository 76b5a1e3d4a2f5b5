"""The load balancer's process: polls Marathon, writes the configuration, reloads HAProxy, serves the endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from bgci.errors import BgciError, UnavailableError
from bgci.sandbox.loadbalancer.drain import Json
from bgci.sandbox.loadbalancer.haproxy import HAProxy
from bgci.sandbox.loadbalancer.haproxy_config import CONTROL_SOCKET, Listen, bound, render
from bgci.sandbox.loadbalancer.marathon import Marathon
from bgci.sandbox.loadbalancer.ports import is_taken
from bgci.sandbox.loadbalancer.services import HealthMemory, Service, services_of

log = logging.getLogger(__name__)

PERIOD = 300.0
"""Seconds after which Marathon is polled even without an event."""


class Balancer:
    """Follows one Marathon. Polls and reloads never overlap; all events during one cause one more poll."""

    def __init__(
        self, marathon: Marathon, haproxy: HAProxy, listen: Listen, *, groups: Sequence[str], health_check: bool
    ) -> None:
        self._marathon = marathon
        self._haproxy = haproxy
        self._listen = listen
        self._groups = groups
        self._memory = HealthMemory() if health_check else None
        self._wake = asyncio.Event()
        self._poll = self._reload = False
        self.opened = asyncio.Event()
        """Whether HAProxy was started."""

    def poll_soon(self) -> None:
        """Requests another poll of Marathon (SIGHUP, an event)."""
        self._poll = True
        self._wake.set()

    def reload_soon(self) -> None:
        """Requests a reload of the unchanged configuration (SIGUSR1)."""
        self._reload = True
        self._wake.set()

    async def start(self) -> None:
        """Starts HAProxy with Marathon's apps. No port is open before the first valid configuration, as in marathon-lb.

        :raises UnavailableError: HAProxy does not start
        """
        text = None
        try:
            text = await self._valid(await asyncio.wait_for(self._marathon.apps(), 5))
        except Exception:
            log.warning("there is no configuration yet", exc_info=True)
        if text:
            await self._open(text)

    async def _open(self, text: str) -> None:
        await self._haproxy.start(text)
        self.opened.set()

    async def run(self) -> None:
        """Polls or reloads on each request, and periodically; an error leaves everything unchanged."""
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._wake.wait(), PERIOD)
            poll = self._poll or not self._reload
            self._poll = self._reload = False
            self._wake.clear()
            try:
                await (self.update() if poll else self._haproxy.reload(self._haproxy.running))
            except BgciError as error:
                log.warning("the configuration stays as it was: %s", error)
            except Exception:
                log.exception("the configuration stays as it was")

    async def update(self) -> None:
        """Makes HAProxy serve Marathon's current apps and tasks, if they have changed."""
        text = await self._valid(await self._marathon.apps())
        if text and not self.opened.is_set():
            await self._open(text)
        elif text and text != self._haproxy.running:
            await self._haproxy.reload(text)
            log.info("reloaded; HAProxy's pids: %s", self._haproxy.pids())

    async def supervise(self) -> None:
        """Starts HAProxy again when it ends by itself, a second later, as runit does in marathon-lb's image."""
        await self.opened.wait()
        while True:
            code = await self._haproxy.wait()
            log.error("HAProxy ended with %d", code)
            await asyncio.sleep(1)
            try:
                await self._haproxy.start(self._haproxy.running)
            except UnavailableError as error:
                log.error("%s", error)

    async def _valid(self, apps: Sequence[Json]) -> str | None:
        """The configuration for these apps, except the apps that make it invalid; None if no app remains."""
        text = await asyncio.to_thread(self._render, apps)
        if text == self._haproxy.running or not (problem := await self._haproxy.check(text)):
            return text
        log.warning("invalid configuration: %s", problem)
        kept: list[Json] = []
        for app in apps:
            text = await asyncio.to_thread(self._render, [*kept, app])
            if await self._haproxy.check(text):
                log.warning("left out, as it makes the configuration invalid: %s", app["id"])
            else:
                kept.append(app)
        return await asyncio.to_thread(self._render, kept) if kept else None

    def _render(self, apps: Sequence[Json]) -> str:
        services = services_of(apps, resolve=resolve, memory=self._memory)
        ours = bound(self._haproxy.running)
        return render((one for one in services if self._bindable(one, ours)), self._listen, self._groups)

    def _bindable(self, service: Service, ours: set[tuple[str, int]]) -> bool:
        """False if another process has the port: HAProxy would pause all its listeners, retry for a while, and fail."""
        place = (service.settings.bind_addr or self._listen.address, service.port)
        if place not in ours and is_taken(*place):
            log.warning("left out, as %s:%d is taken: %s", *place, service.app_id)
            return False
        return True


@functools.lru_cache(maxsize=1000)
def _address(host: str) -> str:
    return socket.gethostbyname(host)


def resolve(host: str) -> str:
    """A host's IPv4 address; "" if it has none (resolved again next time)."""
    try:
        return _address(host)
    except OSError:
        return ""


def control_app(balancer: Balancer, haproxy: HAProxy) -> web.Application:
    """The endpoints that marathon-lb serves by Lua inside HAProxy."""

    async def pids(_: web.Request) -> web.Response:
        return web.Response(text=" ".join(map(str, haproxy.pids())))

    async def config(_: web.Request) -> web.Response:
        return web.Response(text=await haproxy.settled())

    async def hup(_: web.Request) -> web.Response:
        balancer.poll_soon()
        return web.Response(text="Sent SIGHUP signal to marathon-lb")

    async def usr1(_: web.Request) -> web.Response:
        balancer.reload_soon()
        return web.Response(text="Sent SIGUSR1 signal to marathon-lb")

    app = web.Application()
    app.add_routes(
        [
            web.get("/_haproxy_getpids", pids),
            web.get("/_haproxy_getconfig", config),
            web.get("/_mlb_signal/hup", hup),
            web.get("/_mlb_signal/usr1", usr1),
        ]
    )
    return app


@contextlib.asynccontextmanager
async def control_site(app: web.Application) -> AsyncIterator[None]:
    """Serves the endpoints on the socket to which HAProxy's stats port forwards."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.UnixSite(runner, CONTROL_SOCKET).start()
        yield
    finally:
        await runner.cleanup()
