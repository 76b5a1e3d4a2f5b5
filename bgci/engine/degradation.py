"""When a run rolls back by itself: the new revision has turned bad, or does not serve under its own load-balancer
settings."""

from __future__ import annotations

from bgci.engine.decisions import Cause, Kind
from bgci.engine.early_end import CRASHES, progress_limit
from bgci.engine.hold import STEADY, Hold
from bgci.engine.memory import FOLLOW_LIMIT
from bgci.engine.observation import App, Serving
from bgci.engine.situation import Situation

SHORT_LIMIT = 5.0  # seconds with fewer tasks in rotation than before: Marathon restarts a single crash in less
OUTAGE_LIMIT = 1.0  # seconds without a task in rotation
TOLERATED = 2  # failures: of one task, one after the other, or of all tasks at once
PROOF_LIMIT = 30.0  # seconds for load balancers to follow a commit, beyond twice their checks


def degradation(situation: Situation) -> str:
    """The reason for an immediate rollback; empty when the run can go on."""
    apps = situation.observation.apps
    ours = [app for app in apps if app.revision == situation.goal.revision and not app.stand_in]
    if not ours:
        return ""
    if situation.goal.kind is Kind.ROLLBACK:
        if situation.memory.outside.changes:
            return ""  # tasks that left rotation by a change of others return by themselves
        return (_outage(situation) or _not_followed(situation)) if len(apps) == 2 or situation.memory.kept else ""
    if len(apps) == 2:
        return _turned_bad(situation, ours[0])
    return _not_serving(situation, ours[0])


def _outage(situation: Situation) -> str:
    since, now = situation.memory.outage_since, situation.observation.now
    if since is None or now - since < OUTAGE_LIMIT:
        return ""
    return f"No task of {', '.join(app.id for app in situation.observation.apps)} is in rotation."


def _not_followed(situation: Situation) -> str:
    """A load balancer still has the deleted baseline's servers, so it does not add the revision that runs alone."""
    since, now = situation.memory.unfollowed_since, situation.observation.now
    if since is None or now - since < FOLLOW_LIMIT:
        return ""
    return f"A load balancer has not followed the deletion of the baseline for {FOLLOW_LIMIT:.0f} s."


def _turned_bad(situation: Situation, canary: App) -> str:
    """The canary's tasks were healthy and fail now, and marathon-lb has not replaced them by the baseline's.

    marathon-lb itself puts drained tasks back in rotation when Marathon reports a new one as unhealthy, so a single
    failure needs no rollback. Only the run is on hold then (``hold``).
    """
    memory, now, least = situation.memory, situation.observation.now, situation.observation.least_in_rotation
    if not memory.hold:
        return ""
    short = memory.short_since is not None and now - memory.short_since >= SHORT_LIMIT
    unrecovered = _unrecovered(situation, canary, memory.hold)
    if not (short or _outage(situation) or _fails_again(situation, memory.hold) or unrecovered):
        return ""
    bad = len(memory.turned_bad)
    what = (
        f"{bad} tasks of {canary.id} turned bad after they were"
        if bad > 1
        else f"A task of {canary.id} turned bad after it was"
    )
    often = f", {memory.failed} times in all" if memory.failed > bad else ""
    return f"{what} healthy{often}; {least} tasks of the group are in rotation.{unrecovered}"


def _fails_again(situation: Situation, hold: Hold) -> bool:
    """Whether the revision fails again and again.

    Before it has recovered: a second incident that hits another task, a third one, or more failures than it had tasks;
    new tasks that never become healthy. However seldom: more failures than it is to have tasks. None of these numbers
    grows with the waves of a run.
    """
    memory = situation.memory
    if hold.spreads or hold.incidents > TOLERATED or len(memory.failures) >= CRASHES:
        return True
    return hold.failures > max(TOLERATED, hold.size) or memory.failed > max(TOLERATED, situation.goal.wanted)


def _unrecovered(situation: Situation, canary: App, hold: Hold) -> str:
    """Why the hold has lasted too long, as a sentence: the time in which a task can start, and then the steady time."""
    limit = progress_limit(canary, situation.policy.progress_timeout) + STEADY
    if situation.observation.now - hold.since < limit:
        return ""
    return f" It has not served for {STEADY:.0f} s without a failure, in {limit:.0f} s."


def _not_serving(situation: Situation, app: App) -> str:
    """After the commit: the new revision is not in rotation under its own load-balancer settings."""
    memory, observation = situation.memory, situation.observation
    commit = memory.commit
    if commit is None or memory.health_was_lost(observation.now):
        return ""
    for replica in observation.replicas:
        follows = not replica.problem and replica.worker != commit.workers.get(replica.url)
        states = [replica.server(task.id).serving for task in app.tasks]
        if follows and app.tasks and Serving.UP not in states:
            found = "down" if Serving.DOWN in states else "not configured"
            return (
                f"{app.id} is {found} at {replica.url} since {memory.kept.id if memory.kept else 'its baseline'} was "
                "deleted: it does not serve under its own load-balancer settings."
            )
    limit = PROOF_LIMIT + 2 * app.check_window
    unproven = observation.now - commit.at if commit.changed else memory.waited(Cause.PROOF, observation.now)
    if unproven > limit:
        return f"{app.id} does not serve under its own load-balancer settings {limit:.0f} s after the commit."
    return ""
