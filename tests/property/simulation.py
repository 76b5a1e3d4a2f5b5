"""A small world for the engine: Marathon, several marathon-lb replicas with HAProxy, and time in ticks.

It shares no code with the engine. marathon-lb's rules are written from `marathon_lb.py: get_apps` (docs/platform.md),
Marathon's from its resources and actors , HAProxy's from what was measured (docs/hazards.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from random import Random

from bgci.engine.decisions import Action, Create, Delete, Done, Fail, Goal, Kill, Restore, Scale, Step, Wait
from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task
from bgci.engine.rollout import Rollout


class Broken(AssertionError):
    """The engine violated an invariant."""


class Listing(Enum):
    """How Marathon lists a killed task, always with its last health result, until it is gone."""

    KILLING = "killing"
    RUNNING = "running"  # without Mesos' task_killing capability
    KILLED = "killed"  # and for a while after it has ended


class Labels(Enum):
    """What the load balancer settings of a new revision do, once they are in force (label-hazards)."""

    GOOD = "good"
    LEFT_OUT = "left out"  # marathon-lb finds them invalid: the app has no backend
    FAILING = "failing"  # HAProxy's checks fail: UP until so many have failed, then DOWN


@dataclass(frozen=True)
class Weather:
    """How the world behaves. Every duration is drawn from 0 to the given number of ticks."""

    seed: int = 0
    stable_ids: bool = True  # Marathon >= 1.8: an instance keeps its id when its task crashes and is started again
    lists_ended: bool = True  # and its ended task stays listed until the next one is launched (EnrichedTask.scala)
    listing: Listing = Listing.KILLING
    room: int = 99  # tasks that the cluster can run at once; what is beyond that is not launched
    served_when_healthy: bool = True  # marathon-lb --health-check; without it tasks are served as soon as they run
    replicas: int = 2
    launch: int = 3  # scheduled -> staging
    start: int = 3  # staging -> running
    warm: int = 3  # running -> healthy
    stop: int = 3  # killed -> ended
    linger: int = 3  # ended -> gone, if killed tasks are listed for that long
    look: int = 3  # between two looks of a replica at Marathon
    reload: int = 1  # from the look to the new configuration
    checks: int = 3  # from the end of MAINT until HAProxy's two checks have passed
    session: int = 6  # the longest session
    strangers: int = 2  # how long sessions of other apps keep an older worker
    lag: int = 1  # from an observation to the step that it led to
    sick: bool = False  # a newly created app never becomes healthy
    elections: int = 0  # one tick in so many Marathon changes its leader and forgets all health results (0: never)
    checked: int = 6  # until each task has its first result from the new leader
    crashes: int = 0  # one tick in so many a task crashes (0: never)
    labels: Labels = Labels.GOOD  # of a newly created app
    window: int = 0  # until HAProxy has found a server that fails each of its checks
    rots: int = 0  # a newly created app's task fails so many ticks after its first passing check (0: never)
    rotten: int = 6  # until Marathon restarts such a task


class Phase(Enum):
    SCHEDULED = "scheduled"
    STAGING = "staging"
    RUNNING = "running"
    HEALTHY = "healthy"
    DYING = "dying"
    ENDED = "ended"  # killed, and still listed
    GONE = "gone"


@dataclass(eq=False)
class SimTask:
    instance: str
    born: int
    due: int
    incarnation: int = 0  # 0: never launched
    phase: Phase = Phase.SCHEDULED
    alive: bool | None = None  # Marathon's last health result
    blip: int = 0  # until when Marathon has forgotten its results
    id: str = field(init=False)

    def __post_init__(self) -> None:
        self.id = f"{self.instance}.{self.incarnation}"

    def launched(self) -> None:
        """Once more: Marathon gives each launch an id of its own."""
        self.incarnation += 1
        self.id = f"{self.instance}.{self.incarnation}"

    @property
    def listed(self) -> bool:
        return self.phase not in (Phase.SCHEDULED, Phase.GONE)


@dataclass(eq=False)
class Deployment:
    """One for a scaling up, until all are healthy; one for a kill, until the victims have ended."""

    victims: list[SimTask] = field(default_factory=list)


@dataclass(eq=False)
class SimApp:
    id: str
    instances: int
    revision: str | None
    target: int | None
    swappable: bool
    baseline_instances: int | None
    started_at: float
    last_scaling_at: float
    configured_at: float = 1.0
    held_until: int = 0  # a deployment from outside has the lock
    stand_in: bool = False
    sick: bool = False
    labels: Labels = Labels.GOOD
    rots: int = 0
    tasks: list[SimTask] = field(default_factory=list)
    deployment: Deployment | None = None  # holds the app's lock

    @property
    def active(self) -> list[SimTask]:
        return [task for task in self.tasks if task.phase not in (Phase.DYING, Phase.ENDED, Phase.GONE)]

    def count(self, phase: Phase) -> int:
        return sum(task.phase is phase for task in self.tasks)


@dataclass
class SimServer:
    serving: Serving
    up_at: int = 0  # when its checks have passed, if it is DOWN
    sessions: list[int] = field(default_factory=list)  # the ticks at which they end
    fails_at: int | None = None  # when its failing checks take it DOWN


@dataclass
class Worker:
    """An older HAProxy worker: it serves what began before the reload."""

    pid: int
    sessions: dict[str, list[int]]
    until: int


@dataclass
class SimReplica:
    name: str
    servers: dict[str, SimServer] = field(default_factory=dict)
    older: list[Worker] = field(default_factory=list)
    pending: list[tuple[int, dict[str, bool]]] = field(default_factory=list)
    next_look: int = 0
    pids: int = 1
    started: int = 0  # when the newest worker was started

    def holds(self, task_id: str, now: int) -> bool:
        """Whether any worker has a session with the task."""
        server = self.servers.get(task_id)
        lists = [worker.sessions.get(task_id, []) for worker in self.older] + ([server.sessions] if server else [])
        return any(end > now for ends in lists for end in ends)


class World:
    def __init__(self, weather: Weather) -> None:
        self.weather = weather
        self.random = Random(weather.seed)
        self.now = 0
        self.stamp = 0.0
        self.apps: list[SimApp] = []
        self.rotten: set[str] = set()  # tasks whose checks fail
        self.leading = Labels.GOOD  # whose load balancer settings are in force
        self.ghosts: list[SimTask] = []  # tasks of deleted apps
        self.deleted: dict[str, SimApp] = {}
        self.outage = 0  # ticks with nothing in rotation in some replica, since `mark`
        self.replicas = [SimReplica(f"lb{n}") for n in range(weather.replicas)]
        self.force = False  # whether steps may cut sessions (drain time-out with force)
        self.free_shrink = False  # whether a scale-down may cut sessions: the last one of a shrink
        self.least = 99  # fewest in rotation in any replica since `mark`
        self.peak = 0  # most wanted instances since `mark`
        self.cut = 0  # tasks that were stopped in rotation or with a session since `mark`
        self.locked = 0

    # -- what the driver sees and does ------------------------------------------------------------------------------

    def observe(self) -> Observation:
        listed = {task.id for app in self.apps for task in app.tasks if task.listed}
        return Observation(
            now=float(self.now),
            apps=tuple(self._shown(app) for app in self.apps),
            replicas=tuple(
                Replica(
                    url=replica.name,
                    servers={
                        task_id: Server(server.serving, sum(end > self.now for end in server.sessions))
                        for task_id, server in replica.servers.items()
                    },
                    older_workers=tuple(worker.pid for worker in replica.older),
                    worker=replica.pids,
                    worker_started=float(replica.started),
                    others=tuple(sorted(set(replica.servers) - listed)),
                )
                for replica in self.replicas
            ),
            settings_differ=any(app.labels is not Labels.GOOD for app in self.apps),
        )

    def _shown(self, app: SimApp) -> App:
        return App(
            id=app.id,
            instances=app.instances,
            tasks=tuple(
                Task(
                    id=task.id,
                    healthy=self._result(task),
                    dying=task.phase in (Phase.DYING, Phase.ENDED) and self.weather.listing is not Listing.RUNNING,
                    ever_healthy=self._result(task) is not None,
                )
                for task in app.tasks
                if task.listed
            ),
            revision=app.revision,
            target=app.target,
            swappable=app.swappable,
            stand_in=app.stand_in,
            baseline_instances=app.baseline_instances,
            started_at=app.started_at,
            last_scaling_at=app.last_scaling_at,
            configured_at=app.configured_at,
            deployments=("d",) if app.deployment or app.held_until > self.now else (),
            check_window=float(self.weather.window),
            queued=app.count(Phase.SCHEDULED),
            health_time=float(self.weather.launch + self.weather.start + self.weather.warm),
        )

    def _result(self, task: SimTask) -> bool | None:
        return None if self.now < task.blip else task.alive

    def perform(self, step: Action, goal: Goal) -> bool:
        """Marathon's answer to a request; False when the app is locked by a deployment that it does not cancel."""
        match step:
            case Create(instances, swappable, stand_in):
                self.create(instances, goal, swappable)
                if stand_in:
                    app, other = self.apps[-1], self.apps[0]
                    app.stand_in, app.revision, app.target = True, other.revision, other.target
                return True
            case Restore(app_id, instances):
                self._restore(app_id, instances)
                return True
            case Delete(app_id):
                return self._delete(self.app(app_id))
            case Scale(app_id, instances):
                return self._scale(self.app(app_id), instances)
            case Kill(task_ids, force):
                return self._kill(task_ids, force)

    def app(self, app_id: str) -> SimApp:
        return next(app for app in self.apps if app.id == app_id)

    def create(self, instances: int, goal: Goal, swappable: bool) -> None:
        other = self.apps[0] if self.apps else None
        colour = "green" if other and other.id == "blue" else "blue"
        if any(app.id == colour for app in self.apps):
            raise Broken(f"{colour} exists already")
        app = SimApp(
            id=colour,
            instances=instances,
            revision=goal.revision,
            target=goal.target,
            swappable=swappable,
            baseline_instances=other.instances if other else None,
            started_at=self._stamp(),
            last_scaling_at=self.stamp,
            sick=self.weather.sick,
            labels=self.weather.labels,
            rots=self.weather.rots,
            deployment=Deployment(),
        )
        self.apps.append(app)
        self._fill(app)

    def _restore(self, app_id: str, instances: int) -> None:
        """The app as it was deleted: its labels are as they were, so its STARTED_AT is the earlier one."""
        app = self.deleted[app_id]
        self.apps.append(app)
        app.tasks, app.instances, app.deployment, app.last_scaling_at = [], instances, Deployment(), self._stamp()
        self._fill(app)

    def _delete(self, app: SimApp) -> bool:
        """marathon: AppsResource.delete. It is forced: a deployment of this app is cancelled, for all its apps."""
        self.apps.remove(app)
        if not app.stand_in:
            self.deleted[app.id] = app
        for other in self.apps:
            if other.deployment and other.deployment is app.deployment:
                other.deployment = None
        for task in app.active:
            self._stop(task, exempt=self.force)
        self.ghosts += [task for task in app.tasks if task.phase is Phase.DYING]
        return True

    def _scale(self, app: SimApp, instances: int) -> bool:
        if instances == app.instances:
            return True
        if app.deployment or app.held_until > self.now:
            self.locked += 1
            return False
        app.last_scaling_at = self._stamp()
        app.instances = instances
        app.deployment = Deployment(self._victims(app)[: max(0, len(app.active) - instances)])
        for task in app.deployment.victims:
            self._stop(task, exempt=self.force or self.free_shrink)
        self._fill(app)
        return True

    @staticmethod
    def _victims(app: SimApp) -> list[SimTask]:
        """marathon: ScalingProposition.scala. Not running before running, youngest first, not launched last."""
        order = {Phase.STAGING: 0, Phase.RUNNING: 1, Phase.HEALTHY: 1, Phase.SCHEDULED: 2}
        return sorted(app.active, key=lambda task: (order[task.phase], -task.born))

    def _kill(self, task_ids: tuple[str, ...], force: bool) -> bool:
        """marathon: TaskKiller.killAndScale. One deployment and one version for all the apps concerned."""
        again = {Phase.DYING} if self.weather.listing is Listing.RUNNING else set()  # listed as running: counted again
        phases = {Phase.STAGING, Phase.RUNNING, Phase.HEALTHY} | again
        chosen = {
            app.id: [task for task in app.tasks if task.phase in phases and task.id in task_ids] for app in self.apps
        }
        owners = [app for app in self.apps if chosen[app.id]]
        if not force and any(app.deployment or app.held_until > self.now for app in owners):
            self.locked += 1
            return False
        deployment, stamp = Deployment([task for tasks in chosen.values() for task in tasks]), self._stamp()
        for app in owners:
            app.instances -= len(chosen[app.id])
            app.last_scaling_at, app.deployment = stamp, deployment
            rest = [task for task in self._victims(app) if task not in deployment.victims]
            kept = len(app.active) - len(rest)
            deployment.victims += rest[: max(0, len(app.active) - app.instances - kept)]
        for task in deployment.victims:
            if task.phase is not Phase.DYING:
                self._stop(task, exempt=self.force)
        return True

    def _stamp(self) -> float:
        self.stamp += 1.0
        return self.stamp

    def _stop(self, task: SimTask, *, exempt: bool) -> None:
        for replica in self.replicas:
            server = replica.servers.get(task.id)
            up = task.phase is Phase.HEALTHY and server is not None and server.serving is Serving.UP
            if up or (task.phase is not Phase.SCHEDULED and replica.holds(task.id, self.now)):
                self.cut += 1
                if not exempt:
                    raise Broken(f"t={self.now}: {task.id} stopped {'in rotation' if up else 'with a session'}")
        if task.phase is Phase.SCHEDULED:
            task.phase = Phase.GONE
        else:
            task.phase, task.due = Phase.DYING, self._after(self.weather.stop)

    def _fill(self, app: SimApp) -> None:
        for _ in range(app.instances - len(app.active)):
            app.tasks.append(self._instance(app))

    def _instance(self, app: SimApp) -> SimTask:
        self.stamp += 1.0
        return SimTask(
            f"{app.id}.{self.random.randrange(16**8):08x}", int(self.stamp), self._after(self.weather.launch)
        )

    def _after(self, most: int) -> int:
        return self.now + self.random.randint(0, most)

    # -- outside changes ---------------------------------------------------------------------------------------------

    def hand_scale(self, app_id: str, instances: int) -> None:
        """An outside scaling of an app, by force: the sessions that it cuts do not count."""
        self._by_hand(lambda app: self._scale(app, instances), app_id)

    def hand_delete(self, app_id: str) -> None:
        self._by_hand(self._delete, app_id)

    def hand_restart(self, app_id: str) -> None:
        """An outside restart of an app: all its tasks are replaced at once."""

        def restart(app: SimApp) -> None:
            app.configured_at = app.last_scaling_at = self._stamp()
            for task in app.active:
                self._stop(task, exempt=True)
            self._fill(app)
            app.deployment = Deployment()

        self._by_hand(restart, app_id)

    def hand_lock(self, app_id: str, ticks: int) -> None:
        """Another deployment holds the app's lock for so long."""
        self.app(app_id).held_until = self.now + ticks

    def _by_hand(self, act: Callable[[SimApp], object], app_id: str) -> None:
        app, before, cut = self.app(app_id), self.force, self.cut
        for other in self.apps:
            if other is not app and other.deployment is app.deployment:
                other.deployment = None
        app.deployment, self.force = None, True
        act(app)
        self.force, self.cut = before, cut

    # -- time -------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        self.now += 1
        if self.weather.elections and self.random.randrange(self.weather.elections) == 0:
            for task in (task for app in self.apps for task in app.tasks):
                task.blip = self._after(self.weather.checked) + 1
        if self.weather.crashes and self.random.randrange(self.weather.crashes) == 0:
            self._crash()
        for app in self.apps:
            for task in app.tasks:
                self._advance(task, app)
            app.tasks = [task for task in app.tasks if task.phase is not Phase.GONE]
            self._finish(app)
        self.ghosts = [task for task in self.ghosts if task.due > self.now]
        for replica in self.replicas:
            self._advance_replica(replica)
        self._account()

    def _rot(self, task: SimTask, app: SimApp) -> None:
        """Its checks fail; a while later Marathon restarts it, and the next one passes its first check."""
        if task.id in self.rotten:
            task.phase, task.alive, task.due = Phase.SCHEDULED, None, self._after(self.weather.launch)
            return
        self.rotten.add(task.id)
        task.alive, task.due = False, self.now + self.weather.rotten

    def _crash(self) -> None:
        running = [(app, task) for app in self.apps for task in app.tasks if task.phase is Phase.HEALTHY]
        if not running:
            return
        app, task = self.random.choice(running)
        task.alive = None
        if self.weather.stable_ids:
            task.phase, task.due = Phase.SCHEDULED, self._after(self.weather.launch)
        else:
            app.tasks[app.tasks.index(task)] = self._instance(app)

    def _advance(self, task: SimTask, app: SimApp) -> None:
        weather = self.weather
        if task.due > self.now:
            return
        if task.phase is Phase.SCHEDULED:
            if self._running() >= weather.room:
                return
            task.launched()
            task.born = int(self._stamp())
            task.phase, task.due, task.alive = Phase.STAGING, self._after(weather.start), None
        elif task.phase is Phase.STAGING:
            task.phase, task.due = Phase.RUNNING, self._after(weather.warm)
        elif task.phase is Phase.RUNNING and not app.sick:
            task.phase, task.alive = Phase.HEALTHY, True
            task.due = self._after(weather.rots) + weather.rots if app.rots else task.due
        elif task.phase is Phase.HEALTHY and app.rots:
            self._rot(task, app)
        elif task.phase is Phase.DYING and weather.listing is Listing.KILLED:
            task.phase, task.due = Phase.ENDED, self._after(weather.linger)
        elif task.phase in (Phase.DYING, Phase.ENDED):
            task.phase = Phase.GONE

    def _running(self) -> int:
        """The tasks that take room in the cluster."""
        idle = (Phase.SCHEDULED, Phase.ENDED, Phase.GONE)
        return len(self.ghosts) + sum(task.phase not in idle for app in self.apps for task in app.tasks)

    def _finish(self, app: SimApp) -> None:
        if app.deployment is None:
            return
        ended = all(task.phase in (Phase.ENDED, Phase.GONE) for task in app.deployment.victims)
        if ended and (app.deployment.victims or app.count(Phase.HEALTHY) >= app.instances):
            app.deployment = None

    # -- marathon-lb and HAProxy ------------------------------------------------------------------------------------

    def _advance_replica(self, replica: SimReplica) -> None:
        if replica.next_look <= self.now:
            replica.pending.append((self._after(self.weather.reload), self.configuration()))
            replica.next_look = self._after(self.weather.look) + 1
        while replica.pending and replica.pending[0][0] <= self.now:
            self._reload(replica, replica.pending.pop(0)[1])
        phases = {task.id: task.phase for app in self.apps for task in app.tasks}
        for task_id, server in replica.servers.items():
            serves = phases.get(task_id) is Phase.HEALTHY
            if server.fails_at is not None and server.fails_at <= self.now:
                server.serving, server.up_at = Serving.DOWN, self.now + 10**6
            if task_id in self.rotten and server.serving is Serving.UP:
                server.serving, server.up_at = Serving.DOWN, self.now + 10**6
            if server.serving is Serving.DOWN and server.up_at <= self.now and serves:
                server.serving = Serving.UP
            server.sessions = [end for end in server.sessions if end > self.now and serves]
            if server.serving is Serving.UP and serves and self.random.random() < 0.5:
                server.sessions.append(self.now + self.random.randint(0, self.weather.session))
        replica.older = [
            worker
            for worker in replica.older
            if worker.until > self.now or any(end > self.now for ends in worker.sessions.values() for end in ends)
        ]

    def configuration(self) -> dict[str, bool]:
        """marathon_lb.py: get_apps. The servers, by task id, and whether each is `disabled`."""
        draining: set[str] = set()
        leading = self.apps[0] if self.apps else None
        if len(self.apps) > 2:
            raise Broken("three apps in one group")
        if len(self.apps) == 2:
            previous, current = self.apps
            old, new = (previous, current) if previous.started_at < current.started_at else (current, previous)
            target, leading = 1, old
            if new.swappable:
                if old.last_scaling_at > new.last_scaling_at:
                    old, new = new, old
                    leading = old
                if new.target is None:
                    raise Broken(f"t={self.now}: KeyError in marathon-lb: {new.id} has no TARGET_INSTANCES")
                target = new.target
            healthy = sum(task.listed and self._result(task) is True for task in new.tasks)
            listed = sorted(task.id for task in old.tasks if task.listed or self._ended_but_listed(task))
            count = min(len(listed), healthy, max(0, healthy + old.instances - target))
            draining = set(listed[:count])
        self.leading = leading.labels if leading else Labels.GOOD
        if self.leading is Labels.LEFT_OUT:
            return {}
        return {task.id: task.id in draining for app in self.apps for task in app.tasks if self._served(task)}

    def _ended_but_listed(self, task: SimTask) -> bool:
        return self.weather.lists_ended and task.phase is Phase.SCHEDULED and task.incarnation > 0

    def _served(self, task: SimTask) -> bool:
        running = task.phase is Phase.HEALTHY or (task.phase is Phase.DYING and self.weather.listing is Listing.RUNNING)
        if self.weather.served_when_healthy:
            return running and self._result(task) is True
        return running or task.phase is Phase.RUNNING

    def _reload(self, replica: SimReplica, wanted: dict[str, bool]) -> None:
        for name, server in replica.servers.items():
            failing = self.leading is Labels.FAILING
            if not failing and server.fails_at is not None and name not in self.rotten:
                server.up_at = self._after(self.weather.checks)
            server.fails_at = (server.fails_at or self.now + self.weather.window) if failing else None
        if wanted == {name: server.serving is Serving.MAINT for name, server in replica.servers.items()}:
            return
        sessions = {name: server.sessions for name, server in replica.servers.items() if server.sessions}
        replica.older.append(Worker(replica.pids, sessions, self._after(self.weather.strangers)))
        replica.pids += 1
        replica.started = self.now
        replica.servers = {
            task_id: self._server(replica.servers.get(task_id), disabled) for task_id, disabled in wanted.items()
        }

    def _server(self, before: SimServer | None, disabled: bool) -> SimServer:
        if disabled:
            return SimServer(Serving.MAINT)
        if before is None:
            return SimServer(Serving.UP)
        if before.serving is Serving.MAINT:
            return SimServer(Serving.DOWN, self._after(self.weather.checks))
        return SimServer(before.serving, before.up_at, fails_at=before.fails_at)

    # -- what is measured -------------------------------------------------------------------------------------------

    def mark(self) -> None:
        """Begin to measure here."""
        self.least, self.peak, self.cut, self.locked, self.outage = 99, 0, 0, 0, 0

    def in_rotation(self) -> list[int]:
        """At each load balancer."""
        healthy = {task.id for app in self.apps for task in app.tasks if task.phase is Phase.HEALTHY}
        serving = healthy - self.rotten
        return [
            sum(server.serving is Serving.UP and name in serving for name, server in replica.servers.items())
            for replica in self.replicas
        ]

    def _account(self) -> None:
        counts = self.in_rotation()
        self.outage += 0 in counts
        self.least = min([self.least, *counts])
        self.peak = max(self.peak, sum(app.instances for app in self.apps))

    def settle(self, ticks: int = 60) -> None:
        for _ in range(ticks):
            self.tick()

    def alone(self, name: str, instances: int, **labels: object) -> None:
        """Start with one app that serves in full."""
        goal = Goal(kind=None, revision=name, target=instances)  # type: ignore[arg-type]
        sick, self.weather = self.weather, replace(self.weather, sick=False, labels=Labels.GOOD, rots=0)
        self.create(instances, goal, swappable=True)
        app = self.apps[0]
        app.revision = name
        for label, value in labels.items():
            setattr(app, label, value)
        self.settle()
        self.weather = sick

    def __str__(self) -> str:
        return " | ".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"t={self.now}"
        for app in self.apps:
            phases = " ".join(f"{task.id.split('.', 1)[1]}:{task.phase.value}" for task in app.tasks)
            yield f"{app.id} {app.instances} ls={app.last_scaling_at} [{phases}] {app.deployment}"
        for replica, up in zip(self.replicas, self.in_rotation(), strict=True):
            servers = " ".join(f"{name}:{server.serving.value}" for name, server in sorted(replica.servers.items()))
            yield f"{replica.name} {up} up [{servers}] older {len(replica.older)}"


@dataclass
class Run:
    """The driver's loop on a simulated world: the shipped engine decides, as in operations/rollout_driver.py."""

    world: World
    rollout: Rollout
    log: list[str] = field(default_factory=list)  # the world where a step is another than the one before
    last: Step | None = None
    hand: Callable[[World], None] = lambda world: None  # somebody else, before each observation

    def play(self, *, looks: int = 600, actions: int = 99) -> Step | None:
        """Until Done or Fail; None when stopped before (kill -9), after so many looks or actions."""
        world = self.world
        for _ in range(looks):
            self.hand(world)
            step = self.rollout.decide(world.observe())
            if step != self.last:
                self.log.append(f"{world}\n    {step}")
                self.last = step
            match step:
                case Done() | Fail():
                    return step
                case Wait():
                    world.tick()
                case _:
                    if not actions:
                        return None
                    actions -= 1
                    self._act(step)
        return None

    def _act(self, step: Action) -> None:
        for _ in range(self.world.random.randint(0, self.world.weather.lag)):
            self.world.tick()
        affected = self.rollout.needs_confirmation(step)
        if affected and not self.rollout.confirms(
            step, [app for app in self.world.observe().apps if app.id in affected]
        ):
            return
        if self.world.perform(step, self.rollout.goal):
            self.rollout.performed(step)
        else:
            self.rollout.locked(float(self.world.now), "a deployment")
            self.world.tick()
