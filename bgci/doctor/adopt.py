"""`bgci doctor --adopt`: sets the labels of one running app, and never leaves the app locked."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import replace

from bgci.appdef.app_definition import group
from bgci.appdef.names import parse_app
from bgci.dcos.marathon import Marathon
from bgci.dcos.running_app import RunningApp, endpoints, started_at
from bgci.doctor.adoption import Adoption, adoption, never_ending, offer, update
from bgci.doctor.examination import Examination
from bgci.doctor.finding import CheckResult, failed, failure, ok, skipped
from bgci.durations import duration_text
from bgci.engine.lock import Way
from bgci.engine.observation import Serving
from bgci.engine.ownership import folder, same_group
from bgci.errors import AbortedError, BgciError, ConflictError, DeadlineError, DeniedError, UnavailableError, amended
from bgci.interruption import SLACK, pause, within
from bgci.operations.context import Context
from bgci.operations.exclusion import take_lock

FOLLOW_SECONDS = 15.0  # seconds for the load balancers to add the new tasks
PAUSE = 0.5  # seconds between two polls
REVERT_SECONDS = 30.0  # seconds for Marathon's own rollback before bgci cancels it by force
ABORT_SECONDS = 3.0  # the same after a signal, because a CI system sends SIGKILL soon


def adopt(context: Context, examination: Examination) -> CheckResult:
    """Adopts the app. Returns the row of the table, also for a failure; raises only AbortedError."""
    try:
        return _adopt(context, examination)
    except BgciError as error:
        return failed("adopt", error)


def _adopt(context: Context, examination: Examination) -> CheckResult:
    """Set the labels of the one foreign app, if that replaces no tasks or --adopt-restart is given."""
    if not context.settings.app:
        return skipped("adopt", "--app is missing")
    if not examination.reached:
        return skipped("adopt", "not done: Marathon could not be read")
    wanted = group(examination.template or {})
    foreign = [app for app in examination.own if _is_foreign(app, context.app_id, wanted)]
    if not foreign:
        return ok("adopt", f"nothing to adopt: no app of {context.app_id} was deployed by another tool")
    if len(examination.own) > 1:
        names = ", ".join(app.id for app in examination.own)
        remedy = "End that deployment first: only an app without a second colour can be adopted."
        return failure("adopt", ConflictError, f"not adopted: {names} run side by side", remedy)
    app, marathon = foreign[0], context.cluster.marathon
    plan = adoption(
        app,
        app_id=context.app_id,
        definition=examination.template,
        now=started_at(time.time(), None),
        marathon_version=_version(marathon),
    )
    if not plan.changes:
        return ok("adopt", f"{plan.app_id} has every label of a baseline")
    if not (plan.free or context.settings.adopt_restart) or not _may_change(context, plan):
        return offer(plan, context.app_id, _release(context))
    if plan.hangs:
        raise ConflictError(f"{plan.app_id} was not adopted: {never_ending(plan.app_id)}.", remedy=_removal(plan))
    take_lock(context, Way.PROCESS)
    context.console.step(f"Set {', '.join(plan.changes)} of {plan.app_id}.")
    context.result = replace(context.result, changed=True)
    with within(context.settings.timeout + SLACK):
        set_labels(marathon, app, plan, timeout=context.settings.timeout, waiting=context.console.wait)
    _await_balancers(context, plan.app_id)
    return ok("adopt", f"{plan.app_id} is adopted: {', '.join(plan.changes)} set")


def _await_balancers(context: Context, app_id: str) -> None:
    """Wait until the load balancers have the new tasks. The following examination names one without them."""
    until = time.monotonic() + FOLLOW_SECONDS
    while not _is_known(context, app_id) and time.monotonic() < until:
        context.console.wait(f"the load balancers to add the new tasks of {app_id}")
        pause(PAUSE)


def _is_known(context: Context, app_id: str) -> bool:
    """Whether every readable load balancer has every healthy task."""
    try:
        app, balancers = context.cluster.marathon.app(app_id), context.balancers
    except BgciError:
        return True
    wanted = endpoints([app], app.group) if app else {}
    replicas = [balancer.read(wanted) for balancer in balancers] if wanted else []
    tasks = app.app.healthy if app else ()
    return all(
        replica.server(task.id).serving is not Serving.ABSENT
        for replica in replicas
        if not replica.problem
        for task in tasks
    )


def _version(marathon: Marathon) -> str:
    """Marathon's version; empty if this account cannot read it."""
    try:
        return marathon.info().version
    except DeniedError:
        return ""


def _is_foreign(app: RunningApp, app_id: str, wanted: str) -> bool:
    """Whether bgci did not deploy it, or deployed it under another name or into another group than the template's."""
    return not app.revision or app.base_id != app_id or (bool(wanted) and not same_group(app.group, wanted))


def _may_change(context: Context, plan: Adoption) -> bool:
    """Whether it is our app, or the app of --replaces, in the same folder.

    The label HAPROXY_APP_ID does not count across folders (engine.ownership).
    """
    replaces = context.settings.replaces
    named = {context.app_id, parse_app(replaces) if replaces else ""}
    return plan.app.base_id in named and folder(plan.app.base_id) == folder(context.app_id)


def _release(context: Context) -> str:
    given = {"--revision": context.settings.revision, "--image": context.settings.image}
    options = [f" {name} {value}" for name, value in given.items() if value]
    return f"bgci release --app {context.app_id} --strategy bluegreen{''.join(options)}"


def _removal(plan: Adoption) -> str:
    return (
        f"It cannot be adopted in place. Remove it (`dcos marathon app remove {plan.app_id}`) and release the app, "
        "with a downtime."
    )


# -- the update -------------------------------------------------------------------------------------------------------


def set_labels(
    marathon: Marathon,
    app: RunningApp,
    plan: Adoption,
    *,
    timeout: float,
    waiting: Callable[[str], None],
    revert_seconds: float = REVERT_SECONDS,
) -> None:
    """Set the labels, and wait until every task was replaced and is healthy.

    Raises DeadlineError after ``timeout`` seconds, and AbortedError, each after it has cancelled the deployment;
    ConflictError, Locked and the errors of requests.
    """
    now = marathon.app(plan.app_id)
    if now is None or now.version != app.version:
        raise ConflictError(f"{plan.app_id} was changed meanwhile.", remedy="Run the command again.")
    before = {task.id for task in now.app.tasks}
    deployment, until = "", time.monotonic() + timeout
    try:
        deployment = marathon.change(plan.app_id, update(now, plan))
        while not _settled(marathon, plan, before):
            if time.monotonic() > until:
                raise DeadlineError(
                    f"{plan.app_id} was not adopted: its tasks were not replaced within {duration_text(timeout)}"
                    f"{_trouble(marathon, plan.app_id)}.",
                    remedy="Give the cluster room for one more task of the app, or more time (--timeout).",
                )
            waiting(f"Marathon to replace the tasks of {plan.app_id}")
            pause(PAUSE)
    except (DeadlineError, AbortedError) as error:
        seconds = ABORT_SECONDS if isinstance(error, AbortedError) else revert_seconds
        with within(2 * seconds):
            state = unlock(marathon, plan, deployment, seconds)
        raise amended(error, more=state) from error


def unlock(marathon: Marathon, plan: Adoption, deployment: str, seconds: float) -> str:
    """Cancel the deployment. Returns the state of the app as text.

    Marathon's own rollback is another deployment, which can hang for the same reason (hazard 57): bgci cancels it by
    force after ``seconds``. The app then has its earlier configuration, and its running tasks stay.
    """
    try:
        ours = {deployment} if deployment else _unanswered(marathon, plan)
        ours |= {marathon.cancel(one) for one in ours} - {""}
        forced = not _released(marathon, plan.app_id, ours, seconds)
        for one in ours if forced else ():
            marathon.cancel(one, force=True)
        _released(marathon, plan.app_id, ours, seconds)
        app = marathon.app(plan.app_id)
    except BgciError as error:
        return (
            f"{error.message} Its deployment could not be cancelled, so the app can still be locked. Run "
            f"`dcos marathon deployment stop {deployment}` (DELETE /v2/deployments/{deployment}?force=true)."
        )
    if app is None:
        return "The app no longer exists."
    if not ours:
        return "Nothing was changed."
    how = "and Marathon's own rollback, which hung too, were cancelled (force=true)" if forced else "was cancelled"
    held = f"Deployment {', '.join(app.app.deployments)} holds" if app.app.deployments else "No deployment holds"
    labels = (
        "it has the new labels" if plan.changes.items() <= app.labels.items() else "it has its earlier labels again"
    )
    return f"The deployment {how}. {held} the app, {labels}, {app.ready} of {app.app.instances} tasks are healthy."


def _unanswered(marathon: Marathon, plan: Adoption) -> set[str]:
    """The deployments of an update whose answer was lost by a signal."""
    app = marathon.app(plan.app_id)
    return set(app.app.deployments) if app and plan.changes.items() <= app.labels.items() else set()


def _released(marathon: Marathon, app_id: str, deployments: Collection[str], seconds: float) -> bool:
    """Whether these deployments have ended within so many seconds."""
    until = time.monotonic() + seconds
    while True:
        app = marathon.app(app_id)
        if app is None or not set(deployments) & set(app.app.deployments):
            return True
        if time.monotonic() > until:
            return False
        pause(PAUSE)


def _settled(marathon: Marathon, plan: Adoption, before: Collection[str]) -> bool:
    """Whether the change is complete: every task was replaced, and every task with a health check is healthy.

    Waits on if Marathon does not answer, because Marathon continues the change after an outage.
    """
    try:
        app = marathon.app(plan.app_id)
    except UnavailableError:
        return False
    if app is None:
        raise ConflictError(f"{plan.app_id} has disappeared.", remedy="Run the command again.")
    left = {task.id for task in app.app.tasks} & set(before)
    labelled = plan.changes.items() <= app.labels.items()
    return not app.app.deployments and not left and labelled and app.ready >= app.app.instances


def _trouble(marathon: Marathon, app_id: str) -> str:
    try:
        app = marathon.app(app_id)
        trouble = app.queued(marathon.queue()).app.trouble if app else ""
    except BgciError as error:
        trouble = error.message
    return f" ({trouble})" if trouble else ""
