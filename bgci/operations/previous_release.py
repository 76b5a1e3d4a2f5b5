"""The revision that served before, and its definition: from its published job, or from the record on the app."""

from __future__ import annotations

from bgci.appdef.app_definition import group
from bgci.appdef.names import job_ids
from bgci.appdef.previous import Previous
from bgci.dcos.metronome import Job
from bgci.dcos.running_app import RunningApp
from bgci.engine.decisions import Kind, Release
from bgci.engine.lock import Way
from bgci.errors import ConflictError
from bgci.operations.context import Context
from bgci.operations.exclusion import take_lock
from bgci.operations.goal import as_job
from bgci.operations.job_run import carried_release
from bgci.operations.owned_apps import require_owned


def begun(context: Context) -> Release | None:
    """The release to promote, None if the job of that revision has it. Sets the command's revision to it.

    Raises ConflictError unless one revision serves alone and the one before it is known.
    """
    take_lock(context, Way.FOLLOW if as_job(context) else Way.PROCESS)
    app = _serving(context)
    before = app.previous
    if before is None:
        raise ConflictError(
            f"No revision before {app.revision or app.id} is known: it is the first one, or was not deployed by this "
            "version of bgci.",
            remedy="Run `bgci promote` for another revision, or remove the app with `bgci remove`.",
        )
    context.go_on_with(revision=before.revision)
    context.console.info(
        f"Before {app.revision or app.id}, {before.revision} served (image {before.image or 'unknown'})."
    )
    # An account that releases without jobs may be unable to read Metronome, so bgci reads it only if needed.
    job = _job(context) if context.settings.via != "direct" or before.definition is None else None
    if as_job(context):
        if job:
            return None
        _require_way(context, before)
        context.go_on_with(via="direct")
    return _release(context, before, job)


def _serving(context: Context) -> RunningApp:
    apps = sorted(require_owned(context).apps, key=lambda app: app.app.started_at)
    if len(apps) == 1:
        return apps[0]
    if not apps:
        raise ConflictError(f"{context.app_id} does not run: nothing to undo.", remedy="`bgci status` lists the apps.")
    canary = apps[-1].revision or apps[-1].id
    raise ConflictError(
        f"{canary} runs beside {apps[0].revision or apps[0].id}: it has not been promoted yet.",
        remedy=f"Roll it back with `bgci rollback --app {context.app_id} --revision {canary}`.",
    )


def _job(context: Context) -> Job | None:
    """The job that promotes the revision, if jobs are in use."""
    metronome = context.cluster.metronome
    if context.job or metronome is None or not metronome.available():
        return None
    return metronome.job(job_ids(context.app_id, context.revision)[Kind.PROMOTE.value])


def _require_way(context: Context, before: Previous) -> None:
    """Raises ConflictError if the job is missing and jobs are required, or if no other source has the definition."""
    job_id = job_ids(context.app_id, context.revision)[Kind.PROMOTE.value]
    if context.settings.via == "job" or before.definition is None:
        raise ConflictError(
            f"The job {job_id}, which promotes {context.revision}, does not exist.",
            remedy=f"Publish {context.revision} again with `bgci publish`"
            + (", or use --via direct: the app has its definition." if before.definition else "."),
        )
    context.console.warn(
        f"The job {job_id} does not exist: bgci goes on in this process, with the definition on the app."
    )


def _release(context: Context, before: Previous, job: Job | None) -> Release:
    if before.definition is not None:
        return Release(group(before.definition), before.revision, before.definition, before.image)
    if job is None:
        raise ConflictError(
            f"The definition of {before.revision} was too large for the app's label, and no job has it.",
            remedy="Run `bgci promote` with its template and image.",
        )
    return carried_release(job)
