"""Goals, policies, and the steps that the engine decides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from bgci.errors import BgciError, ConflictError


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
        """The wanted instances of the revision."""
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
    """Settings of the run. Durations in seconds. ``strategy``: a key of ``strategies.STRATEGIES``.

    ``force``: after ``drain_timeout``, cut the sessions that are left. ``cut``: a rollback deletes the canary at once.
    """

    strategy: str = "bluegreen"
    wave: int = 1
    timeout: float = math.inf
    drain_timeout: float = 300.0
    force: bool = False
    allow_no_health_check: bool = False
    cut: bool = False
    leave_degraded: bool = False  # end the run when the revision turns bad, without a rollback
    progress_timeout: float = 0.0  # 0: from the health check's own numbers


# ``because`` of each action: why it is decided, in whole sentences.


@dataclass(frozen=True)
class Create:
    """Create the revision's app. ``swappable``: with the label that lets marathon-lb swap the roles. ``stand_in``:
    create the other colour of the app that serves alone, to drain its surplus (see ``surplus``)."""

    instances: int
    swappable: bool
    stand_in: bool = False
    because: str = field(default="", compare=False, kw_only=True)


@dataclass(frozen=True)
class Scale:
    """Set the app's instances. ``placeholder``: the last one only keeps marathon-lb's role order (see ``removal``)."""

    app_id: str
    instances: int
    placeholder: bool = False
    because: str = field(default="", compare=False, kw_only=True)


@dataclass(frozen=True)
class Kill:
    """Kill these tasks and lower their apps' instances by as many, in one deployment.

    ``force`` cancels bgci's own deployment that waits for one of them. A lock of another deployment stays.
    """

    task_ids: tuple[str, ...]
    force: bool = False
    because: str = field(default="", compare=False, kw_only=True)


@dataclass(frozen=True)
class Delete:
    """Delete the app."""

    app_id: str
    because: str = field(default="", compare=False, kw_only=True)


@dataclass(frozen=True)
class Restore:
    """Create the deleted baseline again, from its saved definition."""

    app_id: str
    instances: int
    because: str = field(default="", compare=False, kw_only=True)


class Cause(Enum):
    """The event that a wait is for."""

    HEALTH = "health"
    LOAD_BALANCER = "load balancer"
    UNREACHABLE = "unreachable"
    DRAIN = "drain"
    TASKS = "tasks"  # killed tasks that have not ended
    ROOM = "room"  # an instance that Marathon has not launched yet
    LOCK = "lock"
    PROOF = "proof"  # HAProxy's own checks of the final configuration


@dataclass(frozen=True)
class Wait:
    """Change nothing, and observe again. ``request_reload``: make every load balancer read Marathon again (hazard
    38)."""

    cause: Cause
    reason: str
    request_reload: bool = False


@dataclass(frozen=True)
class Done:
    """The goal is reached."""

    message: str


@dataclass(frozen=True)
class Fail:
    """The goal cannot be reached from here. ``ending``: the error that the driver raises, with its exit code."""

    message: str
    remedy: str
    ending: type[BgciError] = ConflictError


Action = Create | Scale | Kill | Delete | Restore
Step = Action | Wait | Done | Fail
