"""Observations of a rollout for ``result.json``, and its steps as sentences."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bgci.engine.decisions import Action, Create, Delete, Kill, Restore, Scale, Step
from bgci.engine.observation import Observation


def summary(observation: Observation) -> dict[str, Any]:
    """The observation for ``result.json``."""
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
                    replica.url: dict(Counter(replica.server(task.id).serving.value for task in app.tasks))
                    for replica in observation.replicas
                },
            }
            for app in observation.apps
        ],
        "load_balancers": [
            {"url": replica.url, "older_workers": list(replica.older_workers), "problem": replica.problem}
            for replica in observation.replicas
        ],
    }


def step_text(step: Step, revision: str) -> str:
    """An action as a sentence, and its reason; empty for another step. ``revision``: of a new app."""
    return f"{action_text(step, revision)} {step.because}".rstrip() if isinstance(step, Action) else ""


def action_text(step: Action, revision: str) -> str:
    """An action as a sentence."""
    match step:
        case Create(instances, stand_in=True):
            return f"Create {counted(instances, 'stand-in')}, to drain as many instances beyond the target."
        case Create(instances):
            return f"Create {revision} with {counted(instances, 'instance')}."
        case Scale(app_id, instances, placeholder):
            more = ", one of them as a placeholder" if placeholder else ""
            return f"Scale {app_id} to {counted(instances, 'instance')}{more}."
        case Kill(task_ids):
            return f"Remove {counted(len(task_ids), 'drained or unused task')}: {', '.join(task_ids)}."
        case Delete(app_id):
            return f"Delete {app_id}."
        case Restore(app_id, instances):
            return f"Restore {app_id} with {counted(instances, 'instance')}."


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
