"""marathon-lb's arithmetic (``get_apps``): which app it takes for the old one, and how many of its tasks it drains."""

from __future__ import annotations

from bgci.engine.observation import App


def drained_by_rule(old_instances: int, healthy_new: int, target: int) -> int:
    """How many tasks of the old app marathon-lb puts in MAINT, lowest task ids first."""
    return min(old_instances, healthy_new, max(0, healthy_new + old_instances - target))


def roles_swapped(baseline: App, canary: App) -> bool:
    """Whether marathon-lb takes the canary for the old app (line 1674: the app scaled last is the new one)."""
    return canary.swappable and baseline.last_scaling_at > canary.last_scaling_at


def lowest_ids(app: App, count: int) -> set[str]:
    """The ids of the tasks that marathon-lb drains of the app, whatever state the tasks are in."""
    return set(sorted(task.id for task in app.tasks)[:count])
