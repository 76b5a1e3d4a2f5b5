"""A small world in which `decide` can be tried: Marathon, several marathon-lb replicas with HAProxy, and time in ticks.

It shares no code with the engine. marathon-lb's rules are written from `marathon_lb.py: get_apps` (platform-api 4.5),
Marathon's from its resources and actors (platform-api 1.6 to 1.9), HAProxy's from what was measured (zdd-hazards).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import Enum
from random import Random

from bgci.rollout.model import (
    Action,
    App,
    Cause,
    Create,
    Delete,
    Done,
    Fail,
    Goal,
    Kill,
    Observation,
    Policy,
    Replica,
    Scale,
    Server,
    Serving,
    Step,
    Task,
    Wait,
)
from bgci.rollout.plan import decide


class Broken(AssertionError):
    """Something happened that must never happen."""


@dataclass(frozen=True)
class Weather:
    """How the world behaves. Every duration is drawn from 0 to the given number of ticks."""

    seed: int = 0
    stable_ids: bool = True  # Marathon >= 1.8: an instance keeps its id when its task is replaced
    lists_ended: bool = True  # and its ended task stays listed until the next one is launched (EnrichedTask.scala)
    served_when_healthy: bool = True  # marathon-lb --health-check; without it tasks are served as soon as they run
    replicas: int = 2
    launch: int = 3  # scheduled -> staging
    start: int = 3  # staging -> running
    warm: int = 3  # running -> healthy
    stop: int = 3  # killed -> gone
    look: int = 3  # between two looks of a replica at Marathon
    reload: int = 1  # from the look to the new configuration
    checks: int = 3  # from the end of MAINT until HAProxy's two checks have passed
    session: int = 6  # the longest session
    strangers: int = 2  # how long sessions of other apps keep an older worker
    lag: int = 1  # from an observation to the step that it led to
    sick: bool = False  # a newly created app never becomes healthy
    elections: int = 0  # one tick in so many Marathon changes its leader and forgets all health results (0: never)
    checked: int = 6  # until each task has its first result from the new leader


class Phase(Enum):
    SCHEDULED = "scheduled"
    STAGING = "staging"
    RUNNING = "running"
    HEALTHY = "healthy"
    DYING = "dying"
    GONE = "gone"


@dataclass(eq=False)
class SimTask:
    instance: str
    born: int
    due: int
    incarnation: int = 0  # 0: never launched
    phase: Phase = Phase.SCHEDULED
    alive: bool | None = None  # Marathon's last health result
    replaced: bool = True  # whether Marathon starts another when it is gone
    blip: int = 0  # until when Marathon has forgotten its results

    @property
    def id(self) -> str:
        return f"{self.instance}.{self.incarnation}"

    @property
    def listed(self) -> bool:
        return self.phase not in (Phase.SCHEDULED, Phase.GONE)


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
    sick: bool = False
    tasks: list[SimTask] = field(default_factory=list)
    deployment: str = ""  # "up" until all are healthy, "down" until the victims are gone
    victims: list[SimTask] = field(default_factory=list)

    @property
    def active(self) -> list[SimTask]:
        return [task for task in self.tasks if task.phase not in (Phase.DYING, Phase.GONE)]

    def count(self, phase: Phase) -> int:
        return sum(task.phase is phase for task in self.tasks)


@dataclass
class SimServer:
    serving: Serving
    up_at: int = 0  # when its checks have passed, if it is DOWN
    sessions: list[int] = field(default_factory=list)  # the ticks at which they end


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
        self.ghosts: list[SimTask] = []  # tasks of deleted apps
        self.replicas = [SimReplica(f"lb{n}") for n in range(weather.replicas)]
        self.force = False  # whether steps may cut sessions (drain time-out with force)
        self.free_shrink = False  # whether a scale-down may cut sessions: the last one of a shrink
        self.least = 99  # fewest in rotation in any replica since `mark`
        self.peak = 0  # most wanted instances since `mark`
        self.cut = 0  # tasks that were stopped in rotation or with a session since `mark`
        self.locked = 0

    # -- what the driver sees and does ------------------------------------------------------------------------------

    def observe(self, draining_since: float | None, laundered: int, healthy_once: Collection[str] = ()) -> Observation:
        """`healthy_once`: tasks that the driver has seen healthy."""
        return Observation(
            now=float(self.now),
            apps=tuple(self._shown(app, healthy_once) for app in self.apps),
            replicas=tuple(
                Replica(
                    url=replica.name,
                    servers={
                        task_id: Server(server.serving, sum(end > self.now for end in server.sessions))
                        for task_id, server in replica.servers.items()
                    },
                    older_workers=tuple(worker.pid for worker in replica.older),
                )
                for replica in self.replicas
            ),
            draining_since=draining_since,
            laundered=laundered,
        )

    def _shown(self, app: SimApp, healthy_once: Collection[str]) -> App:
        return App(
            id=app.id,
            instances=app.instances,
            tasks=tuple(
                Task(
                    id=task.id,
                    healthy=self._result(task),
                    dying=task.phase is Phase.DYING,
                    ever_healthy=self._result(task) is not None or task.id in healthy_once,
                )
                for task in app.tasks
                if task.listed
            ),
            revision=app.revision,
            target=app.target,
            swappable=app.swappable,
            baseline_instances=app.baseline_instances,
            started_at=app.started_at,
            last_scaling_at=app.last_scaling_at,
            deployments=(app.deployment,) if app.deployment else (),
        )

    def _result(self, task: SimTask) -> bool | None:
        return None if self.now < task.blip else task.alive

    def results(self) -> dict[str, bool | None]:
        """Marathon's health result of every task that it lists."""
        return {task.id: self._result(task) for app in self.apps for task in app.tasks if task.listed}

    def perform(self, step: Action, goal: Goal) -> bool:
        """Marathon's answer to a request; False when the app is locked by a deployment."""
        match step:
            case Create(instances, swappable):
                self.create(instances, goal, swappable)
                return True
            case Delete(app_id):
                return self._delete(self.app(app_id))
            case Scale(app_id, instances):
                return self._scale(self.app(app_id), instances)
            case Kill(app_id, task_ids, scale):
                return self._kill(self.app(app_id), task_ids, scale)

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
            deployment="up",
        )
        self.apps.append(app)
        self._fill(app)

    def _delete(self, app: SimApp) -> bool:
        self.apps.remove(app)
        for task in app.active:
            self._stop(task, replaced=False, exempt=self.force)
        self.ghosts += [task for task in app.tasks if task.phase is Phase.DYING]
        return True

    def _scale(self, app: SimApp, instances: int) -> bool:
        if instances == app.instances:
            return True
        if app.deployment:
            self.locked += 1
            return False
        app.last_scaling_at = self._stamp()
        app.deployment = "up" if instances > app.instances else "down"
        app.instances = instances
        surplus = len(app.active) - instances
        app.victims = self._victims(app)[: max(0, surplus)]
        for task in app.victims:
            self._stop(task, replaced=False, exempt=self.force or self.free_shrink)
        self._fill(app)
        return True

    @staticmethod
    def _victims(app: SimApp) -> list[SimTask]:
        """marathon: ScalingProposition.scala. Not running before running, youngest first."""
        order = {Phase.SCHEDULED: 0, Phase.STAGING: 1, Phase.RUNNING: 2, Phase.HEALTHY: 2}
        return sorted(app.active, key=lambda task: (order[task.phase], -task.born))

    def _kill(self, app: SimApp, task_ids: tuple[str, ...], scale: bool) -> bool:
        """The driver asks for the app again just before: a stale id is not sent (hazard 21)."""
        chosen = [task for task in app.active if task.listed and task.id in task_ids]
        if len(chosen) < len(task_ids):
            return False
        if scale:
            app.instances -= len(chosen)
            app.last_scaling_at = self._stamp()
            app.deployment, app.victims = "down", chosen
        for task in chosen:
            self._stop(task, replaced=not scale, exempt=self.force)
        return True

    def _stamp(self) -> float:
        self.stamp += 1.0
        return self.stamp

    def _stop(self, task: SimTask, *, replaced: bool, exempt: bool) -> None:
        for replica in self.replicas:
            server = replica.servers.get(task.id)
            up = task.phase is Phase.HEALTHY and server is not None and server.serving is Serving.UP
            if up or replica.holds(task.id, self.now):
                self.cut += 1
                if not exempt:
                    raise Broken(f"t={self.now}: {task.id} stopped {'in rotation' if up else 'with a session'}")
        task.replaced = replaced
        if task.phase is Phase.SCHEDULED:
            task.phase = Phase.GONE
        else:
            task.phase, task.due = Phase.DYING, self._after(self.weather.stop)

    def _fill(self, app: SimApp) -> None:
        expected = len(app.active) + sum(task.phase is Phase.DYING and task.replaced for task in app.tasks)
        for _ in range(app.instances - expected):
            app.tasks.append(self._instance(app))

    def _instance(self, app: SimApp) -> SimTask:
        self.stamp += 1.0
        return SimTask(
            f"{app.id}.{self.random.randrange(16**8):08x}", int(self.stamp), self._after(self.weather.launch)
        )

    def _after(self, most: int) -> int:
        return self.now + self.random.randint(0, most)

    # -- time -------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        self.now += 1
        if self.weather.elections and self.random.randrange(self.weather.elections) == 0:
            for task in (task for app in self.apps for task in app.tasks):
                task.blip = self._after(self.weather.checked) + 1
        for app in self.apps:
            for task in list(app.tasks):
                self._advance(task, app)
            app.tasks = [task for task in app.tasks if task.phase is not Phase.GONE]
            self._finish(app)
        self.ghosts = [task for task in self.ghosts if task.due > self.now]
        for replica in self.replicas:
            self._advance_replica(replica)
        self._account()

    def _advance(self, task: SimTask, app: SimApp) -> None:
        weather = self.weather
        if task.due > self.now:
            return
        if task.phase is Phase.SCHEDULED:
            task.incarnation += 1
            task.born = int(self._stamp())
            task.phase, task.due, task.alive = Phase.STAGING, self._after(weather.start), None
        elif task.phase is Phase.STAGING:
            task.phase, task.due = Phase.RUNNING, self._after(weather.warm)
        elif task.phase is Phase.RUNNING and not app.sick:
            task.phase, task.alive = Phase.HEALTHY, True
        elif task.phase is Phase.DYING:
            self._ended(task, app)

    def _ended(self, task: SimTask, app: SimApp) -> None:
        task.alive = None
        if task.replaced and self.weather.stable_ids:
            task.phase, task.due = Phase.SCHEDULED, self._after(self.weather.launch)
            return
        task.phase = Phase.GONE
        if task.replaced:
            app.tasks.append(self._instance(app))

    def _finish(self, app: SimApp) -> None:
        up = app.count(Phase.HEALTHY) >= app.instances
        down = all(task.phase is Phase.GONE for task in app.victims)
        if (app.deployment == "up" and up) or (app.deployment == "down" and down):
            app.deployment, app.victims = "", []

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
        if len(self.apps) > 2:
            raise Broken("three apps in one group")
        if len(self.apps) == 2:
            previous, current = self.apps
            old, new = (previous, current) if previous.started_at < current.started_at else (current, previous)
            target = 1
            if new.swappable:
                if old.last_scaling_at > new.last_scaling_at:
                    old, new = new, old
                if new.target is None:
                    raise Broken(f"t={self.now}: KeyError in marathon-lb: {new.id} has no TARGET_INSTANCES")
                target = new.target
            healthy = sum(task.listed and self._result(task) is True for task in new.tasks)
            listed = sorted(task.id for task in old.tasks if task.listed or self._ended_but_listed(task))
            count = min(len(listed), healthy, max(0, healthy + old.instances - target))
            draining = set(listed[:count])
        return {task.id: task.id in draining for app in self.apps for task in app.tasks if self._served(task)}

    def _ended_but_listed(self, task: SimTask) -> bool:
        return self.weather.lists_ended and task.phase is Phase.SCHEDULED and task.incarnation > 0

    def _served(self, task: SimTask) -> bool:
        if self.weather.served_when_healthy:
            return task.phase is Phase.HEALTHY and self._result(task) is True
        return task.phase in (Phase.RUNNING, Phase.HEALTHY)

    def _reload(self, replica: SimReplica, wanted: dict[str, bool]) -> None:
        if wanted == {name: server.serving is Serving.MAINT for name, server in replica.servers.items()}:
            return
        sessions = {name: server.sessions for name, server in replica.servers.items() if server.sessions}
        replica.older.append(Worker(replica.pids, sessions, self._after(self.weather.strangers)))
        replica.pids += 1
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
        return SimServer(before.serving, before.up_at)

    # -- what is measured -------------------------------------------------------------------------------------------

    def mark(self) -> None:
        """Begin to measure here."""
        self.least, self.peak, self.cut, self.locked = 99, 0, 0, 0

    def in_rotation(self, replica: SimReplica) -> int:
        serving = {task.id for app in self.apps for task in app.tasks if task.phase is Phase.HEALTHY}
        return sum(server.serving is Serving.UP and name in serving for name, server in replica.servers.items())

    def _account(self) -> None:
        self.least = min([self.least, *(self.in_rotation(replica) for replica in self.replicas)])
        self.peak = max(self.peak, sum(app.instances for app in self.apps))

    def settle(self, ticks: int = 60) -> None:
        for _ in range(ticks):
            self.tick()

    def alone(self, name: str, instances: int, **labels: object) -> None:
        """Start with one app that serves in full."""
        goal = Goal(kind=None, revision=name, target=instances)  # type: ignore[arg-type]
        sick, self.weather = self.weather, Weather(**{**vars(self.weather), "sick": False})
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
        for replica in self.replicas:
            servers = " ".join(f"{name}:{server.serving.value}" for name, server in sorted(replica.servers.items()))
            yield f"{replica.name} {self.in_rotation(replica)} up [{servers}] older {len(replica.older)}"


@dataclass
class Pilot:
    """The driver's loop without its I/O (rollout/drive.py): what it remembers within one run, and nothing else."""

    world: World
    policy: Policy
    log: list[str] = field(default_factory=list)
    laundered: int = 0
    draining_since: float | None = None
    healthy_once: set[str] = field(default_factory=set)

    def run(self, goal: Goal, *, looks: int = 600, actions: int = 99) -> Step | None:
        """Until Done or Fail; None when stopped before (kill -9), after so many looks or actions."""
        world, step = self.world, None
        for _ in range(looks):
            self.healthy_once |= {task_id for task_id, alive in world.results().items() if alive}
            seen = world.observe(self.draining_since, self.laundered, self.healthy_once)
            step = decide(seen, goal, self.policy)
            self.log.append(f"{world}\n    {step}")
            draining = isinstance(step, Wait) and step.cause is Cause.DRAIN
            self.draining_since = (self.draining_since or float(world.now)) if draining else None
            match step:
                case Done() | Fail():
                    return step
                case Wait():
                    world.tick()
                case _:
                    if not actions:
                        return None
                    actions -= 1
                    self._act(step, goal)
        return None

    def _act(self, step: Action, goal: Goal) -> None:
        before = self._concerned(step)
        for _ in range(self.world.random.randint(0, self.world.weather.lag)):
            self.world.tick()
        if self._concerned(step) != before:
            return  # what it would stop is not what it decided on any more
        if not self.world.perform(step, goal):
            self.world.tick()
        elif isinstance(step, Kill) and not step.scale:
            self.laundered += 1

    def _concerned(self, step: Action) -> dict[str, bool | None]:
        """The health of what a step would stop, as the driver sees it when it looks again right before."""
        results = self.world.results()
        match step:
            case Kill(_, task_ids):
                return {name: results.get(name) for name in task_ids}
            case Delete(app_id):
                return {name: alive for name, alive in results.items() if name.startswith(f"{app_id}.")}
            case _:
                return {}
