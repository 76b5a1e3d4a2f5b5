"""Command ``doctor``: checks the preconditions of a release one by one, each finding with its remedy."""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import replace

from bgci.appdef.app_definition import group
from bgci.dcos.running_app import RunningApp, started_at
from bgci.doctor.adoption import Adoption, adoption, update
from bgci.doctor.examination import Examination
from bgci.doctor.finding import Check, failed, failure, ok, skipped, table, tally, verdict, warning
from bgci.engine.ownership import same_group
from bgci.errors import BgciError, ConflictError, DeadlineError
from bgci.interruption import pause
from bgci.operations.context import Context, stage
from bgci.options import LogFormat, Settings
from bgci.reporting.console import plain

PAUSE = 0.5  # seconds between two looks
LOG_WIDTH = 120  # columns, where there is no terminal


def run(settings: Settings) -> None:
    """Print the table. Raises the error of the worst failure; warnings are none."""
    with stage("doctor", settings) as context:
        examination = Examination(context)
        checks = examination.run()
        if settings.adopt:
            adopted = _adopted(context, examination)
            if context.result.changed:
                checks = Examination(context).run()
            checks.append(adopted)
        summary, rows = tally(checks), [check.row() for check in checks]
        context.result = replace(context.result, summary=summary, checks=tuple(rows))
        if settings.output is LogFormat.JSON:
            context.answer(json.dumps({"summary": summary, "checks": rows}, indent=2, sort_keys=True))
        else:
            width = shutil.get_terminal_size((LOG_WIDTH, 24)).columns
            context.answer("\n".join([*map(plain, table(checks, width)), "", summary]))
        sys.stdout.flush()
        worst = verdict(checks)
        if worst:
            raise worst
        context.result = replace(context.result, message=summary)


# -- adoption -------------------------------------------------------------------------------------------------------


def _adopted(context: Context, examination: Examination) -> Check:
    try:
        return _adopt(context, examination)
    except BgciError as error:
        return failed("adopt", error)


def _adopt(context: Context, examination: Examination) -> Check:
    """Give the one foreign app its labels, if that replaces no tasks or --adopt-restart is given."""
    if not context.settings.app:
        return skipped("adopt", "give --app: which app is it?")
    if not examination.reached:
        return skipped("adopt", "not done: Marathon could not be asked")
    wanted = group(examination.template or {})
    foreign = [app for app in examination.own if _is_foreign(app, wanted)]
    if not foreign:
        return ok("adopt", f"nothing to adopt: no app of {context.app_id} was deployed by other means")
    if len(examination.own) > 1:
        names = ", ".join(app.id for app in examination.own)
        remedy = "End that deployment first: one app, without a second colour, can be adopted."
        return failure("adopt", ConflictError, f"not adopted: {names} run side by side", remedy)
    app = foreign[0]
    plan = adoption(app, app_id=context.app_id, definition=examination.template, now=started_at(time.time(), None))
    if not plan.changes:
        return ok("adopt", f"{plan.app_id} has every label of a baseline")
    if plan.free or context.settings.adopt_restart:
        return _change(context, app, plan)
    return _offer(context, plan)


def _is_foreign(app: RunningApp, wanted: str) -> bool:
    """Whether bgci did not deploy it, or into another group than the template's by now."""
    return not app.revision or (bool(wanted) and not same_group(app.group, wanted))


def _offer(context: Context, plan: Adoption) -> Check:
    """What adoption would do and cost; a conflict where a release needs it."""
    listed = ", ".join(f"{name}={value}" for name, value in plan.changes.items())
    command = f"bgci doctor --app {context.app_id} --adopt --adopt-restart"
    found = f"not adopted: it would set {listed}. {plan.cost}"
    if plan.vital:
        remedy = f"A release needs {', '.join(plan.vital)} there; else write the app's own group in the template."
        return failure("adopt", ConflictError, found, remedy, command)
    remedy = (
        "Not needed: a release with --strategy bluegreen takes the app for its baseline as it is, and replaces it with "
        "nothing lost; only a canary beside it could not be drained on going back."
    )
    return warning("adopt", found, remedy, command)


def _change(context: Context, app: RunningApp, plan: Adoption) -> Check:
    """Set the labels, and wait until the app serves as before. Raises Locked, DeadlineError and what requests do."""
    marathon = context.cluster.marathon
    now = marathon.app(plan.app_id)
    if now is None or now.version != app.version:
        raise ConflictError(f"{plan.app_id} has been changed meanwhile.", remedy="Run the command again.")
    context.console.step(f"Set {', '.join(plan.changes)} of {plan.app_id}.")
    marathon.change(plan.app_id, update(now, plan))
    context.result = replace(context.result, changed=True)
    until = time.monotonic() + context.settings.timeout
    while not _settled(marathon.app(plan.app_id), plan):
        if time.monotonic() > until:
            raise _cancelled(context, plan.app_id)
        context.console.wait(f"Marathon to replace the tasks of {plan.app_id}")
        pause(PAUSE)
    return ok("adopt", f"{plan.app_id} is adopted: {', '.join(plan.changes)} set")


def _cancelled(context: Context, app_id: str) -> DeadlineError:
    """The error for a change that did not end in time, after its deployments were cancelled: no app stays locked."""
    marathon = context.cluster.marathon
    running = marathon.app(app_id)
    for deployment in running.app.deployments if running else ():
        context.console.warn(f"Cancelling deployment {deployment} of {app_id}.")
        marathon.cancel(deployment)
    return DeadlineError(
        f"The new tasks of {app_id} did not become healthy in time. bgci has cancelled the change, and Marathon goes "
        "back to the old labels.",
        remedy="See `bgci status`. Instead of adopting it, let a release with --strategy bluegreen replace the app.",
    )


def _settled(app: RunningApp | None, plan: Adoption) -> bool:
    """Whether the change is over, and everything that is checked is healthy."""
    if app is None:
        raise ConflictError(f"{plan.app_id} has disappeared.", remedy="Run the command again.")
    return not app.app.deployments and app.ready >= app.app.instances and plan.changes.items() <= app.labels.items()
