"""The guarantees of the engine, in a simulated world whose timing Hypothesis chooses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from simulation import Labels, Listing, Run, Weather, World

from bgci.engine.decisions import Action, Cause, Delete, Done, Fail, Goal, Kill, Kind, Policy, Scale, Step, Wait
from bgci.engine.hold import STEADY
from bgci.engine.memory import Memory
from bgci.engine.observation import App, Observation, Serving
from bgci.engine.rollout import Rollout
from bgci.engine.strategies import STRATEGIES
from bgci.errors import DeadlineError, RolledBackError, UnhealthyError

# About 27 s for all of this file on one core.
simulated = settings(suppress_health_check=[HealthCheck.too_slow])

OLD, NEW = "v1", "v2"
PATIENCE = 600  # observations of the driver; the slowest movement here needs about 300

# -- bounds ---------------------------------------------------------------------------------------------------------

# There is no dip, forward or back, while drained tasks are removed together with a placeholder (engine/removal.py).
# A cluster without room for the placeholder gets the plain kill (hazard 37): it swaps the roles while the dying tasks
# count, and the instance that found no room counts as well.
NO_ROOM_DIP_BEYOND_A_WAVE = 1
# A baseline without TARGET, or one scaled by hand: nothing of it can be removed before going back, so what is in MAINT
# comes back over two checks (hazard 40).
FOREIGN_GOING_BACK_DIP_IN_CANARIES = 1

# rolling, what may stand beside all that was asked for: the placeholder, where it became healthy before it was removed.
ROLLING_CANARY_SURPLUS = 1
# Going back to fewer instances than the new revision was to have: marathon-lb drains no more canaries than the baseline
# has healthy tasks, and only once the baseline was scaled. What it has grown by serves; removing it would cut sessions.
GOING_BACK_SURPLUS = 1


@st.composite
def weathers(draw: st.DrawFn) -> Weather:
    spans = st.sampled_from([0, 1, 3, 8])
    stable = draw(st.booleans())
    return Weather(
        seed=draw(st.integers(0, 2**32)),
        stable_ids=stable,
        lists_ended=stable and draw(st.booleans()),
        listing=draw(st.sampled_from(Listing)),
        served_when_healthy=draw(st.booleans()),
        replicas=draw(st.integers(1, 3)),
        launch=draw(spans),
        start=draw(spans),
        warm=draw(spans),
        stop=draw(spans),
        linger=draw(spans),
        look=draw(spans),
        reload=draw(st.integers(0, 2)),
        checks=draw(spans),
        session=draw(spans),
        strangers=draw(spans),
        lag=draw(st.integers(0, 1)),
    )


@dataclass(frozen=True)
class Release:
    """One release: from so many instances of the old revision to so many of the new one."""

    weather: Weather
    before: int
    target: int
    canaries: int
    policy: Policy

    @property
    def floor(self) -> int:
        return min(self.before, self.target)

    def goal(self, kind: Kind) -> Goal:
        return Goal(kind, NEW, self.target, self.canaries)

    def world(self, **labels: object) -> World:
        world = World(self.weather)
        world.alone(OLD, self.before, **labels)
        world.free_shrink = self.target < self.before
        world.mark()
        return world


@st.composite
def releases(draw: st.DrawFn, strategies: tuple[str, ...] = tuple(STRATEGIES), same: bool = False) -> Release:
    before = draw(st.integers(1, 6))
    target = before if same else draw(st.one_of(st.just(before), st.integers(1, 6)))
    policy = Policy(draw(st.sampled_from(strategies)), wave=draw(st.integers(1, 3)), drain_timeout=10_000.0)
    return Release(draw(weathers()), before, target, draw(st.integers(1, target)), policy)


@st.composite
def prefixes(draw: st.DrawFn) -> list[tuple[Kind, int, int]]:
    """Runs that were killed (kill -9): the goal, and after how many actions and looks."""
    run = st.tuples(st.sampled_from([Kind.CANARY, Kind.PROMOTE]), st.integers(0, 12), st.integers(1, 150))
    return draw(st.lists(run, max_size=2))


def told(run: Run) -> str:
    """The steps of the run, and the causes of its waits where they were new."""
    return "\n".join(run.log)


def play(world: World, release: Release, *kinds: Kind) -> Step | None:
    step = None
    for kind in kinds:
        run = Run(world, Rollout(release.goal(kind), release.policy))
        step = run.play(looks=PATIENCE)
        note(told(run))
    return step


def crash(world: World, release: Release, prefix: list[tuple[Kind, int, int]]) -> None:
    for kind, actions, looks in prefix:
        run = Run(world, Rollout(release.goal(kind), release.policy))
        run.play(looks=looks, actions=actions)
        note(told(run))


def largest_canary(world: World) -> int:
    return max((app.instances for app in world.apps if app.revision == NEW), default=0)


def assert_alone(world: World, revision: str | None, instances: int, most: int = 0) -> None:
    """Asserts by the world, not by the engine: this revision alone, all of it in rotation in every replica."""
    assert min(world.in_rotation()) >= instances
    world.settle(60)
    (app,) = world.apps
    assert app.revision == revision
    assert instances <= app.instances <= max(instances, most)
    assert set(world.in_rotation()) <= {app.instances}


def assert_within_room(world: World, release: Release) -> None:
    """Peak N + max(N), or N + wave, and the placeholder."""
    if release.policy.strategy == "rolling":
        room = max(release.before, release.target) + release.policy.wave
    else:
        room = release.before + max(release.before, release.target)
    assert world.peak <= room + 1


# -- forward --------------------------------------------------------------------------------------------------------


@simulated
@given(releases())
def test_first_deployment_is_done_when_all_instances_serve(release: Release) -> None:
    world = World(release.weather)
    for kind in (Kind.CANARY, Kind.PROMOTE):
        assert isinstance(play(world, release, kind), Done)
        assert_alone(world, NEW, release.target)


@simulated
@given(releases(), prefixes())
def test_promote_reaches_its_goal_after_a_run_was_killed_anywhere(
    release: Release, prefix: list[tuple[Kind, int, int]]
) -> None:
    world = release.world()
    crash(world, release, prefix)
    assert isinstance(play(world, release, Kind.PROMOTE), Done)
    assert_alone(world, NEW, release.target)
    assert world.least >= release.floor
    assert_within_room(world, release)


@simulated
@given(releases(), prefixes(), st.integers(0, 12), st.integers(1, 150))
def test_promote_reaches_its_goal_after_a_rollback_was_killed(
    release: Release, prefix: list[tuple[Kind, int, int]], actions: int, looks: int
) -> None:
    world = release.world()
    crash(world, release, [(Kind.CANARY, 12, 150), *prefix])
    crash(world, release, [(Kind.ROLLBACK, actions, looks)])
    grown = any(app.instances > release.before for app in world.apps if app.revision == OLD)
    world.free_shrink = world.free_shrink or grown
    step = play(world, release, Kind.PROMOTE)
    if grown and isinstance(step, Fail):  # its TARGET is stale now; what the remedy says, then
        release = replace(release, policy=replace(release.policy, strategy="bluegreen"))
        step = play(world, release, Kind.PROMOTE)
    assert isinstance(step, Done)
    assert_alone(world, NEW, release.target)
    assert world.least >= release.floor


@simulated
@given(releases(("bluegreen",)), prefixes())
def test_a_bluegreen_canary_keeps_all_tasks_of_the_baseline(
    release: Release, prefix: list[tuple[Kind, int, int]]
) -> None:
    world = release.world()
    crash(world, release, [(Kind.CANARY, actions, looks) for _, actions, looks in prefix])
    assert isinstance(play(world, release, Kind.CANARY), Done)
    world.settle()
    baseline, canary = world.apps
    assert (baseline.instances, canary.instances) == (release.before, release.canaries)
    assert world.least >= release.floor
    assert world.cut == 0


@simulated
@given(releases(("rolling",)), prefixes())
def test_h37_a_rolling_canary_replaces_as_many_instances_of_the_baseline(
    release: Release, prefix: list[tuple[Kind, int, int]]
) -> None:
    world = release.world()
    crash(world, release, [(Kind.CANARY, actions, looks) for _, actions, looks in prefix])
    assert isinstance(play(world, release, Kind.CANARY), Done)
    world.settle()
    baseline, canary = world.apps
    assert release.canaries <= canary.instances <= release.canaries + ROLLING_CANARY_SURPLUS
    assert baseline.instances >= min(release.before, release.target - release.canaries)
    assert world.least >= release.floor
    assert world.cut == 0


@simulated
@given(releases(), st.sampled_from(list(Kind)))
def test_a_goal_that_is_reached_stays_reached_without_an_action(release: Release, kind: Kind) -> None:
    world = release.world()
    kinds = (Kind.CANARY, Kind.ROLLBACK) if kind is Kind.ROLLBACK else (kind,)
    assert isinstance(play(world, release, *kinds), Done)
    world.settle()
    before = str([(app.id, app.instances, app.last_scaling_at) for app in world.apps])
    assert isinstance(play(world, release, kind), Done)
    assert str([(app.id, app.instances, app.last_scaling_at) for app in world.apps]) == before


@simulated
@given(releases(("rolling",), same=True))
def test_rolling_without_room_for_a_placeholder_continues(release: Release) -> None:
    """Only while a wave is no more than half of what serves: otherwise the run waits for room, and names it."""
    wave = release.policy.wave
    world = release.world()
    world.weather = replace(world.weather, room=release.before + wave)
    step = Run(world, Rollout(release.goal(Kind.PROMOTE), release.policy)).play(looks=2 * PATIENCE)
    if 2 * wave < release.before:
        assert isinstance(step, Done)
    if isinstance(step, Done):
        assert_alone(world, NEW, release.target)
    assert world.least >= release.floor - wave - NO_ROOM_DIP_BEYOND_A_WAVE
    assert world.cut == 0


# -- back -----------------------------------------------------------------------------------------------------------


@simulated
@given(releases(), prefixes(), st.integers(0, 12))
def test_rollback_reaches_its_goal_after_a_run_was_killed_anywhere(
    release: Release, prefix: list[tuple[Kind, int, int]], actions: int
) -> None:
    world = release.world()
    crash(world, release, [(Kind.CANARY, 12, 150), *prefix])
    if [app.revision for app in world.apps] == [NEW]:
        assert isinstance(play(world, release, Kind.ROLLBACK), Fail)
        return
    canaries = largest_canary(world)
    most = max(canaries, release.before + GOING_BACK_SURPLUS) if release.target > release.before else 0
    crash(world, release, [(Kind.ROLLBACK, actions, 150)])
    assert isinstance(play(world, release, Kind.ROLLBACK), Done)
    assert_alone(world, OLD, release.before, most)
    assert world.least >= release.floor


@simulated
@given(releases(), st.integers(1, 150))
def test_a_canary_that_never_becomes_healthy_is_waited_for_and_can_be_rolled_back(release: Release, looks: int) -> None:
    release = replace(release, weather=replace(release.weather, sick=True))
    world = release.world()
    for kind in (Kind.CANARY, Kind.PROMOTE):
        run = Run(world, Rollout(release.goal(kind), release.policy))
        ended = run.play(looks=looks)
        assert ended is None or (isinstance(ended, Fail) and ended.ending is UnhealthyError)
        last = Rollout(release.goal(kind), release.policy).decide(world.observe())
        assert isinstance(last, Wait)
        assert last.cause is Cause.HEALTH
    assert isinstance(play(world, release, Kind.ROLLBACK), Done)
    assert_alone(world, OLD, release.before, max(release.target, release.before + GOING_BACK_SURPLUS))
    assert world.least >= release.floor


# -- baselines that bgci did not make --------------------------------------------------------------------------------

FOREIGN = {"revision": None, "target": None, "swappable": False, "baseline_instances": None, "started_at": 0.0}


@simulated
@given(releases(("bluegreen",)), prefixes())
def test_a_baseline_without_labels_is_replaced_by_bluegreen(
    release: Release, prefix: list[tuple[Kind, int, int]]
) -> None:
    world = release.world(**FOREIGN)
    crash(world, release, prefix)
    assert isinstance(play(world, release, Kind.PROMOTE), Done)
    assert_alone(world, NEW, release.target)
    assert world.least >= release.floor


@simulated
@given(releases(("bluegreen",)))
def test_a_rollback_to_a_baseline_without_labels_cuts_sessions_only_by_force(release: Release) -> None:
    world = release.world(**FOREIGN)
    assert isinstance(play(world, release, Kind.CANARY), Done)
    overdue = play(world, replace(release, policy=replace(release.policy, drain_timeout=20.0)), Kind.ROLLBACK)
    assert isinstance(overdue, Fail)
    assert overdue.ending is DeadlineError
    assert len(world.apps) == 2
    world.force = True
    forced = replace(release, policy=replace(release.policy, drain_timeout=20.0, force=True))
    assert isinstance(play(world, forced, Kind.ROLLBACK), Done)
    assert_alone(world, None, release.before)
    assert world.least >= release.floor - FOREIGN_GOING_BACK_DIP_IN_CANARIES * release.canaries


@simulated
@given(releases(("rolling",)), st.sampled_from([None, 9]))
def test_rolling_refuses_a_baseline_whose_target_is_missing_or_stale(release: Release, target: int | None) -> None:
    world = release.world(target=target)
    assert isinstance(play(world, release, Kind.PROMOTE), Fail)
    assert len(world.apps) == 1


@simulated
@given(releases(("bluegreen",)), st.integers(1, 8), prefixes())
def test_a_resized_baseline_is_replaced_by_bluegreen(
    release: Release, stale: int, prefix: list[tuple[Kind, int, int]]
) -> None:
    world = release.world(target=stale)
    crash(world, release, prefix)
    assert isinstance(play(world, release, Kind.PROMOTE), Done)
    assert_alone(world, NEW, release.target)
    assert world.least >= release.floor


@simulated
@given(releases(("bluegreen",)), st.integers(1, 8))
def test_a_rollback_brings_a_resized_baseline_back(release: Release, stale: int) -> None:
    world = release.world(target=stale)
    assert isinstance(play(world, release, Kind.CANARY), Done)
    world.force = stale > release.before  # with roles swapped nothing would ever drain
    policy = replace(release.policy, drain_timeout=20.0 if world.force else 10_000.0, force=world.force)
    assert isinstance(play(world, replace(release, policy=policy), Kind.ROLLBACK), Done)
    most = max(release.canaries, release.before + GOING_BACK_SURPLUS)
    assert_alone(world, OLD, release.before, most)
    assert world.least >= release.floor - FOREIGN_GOING_BACK_DIP_IN_CANARIES * release.canaries


# -- a world with faults --------------------------------------------------------------------------------------------


@simulated
@given(releases(), st.sampled_from([10, 30, 100]))
def test_a_change_of_leader_never_leads_to_a_kill_of_serving_tasks(release: Release, elections: int) -> None:
    """Hazard 39: all health results are missing for a moment. bgci cannot change what marathon-lb does then, only its
    own kills.

    The engine has to remember who was healthy: nothing in Marathon says it then. A change just between a look and the
    act that follows (lag) is a moment that nobody can close."""
    weather = replace(release.weather, lag=0, reload=0, served_when_healthy=True)
    release = replace(release, weather=weather)
    world = release.world()
    healthy_once = {task.id for app in world.observe().apps for task in app.healthy}
    world.weather = replace(world.weather, elections=elections)
    world.free_shrink = True  # a scaling that was meant to be taken back may have come to serve meanwhile
    for kind in (Kind.CANARY, Kind.ROLLBACK, Kind.PROMOTE):
        run = Run(world, Rollout(release.goal(kind), release.policy, Memory(healthy_once=frozenset(healthy_once))))
        try:
            run.play(looks=150)
        finally:
            note(told(run))
        assert not run.rollout.memory.degraded
    world.weather = replace(world.weather, elections=0)
    world.settle()
    assert isinstance(play(world, replace(release, policy=Policy(drain_timeout=10_000.0)), Kind.PROMOTE), Done)
    world.settle()
    assert [(app.revision, app.instances) for app in world.apps] == [(NEW, release.target)]


@simulated
@given(releases(), st.sampled_from([5, 20, 60]))
def test_crashing_tasks_never_lead_to_a_kill_of_serving_tasks(release: Release, crashes: int) -> None:
    """A crash just between a look and the act that follows is a moment that nobody can close."""
    release = replace(release, weather=replace(release.weather, lag=0, reload=0))
    world = release.world()
    world.weather = replace(world.weather, crashes=crashes)
    world.free_shrink = True  # a scaling that was meant to be taken back may have come to serve meanwhile
    for kind in (Kind.CANARY, Kind.ROLLBACK, Kind.PROMOTE):
        run = Run(world, Rollout(release.goal(kind), release.policy))
        run.play(looks=150)
        note(told(run))
    world.weather = replace(world.weather, crashes=0)
    world.settle()
    assert isinstance(play(world, replace(release, policy=Policy(drain_timeout=10_000.0)), Kind.PROMOTE), Done)
    world.settle()
    assert [(app.revision, app.instances) for app in world.apps] == [(NEW, release.target)]


# -- a revision that turns bad, or whose own settings do not serve ---------------------------------------------------


@st.composite
def bad_labels(draw: st.DrawFn) -> Release:
    release = draw(releases(("bluegreen",), same=True))
    weather = replace(release.weather, labels=draw(st.sampled_from([Labels.LEFT_OUT, Labels.FAILING])), window=8)
    return replace(release, weather=weather)


@simulated
@given(bad_labels())
def test_a_revision_whose_own_settings_do_not_serve_is_not_done_and_the_baseline_is_restored(release: Release) -> None:
    world = release.world()
    world.force = True  # nothing of it serves: no session is cut that a user has
    ended = play(world, release, Kind.PROMOTE)
    assert isinstance(ended, Fail)
    assert ended.ending is RolledBackError
    assert_alone(world, OLD, release.before)


@simulated
@given(bad_labels())
def test_a_revision_whose_own_settings_do_not_serve_stays_with_on_degraded_leave(release: Release) -> None:
    world = release.world()
    left = replace(release, policy=replace(release.policy, leave_degraded=True))
    ended = play(world, left, Kind.PROMOTE)
    assert isinstance(ended, Fail)
    assert ended.ending is UnhealthyError
    assert [app.revision for app in world.apps] == [NEW]


@simulated
@given(bad_labels(), st.integers(0, 3), st.integers(1, 60))
def test_h56_rollback_ends_after_the_restoring_run_was_killed_anywhere(
    release: Release, actions: int, looks: int
) -> None:
    world = release.world()
    world.force = True
    run = Run(world, Rollout(release.goal(Kind.PROMOTE), release.policy))
    baseline = world.observe().apps[0]
    run.play(looks=PATIENCE, actions=actions)
    run.play(looks=looks, actions=0)
    note(told(run))
    kept = Memory(kept=baseline)
    again = Run(
        world, Rollout(release.goal(Kind.ROLLBACK), replace(release.policy, force=True, drain_timeout=20.0), kept)
    )
    ended = again.play(looks=PATIENCE)
    note(told(again))
    if isinstance(ended, Fail):  # the promote had got through to a state in which the new revision serves yet
        assert [app.revision for app in world.apps] == [NEW]
        return
    assert isinstance(ended, Done)
    assert_alone(world, OLD, release.before, max(release.before, release.canaries) + GOING_BACK_SURPLUS)


@simulated
@given(releases(same=True), st.sampled_from([3, 8]))
def test_h61_a_revision_that_turns_bad_is_rolled_back_by_the_promote_itself(release: Release, rots: int) -> None:
    world = release.world()
    world.weather = replace(world.weather, rots=rots, rotten=6)
    world.force = True
    ended = play(world, release, Kind.PROMOTE)
    if isinstance(ended, Done):  # it was done before anything of it failed
        assert [app.revision for app in world.apps] == [NEW]
        return
    assert isinstance(ended, Fail)
    assert ended.ending is RolledBackError
    assert_alone(world, OLD, release.before, release.before + release.target + 1)


class Watched(Rollout):
    """A promote that must take no step forward within ``STEADY`` seconds of a failure that its observations show."""

    before: Observation | None = None
    killed: frozenset[str] = frozenset()
    failed_at = -STEADY

    def decide(self, observation: Observation) -> Step:
        step = super().decide(observation)
        if self._failure(observation):
            self.failed_at = observation.now
        self.before = observation
        if not self.memory.degraded and len(observation.apps) == 2:
            held = observation.now - self.failed_at < STEADY
            assert not (held and self._goes_forward(step, *observation.apps)), f"{step} after a failure"
        return step

    def performed(self, step: Action, created: App | None = None) -> None:
        super().performed(step, created)
        self.killed |= frozenset(step.task_ids) if isinstance(step, Kill) else frozenset()

    def _failure(self, now: Observation) -> bool:
        """Whether a task of the canary that was healthy and in rotation at the last observation is not any more."""
        before = self.before
        tasks = {task.id: task for app in now.apps if app.revision == NEW for task in app.tasks}
        if not before or not any(app.revision == NEW for app in now.apps):
            return False
        served = [
            task.id
            for app in before.apps
            if app.revision == NEW
            for task in app.tasks
            if task.healthy and before.is_up(task) and task.id not in self.killed
        ]
        down = [
            task_id
            for task_id in served
            for old, new in zip(before.replicas, now.replicas, strict=True)
            if (old.server(task_id).serving, new.server(task_id).serving) == (Serving.UP, Serving.DOWN)
        ]
        return bool(down) or any(task_id not in tasks or tasks[task_id].healthy is False for task_id in served)

    @staticmethod
    def _goes_forward(step: Step, baseline: App, canary: App) -> bool:
        match step:
            case Scale(app_id, instances):
                return app_id == canary.id and instances > canary.instances
            case Kill(task_ids):
                return any(task.id in task_ids for task in baseline.tasks)
            case Delete(app_id):
                return app_id == baseline.id
        return isinstance(step, Done)


@simulated
@given(releases(same=True), st.sampled_from([3, 8, 20, 50]), st.integers(1, 10))
def test_h61_no_step_forward_is_taken_while_the_new_revision_turns_bad(
    release: Release, rots: int, rotten: int
) -> None:
    world = release.world()
    world.weather = replace(world.weather, rots=rots, rotten=rotten)
    world.force = True
    run = Run(world, Watched(release.goal(Kind.PROMOTE), release.policy))
    ended = run.play(looks=2 * PATIENCE)
    note(told(run))
    if isinstance(ended, Done):  # it was done before anything of it failed, or nothing failed for long enough
        assert [app.revision for app in world.apps] == [NEW]
        return
    assert isinstance(ended, Fail)
    assert ended.ending is RolledBackError
    assert_alone(world, OLD, release.before, release.before + release.target + 1)


@simulated
@given(bad_labels())
def test_the_commit_of_a_good_revision_is_done_when_its_settings_were_proven(release: Release) -> None:
    good = replace(release, weather=replace(release.weather, labels=Labels.GOOD))
    world = good.world()
    assert isinstance(play(world, good, Kind.PROMOTE), Done)
    assert_alone(world, NEW, good.target)


# -- outside changes --------------------------------------------------------------------------------------------------

HANDS: dict[str, Callable[[World, str], None]] = {
    "scaled up": lambda world, name: world.hand_scale(name, world.app(name).instances + 2),
    "scaled down": lambda world, name: world.hand_scale(name, max(0, world.app(name).instances - 1)),
    "suspended": lambda world, name: world.hand_scale(name, 0),
    "deleted": World.hand_delete,
    "restarted": World.hand_restart,
    "locked": lambda world, name: world.hand_lock(name, 15),
}


@simulated
@given(
    releases(),
    st.sampled_from(sorted(HANDS)),
    st.sampled_from(["blue", "green"]),
    st.sampled_from(Kind),
    st.integers(1, 70),
)
def test_an_outside_change_is_reported_and_leads_to_no_kill_of_serving_tasks(
    release: Release, what: str, name: str, kind: Kind, at: int
) -> None:
    """The world raises Broken where the engine stops what serves. It ends, done or refused, and names the change."""
    world = release.world()
    world.free_shrink = True
    if kind is Kind.ROLLBACK:
        play(world, release, Kind.CANARY)
    begins, done = world.now, []
    run = Run(world, Rollout(release.goal(kind), release.policy))

    def hand(world: World) -> None:
        known = run.rollout.memory.outside.known  # an app that the run has not observed cannot be missing
        if not done and world.now - begins >= at and name in known and name in [app.id for app in world.apps]:
            done.append(world.app(name).instances)
            HANDS[what](world, name)

    run.hand = hand
    step = run.play(looks=PATIENCE)
    note(told(run))
    assert isinstance(step, Done | Fail), "it comes to an end"
    if done and what != "locked" and (done[0] > 0 or what in ("scaled up", "restarted", "deleted")):
        assert run.rollout.memory.outside.changes
    assert all(str(change) in step.message for change in run.rollout.memory.outside.changes)
