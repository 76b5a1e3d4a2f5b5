"""When a run rolls back by itself: the new revision has turned bad, or does not serve under its own load-balancer
settings."""

from __future__ import annotations

from bgci.engine.decisions import Cause, Kind
from bgci.engine.observation import App, Serving
from bgci.engine.situation import Situation

SHORT_LIMIT = 5.0  # seconds with fewer tasks in rotation than before: Marathon restarts a single crash in less
OUTAGE_LIMIT = 1.0  # seconds without a task in rotation
FOLLOW_LIMIT = 15.0  # seconds for a load balancer to drop the servers of a deleted app, one reload request included
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
    failure needs no rollback. A revision that always passes its first check and fails later makes the tasks flap.
    """
    memory, now = situation.memory, situation.observation.now
    bad = len(memory.turned_bad)
    if not bad:
        return ""
    short = 0.0 if memory.short_since is None else now - memory.short_since
    flapping = bad > max(2, canary.instances)
    if not (short >= SHORT_LIMIT or flapping or _outage(situation)):
        return ""
    least = situation.observation.least_in_rotation
    return f"{bad} tasks of {canary.id} turned bad after they were healthy; {least} tasks of the group are in rotation."


def _not_serving(situation: Situation, app: App) -> str:
    """After the commit: the new revision is not in rotation under its own load-balancer settings."""
    memory, observation = situation.memory, situation.observation
    commit = memory.commit
    if commit is None:
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
