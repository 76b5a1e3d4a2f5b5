"""What must be so before going on: each a step to wait with (or to give up with), or None when it is so."""

from __future__ import annotations

from collections.abc import Iterable

from bgci.engine.model import App, Cause, Fail, Observation, Policy, Step, Task, Wait
from bgci.engine.rotation import drained, is_configured, is_up, servers

# Seconds until a cluster that does not start one more instance is taken to have no room for it (see plan._remove).
ROOM_PATIENCE = 30.0


def until_serving(app: App, count: int, seen: Observation) -> Wait | None:
    """Until this many tasks of the app are healthy and in rotation in every replica."""
    waiting = until_healthy(app, count)
    if waiting:
        return waiting
    for replica in seen.replicas:
        up = sum(is_up(replica.server(task.id)) for task in app.healthy)
        if up < count:
            return Wait(Cause.LOAD_BALANCER, f"{up} of {count} instances of {app.id} are in rotation at {replica.url}")
    return None


def until_healthy(app: App, count: int) -> Wait | None:
    healthy = len(app.healthy)
    if healthy >= count:
        return None
    return Wait(Cause.HEALTH, f"{healthy} of {count} instances of {app.id} are healthy{because(app)}")


def unless_starting(app: App, step: Step) -> Step:
    """A running deployment holds the app's lock: wait for the health that it waits for."""
    if app.deployments and len(app.healthy) < app.instances:
        return until_healthy(app, app.instances) or step
    return step


def until_ended(app: App) -> Wait | None:
    """Until what was killed is gone: marathon-lb counts it for as long as Marathon lists it."""
    dying = sum(task.dying for task in app.tasks)
    if len(app.tasks) <= app.instances and not dying:
        return None
    return Wait(Cause.TASKS, f"{max(dying, len(app.tasks) - app.instances)} killed tasks of {app.id} to end")


def no_room(seen: Observation) -> bool:
    """Whether an instance has been waited for so long that the cluster seems to have no room for it."""
    return seen.short_since is not None and seen.now - seen.short_since > ROOM_PATIENCE


def until_drained(tasks: Iterable[Task], app: App, seen: Observation, policy: Policy) -> Step | None:
    """Until these tasks are drained, or the drain time-out has passed."""
    busy = [task for task in tasks if not drained(task, seen)]
    if not busy:
        return None
    why = _undrained(busy, app, seen)
    if seen.draining_since is None or seen.now - seen.draining_since < policy.drain_timeout:
        return Wait(Cause.DRAIN, why)
    if policy.force or not any(is_configured(task, seen) for task in busy):
        return None  # by now a load balancer that serves them at all would know them
    return Fail(
        f"after {policy.drain_timeout:.0f}s still waiting: {why}",
        "wait for these sessions to end and run this again, or cut them with --on-drain-timeout force",
        overdue=True,
    )


def _undrained(busy: list[Task], app: App, seen: Observation) -> str:
    up = sum(any(is_up(server) for server in servers(task, seen)) for task in busy)
    sessions = sum(server.sessions for task in busy for server in servers(task, seen))
    workers = [f"{replica.url} pid {pid}" for replica in seen.replicas for pid in replica.older_workers]
    parts = [f"{up} still in rotation"] if up else []
    parts += [f"{sessions} sessions"] if sessions else []
    parts += [f"older HAProxy workers that may hold sessions: {', '.join(workers)}"] if workers else []
    return f"{len(busy)} tasks of {app.id} to drain ({'; '.join(parts) or 'not yet in MAINT everywhere'})"


def because(app: App) -> str:
    """Why its tasks are not there yet, as the end of a sentence."""
    return f": {app.trouble}" if app.trouble else ""
