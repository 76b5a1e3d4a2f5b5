"""The frozen values that the engine thinks in: what was seen, what is wanted, and the one next step.

No I/O and no clock here: every time stands in the observation, in seconds since the epoch (UTC).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


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
    healthy: bool | None
    dying: bool = False  # asked to stop; Marathon still lists it, with its last health result
    idle: bool = False  # its own idle probe (BGCI_DRAIN_PATH) answered 200
    url: str = ""  # its first port, as it is reached without a load balancer
    ever_healthy: bool = True  # had a passing health check: a load balancer may have sent it sessions


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
        """The tasks that count: healthy and not on their way out."""
        return tuple(task for task in self.tasks if task.healthy and not task.dying)


@dataclass(frozen=True)
class Observation:
    """Everything that ``decide`` may know."""

    now: float
    apps: tuple[App, ...]
    replicas: tuple[Replica, ...]
    draining_since: float | None = None  # when the drain that is being waited for was first seen
    short_since: float | None = None  # when the tasks that are being waited for were first missing


class Kind(Enum):
    """What a goal asks for. The values are the names of the commands."""

    CANARY = "canary"
    PROMOTE = "promote"
    ROLLBACK = "rollback"


class Strategy(Enum):
    BLUEGREEN = "bluegreen"
    ROLLING = "rolling"


@dataclass(frozen=True)
class Goal:
    """The wanted state. ``target``: instances of the revision when it serves alone; ``instances``: of the canary."""

    kind: Kind
    revision: str
    target: int
    instances: int = 1


@dataclass(frozen=True)
class Release:
    """What is released: ``definition`` is normalised, without a colour; absent when only going back."""

    group: str
    revision: str
    definition: Mapping[str, Any] | None = None
    image: str = ""


@dataclass(frozen=True)
class Policy:
    """How the goal may be reached. ``drain_timeout`` in seconds; ``force``: kill what has not drained by then."""

    strategy: Strategy = Strategy.BLUEGREEN
    wave: int = 1
    drain_timeout: float = 300.0
    force: bool = False
    allow_no_health_check: bool = False


@dataclass(frozen=True)
class Create:
    """Add the revision's app. ``swappable``: with the label that lets marathon-lb swap roles."""

    instances: int
    swappable: bool


@dataclass(frozen=True)
class Scale:
    """``ballast``: the last of these instances is not to stay (see plan._remove)."""

    app_id: str
    instances: int
    ballast: bool = False


@dataclass(frozen=True)
class Kill:
    """Remove these tasks for good, in one deployment: each app that has some of them shrinks by as many."""

    task_ids: tuple[str, ...]


@dataclass(frozen=True)
class Delete:
    app_id: str


class Cause(Enum):
    """What a wait is for: it decides the exit code when the deadline passes."""

    HEALTH = "health"
    LOAD_BALANCER = "load balancer"
    UNREACHABLE = "unreachable"
    DRAIN = "drain"
    TASKS = "tasks"
    LOCK = "lock"


@dataclass(frozen=True)
class Wait:
    cause: Cause
    why: str


@dataclass(frozen=True)
class Done:
    """The goal is reached."""

    message: str


@dataclass(frozen=True)
class Fail:
    """The goal cannot be reached from here. ``overdue``: because a drain took too long, otherwise a conflict."""

    message: str
    remedy: str
    overdue: bool = False


Action = Create | Scale | Kill | Delete
Step = Create | Scale | Kill | Delete | Wait | Done | Fail
