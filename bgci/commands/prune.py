"""The DC/OS Jobs that belong to an app, and stage ``prune``, which removes those of old revisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bgci.appdef.app_definition import labels
from bgci.operations.context import stage
from bgci.operations.publishing import jobs_of_app, needed_metronome
from bgci.options import Settings


def run(settings: Settings) -> None:
    """Remove the jobs of all but the --keep latest revisions and of what runs."""
    with stage("prune", settings) as context:
        metronome = needed_metronome(context)
        running = {str(labels(app).get("BGCI_REVISION")) for app in context.cluster.marathon.colours(context.app_id)}
        jobs = jobs_of_app(context)
        doomed = superfluous(jobs, running, settings.keep)
        for job in doomed:
            if settings.dry_run:
                context.console.info(f"would remove job {job['id']}")
            else:
                metronome.delete(str(job["id"]), stop_runs=False)
                context.console.step(f"removed job {job['id']}")
        context.result["removed"] = [] if settings.dry_run else [job["id"] for job in doomed]
        context.console.result(f"{len(jobs) - len(doomed)} jobs of {context.app_id} remain")


def superfluous(jobs: Sequence[Mapping[str, Any]], running: set[str], keep: int) -> list[Mapping[str, Any]]:
    """The jobs of old revisions: neither running, nor active, nor among the ``keep`` latest.

    Metronome does not say when a job was added: a revision is as late as its last run, and one that was never run
    was published for the next release.
    """
    latest: dict[str, str] = {}
    for job in jobs:
        revision = str(labels(job).get("BGCI_REVISION"))
        latest[revision] = max(latest.get(revision, ""), _last_run(job))
    order = sorted(latest, key=lambda revision: latest[revision] or "9999", reverse=True)
    kept = {*order[:keep], *running}
    return [job for job in jobs if labels(job).get("BGCI_REVISION") not in kept and not job.get("activeRuns")]


def _last_run(job: Mapping[str, Any]) -> str:
    history = job.get("historySummary") or {}
    return max(str(history.get("lastSuccessAt") or ""), str(history.get("lastFailureAt") or ""))
