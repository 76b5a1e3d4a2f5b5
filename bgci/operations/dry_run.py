"""The plan of a goal, step by step, without any change."""

from __future__ import annotations

from dataclasses import replace

from bgci.engine.decisions import Action, Create, Done, Fail, Kill, Scale, Wait
from bgci.engine.forecast import forecast
from bgci.engine.observation import App
from bgci.errors import ConflictError
from bgci.operations.context import Context
from bgci.operations.planning import GoalRequest, next_step, observer_of
from bgci.operations.rendering import marathon_version
from bgci.reporting.diff import definition_difference
from bgci.reporting.rollout_log import action_text, step_text
from bgci.reporting.rollout_record import encode_step


def plan_goal(context: Context, request: GoalRequest) -> None:
    """Add the whole plan of the goal to the result, from the running apps, or from the end of this command's earlier
    plan.

    Raises ConflictError if the goal itself would raise it at once.
    """
    observer = observer_of(context)
    seen, step = next_step(observer, request)
    first = context.planned is None
    for app in seen.apps if first else ():
        context.console.info(f"Runs: {app.id} revision {app.revision or 'unknown'}, {app.instances} instances.")
    if first:
        if isinstance(step, Fail):
            raise ConflictError(step.message, remedy=step.remedy)
        if isinstance(step, Wait):
            context.plan(f"Wait. {step.reason}")
        elif not isinstance(step, Done):
            context.result = replace(context.result, next_step=encode_step(step))
    create = step if isinstance(step, Create) else Create(1, swappable=True)
    definition = request.release.definition
    new_id = str(observer.new_app(create, seen, request.release)["id"]) if definition is not None else ""
    expected = forecast(request.goal, request.policy, context.planned or seen, new_id)
    difference = ""
    if first and definition is not None and not any(app.revision == request.release.revision for app in seen.apps):
        difference = definition_difference(observer.serving_definition(), definition, marathon_version(context))
    for action, apps in expected.steps:
        context.plan(_sentence(action, apps, request, new_id), difference if isinstance(action, Create) else "")
    if isinstance(expected.end, Fail):
        raise ConflictError(expected.end.message, remedy=expected.end.remedy)
    goal = request.goal
    context.plan(expected.end.message if expected.end else f"Then go on to {goal.kind.value} {goal.revision}.")
    context.planned = expected.observation


def _sentence(action: Action, apps: tuple[App, ...], request: GoalRequest, new_id: str) -> str:
    text = action_text(action, request.release.revision)
    match action:
        case Create():
            return f"{text} Its app is {new_id}. {action.because}".rstrip()
        case Scale(app_id, instances) if before := [app.instances for app in apps if app.id == app_id]:
            return f"{text.rstrip('.')} (from {before[0]}). {action.because}".rstrip() if instances else ""
        case Kill(task_ids):
            killed = {app.id: sum(task.id in task_ids for task in app.tasks) for app in apps}
            parts = [f"{count} of {app_id}" for app_id, count in killed.items() if count]
            return f"Remove drained or unused tasks: {', '.join(parts)}. {action.because}".rstrip()
    return step_text(action, request.release.revision)
