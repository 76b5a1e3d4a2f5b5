"""Facts that one observation of the cluster holds. Every time is in seconds since the epoch (UTC)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Serving(Enum):
    """What one load balancer replica does with one task, over all of its service ports."""

    ABSENT = "absent"  # no server row: not configured (yet, or any more)
    UP = "up"  # gets new sessions
    DOWN = "down"  # configured, fails HAProxy's own checks
    MAINT = "maint"  # marathon-lb has taken it out of rotation: draining or drained


@dataclass(frozen=True)
class Server:
    """One task as one replica sees it. ``sessions``: current ones, in the newest worker only. ``unchecked``: UP, and at
    one of its service ports HAProxy's last check has not passed: it failed, or none has ended yet."""

    serving: Serving
    sessions: int = 0
    unchecked: bool = False


_ABSENT = Server(Serving.ABSENT)


@dataclass(frozen=True)
class Replica:
    """One load balancer. ``older_workers``: pids of HAProxy workers from before the last reload; 0: not asked yet."""

    url: str
    servers: dict[str, Server] = field(default_factory=dict)  # by task id
    older_workers: tuple[int, ...] = ()
    problem: str = ""  # why it could not be read; empty when it could
    worker: int = 0  # pid of the newest worker; 0 when unknown
    worker_started: float = 0.0  # when that worker was started; 0 when unknown
    others: tuple[str, ...] = ()  # servers of our backends that are not tasks of these apps

    def server(self, task_id: str) -> Server:
        return self.servers.get(task_id, _ABSENT)


@dataclass(frozen=True)
class Task:
    """One task of an app. ``healthy`` is None while Marathon has no result for it."""

    id: str
    healthy: bool | None
    dying: bool = False  # killed or ending; Marathon still lists it, with its last health result
    idle: bool = False  # its own idle probe (BGCI_DRAIN_PATH) answered 200
    url: str = ""  # its first port, without a load balancer
    ever_healthy: bool = True  # had a passing health check: a load balancer may have sent it sessions

    @property
    def health_lost(self) -> bool:
        """Whether Marathon has lost its health: a new leader starts without results, and load balancers drop tasks
        without them (hazard 39)."""
        return self.healthy is None and self.ever_healthy and not self.dying


@dataclass(frozen=True)
class App:
    """One colour of a group, as Marathon shows it."""

    id: str
    instances: int
    tasks: tuple[Task, ...] = ()
    revision: str | None = None  # label BGCI_REVISION
    colour: str | None = None
    target: int | None = None  # label HAPROXY_DEPLOYMENT_TARGET_INSTANCES, None when missing or not a number
    swappable: bool = False  # label HAPROXY_DEPLOYMENT_NEW_INSTANCES present: marathon-lb can swap the roles
    baseline_instances: int | None = None  # label BGCI_BASELINE_INSTANCES: size of the baseline at its creation
    started_at: float = 0.0  # label HAPROXY_DEPLOYMENT_STARTED_AT; 0 when missing
    started_at_zoned: bool = False  # that label carries a time zone
    last_scaling_at: float = 0.0
    configured_at: float = 0.0  # when its configuration was changed last, or it was restarted; 0 when unknown
    deployments: tuple[str, ...] = ()
    has_health_checks: bool = True
    trouble: str = ""  # why tasks are missing or not healthy, for messages
    complaint: str = ""  # what its failing health checks report now; a part of ``trouble``
    failure: str = ""  # identifies its last task failure; empty without one
    health_time: float = 0.0  # seconds in which its health checks must have passed once a task runs
    check_window: float = 0.0  # seconds that HAProxy needs to find a failing server: fall x (interval + timeout)
    queued: int | None = None  # instances in Marathon's launch queue: wanted, without a task; None: queue not read
    stand_in: bool = False  # label BGCI_STAND_IN: exists only until a surplus of the other app is drained

    @property
    def healthy(self) -> tuple[Task, ...]:
        """The healthy tasks, without those that were killed."""
        return tuple(task for task in self.tasks if task.healthy and not task.dying)

    @property
    def alive(self) -> int:
        """How many listed tasks were not killed."""
        return sum(not task.dying for task in self.tasks)

    @property
    def name(self) -> str:
        return f"{self.revision} ({self.id})" if self.revision else self.id


@dataclass(frozen=True)
class Observation:
    """The state of a deployment group in Marathon and at every load balancer, at one time."""

    now: float
    apps: tuple[App, ...]
    replicas: tuple[Replica, ...]
    settings_differ: bool = False  # between the load-balancer settings of two apps; one app: from the defaults

    @property
    def health_lost(self) -> bool:
        """Whether the health of any task is lost."""
        return any(task.health_lost for app in self.apps for task in app.tasks)

    @property
    def by_age(self) -> tuple[App, ...]:
        """The apps, the older first."""
        return tuple(sorted(self.apps, key=lambda app: app.started_at))

    def in_rotation(self, replica: Replica) -> int:
        """How many tasks get new sessions from this load balancer."""
        tasks = (task for app in self.apps for task in app.tasks)
        return sum(replica.server(task.id).serving is Serving.UP for task in tasks)

    @property
    def least_in_rotation(self) -> int:
        """How many tasks are in rotation at the load balancer that has the fewest."""
        return min((self.in_rotation(replica) for replica in self.replicas), default=0)

    def servers(self, task: Task) -> list[Server]:
        return [replica.server(task.id) for replica in self.replicas]

    def is_up(self, task: Task) -> bool:
        """Whether any load balancer sends it new sessions."""
        return any(server.serving is Serving.UP for server in self.servers(task))

    def is_configured(self, task: Task) -> bool:
        return any(server.serving is not Serving.ABSENT for server in self.servers(task))

    def in_maint_everywhere(self, task: Task) -> bool:
        return all(server.serving is Serving.MAINT for server in self.servers(task))

    def is_drained(self, task: Task) -> bool:
        """Whether it is out of rotation in every replica, and no worker is left that could hold a session with it
        (hazard 18).

        The statistics alone are not enough: a reload starts them at 0 while the older worker still serves its sessions.
        A healthy task that is not in MAINT is entering rotation, even if no replica shows it yet.
        """
        if not (task.ever_healthy or self.is_configured(task)):
            return True  # it cannot have had a session
        entering = bool(task.healthy) and not task.dying
        return all(
            server.serving is not Serving.UP
            and (not entering or server.serving is Serving.MAINT)
            and (task.idle or (server.sessions == 0 and not replica.older_workers))
            for replica in self.replicas
            for server in [replica.server(task.id)]
        )
