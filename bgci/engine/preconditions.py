"""Preconditions of a step. Each ``until_...`` returns None when it is met, otherwise the Wait or Fail to return."""

from __future__ import annotations

from collections.abc import Iterable

from bgci.engine.decisions import Cause, Fail, Step, Wait
from bgci.engine.observation import App, Observation, Serving, Task
from bgci.engine.situation import Situation
from bgci.errors import DeadlineError

RETURN_LIMIT = 60.0  # seconds for servers that are DOWN, or not configured, to be in rotation


def until_serving(app: App, count: int, situation: Situation) -> Wait | None:
    """Until this many tasks of the app are healthy and in rotation in every replica."""
    waiting = until_healthy(app, count)
    if waiting:
        return waiting
    for replica in situation.observation.replicas:
        up = sum(replica.server(task.id).serving is Serving.UP for task in app.healthy)
        if up < count:
            return Wait(Cause.LOAD_BALANCER, f"{up} of {count} instances of {app.id} are in rotation at {replica.url}.")
    return None


def until_returned(app: App, situation: Situation) -> Wait | None:
    """Until the app's healthy tasks are in rotation, for up to a minute: servers that leave MAINT are DOWN for two
    checks, and others that are DOWN, or not configured, must not stop the run."""
    waited = situation.memory.waited(Cause.LOAD_BALANCER, situation.observation.now)
    return until_serving(app, len(app.healthy), situation) if waited < RETURN_LIMIT else None


def until_healthy(app: App, count: int) -> Wait | None:
    healthy = len(app.healthy)
    if healthy >= count:
        return None
    return Wait(Cause.HEALTH, f"{healthy} of {count} instances of {app.id} are healthy{detail(app)}.")


def unless_starting(app: App, step: Step) -> Step:
    """The step; while a deployment holds the app's lock until its instances are healthy, the wait for it."""
    return (until_healthy(app, app.instances) if app.deployments else None) or step


def until_ended(app: App) -> Wait | None:
    """Until killed tasks have ended: marathon-lb counts them for as long as Marathon lists them."""
    dying = sum(task.dying for task in app.tasks)
    if len(app.tasks) <= app.instances and not dying:
        return None
    ending = max(dying, len(app.tasks) - app.instances)
    return Wait(Cause.TASKS, f"{ending} killed tasks of {app.id} have not ended yet.")


def until_settled(app: App, situation: Situation) -> Wait | None:
    """Until the app lists as many live tasks as it has instances, before tasks of it are killed.

    Marathon can list a killed task as running. It counts a second kill of that task again, and then stops a task that
    serves to have as few as it counted (hazard 70). An app with more live tasks than instances has such a task. One
    with fewer may have one: the instances that are not launched yet hide it. If the cluster has no room for these, only
    the launch queue tells them from a killed task.
    """
    missing = app.instances - app.alive
    stays = app.queued is not None and (situation.memory.no_room or situation.memory.degraded)
    if missing <= 0 or stays:
        return until_no_more_than_instances(app)
    return until_launched(app, missing)


def until_no_more_than_instances(app: App) -> Wait | None:
    """Until no task is listed as running that was killed: until then, more live tasks are listed than the instances
    that are launched."""
    more = app.alive + (app.queued or 0) - app.instances
    return Wait(Cause.TASKS, f"{more} killed tasks of {app.id} have not ended yet.") if more > 0 else None


def until_launched(app: App, count: int) -> Wait:
    """The wait for instances that Marathon has not launched yet, or that are ending."""
    return Wait(Cause.ROOM, f"{count} more instances of {app.id} are not launched yet{detail(app)}.")


def until_drained(tasks: Iterable[Task], app: App, situation: Situation) -> Step | None:
    """Until these tasks are drained, or the drain timeout has passed."""
    observation, policy = situation.observation, situation.policy
    busy = [task for task in tasks if not observation.is_drained(task)]
    if not busy:
        return None
    reason = _undrained(busy, app, observation)
    memory = situation.memory
    if memory.waiting is not Cause.DRAIN or memory.waited(Cause.DRAIN, observation.now) < policy.drain_timeout:
        return Wait(Cause.DRAIN, f"{reason}.")
    if policy.force or not any(observation.is_configured(task) for task in busy):
        return None  # a load balancer that serves them would have configured them by now
    return Fail(
        f"Timed out after {policy.drain_timeout:.0f} s (--drain-timeout): {reason}.",
        "Wait for these sessions to end and run this again, or cut them with --on-drain-timeout force.",
        DeadlineError,
    )


def drained(tasks: Iterable[Task], situation: Situation) -> str:
    """Why these tasks may go, after ``until_drained``."""
    tasks = list(tasks)
    if not tasks:
        return "None of its tasks runs."
    busy = [task for task in tasks if not situation.observation.is_drained(task)]
    return "It was not drained within --drain-timeout." if busy else "All of its tasks are drained."


def _undrained(busy: list[Task], app: App, observation: Observation) -> str:
    up = sum(observation.is_up(task) for task in busy)
    sessions = sum(server.sessions for task in busy for server in observation.servers(task))
    workers = [
        f"{replica.url} {f'pid {pid}' if pid else '(not asked yet)'}"
        for replica in observation.replicas
        for pid in replica.older_workers
    ]
    parts = [f"{up} still in rotation"] if up else []
    parts += [f"{sessions} sessions"] if sessions else []
    parts += [f"older HAProxy workers that can hold sessions: {', '.join(workers)}"] if workers else []
    return f"{len(busy)} tasks of {app.id} are not drained ({'; '.join(parts) or 'not yet in MAINT everywhere'})"


def detail(app: App) -> str:
    """Why tasks of the app are missing, as the end of a sentence."""
    return f": {app.trouble}" if app.trouble else ""
