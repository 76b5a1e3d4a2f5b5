"""Health checks, done by Marathon itself (marathon: S/core/health/impl/HealthCheckActor.scala).

Two liberties: the first check of a task comes ``health_delay`` seconds after it runs, at the latest (Marathon: 5 s, and
then for all tasks of an app at once), and MESOS_* and COMMAND checks, which the agent does, are done here as well."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any

import aiohttp

from bgci.sandbox import clock
from bgci.sandbox.marathon.model import Condition, Health, Instance, Task, task_failure
from bgci.sandbox.marathon.store import Store

Check = Mapping[str, Any]


class HealthChecker:
    """One loop per task and check."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._session: aiohttp.ClientSession | None = None
        self._loops: dict[str, list[asyncio.Task[None]]] = {}

    async def open(self) -> None:
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, skip_auto_headers=["User-Agent"])

    async def close(self) -> None:
        for task_id in list(self._loops):
            self.stop(task_id)
        if self._session is not None:
            await self._session.close()

    def start(self, instance: Instance, task: Task) -> None:
        """Starts the checks of a task that has just started to run."""
        checks = enumerate(instance.app.health_checks)
        self._loops[task.id] = [asyncio.ensure_future(self._loop(instance, task, i, check)) for i, check in checks]

    def stop(self, task_id: str) -> None:
        for loop in self._loops.pop(task_id, []):
            loop.cancel()

    def forget_results(self) -> None:
        """Drops all results, as a change of leader does: none until the new leader's first checks (hazard 39)."""
        for instance in self._store.instances.values():
            instance.health, instance.healthy = {}, None
        self._store.notify()

    async def _loop(self, instance: Instance, task: Task, index: int, check: Check) -> None:
        interval = float(check["intervalSeconds"])
        await asyncio.sleep(min(interval, self._store.options.health_delay))
        while instance.task is task:
            started = time.monotonic()
            if instance.condition is Condition.RUNNING:
                cause = await self._failure(task, check)
                self._record(instance, task, index, cause)
            await asyncio.sleep(max(0.0, started + interval - time.monotonic()))

    async def _failure(self, task: Task, check: Check) -> str | None:
        """None if the check passes, otherwise the reason of the failure."""
        try:
            return await asyncio.wait_for(self._ask(task, check), float(check["timeoutSeconds"]))
        except (asyncio.TimeoutError, OSError, aiohttp.ClientError) as error:
            return f"{type(error).__name__}: {error}"

    async def _ask(self, task: Task, check: Check) -> str | None:
        if check["protocol"] == "COMMAND":
            return await command_failure(check["command"]["value"], task)
        host, port = endpoint(task, check)
        if not check["protocol"].endswith("TCP"):
            return await self._http_failure(f"http://{host}:{port}{check.get('path', '/')}")
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        return None

    async def _http_failure(self, url: str) -> str | None:
        if self._session is None:
            return "not open"
        async with self._session.get(url, allow_redirects=False) as response:
            return None if 200 <= response.status < 400 else f"{response.status} {response.reason}"

    def _record(self, instance: Instance, task: Task, index: int, cause: str | None) -> None:
        if instance.task is not task or instance.condition is not Condition.RUNNING:
            return
        check = instance.app.health_checks[index]
        health = instance.health.get(index, Health())
        updated = self._updated(instance, task, check, health, cause)
        instance.health[index] = updated
        if health.alive != updated.alive:
            self._store.events.publish(
                "health_status_changed_event",
                appId=instance.app_id, instanceId=instance.id, version=instance.app.version, alive=updated.alive,
            )  # fmt: skip
        self._update_instance(instance)
        self._store.notify()

    def _updated(self, instance: Instance, task: Task, check: Check, health: Health, cause: str | None) -> Health:
        if cause is None:
            return health.passed(clock.now())
        if health.first_success is None and time.monotonic() < instance.since + float(check["gracePeriodSeconds"]):
            return health
        self._store.events.publish(
            "failed_health_check_event", appId=instance.app_id, taskId=instance.id, healthCheck=dict(check)
        )
        if 0 < int(check["maxConsecutiveFailures"]) <= health.consecutive_failures:
            self._kill(instance, task, health)
        return health.failed(clock.now(), cause)

    def _kill(self, instance: Instance, task: Task, health: Health) -> None:
        """The kill is the app's last task failure, too (marathon: TaskFailure.FromUnhealthyInstanceKillEvent)."""
        reason = health.last_failure_cause or "unknown"
        message = f"Task was killed since health check failed. Reason: {reason}"
        self._store.failures[instance.app_id] = task_failure(instance, task, message, "TASK_KILLED")
        self._store.events.publish(
            "unhealthy_instance_kill_event",
            appId=instance.app_id,
            taskId=task.id,
            instanceId=instance.id,
            version=instance.app.version,
            reason=reason,
            host=task.host,
            slaveId=task.agent_id,
        )
        self._store.kill(instance)

    def _update_instance(self, instance: Instance) -> None:
        checks = range(len(instance.app.health_checks))
        known = [instance.health[index].alive for index in checks if index in instance.health]
        healthy = None if len(known) < len(checks) else all(known)
        if healthy == instance.healthy:
            return
        instance.healthy = healthy
        self._store.events.publish(
            "instance_health_changed_event",
            instanceId=instance.id, runSpecId=instance.app_id, healthy=healthy, runSpecVersion=instance.app.version,
        )  # fmt: skip


def endpoint(task: Task, check: Check) -> tuple[str, int]:
    """The address of a check over the network."""
    if "port" in check:
        return task.endpoints[0][0] if task.endpoints else task.ip, int(check["port"])
    return task.endpoints[int(check.get("portIndex", 0))]


async def command_failure(command: str, task: Task) -> str | None:
    """Runs a COMMAND check beside the task."""
    ports = {f"PORT{index}": str(port) for index, port in enumerate(task.ports)}
    process = await asyncio.create_subprocess_shell(
        command,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOST": task.host, **ports},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    return None if code == 0 else f"Command exited with status {code}"
