"""Compares the options of a stage with those of its published job: updates the job, or refuses with both values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bgci.appdef.job_document import JobDocument, job_document, with_document
from bgci.appdef.jobs import ended_at, job_deadline
from bgci.dcos.metronome import Job
from bgci.durations import parse_duration
from bgci.engine.decisions import Kind, Release
from bgci.errors import ConflictError
from bgci.operations.canary_size import CanarySize
from bgci.operations.context import Context
from bgci.operations.job_addresses import CONNECTION, job_connection
from bgci.operations.kept_baseline import kept_definition
from bgci.operations.rendering import from_template, job_goal_options, published_options
from bgci.options import CANARY
from bgci.reporting.diff import difference

TEMPLATE = ("template", "template_dir", "set", "template_env")


@dataclass(frozen=True)
class OptionChange:
    """An option with another value than in the published job."""

    name: str
    published: Any
    given: Any

    def __str__(self) -> str:
        shown = ("(another)", "") if "-----BEGIN" in f"{self.published}{self.given}" else (self.given, self.published)
        return f"--{self.name.replace('_', '-')} {shown[0]}, published with {shown[1] or 'none'}"


def honoured(
    context: Context, job: Job, kind: Kind, release: Release | None, size: CanarySize
) -> tuple[dict[str, Any], list[OptionChange]]:
    """The job's definition with the options that this stage is given, and which of them are new.

    Raises ConflictError for changes that require new jobs: another image, another definition, another way to run.
    """
    document = job_document(job.spec)
    _require_same(context, job, document, kind, release)
    given = _given(context, kind, size)
    if kind is Kind.ROLLBACK and (context.settings.cut or document.options.get("cut")):
        given["cut"] = context.settings.cut  # of this rollback, never of an earlier one
    changes = [OptionChange(name, document.options.get(name), value) for name, value in given.items()]
    changes = [change for change in changes if change.published != change.given]
    baseline = _lost_baseline(context) if kind is Kind.ROLLBACK else document.baseline
    changed = replace(document, options={**document.options, **given}, baseline=baseline)
    if not changes and baseline == document.baseline:
        return dict(job.spec), changes
    return _with_deadline(with_document(job.spec, changed), document, changed), changes


def _lost_baseline(context: Context) -> dict[str, Any]:
    """The definition of a baseline that no longer exists in the cluster: a promotion was killed after its deletion."""
    running = context.cluster.marathon.colours(context.app_id)
    return kept_definition(context) if {one.app.revision for one in running} == {context.revision} else {}


def _given(context: Context, kind: Kind, size: CanarySize) -> dict[str, Any]:
    """The options of this stage, in the form of the job."""
    settings = context.settings
    options = {name: value for name, value in job_goal_options(settings).items() if name not in CANARY}
    given = {name: value for name, value in options.items() if name in settings.origins}
    if kind is Kind.CANARY and size.given:
        given |= {"instances": size.instances, "percent": size.percent}
    connection = job_connection(settings)
    named = [name for name, (sources, _) in CONNECTION.items() if not settings.origins.keys().isdisjoint(sources)]
    return given | {name: connection[name] for name in named}


def _require_same(context: Context, job: Job, document: JobDocument, kind: Kind, release: Release | None) -> None:
    """Raise ConflictError for changes that require a new job. A rollback deploys no image and no definition."""
    settings, deploys = context.settings, kind is not Kind.ROLLBACK
    ours = published_options(settings) | ({"image": settings.image} if deploys else {})
    theirs = {"image": document.image, **document.published}
    changes = [
        str(OptionChange(name, theirs.get(name, ""), value))
        for name, value in ours.items()
        if name in settings.origins and theirs.get(name, "") != value
    ]
    changes += _definition_changes(context, document, release) if deploys else []
    if changes and not deploys:
        context.console.warn(
            f"The job {job.id} was published with other options: {'; '.join(changes)}. It runs with the published ones."
        )
    elif changes:
        raise ConflictError(
            f"The job {job.id} was published with other options: {'; '.join(changes)}.",
            remedy="Publish this revision again with `bgci publish`, or omit the options.",
        )


def _definition_changes(context: Context, document: JobDocument, release: Release | None) -> Iterator[str]:
    """The difference between the definition of this stage and the published one."""
    settings = context.settings
    if release is None and settings.image and not settings.origins.keys().isdisjoint(TEMPLATE):
        release = from_template(context)
    if release is not None and release.definition != document.definition:
        yield f"the app definition differs\n{difference(document.definition, release.definition or {})}"


def _with_deadline(spec: Mapping[str, Any], before: JobDocument, after: JobDocument) -> dict[str, Any]:
    """The job with the deadline of its new timeouts."""
    old, new = _deadline(before), _deadline(after)
    run = dict(spec["run"])
    if old == new:
        return dict(spec)
    run["cmd"] = str(run.get("cmd", "")).replace(f"{ended_at(old)} ", f"{ended_at(new)} ")
    if run.get("restart", {}).get("activeDeadlineSeconds") == old:
        run["restart"] = {**run["restart"], "activeDeadlineSeconds": new}
    return {**spec, "run": run}


def _deadline(document: JobDocument) -> int:
    timeout, drain_timeout = (parse_duration(str(document.options[name])) for name in ("timeout", "drain_timeout"))
    return job_deadline(timeout, drain_timeout)
