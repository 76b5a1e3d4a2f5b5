"""Marathon's state, and a way to wait until it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bgci.sandbox.events import EventBus
from bgci.sandbox.marathon.dialect import DIALECTS, Dialect
from bgci.sandbox.marathon.model import App, Backoff, Condition, Deployment, Instance, Task
from bgci.sandbox.marathon.placement import Situation, fits
from bgci.sandbox.marathon.plan import fixed_ports


@dataclass(frozen=True)
class Options:
    """The settings of the cluster. Seconds, CPUs per agent, MiB per agent."""

    hosts: tuple[str, ...] = ("127.0.0.1",)
    offer_delay: float = 0.2
    fetch_delay: float = 0.5
    health_delay: float = 1.0
    kill_grace: float = 3.0
    cpus: float = 64.0
    mem: float = 131072.0
    attributes: tuple[Mapping[str, str], ...] = ()
    dialect: Dialect = DIALECTS["1.11"]

    @property
    def agents(self) -> dict[str, dict[str, str]]:
        """The attributes of each agent by its address, with its hostname."""
        given = [*self.attributes, *[{}] * len(self.hosts)]
        return {host: {**more, "hostname": host} for host, more in zip(self.hosts, given, strict=False)}


class Store:
    """Apps with all their versions, instances, deployments. Everything happens in one event loop: no locks."""

    def __init__(self, events: EventBus, options: Options) -> None:
        self.events = events
        self.options = options
        self.apps: dict[str, App] = {}
        self.versions: dict[str, dict[str, App]] = {}
        self.instances: dict[str, Instance] = {}
        self.deployments: dict[str, Deployment] = {}
        self.failures: dict[str, dict[str, Any]] = {}
        self.backoffs: dict[tuple[str, str], Backoff] = {}
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Wakes every coroutine that waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Returns as soon as the condition holds; the condition is evaluated after every change."""
        while not holds():
            await self._changed.wait()

    def of_app(self, app_id: str) -> list[Instance]:
        """Its instances, oldest first."""
        return [instance for instance in self.instances.values() if instance.app_id == app_id]

    def save_version(self, app: App) -> None:
        self.versions.setdefault(app.id, {})[app.version] = app

    def agent_id(self, host: str) -> str:
        """The Mesos agent on that address."""
        return f"5ab8fc1e-0000-4000-8000-000000000000-S{self.options.hosts.index(host)}"

    def enter(self, instance: Instance, condition: Condition, message: str = "") -> None:
        """Changes an instance's condition, publishes events (with a task a Mesos status update, too), notifies."""
        instance.enter(condition)
        task = instance.task
        if task is not None and condition not in (Condition.SCHEDULED, Condition.PROVISIONED):
            self._status_update(instance, task, message)
        self.events.publish(
            "instance_changed_event",
            instanceId=instance.id,
            condition=condition.value,
            runSpecId=instance.app_id,
            agentId=task.agent_id if task else None,
            host=task.host if task else None,
            runSpecVersion=instance.app.version,
        )
        self.notify()

    def free_resources(self) -> dict[str, tuple[float, float]]:
        """CPUs and MiB that are free on each agent."""
        free = dict.fromkeys(self.options.hosts, (self.options.cpus, self.options.mem))
        for instance in self.instances.values():
            if instance.task is not None and instance.condition.is_active:
                cpus, mem = free[instance.task.host]
                spec = instance.app.spec
                free[instance.task.host] = (cpus - float(spec["cpus"]), mem - float(spec["mem"]))
        return free

    def meets_constraints(self, app: App, host: str) -> bool:
        """Whether an agent may take one more instance of the app. Instances with an older configuration, which are
        about to be replaced, do not count (marathon: InstanceOpFactoryImpl.scala)."""
        agents = self.options.agents
        same = [i for i in self.of_app(app.id) if i.app.last_config == app.last_config and i.condition.is_active]
        placed = [agents[i.task.host] for i in same if i.task is not None]
        now = Situation(list(agents.values()), placed, app.instances)
        return fits(app.spec.get("constraints", []), agents[host], now)

    def has_ports(self, app: App, host: str) -> bool:
        """Whether the host ports that the app insists on are free on an agent."""
        tasks = (i.task for i in self.instances.values() if i.task is not None and i.condition.is_active)
        used = {port for task in tasks if task.host == host for port in task.ports}
        return used.isdisjoint(fixed_ports(app))

    def kill(self, instance: Instance) -> None:
        """Sends SIGTERM to the task, SIGKILL after its grace period. Task and health stay listed until its end."""
        task = instance.task
        if task is None or not instance.condition.is_active or instance.condition is Condition.KILLING:
            return
        self.enter(instance, Condition.KILLING)
        if task.child is not None:
            task.child.stop(float(instance.app.spec.get("taskKillGracePeriodSeconds", self.options.kill_grace)))

    def decommission(self, instance: Instance) -> None:
        """Ends an instance for good: kills its task, which is never relaunched; the instance ends with it."""
        instance.wanted = False
        instance.wake.set()
        self.kill(instance)

    def _status_update(self, instance: Instance, task: Task, message: str) -> None:
        self.events.publish(
            "status_update_event",
            slaveId=task.agent_id,
            taskId=task.id,
            taskStatus=instance.condition.task_state,
            message=message,
            appId=instance.app_id,
            host=task.host,
            ipAddresses=[{"ipAddress": task.ip, "protocol": "IPv4"}],
            ports=task.ports,
            version=instance.app.version,
        )
