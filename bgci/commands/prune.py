"""Command ``prune``: removes the DC/OS Jobs of old revisions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bgci.dcos.http import LONGEST
from bgci.dcos.metronome import Job
from bgci.engine.lock import Way
from bgci.interruption import within
from bgci.operations.context import stage
from bgci.operations.exclusion import take_lock
from bgci.operations.publishing import jobs_of_app, needed_metronome
from bgci.options import Settings


def run(settings: Settings) -> None:
    """Remove the jobs of all revisions except the --keep latest and the running ones."""
    with stage("prune", settings) as context:
        metronome = needed_metronome(context)
        take_lock(context, Way.FOLLOW)
        apps = context.cluster.marathon.colours(context.app_id)
        running = {name for app in apps for name in (app.revision, app.previous.revision if app.previous else "")}
        jobs = jobs_of_app(context)
        old = prunable(jobs, running, settings.keep)
        for job in old:
            if settings.dry_run:
                context.plan(f"Remove job {job.id}.")
            else:
                with within(LONGEST):
                    metronome.delete(job.id, stop_runs=False)
                context.console.step(f"Removed job {job.id}.")
        removed = () if settings.dry_run else tuple(job.id for job in old)
        context.result = replace(context.result, removed=removed)
        context.console.result(f"{len(jobs) - len(old)} jobs of {context.app_id} remain.")


def prunable(jobs: Sequence[Job], running: set[str], keep: int) -> list[Job]:
    """The jobs of old revisions: neither running, nor active, nor among the ``keep`` latest.

    Metronome has no creation time of a job: the last run dates a revision. A revision without a run is the latest,
    because it was published for the next release.
    """
    latest: dict[str, str] = {}
    for job in jobs:
        latest[job.revision] = max(latest.get(job.revision, ""), job.last_success, job.last_failure)
    order = sorted(latest, key=lambda revision: latest[revision] or "9999", reverse=True)
    kept = {*order[:keep], *running}
    return [job for job in jobs if job.revision not in kept and not job.active_runs]
