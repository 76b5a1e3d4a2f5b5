"""marathon-lb's rules for the two apps of a group (marathon-lb: ``get_apps``): which app is old, and which tasks drain.

marathon-lb sends users to both apps and takes some tasks of the *old* app out of rotation (MAINT). It chooses the tasks
from the apps' sizes, health and scaling times alone, so bgci controls the drain by scaling the right app. The baseline
is the old app until it is scaled after the canary: then marathon-lb swaps the roles and drains the canary.
"""

from __future__ import annotations

from bgci.engine.observation import App


def drained_by_rule(old_instances: int, healthy_new: int, target: int) -> int:
    """How many tasks of the old app marathon-lb puts in MAINT, lowest task ids first.

    ``target``: label HAPROXY_DEPLOYMENT_TARGET_INSTANCES of the new app.
    """
    return min(old_instances, healthy_new, max(0, healthy_new + old_instances - target))


def roles_swapped(baseline: App, canary: App) -> bool:
    """Whether the canary is the old app to marathon-lb (line 1674: the app scaled last is the new one)."""
    return canary.swappable and baseline.last_scaling_at > canary.last_scaling_at


def drains_when_swapped(baseline: App, canary: App) -> int:
    """How many tasks of the canary marathon-lb puts in MAINT while the roles are swapped."""
    return drained_by_rule(canary.instances, len(baseline.healthy), baseline.target or canary.instances)


def lowest_ids(app: App, count: int) -> set[str]:
    """The ids of the ``count`` tasks that marathon-lb drains. It takes the lowest ids and ignores the tasks' states."""
    return set(sorted(task.id for task in app.tasks)[:count])
