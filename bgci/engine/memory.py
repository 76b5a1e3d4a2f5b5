"""The memory of one run between two observations. All of it can be lost: the next run starts without it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace

from bgci.engine.decisions import Action, Cause, Create, Delete, Goal, Kill, Kind, Scale, Step, Wait
from bgci.engine.hold import Hold
from bgci.engine.observation import App, Observation, Serving, Task
from bgci.engine.outside_changes import OutsideChanges
from bgci.engine.rotation import roles_swapped

# Seconds without a launch until a run takes the cluster to have no room for one more instance (see ``removal``).
ROOM_LIMIT = 30.0
# Seconds for load balancers to follow Marathon, one reload request included: to drop the servers of a deleted app, to
# take tasks up again whose health a new leader did not know.
FOLLOW_LIMIT = 15.0


@dataclass(frozen=True)
class Commit:
    """The baseline was deleted. ``workers``: the newest HAProxy worker of each load balancer then. ``others``: servers
    in our backends that were not ours already. ``changed``: the load balancer's settings change with it."""

    at: float
    workers: Mapping[str, int]
    others: frozenset[str]
    changed: bool


@dataclass(frozen=True)
class Return:
    """The baseline of a rollback. ``size``: instances when the canary was created. ``asked``: those asked for last."""

    app_id: str
    size: int
    asked: int


@dataclass(frozen=True)
class Memory:
    """The memory of one run. ``waiting`` since ``waiting_since``: the current wait, over several observations."""

    began: float | None = None  # time of the first observation
    healthy_once: frozenset[str] = frozenset()  # ids of tasks that were healthy in this run
    killed: frozenset[str] = frozenset()  # ids of tasks that Marathon has accepted to kill
    kill_from: Mapping[str, int] = field(default_factory=dict)  # by app id: its instances before the kill just now
    complaints: Mapping[str, str] = field(default_factory=dict)  # by app id: its last failing health checks
    waiting: Cause | None = None
    waiting_since: float = 0.0
    reload_requested_at: float = 0.0
    no_room: bool = False  # for the rest of the run: the cluster did not launch one more instance in time
    answered: frozenset[str] = frozenset()  # load balancers that were read in this run
    unanswered_since: float | None = None  # since when Marathon has not answered to a step
    outside: OutsideChanges = field(default_factory=OutsideChanges)  # outside changes during this run
    swapped: bool = False  # the roles were, in this run: servers of the canary go to MAINT and return, perhaps unseen
    placeholder: bool = False  # this run has asked for one: the canary can be larger than its goal
    last: tuple[Step, float] | None = None  # the last step that Marathon has accepted, and when

    kept: App | None = None  # the baseline in its first observation, for a restore
    returning: Return | None = None
    commit: Commit | None = None
    degraded: str = ""  # why the run rolls back by itself; empty otherwise
    served: frozenset[tuple[str, str]] = frozenset()  # (load balancer, task id of the canary) that were in rotation
    turned_bad: frozenset[str] = frozenset()  # tasks of the canary that were healthy and no longer are
    bad: frozenset[str] = frozenset()  # those of them that are bad in this observation
    failed: int = 0  # how often tasks of the canary have turned bad: one that recovers can do so again
    hold: Hold | None = None  # the canary turned bad and has not recovered
    short_since: float | None = None  # since when fewer tasks are in rotation than before, because of these
    outage_since: float | None = None  # since when a load balancer has no task of the group in rotation
    health_lost_at: float | None = None  # when a new leader of Marathon did not know the health of all tasks
    unfollowed_since: float | None = None  # since when a load balancer has servers of a deleted app in our backends

    progress: int = -1  # of the starting app: launched and healthy tasks
    healthy: frozenset[str] = frozenset()  # ids of its healthy tasks
    progress_at: float = 0.0
    failures: frozenset[str] = frozenset()  # task failures of the revision, since none of its tasks was healthy

    def waited(self, cause: Cause, now: float) -> float:
        """Seconds for which the run has waited for this cause; 0 when it waits for something else."""
        return now - self.waiting_since if self.waiting is cause else 0.0

    def health_was_lost(self, now: float) -> bool:
        """Whether load balancers may still be without tasks that they take up again by themselves: a new leader of
        Marathon did not know their health, or does not yet (hazard 39)."""
        return self.health_lost_at is not None and now - self.health_lost_at < FOLLOW_LIMIT

    def accepted_since(self, step: Step, time: float) -> bool:
        """Whether this very step is the last one that Marathon has accepted, and that not before this time."""
        return self.last is not None and self.last[0] == step and self.last[1] >= time

    # -- updates ----------------------------------------------------------------------------------------------------

    def observed(self, observation: Observation, goal: Goal) -> Memory:
        """The memory after one more observation."""
        now, apps = observation.now, observation.by_age
        ours = [app for app in observation.apps if app.revision == goal.revision]
        others = [app for app in observation.apps if app.revision != goal.revision and not app.stand_in]
        ours = [app for app in ours if not app.stand_in]
        known = replace(
            self,
            began=now if self.began is None else self.began,
            healthy_once=self.healthy_once | {task.id for app in observation.apps for task in app.healthy},
            complaints={**self.complaints, **{app.id: app.complaint for app in observation.apps if app.complaint}},
            no_room=self.no_room or (self.waited(Cause.ROOM, now) > ROOM_LIMIT and self._lacks(observation)),
            killed=self.killed - self._without_effect(observation),
            kill_from={},
            answered=self.answered | {replica.url for replica in observation.replicas if not replica.problem},
            kept=self._kept_of(others),
            outside=self.outside.observed(observation),
            returning=self._returning_to(observation, goal),
            swapped=self.swapped or (len(apps) == 2 and roles_swapped(*apps)),
        )
        for app in ours:
            known = known._judged(app, observation)._progressed(app, now)
        if not ours:  # the run itself has deleted its canary, and creates it again
            hold = replace(known.hold, since=now, steady_since=None) if known.hold else None
            known = replace(known, served=frozenset(), healthy=frozenset(), hold=hold, swapped=False)
        elif not others:
            known = replace(known, hold=None)  # there is nothing to go back to
        if replace(observation, apps=known.recall(apps)).health_lost:
            known = replace(known, health_lost_at=now)
        return known._measured(observation, goal)

    @staticmethod
    def _lacks(observation: Observation) -> bool:
        """Whether instances are still missing: Marathon may have started them since the last observation."""
        return any(len(app.healthy) < app.instances for app in observation.apps)

    def _without_effect(self, observation: Observation) -> set[str]:
        """The tasks of a kill that Marathon accepted but did not carry out: their app would be smaller."""
        sizes = self.kill_from
        same = [app for app in observation.apps if app.id in sizes and app.instances >= sizes[app.id]]
        return {task.id for app in same for task in app.tasks if not task.dying}

    def _kept_of(self, others: list[App]) -> App | None:
        """The baseline in its first observation; another baseline replaces it."""
        if len(others) != 1 or (self.kept and (self.kept.id, self.kept.revision) == (others[0].id, others[0].revision)):
            return self.kept
        return others[0]

    def _returning_to(self, observation: Observation, goal: Goal) -> Return | None:
        """The baseline to which a rollback returns, unless an outside change has resized it."""
        apps = observation.by_age
        rolls_back = goal.kind is Kind.ROLLBACK or self.degraded
        if self.returning or not rolls_back or len(apps) != 2 or apps[1].revision != goal.revision or apps[1].stand_in:
            return self.returning
        baseline, canary = apps
        size = canary.baseline_instances or baseline.target or baseline.instances
        configured = sum(observation.is_configured(task) for task in canary.tasks)
        explained = baseline.instances <= max(size, configured)  # a rollback that was interrupted has scaled it so
        return Return(baseline.id, size, baseline.instances) if explained else None

    def _progressed(self, app: App, now: float) -> Memory:
        progress = len(app.tasks) + 2 * len(app.healthy)
        healthy = any(task.id in self.healthy_once for task in app.tasks)
        failures = frozenset() if healthy else self.failures | ({app.failure} if app.failure else set())
        known = replace(self, failures=failures, healthy=frozenset(task.id for task in app.healthy))
        # Tasks that others restart, or whose health a new leader of Marathon has lost, have their time again.
        excused = self.healthy - known.healthy - self.turned_bad
        if progress > self.progress or excused:
            return replace(known, progress=progress, progress_at=now)
        return known

    def _judged(self, canary: App, observation: Observation) -> Memory:
        """Add the tasks of the canary that have turned bad: healthy once and failing now, or DOWN after they served.

        Not those that an outside restart replaces.
        """
        pairs = [(replica, task) for replica in observation.replicas for task in canary.tasks]
        serving = {(replica.url, task.id): replica.server(task.id).serving for replica, task in pairs}
        # A server that returns from MAINT is DOWN for two checks, which is not a failure.
        out = {pair for pair, state in serving.items() if state in (Serving.MAINT, Serving.ABSENT)}
        fell = {pair[1] for pair in self.served if serving.get(pair) is Serving.DOWN and not self.swapped}
        failing = {task.id for task in canary.tasks if task.healthy is False and task.id in self.healthy_once}
        listed = {task.id for task in canary.tasks}
        exempt = self.killed | self.outside.restarted
        vanished = (self.healthy | {task_id for _, task_id in self.served}) - listed - exempt
        bad = (fell | failing) - exempt
        failed = frozenset((bad | vanished) - self.bad)
        served = {pair for pair in self.served - out if pair[1] in listed}
        return replace(
            self,
            served=frozenset(served | {pair for pair, state in serving.items() if state is Serving.UP}),
            turned_bad=(self.turned_bad | bad | vanished) - self.outside.restarted,
            bad=frozenset(bad),
            failed=self.failed + len(failed),
            hold=self._held(canary, observation, failed, bad),
        )

    def _held(self, canary: App, observation: Observation, failed: Set[str], bad: Set[str]) -> Hold | None:
        """The hold after this observation, in which these tasks of the canary have ``failed``, or still are ``bad``."""
        if not self.hold:
            served = {task_id for _, task_id in self.served}
            return Hold.begun(observation.now, served, failed) if failed else None
        readable = [replica for replica in observation.replicas if not replica.problem]
        up = [sum(one.server(task.id).serving is Serving.UP for task in canary.tasks) for one in readable]
        complete = not bad and min(up, default=-1) >= min(self.hold.size, canary.instances)
        return self.hold.observed(observation.now, failed, complete=complete)

    def _measured(self, observation: Observation, goal: Goal) -> Memory:
        """Update since when too few tasks are in rotation, and since when a load balancer has none."""
        now = observation.now
        readable = [replica for replica in observation.replicas if not replica.problem]
        others = any(replica.others for replica in readable) and len(observation.apps) == 1
        none = any(observation.in_rotation(replica) == 0 for replica in readable) and bool(observation.apps)
        floor = min(self.kept.instances, goal.target) if self.kept else goal.target
        least = min((observation.in_rotation(replica) for replica in readable), default=floor)
        short = self.hold is not None and least < floor
        if self.health_was_lost(now):
            none = short = False
        return replace(
            self,
            unfollowed_since=(now if self.unfollowed_since is None else self.unfollowed_since) if others else None,
            outage_since=(now if self.outage_since is None else self.outage_since) if none else None,
            short_since=(now if self.short_since is None else self.short_since) if short else None,
        )

    def decided(self, step: Step, now: float) -> Memory:
        if not isinstance(step, Wait):
            return replace(self, waiting=None)
        begins = step.cause is not self.waiting
        return replace(
            self,
            waiting=step.cause,
            waiting_since=now if begins else self.waiting_since,
            reload_requested_at=now if step.request_reload else self.reload_requested_at,
        )

    def performed(
        self, step: Action, observation: Observation | None, goal: Goal, created: App | None = None
    ) -> Memory:
        """After Marathon has accepted the step. ``created``: the new app that it has confirmed."""
        memory = replace(
            self,
            unanswered_since=None,
            last=(step, observation.now) if observation else None,
            outside=self.outside.asked(step, observation, answered=True, created=created),
        )
        if isinstance(step, Create | Scale):
            grown = memory.returning
            if grown and isinstance(step, Scale) and step.app_id == grown.app_id:
                grown = replace(grown, asked=step.instances)
            placeholder = memory.placeholder or (isinstance(step, Scale) and step.placeholder)
            return replace(memory, progress=-1, returning=grown, placeholder=placeholder)
        if isinstance(step, Kill):
            apps = observation.apps if observation else ()
            hit = [app for app in apps if any(task.id in step.task_ids for task in app.tasks)]
            sizes = {app.id: app.instances for app in hit}
            return replace(memory, killed=self.killed | set(step.task_ids), kill_from=sizes)
        if isinstance(step, Delete) and observation:
            gone = next((app for app in observation.apps if app.id == step.app_id), None)
            if gone and gone.revision != goal.revision and not gone.stand_in:
                workers = {replica.url: replica.worker for replica in observation.replicas}
                others = frozenset(name for replica in observation.replicas for name in replica.others)
                changed = observation.settings_differ
                return replace(memory, commit=Commit(observation.now, workers, others, changed))
        return memory

    # -- additions to an observation --------------------------------------------------------------------------------

    def recall(self, apps: Iterable[App]) -> tuple[App, ...]:
        """The apps, completed by two facts that Marathon loses.

        A new leader of Marathon does not know which tasks were healthy (hazard 39). And without Mesos' capability
        ``task_killing`` a killed task is listed as running until it has ended.
        """
        return tuple(replace(app, tasks=tuple(self._recalled(task) for task in app.tasks)) for app in apps)

    def _recalled(self, task: Task) -> Task:
        ever_healthy = task.ever_healthy or task.id in self.healthy_once
        dying = task.dying or task.id in self.killed
        if (ever_healthy, dying) == (task.ever_healthy, task.dying):
            return task
        return replace(task, ever_healthy=ever_healthy, dying=dying)


def starting_memory(kept: App | None, known: Iterable[App]) -> Memory:
    """The memory with which a run begins. ``kept``: the baseline of an earlier command; ``known``: the apps as the same
    command has left them."""
    return Memory(kept=kept, outside=OutsideChanges(known={app.id: app for app in known}))
