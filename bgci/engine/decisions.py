"""Goals, policies, and the steps that the engine decides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Kind(Enum):
    """The state that a goal names. The values are the names of the commands."""

    CANARY = "canary"
    PROMOTE = "promote"
    ROLLBACK = "rollback"


@dataclass(frozen=True)
class Goal:
    """The wanted state. ``target``: instances of the revision when it serves alone; ``instances``: of the canary."""

    kind: Kind
    revision: str
    target: int
    instances: int = 1

    @property
    def wanted(self) -> int:
        """How many instances of the revision this goal asks for."""
        return self.instances if self.kind is Kind.CANARY else self.target


@dataclass(frozen=True)
class Release:
    """One revision. ``definition`` is normalised, without a colour; absent for a rollback."""

    group: str
    revision: str
    definition: Mapping[str, Any] | None = None
    image: str = ""


@dataclass(frozen=True)
class Policy:
    """How the goal is reached. Durations in seconds. ``strategy``: a row of ``strategies.STRATEGIES``.

    ``force``: after ``drain_timeout``, cut the sessions that are left. ``cut``: a rollback deletes the canary at once.
    """

    strategy: str = "bluegreen"
    wave: int = 1
    timeout: float = math.inf
    drain_timeout: float = 300.0
    force: bool = False
    allow_no_health_check: bool = False
    cut: bool = False
    leave_degraded: bool = False  # a revision that turns bad ends the run, and the baseline is not brought back
    progress_timeout: float = 0.0  # 0: from the health check's own numbers


@dataclass(frozen=True)
class Create:
    """Add the revision's app. ``swappable``: with the label that lets marathon-lb swap the roles. ``stand_in``: another
    colour of the app that serves alone, for a moment (see ``surplus``)."""

    instances: int
    swappable: bool
    stand_in: bool = False


@dataclass(frozen=True)
class Scale:
    """``placeholder``: the last of these instances only keeps marathon-lb's role order (see ``removal``)."""

    app_id: str
    instances: int
    placeholder: bool = False


@dataclass(frozen=True)
class Kill:
    """Remove these tasks for good, in one deployment: each app that has some of them shrinks by as many.

    ``force`` cancels the deployment of ours that waits for one of them. Another deployment's lock is respected.
    """

    task_ids: tuple[str, ...]
    force: bool = False


@dataclass(frozen=True)
class Delete:
    app_id: str


@dataclass(frozen=True)
class Restore:
    """Add the baseline again, as it ran. ``app_id``: its id; its definition was kept."""

    app_id: str
    instances: int


class Cause(Enum):
    """What a wait is for."""

    HEALTH = "health"
    LOAD_BALANCER = "load balancer"
    UNREACHABLE = "unreachable"
    DRAIN = "drain"
    TASKS = "tasks"  # killed tasks that have not ended
    ROOM = "room"  # an instance that Marathon has not launched
    LOCK = "lock"
    PROOF = "proof"  # HAProxy's own checks of the final configuration


@dataclass(frozen=True)
class Wait:
    """Observe again. ``request_reload``: ask every load balancer to read Marathon again (hazard 38)."""

    cause: Cause
    reason: str
    request_reload: bool = False


@dataclass(frozen=True)
class Done:
    """The goal is reached."""

    message: str


class Ending(Enum):
    """Why a goal cannot be reached: the driver raises the error of that exit code."""

    CONFLICT = "conflict"
    UNHEALTHY = "unhealthy"
    UNAVAILABLE = "unavailable"
    TIMEOUT = "timeout"
    ROLLED_BACK = "rolled back"


@dataclass(frozen=True)
class Fail:
    """The goal cannot be reached from here."""

    message: str
    remedy: str
    ending: Ending = Ending.CONFLICT


Action = Create | Scale | Kill | Delete | Restore
Step = Action | Wait | Done | Fail
