"""The three DC/OS Jobs of a revision: each runs one goal inside the cluster, with the app definition inside the job."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bgci.appdef.findings import require_valid
from bgci.appdef.job_document import VARIABLE, JobDocument, largest_parts
from bgci.appdef.metronome_rules import check_job
from bgci.appdef.names import job_ids
from bgci.appdef.template import render_template
from bgci.errors import InvalidError

# Seconds of a run beyond the deadlines of its command: to start, and to report the reason of its end.
_MARGIN_SECONDS = 120
# The body of POST /v1/jobs (metronome: play.http.parser.maxMemoryBuffer; measured, docs/platform.md).
MAX_JOB_BYTES = 102_400
_DESCRIPTIONS = {
    "canary": "1 of 3 jobs of {app} {revision}: starts its canary beside the baseline",
    "promote": "2 of 3 jobs of {app} {revision}: completes it and removes the baseline",
    "rollback": "3 of 3 jobs of {app} {revision}: removes its canary and brings the baseline back",
}


@dataclass(frozen=True)
class JobSettings:
    """The settings of the jobs, besides their document.

    image: with bgci in it, or with Python where ``artifact``, the URL of bgci.pyz, is given. deadline_seconds: after
    which the run is killed.
    secret_env: environment variables that come from the secret store, name to path; env: others, readable by anyone
    with read permission for jobs.
    """

    image: str
    deadline_seconds: int
    artifact: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    secret_env: Mapping[str, str] = field(default_factory=dict)


def job_deadline(timeout: float, drain_timeout: float) -> int:
    """Seconds after which a run is killed: later than the deadlines of its command."""
    return math.ceil(timeout + drain_timeout) + _MARGIN_SECONDS


def default_template() -> str:
    """The packaged job template, which ``--job-template`` replaces. Its variables: see `_variables`."""
    from importlib.resources import files

    return files("bgci.appdef").joinpath("job.template.json").read_text(encoding="utf-8")


def render_jobs(
    document: JobDocument, *, settings: JobSettings, template: str | None = None
) -> dict[str, dict[str, object]]:
    """The job definitions by goal: ``canary``, ``promote``, ``rollback``.

    template: the text of a job template in JSON, None for the packaged one. Compresses a document that is too
    large as text. Raises InvalidError if Metronome would refuse the result.
    """
    text = default_template() if template is None else template
    jobs: dict[str, dict[str, object]] = {}
    for goal, job_id in job_ids(document.app, document.revision).items():
        job = _rendered(text, document, goal, job_id, settings, compressed=False)
        if request_bytes(job) > MAX_JOB_BYTES:
            job = _rendered(text, document, goal, job_id, settings, compressed=True)
        require_valid(check_job(job, job_id=job_id), what=f"the job {job_id}")
        _require_small(job, document)
        jobs[goal] = job
    return jobs


def request_bytes(job: Mapping[str, Any]) -> int:
    """The size of the request that creates the job, as Metronome counts it: JSON, escaped."""
    return len(json.dumps(job).encode())


def _require_small(job: Mapping[str, Any], document: JobDocument) -> None:
    size = request_bytes(job)
    if size > MAX_JOB_BYTES:
        parts = ", ".join(largest_parts(document.definition))
        raise InvalidError(
            f"The job {job['id']} has {size} bytes, compressed; Metronome accepts at most {MAX_JOB_BYTES}. "
            f"The largest parts of the app definition are {parts}.",
            remedy="Shorten them, for example by fetching files instead of writing them into env; or use --via direct.",
        )


def _rendered(
    template: str, document: JobDocument, goal: str, job_id: str, settings: JobSettings, *, compressed: bool
) -> dict[str, Any]:
    app, revision = document.app, document.revision
    variables = {
        "id": job_id,
        "goal": goal,
        "app": app,
        "revision": revision,
        "image": document.image,
        "description": _DESCRIPTIONS[goal].format(app=app, revision=revision),
        # Metronome itself ends no run, however long it takes (hazard 32): `timeout` does.
        "cmd": f"exec {ended_at(settings.deadline_seconds)} {_program(settings.artifact)} {goal} --via direct",
        "env": {
            **settings.env,
            **{name: {"secret": name.lower()} for name in settings.secret_env},
            VARIABLE: document.encoded(compressed=compressed),
        },
        "labels": {"BGCI_APP": app, "BGCI_REVISION": revision, "BGCI_GOAL": goal},
        "secrets": {name.lower(): {"source": source} for name, source in settings.secret_env.items()},
        "job_image": settings.image,
        "artifacts": [{"uri": settings.artifact, "extract": False}] if settings.artifact else [],
        "deadline_seconds": settings.deadline_seconds,
        "cpus": 0.1,
        "mem": 128,
        "disk": 0,  # CPU shares; MiB
    }
    return render_template(template, name="job.template.json", variables=variables)


def _program(artifact: str) -> str:
    """bgci in the job's command. Mesos fetches an artifact into the task's sandbox, under its own name."""
    return f"python3 $MESOS_SANDBOX/{artifact_file(artifact)}" if artifact else "bgci"


def artifact_file(url: str) -> str:
    """The file name of an artifact; empty for a name that is not one word in a shell."""
    name = url.partition("?")[0].partition("#")[0].rpartition("/")[2]
    return name if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) else ""


def ended_at(deadline_seconds: int) -> str:
    """The prefix of a job's command that kills it after so many seconds."""
    return f"timeout -k 30 {deadline_seconds}"
