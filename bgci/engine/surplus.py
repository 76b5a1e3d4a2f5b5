"""Draining of serving instances beyond the target, beside a stand-in.

A placeholder that became healthy before its removal leaves more instances than the target (``removal``). marathon-lb
drains tasks only beside a second app. The stand-in is that app: the other colour, with the same definition and as many
instances as the surplus. marathon-lb then drains as many tasks of the app, and the engine removes them. That swaps the
roles, so marathon-lb drains the stand-in, and the engine deletes it. The app always has its target in rotation.
"""

from __future__ import annotations

from bgci.engine.decisions import Cause, Create, Delete, Kill, Step, Wait
from bgci.engine.observation import App
from bgci.engine.preconditions import (
    until_drained,
    until_healthy,
    until_launched,
    until_no_more_than_instances,
    until_serving,
)
from bgci.engine.situation import Hybrid, Situation


def drain_surplus(app: App, situation: Situation) -> Step | None:
    """Create the stand-in for an app that serves alone with more than its target; None if a stand-in cannot work."""
    target = app.target
    if not target or not app.swappable or not app.has_health_checks or situation.memory.no_room:
        return None
    surplus = len(app.healthy) - target
    if surplus <= 0:
        return None
    waiting = until_no_more_than_instances(app) or until_serving(app, len(app.healthy), situation)
    reason = f"{len(app.healthy)} instances serve, and its target is {target}."
    return waiting or Create(min(surplus, target), swappable=True, stand_in=True, because=reason)


def finish_stand_in(hybrid: Hybrid) -> Step:
    """Remove the surplus of the app beside the stand-in, then the stand-in."""
    app, stand_in = hybrid.baseline, hybrid.canary
    surplus = app.instances - (app.target or app.instances)
    if hybrid.roles_swapped or surplus <= 0:
        return until_drained(stand_in.tasks, stand_in, hybrid) or Delete(
            stand_in.id, because="The surplus is removed, and the stand-in is drained."
        )
    missing = stand_in.instances - len(stand_in.tasks)
    if missing > 0 and not hybrid.memory.no_room:
        return until_launched(stand_in, missing)
    if waiting := until_healthy(stand_in, len(stand_in.tasks)):
        return waiting
    count = min(surplus, hybrid.drainable)
    if not count:  # the cluster has no room for it
        return Delete(stand_in.id, because="The cluster has no room for it.")
    drained = hybrid.in_maint(app, count)
    if len(drained) < count:
        return Wait(
            Cause.LOAD_BALANCER, f"The load balancers have not taken {count} tasks of {app.id} out of rotation."
        )
    return until_drained(drained, app, hybrid) or Kill(
        tuple(task.id for task in drained), because="They are drained beside the stand-in."
    )
