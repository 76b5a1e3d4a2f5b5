"""Marathon's state: apps, instances and their tasks, health, deployments."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

from bgci.sandbox import clock

if TYPE_CHECKING:
    from bgci.sandbox.processes import Child

Spec = Mapping[str, Any]
"""An app definition in canonical form, without ``version`` and ``versionInfo``."""


class Condition(str, Enum):
    """The condition of an instance (marathon: S/core/condition/Condition.scala)."""

    SCHEDULED = "Scheduled"
    PROVISIONED = "Provisioned"
    STAGING = "Staging"
    STARTING = "Starting"
    RUNNING = "Running"
    UNREACHABLE = "Unreachable"
    KILLING = "Killing"
    FAILED = "Failed"
    FINISHED = "Finished"
    KILLED = "Killed"

    @property
    def is_terminal(self) -> bool:
        return self in (Condition.FAILED, Condition.FINISHED, Condition.KILLED)

    @property
    def is_active(self) -> bool:
        return not self.is_terminal and self is not Condition.SCHEDULED

    @property
    def task_state(self) -> str:
        """The Mesos state shown for a task; a condition unknown to Mesos is shown as staging."""
        unknown = self in (Condition.SCHEDULED, Condition.PROVISIONED)
        return "TASK_STAGING" if unknown else f"TASK_{self.value.upper()}"


@dataclass(frozen=True)
class App:
    """One version of an app. ``versionInfo`` shows the three times; ``version`` identifies it."""

    spec: Spec
    version: str
    last_scaling: str
    last_config: str

    @property
    def id(self) -> str:
        return str(self.spec["id"])

    @property
    def instances(self) -> int:
        return int(self.spec["instances"])

    @property
    def health_checks(self) -> list[Mapping[str, Any]]:
        return list(self.spec.get("healthChecks", []))


@dataclass(frozen=True)
class Health:
    """The results of one check of one instance (marathon: S/core/health/Health.scala). Times in Marathon's form."""

    first_success: str | None = None
    last_success: str | None = None
    last_failure: str | None = None
    last_failure_cause: str | None = None
    consecutive_failures: int = 0

    @property
    def alive(self) -> bool:
        if self.last_success is None:
            return False
        return self.last_failure is None or self.last_success > self.last_failure

    def passed(self, at: str) -> Health:
        return replace(self, first_success=self.first_success or at, last_success=at, consecutive_failures=0)

    def failed(self, at: str, cause: str) -> Health:
        failures = self.consecutive_failures + 1
        return replace(self, last_failure=at, last_failure_cause=cause, consecutive_failures=failures)


@dataclass(eq=False)
class Task:
    """One incarnation of an instance: a process. ``ports``: host ports; ``endpoints``: where each app port answers."""

    id: str
    host: str
    ip: str
    ports: list[int]
    endpoints: list[tuple[str, int]]
    agent_id: str
    staged_at: str
    app_version: str
    started_at: str | None = None
    child: Child | None = None


@dataclass(eq=False)
class Instance:
    """A place for one task. It outlives its tasks: a task that ends is relaunched in it while the goal is to run."""

    id: str
    app: App
    wanted: bool = True
    condition: Condition = Condition.SCHEDULED
    since: float = field(default_factory=time.monotonic)
    active_since: float | None = None
    incarnation: int = 0
    task: Task | None = None
    health: dict[int, Health] = field(default_factory=dict)
    healthy: bool | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def app_id(self) -> str:
        return self.app.id

    @property
    def is_scheduled(self) -> bool:
        return self.wanted and (self.condition.is_terminal or self.condition is Condition.SCHEDULED)

    @property
    def considered_healthy(self) -> bool:
        return not self.app.health_checks or self.healthy is True

    @property
    def healthy_for_mesos(self) -> bool:
        """Whether the checks that Mesos runs have passed; an app without checks is healthy."""
        checks = enumerate(self.app.health_checks)
        by_mesos = [index for index, check in checks if check["protocol"].startswith(("MESOS_", "COMMAND"))]
        results = [self.health.get(index) for index in by_mesos]
        return not self.app.health_checks or (bool(results) and all(result and result.alive for result in results))

    def enter(self, condition: Condition) -> None:
        """Changes the condition; the time of becoming active is that of Running."""
        self.condition = condition
        self.since = time.monotonic()
        if condition is Condition.RUNNING:
            self.active_since = self.since
        elif not condition.is_active:
            self.active_since = None


@dataclass(frozen=True)
class Action:
    """One action of a deployment on one app."""

    kind: str
    app: App
    scale_to: int = 0
    to_kill: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"action": f"{self.kind}Application", "app": self.app.id}


@dataclass(eq=False)
class Deployment:
    """A plan that runs. It locks the ids of the apps it acts on until it has ended."""

    id: str
    version: str
    original: Mapping[str, App]
    target: Mapping[str, App]
    steps: list[list[Action]]
    current_step: int = 0
    runner: asyncio.Task[None] | None = None
    readiness: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def app_ids(self) -> set[str]:
        return {action.app.id for step in self.steps for action in step}


@dataclass
class Backoff:
    """The launch delay of one configuration of an app; ``deadline`` in time.monotonic() seconds."""

    delay: float
    deadline: float

    def increased(self, spec: Spec) -> Backoff:
        delay = min(self.delay * float(spec["backoffFactor"]), float(spec["maxLaunchDelaySeconds"]))
        return Backoff(delay, time.monotonic() + delay)


def new_app(spec: Spec, version: str) -> App:
    return App(spec, version, version, version)


def task_failure(instance: Instance, task: Task, message: str, state: str = "TASK_FAILED") -> dict[str, Any]:
    """``lastTaskFailure`` of an app."""
    return {
        "appId": instance.app_id,
        "host": task.host,
        "message": message,
        "state": state,
        "taskId": task.id,
        "timestamp": clock.now(),
        "version": instance.app.version,
        "slaveId": task.agent_id,
    }
