"""The frozen values that the engine thinks in: what was seen, what is wanted, and the one next step.

No I/O and no clock here: every time stands in the observation, in seconds since the epoch (UTC).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Serving(Enum):
    """What one load balancer replica does with one task, over all of its service ports."""

    ABSENT = "absent"  # no server row: not configured (yet, or any more)
    UP = "up"  # gets new sessions
    DOWN = "down"  # configured, fails HAProxy's own checks
    MAINT = "maint"  # taken out of rotation by marathon-lb: draining


@dataclass(frozen=True)
class Server:
    """One task as one replica sees it. ``sessions``: current ones, in the newest worker only."""

    serving: Serving
    sessions: int = 0


@dataclass(frozen=True)
class Replica:
    """One load balancer. ``older_workers``: pids of HAProxy workers from before the last reload."""

    url: str
    servers: dict[str, Server] = field(default_factory=dict)  # by task id
    older_workers: tuple[int, ...] = ()
    problem: str = ""  # why it could not be read; empty when it could

    def server(self, task_id: str) -> Server:
        return self.servers.get(task_id, Server(Serving.ABSENT))


@dataclass(frozen=True)
class Task:
    """One task of an app. ``healthy`` is None while Marathon has no result for it."""

    id: str
    running: bool
    healthy: bool | None
    idle: bool = False  # its own idle probe (BGCI_DRAIN_PATH) answered 200


@dataclass(frozen=True)
class App:
    """One colour of a group, as Marathon shows it."""

    id: str
    instances: int
    tasks: tuple[Task, ...] = ()
    revision: str | None = None  # label BGCI_REVISION
    colour: str | None = None
    target: int | None = None  # label HAPROXY_DEPLOYMENT_TARGET_INSTANCES, None when missing or no number
    swappable: bool = False  # label HAPROXY_DEPLOYMENT_NEW_INSTANCES present: marathon-lb may swap roles
    baseline_instances: int | None = None  # label BGCI_BASELINE_INSTANCES: what ran beside it when it was created
    started_at: float = 0.0  # label HAPROXY_DEPLOYMENT_STARTED_AT; 0 when missing
    started_at_zoned: bool = False  # that label carries a time zone
    last_scaling_at: float = 0.0
    deployments: tuple[str, ...] = ()
    has_health_checks: bool = True
    trouble: str = ""  # why its tasks are not there yet, for people

    @property
    def healthy(self) -> tuple[Task, ...]:
        return tuple(task for task in self.tasks if task.healthy)


@dataclass(frozen=True)
class Observation:
    """Everything that ``decide`` may know."""

    now: float
    apps: tuple[App, ...]
    replicas: tuple[Replica, ...]
    draining_since: float | None = None  # when the drain that is being waited for was first seen
    laundered: int = 0  # how often drained tasks were replaced in vain in this run
