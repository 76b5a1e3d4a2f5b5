"""Stage ``publish``: the three DC/OS Jobs of a revision, replaced as a whole: all three or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bgci.dcos.credentials import hide_credentials
from bgci.dcos.metronome import Job, Metronome
from bgci.dcos.permissions import of_request
from bgci.engine.lock import Way
from bgci.errors import BgciError, ConflictError, DeniedError, UnavailableError, amended
from bgci.interruption import before_cleanup, cleanup
from bgci.operations.context import Context
from bgci.operations.exclusion import take_lock
from bgci.operations.job_image import require_job_image
from bgci.operations.job_login import require_secret
from bgci.operations.owned_apps import require_owned
from bgci.operations.rendering import Rendered, masked
from bgci.reporting.diff import job_difference


def publish(context: Context, rendered: Rendered) -> None:
    """Raises ConflictError when a job of that name belongs to another revision; on any error the earlier jobs stay."""
    metronome = needed_metronome(context)
    take_lock(context, Way.FOLLOW)
    require_owned(context, rendered.release.group)
    require_job_image(context.settings, rendered.jobs.values())
    require_secret(context)
    jobs = rendered.jobs
    wanted = {str(job["id"]): job for job in jobs.values()}
    earlier = {job_id: metronome.job(job_id) for job_id in wanted}
    for job_id, before in earlier.items():
        hide_credentials(before.env if before else {})
        _check_owner(context, job_id, before)
    if context.settings.dry_run:
        for job_id, job in wanted.items():
            before = earlier[job_id]
            context.plan(f"Publish job {job_id}.", job_difference(masked(before.spec) if before else {}, masked(job)))
        return
    _replace(context, metronome, wanted, earlier)
    context.result = replace(context.result, jobs=tuple(sorted(earlier)))


def jobs_of_app(context: Context) -> list[Job]:
    """Every published job of this app, of any revision; none without Metronome."""
    metronome = context.cluster.metronome
    return [job for job in metronome.jobs() if job.app == context.app_id] if metronome else []


def needed_metronome(context: Context) -> Metronome:
    """The client of Metronome. Raises UnavailableError if the cluster has none."""
    if context.cluster.metronome is None or not context.cluster.metronome.available():
        url = context.settings.metronome_url
        raise UnavailableError(
            f"{url} is not a Metronome." if url else "This cluster has no Metronome, so it cannot run jobs.",
            remedy="Give --metronome-url, or run the goals with --via direct, which needs no `publish`.",
        )
    return context.cluster.metronome


def _check_owner(context: Context, job_id: str, job: Job | None) -> None:
    """Raises ConflictError for the job of another app or revision with the same job name, such as 1.0 and 1-0."""
    mine = {"BGCI_APP": context.app_id, "BGCI_REVISION": context.revision}
    theirs = job.labels if job else {}
    if any(theirs.get(label, value) != value for label, value in mine.items()):
        app = theirs.get("BGCI_APP")
        raise ConflictError(
            f"Job {job_id} belongs to {app} {theirs.get('BGCI_REVISION')}, which has the same job name.",
            remedy=f"Give the revision another name, or remove the old jobs: `bgci prune --app {app}`.",
        )


def _replace(
    context: Context, metronome: Metronome, wanted: Mapping[str, Mapping[str, Any]], earlier: Mapping[str, Job | None]
) -> None:
    touched: list[str] = []
    try:
        with before_cleanup():
            for job_id, job in wanted.items():
                touched.append(job_id)
                if before := earlier[job_id]:
                    for schedule in before.schedules:
                        context.console.warn(f"The schedule {schedule} of the job {job_id} is removed with it.")
                    metronome.delete(job_id, stop_runs=True)
                _create(metronome, job, new=not earlier[job_id])
                context.console.step(f"{'Replaced' if earlier[job_id] else 'Added'} job {job_id}.")
    except BaseException as error:
        with cleanup():
            whole = _restore(context, metronome, touched, earlier)
        if isinstance(error, BgciError) and whole:
            raise amended(error, more="The earlier jobs were restored.") from error
        raise


def _create(metronome: Metronome, job: Mapping[str, Any], *, new: bool) -> None:
    """Raises DeniedError for a job that exists and is not readable: Metronome answers that it does not exist."""
    job_id = str(job["id"])
    try:
        metronome.create(job)
    except ConflictError:
        if not new or metronome.job(job_id):
            raise
    else:
        if not new or metronome.job(job_id):
            return
        metronome.delete(job_id)
    raise DeniedError(
        f"Job {job_id} exists and is not readable. Missing: {of_request('GET', f'/v1/jobs/{job_id}')}.",
        remedy="Grant it, or use other credentials; `bgci doctor` lists the permissions.",
    )


def _restore(context: Context, metronome: Metronome, touched: list[str], earlier: Mapping[str, Job | None]) -> bool:
    """Restore the earlier jobs. Returns whether all were restored; a job that cannot be restored is a warning."""
    whole = True
    for job_id in touched:
        before = earlier[job_id]
        try:
            if metronome.job(job_id) is not None:
                metronome.delete(job_id, stop_runs=True)
            if before:
                metronome.create(before.spec)
        except BgciError as error:
            whole = False
            context.console.warn(f"Job {job_id} could not be restored: {error.message}")
    return whole
