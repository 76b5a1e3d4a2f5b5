"""Launches the tasks of instances as real processes, and relaunches them while their instance is wanted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bgci.sandbox import clock
from bgci.sandbox.iam.secrets import SecretError, Secrets, secret_environment
from bgci.sandbox.images import PullError, pull
from bgci.sandbox.marathon.health import HealthChecker
from bgci.sandbox.marathon.model import App, Backoff, Condition, Instance, Task, task_failure
from bgci.sandbox.marathon.plan import host_ports
from bgci.sandbox.marathon.store import Store
from bgci.sandbox.mesos import Mesos, end_message
from bgci.sandbox.processes import LIGHT_PYTHON, Child, NoPortError, Ports, Processes

TASK_SERVER = Path(__file__).parent.parent / "task_server.py"
BACKOFF_MEMORY_SECONDS = 60.0
"""A launch delay is forgotten when its deadline is that long ago (marathon: RateLimiter.cleanUpOverdueDelays)."""


class Launcher:
    """Runs every instance: waits for an offer, runs the task, repeats. Calls ``ended`` with the app of each task that
    has ended."""

    ended: Callable[[str], None]

    def __init__(
        self,
        store: Store,
        processes: Processes,
        ports: Ports,
        mesos: Mesos,
        health: HealthChecker,
        secrets: Secrets | None = None,
    ) -> None:
        self._store = store
        self._processes = processes
        self._ports = ports
        self._mesos = mesos
        self._health = health
        self._secrets = secrets
        self._runners: dict[str, asyncio.Task[None]] = {}
        self._next_ip = 1
        self._modern = store.options.dialect.modern

    def add(self, app: App, count: int) -> None:
        """Schedules that many new instances (marathon: LaunchQueue.add)."""
        kind = "instance" if self._modern else "marathon"
        for _ in range(count):
            instance = Instance(f"{safe_id(app.id)}.{kind}-{uuid.uuid1()}", app)
            self._store.instances[instance.id] = instance
            self._store.enter(instance, Condition.SCHEDULED)
            self._runners[instance.id] = asyncio.ensure_future(self._run(instance))

    async def close(self) -> None:
        runners = list(self._runners.values())
        for runner in runners:
            runner.cancel()
        await asyncio.gather(*runners, return_exceptions=True)

    async def _run(self, instance: Instance) -> None:
        try:
            while instance.wanted:
                host = await self._offer(instance)
                if host is not None and instance.wanted:
                    await self._live(instance, host)
                    self._replace_ended(instance)
        finally:
            self._store.instances.pop(instance.id, None)
            self._runners.pop(instance.id, None)
            self._store.notify()
        self.ended(instance.app_id)

    def _replace_ended(self, instance: Instance) -> None:
        """Replaces the instance of an ended task: until 1.7 an instance ends with its task."""
        if not self._modern and instance.wanted and instance.condition.is_terminal:
            instance.wanted = False
            self.add(self._current(instance), 1)

    async def _offer(self, instance: Instance) -> str | None:
        """The address of an agent with room, once the launch delay is over; None if the instance was given up."""
        await self._pause(instance, self._store.options.offer_delay)
        while instance.wanted:
            app = self._current(instance)
            backoff = self._store.backoffs.get((app.id, app.last_config))
            left = backoff.deadline - time.monotonic() if backoff else 0.0
            host = self._agent_with_room(app) if left <= 0 else None
            if host is not None:
                return host
            await self._pause(instance, left if left > 0 else self._store.options.offer_delay)
        return None

    async def _pause(self, instance: Instance, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(instance.wake.wait(), seconds)
        if instance.wanted:
            instance.wake.clear()

    def _current(self, instance: Instance) -> App:
        """The app to launch: a relaunch takes the newest version."""
        return self._store.apps.get(instance.app_id, instance.app)

    def _agent_with_room(self, app: App) -> str | None:
        """The agent with the most free CPUs that has room and the app's fixed ports, and meets its constraints."""
        cpus, mem = float(app.spec["cpus"]), float(app.spec["mem"])
        free = {h: r for h, r in self._store.free_resources().items() if r[0] >= cpus and r[1] >= mem}
        suitable = [h for h in free if self._store.meets_constraints(app, h) and self._store.has_ports(app, h)]
        return max(suitable, key=lambda host: free[host][0], default=None)

    async def _live(self, instance: Instance, host: str) -> None:
        """One incarnation, from its launch to the end of its process."""
        instance.app = self._current(instance)
        instance.incarnation += 1
        instance.health, instance.healthy = {}, None
        claims: list[tuple[str, int]] = []
        try:
            task = instance.task = self._provision(instance, host, claims)
            self._store.enter(instance, Condition.PROVISIONED)
            await self._process(instance, task)
        except NoPortError:
            instance.incarnation -= 1
            await self._pause(instance, self._store.options.offer_delay)
        finally:
            self._ports.release(claims)

    async def _process(self, instance: Instance, task: Task) -> None:
        self._store.enter(instance, Condition.STARTING)
        sandbox = self._mesos.launched("marathon", task.id, instance.app.id, task.agent_id, instance.app.id)
        await asyncio.sleep(self._store.options.fetch_delay)
        try:
            task.child = await self._start(instance.app, task, sandbox)
        except (OSError, PullError, SecretError) as error:
            self._ended(instance, task, 1, f"Failed to launch container: {error}")
            return
        if instance.condition is Condition.KILLING:
            task.child.stop(self._store.options.kill_grace)
        else:
            task.started_at = clock.now()
            self._mesos.changed(task.id, "TASK_RUNNING")
            self._store.enter(instance, Condition.RUNNING)
            self._health.start(instance, task)
        try:
            code = await task.child.wait()
        finally:
            self._health.stop(task.id)
        self._ended(instance, task, code, end_message(code))

    def _provision(self, instance: Instance, host: str, claims: list[tuple[str, int]]) -> Task:
        """Host ports for every port of the app, noted in ``claims``, and the endpoint of each. Raises NoPortError."""
        app = instance.app
        mode = app.spec["networks"][0].get("mode", "container")
        if mode == "host":
            wanted: list[Mapping[str, Any]] = [{"hostPort": port} for port in host_ports(app)]
        else:
            wanted = app.spec.get("container", {}).get("portMappings", [])
        ip = self._unique_ip(wanted) if mode == "container" else host
        ports, endpoints = [], []
        for mapping in wanted:
            if "hostPort" in mapping:
                ports.append(self._host_port(host, int(mapping["hostPort"])))
                claims.append((host, ports[-1]))
                endpoints.append((host, ports[-1]))
            else:
                endpoints.append((ip, int(mapping["containerPort"])))
        name = f"{instance.id}._app.{instance.incarnation}"
        if not self._modern:
            name = instance.id.replace(".marathon-", ".")
        return Task(name, host, ip, ports, endpoints, self._store.agent_id(host), clock.now(), app.version)

    def _host_port(self, host: str, wanted: int) -> int:
        if wanted == 0:
            return self._ports.take(host)
        if not self._ports.claim(host, wanted):
            raise NoPortError(f"{host}:{wanted} is in use")
        return wanted

    def _unique_ip(self, mappings: list[Mapping[str, Any]]) -> str:
        """An address of the container network: 127.0.1.x, for one task alone."""
        used = {instance.task.ip for instance in self._store.instances.values() if instance.task}
        for _ in range(250):
            self._next_ip = self._next_ip % 250 + 1
            ip = f"127.0.1.{self._next_ip}"
            if ip not in used and all(_is_free(self._ports, ip, int(m["containerPort"])) for m in mappings):
                return ip
        raise NoPortError("no free address in 127.0.1.0/24")

    async def _start(self, app: App, task: Task, sandbox: Path) -> Child:
        spec = app.spec
        env = secret_environment(self._secrets, spec, app.id) | task_environment(app, task, sandbox)
        container = spec.get("container", {})
        image = container.get("docker", {}).get("image", "")
        pull(image, by_docker=container.get("type") == "DOCKER")
        if not image and "cmd" in spec:
            argv = ["/bin/sh", "-c", str(spec["cmd"])]
        elif not image and "args" in spec:
            argv = [str(word) for word in spec["args"]]
        else:
            argv = [*LIGHT_PYTHON, str(TASK_SERVER)]
        return await self._processes.start(argv, env=env, directory=sandbox)

    def _ended(self, instance: Instance, task: Task, code: int, message: str) -> None:
        """Records the end of a process: killed if a kill was requested, finished with exit code 0, else failed."""
        if instance.condition is Condition.KILLING:
            condition = Condition.KILLED
        else:
            condition = Condition.FINISHED if code == 0 else Condition.FAILED
            self._add_delay(instance.app)
        if condition is Condition.FAILED:
            self._store.failures[instance.app_id] = task_failure(instance, task, message)
        self._mesos.changed(task.id, condition.task_state, message)
        self._store.enter(instance, condition, message)

    def _add_delay(self, app: App) -> None:
        key = (app.id, app.last_config)
        known = self._store.backoffs.get(key)
        if known is None or time.monotonic() > known.deadline + BACKOFF_MEMORY_SECONDS:
            delay = float(app.spec["backoffSeconds"])
            self._store.backoffs[key] = Backoff(delay, time.monotonic() + delay)
        else:
            self._store.backoffs[key] = known.increased(app.spec)


def safe_id(app_id: str) -> str:
    """``/team/web`` in task ids: ``team_web``."""
    return app_id.strip("/").replace("/", "_")


def _is_free(ports: Ports, ip: str, port: int) -> bool:
    free = ports.claim(ip, port)
    ports.release([(ip, port)])
    return free


def task_environment(app: App, task: Task, sandbox: Path) -> dict[str, str]:
    """The environment of a task (marathon: mesosphere/mesos/{TaskBuilder,EnvironmentHelper}.scala). The app's own
    values win over all but the task's identity and ports."""
    spec = app.spec
    own = {name: str(value) for name, value in spec.get("env", {}).items() if not isinstance(value, dict)}
    checks = [check["path"] for check in app.health_checks if check.get("path")]
    image = spec.get("container", {}).get("docker", {}).get("image", "")
    labels = {f"MARATHON_APP_LABEL_{_env_name(name)}": value for name, value in spec["labels"].items()}
    resources = {f"MARATHON_APP_RESOURCE_{name.upper()}": str(spec[name]) for name in ("cpus", "mem", "disk", "gpus")}
    return {
        "PATH": os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
        "HOME": str(sandbox),
        "LANG": "C.UTF-8",
        **({"SANDBOX_HEALTH_PATH": checks[0].partition("?")[0]} if checks else {}),
        **own,
        **resources,
        **labels,
        "MARATHON_APP_LABELS": " ".join(_env_name(name) for name in spec["labels"]),
        "MARATHON_APP_ID": app.id,
        "MARATHON_APP_VERSION": app.version,
        "MARATHON_APP_DOCKER_IMAGE": image,
        "MESOS_TASK_ID": task.id,
        "MESOS_SANDBOX": str(sandbox),
        "MESOS_CONTAINER_IP": task.ip,
        "HOST": task.host,
        "SANDBOX_LISTEN": ",".join(f"{host}:{port}" for host, port in task.endpoints),
        **_port_variables(spec, task),
    }


def _env_name(label: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in label).upper()


def _port_variables(spec: Mapping[str, Any], task: Task) -> dict[str, str]:
    """``PORT0``, ``PORTS``, ``PORT_<requested port>``, ``PORT_<NAME>``: the host port wherever there is one."""
    requested = spec.get("portDefinitions") or spec.get("container", {}).get("portMappings", [])
    ports = [str(port) for _, port in task.endpoints]
    variables = {f"PORT{index}": port for index, port in enumerate(ports)}
    for definition, port in zip(requested, ports, strict=False):
        number = definition.get("containerPort", definition.get("port", 0))
        if number:
            variables[f"PORT_{number}"] = port
        if definition.get("name"):
            variables[f"PORT_{_env_name(definition['name'])}"] = port
    if ports:
        variables |= {"PORT": ports[0], "PORTS": ",".join(ports)}
    return variables
