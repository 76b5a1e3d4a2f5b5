"""Who is in rotation and who drains: marathon-lb's arithmetic (``get_apps``), and what its replicas show."""

from __future__ import annotations

from bgci.engine.model import App, Observation, Server, Serving, Task


def swapped(baseline: App, canary: App) -> bool:
    """Whether marathon-lb takes the canary for the old app (line 1674: the last scaled one is new)."""
    return canary.swappable and baseline.last_scaling_at > canary.last_scaling_at


def spared(baseline: App, new: int, target: int) -> int:
    """How many tasks of the baseline this many healthy new ones make superfluous: marathon-lb drains as many."""
    return min(baseline.instances, new, max(0, new + baseline.instances - target))


def instances_before(baseline: App, canary: App) -> int:
    """How many instances the baseline had when the canary was created."""
    return canary.baseline_instances or baseline.target or baseline.instances


def superfluous(baseline: App, canary: App) -> int:
    """How many tasks of the baseline marathon-lb takes out of rotation now."""
    return spared(baseline, len(canary.healthy), canary.target or baseline.instances)


def swap_is_possible(baseline: App, canary: App, home: int) -> bool:
    """Whether the canary can be drained: with roles swapped the baseline's TARGET counts."""
    return canary.swappable and baseline.target is not None and baseline.target <= home


def held_in_maint(app: App, count: int, seen: Observation) -> tuple[Task, ...]:
    """What marathon-lb drains of the app and goes on draining: healthy, in MAINT everywhere, of the lowest ids."""
    drains = _lowest(app, count)
    return tuple(
        task
        for task in app.healthy
        if task.id in drains and all(replica.server(task.id).serving is Serving.MAINT for replica in seen.replicas)
    )


def _lowest(app: App, count: int) -> list[str]:
    """The ids of what marathon-lb drains of the app by its rules, whatever state they are in."""
    return sorted(task.id for task in app.tasks)[:count]


def unused(app: App, seen: Observation) -> tuple[Task, ...]:
    """Not healthy and in nobody's rotation: marathon-lb does not count it, and no request is lost with it.

    A task that was healthy once has to be drained like any other.
    """
    return tuple(
        task
        for task in app.tasks
        if not task.healthy
        and not task.dying
        and not any(is_up(server) for server in servers(task, seen))
        and (not task.ever_healthy or drained(task, seen))
    )


def drained(task: Task, seen: Observation) -> bool:
    """Out of rotation in every replica, and nothing left that could hold a session with it (hazard 18).

    What is healthy and not in MAINT is on its way into rotation, even where no replica shows it yet.
    """
    if not _touched(task, seen):
        return True
    coming = bool(task.healthy) and not task.dying
    return all(
        not is_up(replica.server(task.id))
        and (not coming or replica.server(task.id).serving is Serving.MAINT)
        and (task.idle or (replica.server(task.id).sessions == 0 and not replica.older_workers))
        for replica in seen.replicas
    )


def _touched(task: Task, seen: Observation) -> bool:
    """Whether any session can ever have reached the task."""
    return task.ever_healthy or is_configured(task, seen)


def is_configured(task: Task, seen: Observation) -> bool:
    return any(server.serving is not Serving.ABSENT for server in servers(task, seen))


def is_up(server: Server) -> bool:
    return server.serving is Serving.UP


def servers(task: Task, seen: Observation) -> list[Server]:
    return [replica.server(task.id) for replica in seen.replicas]
