"""Readiness checks: only while a deployment waits (marathon: S/core/readiness)."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from bgci.sandbox.marathon.model import App, Condition, Deployment, Task
from bgci.sandbox.marathon.store import Store

TICK_SECONDS = 0.1


class ReadinessChecker:
    """Asks the new tasks of a deployment whether they are ready, and records the answers in it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @asynccontextmanager
    async def watching(self, app: App, deployment: Deployment) -> AsyncIterator[None]:
        loop = asyncio.ensure_future(self._loop(app, deployment))
        try:
            yield
        finally:
            loop.cancel()

    async def _loop(self, app: App, deployment: Deployment) -> None:
        check: Mapping[str, Any] = app.spec["readinessChecks"][0]
        asked: dict[str, float] = {}
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            while True:
                for task in self._unready(app, deployment):
                    if time.monotonic() - asked.get(task.id, -math.inf) >= float(check["intervalSeconds"]):
                        asked[task.id] = time.monotonic()
                        deployment.readiness[task.id] = await self._ask(session, app, task, check)
                        self._store.notify()
                await asyncio.sleep(TICK_SECONDS)

    def _unready(self, app: App, deployment: Deployment) -> list[Task]:
        running = [i for i in self._store.of_app(app.id) if i.condition is Condition.RUNNING]
        tasks = [i.task for i in running if i.task is not None and i.app.version == app.version]
        return [task for task in tasks if not deployment.readiness.get(task.id, {}).get("ready")]

    async def _ask(
        self, session: aiohttp.ClientSession, app: App, task: Task, check: Mapping[str, Any]
    ) -> dict[str, Any]:
        """One entry of ``readinessCheckResults``."""
        result: dict[str, Any] = {"name": check["name"], "taskId": task.id, "ready": False}
        host, port = task.endpoints[port_index(app, str(check["portName"]))]
        url = f"{check['protocol'].lower()}://{host}:{port}{check['path']}"
        try:
            timeout = aiohttp.ClientTimeout(total=float(check["timeoutSeconds"]))
            async with session.get(url, timeout=timeout) as response:
                body = await response.text()
                result["ready"] = response.status in check["httpStatusCodesForReady"]
                if check["preserveLastResponse"]:
                    kind = response.content_type
                    result["lastResponse"] = {"status": response.status, "contentType": kind, "body": body}
        except (asyncio.TimeoutError, OSError, aiohttp.ClientError):
            result["ready"] = False
        return result


def port_index(app: App, name: str) -> int:
    ports = app.spec.get("portDefinitions") or app.spec.get("container", {}).get("portMappings", [])
    return [port.get("name") for port in ports].index(name)
