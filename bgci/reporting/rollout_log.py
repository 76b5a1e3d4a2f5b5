"""Observations and steps of a rollout, for the journal, ``result.json`` and people."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bgci.engine.decisions import Action, Create, Delete, Kill, Release, Restore, Scale
from bgci.engine.observation import Observation, Serving


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


def told(step: Action, release: Release) -> str:
    """A step for people."""
    match step:
        case Create(instances):
            return f"Create {release.revision} with {_many(instances, 'instance')}."
        case Scale(app_id, instances, placeholder):
            return f"Scale {app_id} to {_many(instances, 'instance')}{', one of them for a moment' * placeholder}."
        case Kill(task_ids):
            return f"Remove {_many(len(task_ids), 'drained or unused task')}: {', '.join(task_ids)}."
        case Delete(app_id):
            return f"Delete {app_id}."
        case Restore(app_id, instances):
            return f"Create {app_id} again as it ran, with {_many(instances, 'instance')}."


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
