"""Observations and steps of a rollout, for the journal, ``result.json`` and people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bgci.engine.model import Action, Create, Delete, Kill, Observation, Release, Scale, Serving


def summary(seen: Observation) -> dict[str, Any]:
    """An observation for the journal and for ``result.json``: without times, so that only changes are new."""
    return {
        "apps": [
            {
                "id": app.id,
                "revision": app.revision,
                "colour": app.colour,
                "instances": app.instances,
                "tasks": len(app.tasks),
                "healthy": len(app.healthy),
                "urls": [task.url for task in app.healthy if task.url],
                "deployments": list(app.deployments),
                "serving": {
                    replica.url: _tally(replica.server(task.id).serving for task in app.tasks)
                    for replica in seen.replicas
                },
            }
            for app in seen.apps
        ],
        "load_balancers": [
            {"url": replica.url, "older_workers": list(replica.older_workers), "problem": replica.problem}
            for replica in seen.replicas
        ],
    }


def _tally(servings: Iterable[Serving]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for serving in servings:
        counts[serving.value] = counts.get(serving.value, 0) + 1
    return counts


def described(step: Action) -> dict[str, Any]:
    """A step for the journal."""
    return {"do": type(step).__name__.lower(), **vars(step)}


def told(step: Action, release: Release) -> str:
    """A step for people."""
    match step:
        case Create(instances):
            return f"create {release.revision} with {instances} instances"
        case Scale(app_id, instances, ballast):
            return f"scale {app_id} to {instances}" + (", for a moment" if ballast else "")
        case Kill(task_ids):
            return f"remove {len(task_ids)} tasks that serve nobody: {', '.join(task_ids)}"
        case Delete(app_id):
            return f"delete {app_id}"
