"""Waits that cannot succeed end early, before the deadline of the goal."""

from __future__ import annotations

from bgci.engine.decisions import Cause, Fail, Kind, Wait
from bgci.engine.observation import App
from bgci.engine.situation import Situation
from bgci.errors import UnavailableError, UnhealthyError

CRASHES = 3  # failed tasks of a revision of which none was ever healthy
LAUNCH_TIME = 60.0  # seconds for an offer and the image
OUTAGE = 2.0  # seconds without a task in rotation, for a revision that was in rotation before
FIRST_ANSWER = 60.0  # seconds for a load balancer that was never read in this run


def ends_early(wait: Wait, situation: Situation, elapsed: float) -> Fail | None:
    """The failure that ends the wait now; None to wait on. ``elapsed``: seconds since the run began."""
    match wait.cause:
        case Cause.UNREACHABLE:
            return _never_answered(wait, situation, elapsed)
        case Cause.HEALTH if situation.goal.kind is not Kind.ROLLBACK:
            return _makes_no_progress(wait, situation)
        case Cause.LOAD_BALANCER if situation.goal.kind is not Kind.ROLLBACK:
            return _fell_out(situation)
        case _:
            return None


def _fell_out(situation: Situation) -> Fail | None:
    """The revision serves alone and is healthy, but left rotation at every load balancer again (hazard 45).

    With a baseline the run rolls back instead (``degradation``).
    """
    memory, observation = situation.memory, situation.observation
    if len(observation.apps) != 1 or memory.outage_since is None or not memory.turned_bad:
        return None
    (app,) = observation.apps
    if len(app.healthy) < app.instances or observation.now - memory.outage_since < OUTAGE:
        return None
    return Fail(
        f"{app.id} is healthy, but none of its tasks is in rotation any more: HAProxy's own checks fail with its "
        "load-balancer settings.",
        "Correct the HAPROXY labels of the template (docs/labels.md) and release again, or remove the app with "
        "`bgci remove`.",
        UnhealthyError,
    )


def _never_answered(wait: Wait, situation: Situation, elapsed: float) -> Fail | None:
    """A load balancer never answered in this run: probably its address is wrong. One that answered before can
    return."""
    unread = {replica.url for replica in situation.observation.replicas if replica.problem}
    if elapsed < FIRST_ANSWER or not unread - situation.memory.answered:
        return None
    return Fail(
        f"{wait.reason} It has not answered for {FIRST_ANSWER:.0f} s.",
        "Correct --marathon-lb-url, or start the load balancer, and run this again. `bgci doctor` checks it.",
        UnavailableError,
    )


def _makes_no_progress(wait: Wait, situation: Situation) -> Fail | None:
    """A crash loop, or no launched and no healthy task for longer than the health check allows."""
    memory, now = situation.memory, situation.observation.now
    app = next((app for app in situation.observation.apps if app.revision == situation.goal.revision), None)
    if app is None or len(app.healthy) >= app.instances or memory.hold:  # a hold has its own end (``degradation``)
        return None
    stalled = why_stalled(app, len(memory.failures), now - memory.progress_at, situation.policy.progress_timeout)
    if not stalled:
        return None
    launched = app.tasks or memory.failures  # between two tasks of a crash loop an app has none
    where = f"the tasks of {app.id}" if launched else f"the cluster's free resources and the constraints of {app.id}"
    return Fail(
        f"{stalled} {wait.reason}{earlier(wait, situation)}",
        f"Look at {where}, correct the revision, and run `bgci rollback` of it.",
        UnhealthyError,
    )


def why_stalled(app: App, failures: int, seconds: float, timeout: float) -> str:
    """Why an app that starts will hardly become healthy; empty while it can.

    failures: of its tasks, none of which was healthy. seconds: since its last launched or healthy task. timeout:
    --progress-timeout, 0 for the health check's own numbers.
    """
    if failures >= CRASHES:
        return f"{failures} tasks of {app.id} failed, and none became healthy."
    limit = progress_limit(app, timeout)
    return f"{app.id} has made no progress for {limit:.0f} s." if seconds >= limit else ""


def progress_limit(app: App, timeout: float) -> float:
    """Seconds in which a task of the app is launched or becomes healthy. timeout: --progress-timeout, 0 for the health
    check's own numbers."""
    return timeout or LAUNCH_TIME + app.health_time


def earlier(wait: Wait, situation: Situation) -> str:
    """The last failures of health checks, as a sentence: a task that Marathon has just restarted does not show them."""
    known = situation.memory.complaints.values() if wait.cause is Cause.HEALTH else ()
    return "".join(f" Earlier: {text}." for text in known if text not in wait.reason)
