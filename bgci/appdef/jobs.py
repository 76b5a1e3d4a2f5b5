"""The three DC/OS Jobs of a revision: each runs one goal inside the cluster, with the app definition inside the job."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bgci.appdef.findings import require_valid
from bgci.appdef.metronome_rules import check_job
from bgci.appdef.names import job_ids
from bgci.appdef.template import render_template
from bgci.errors import InvalidError

# How long a run may take beyond the deadlines of the command inside it: to start, and to say why it ends.
_MARGIN_SECONDS = 120
# One environment variable may hold 128 KiB (Linux: MAX_ARG_STRLEN), its name included.
_MAX_DEFINITION_BYTES = 128 * 1024 - 64
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_DURATION = re.compile(f"(?:{_PART.pattern})+")
_DESCRIPTIONS = {
    "canary": "1 of 3 jobs of {app} {revision}: starts its canary beside the baseline",
    "promote": "2 of 3 jobs of {app} {revision}: completes it and removes the baseline",
    "rollback": "3 of 3 jobs of {app} {revision}: removes its canary and brings the baseline back",
}


@dataclass(frozen=True)
class JobSettings:
    """What the jobs need to know besides the app.

    image: the one with bgci in it. Durations are texts with units, such as ``10m``. instances: of the canary.
    cluster_url: empty where there is no DC/OS. ca_cert: PEM text, or a path inside the job's container; ca_sha256: the
    fingerprint of the cluster's own CA. cpus: shares; mem and disk: MiB.
    secret_env: environment variables that come from the secret store, name to path; env: others, readable by anyone
    who may read jobs.
    """

    image: str
    cluster_url: str
    marathon_lb_urls: tuple[str, ...]
    strategy: str
    wave: int
    timeout: str
    drain_timeout: str
    on_drain_timeout: str
    instances: int
    marathon_url: str | None = None
    allow_no_health_check: bool = False
    cpus: float = 0.1
    mem: float = 128
    disk: float = 0
    ca_cert: str | None = None
    ca_sha256: str | None = None
    insecure: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    secret_env: Mapping[str, str] = field(default_factory=dict)


def default_template() -> str:
    """The packaged job template, which ``--job-template`` replaces. Its variables: see `_variables`."""
    from importlib.resources import files

    return files("bgci.appdef").joinpath("job.template.json").read_text(encoding="utf-8")


def render_jobs(
    definition: Mapping[str, Any],
    *,
    app_id: str,
    revision: str,
    image: str,
    settings: JobSettings,
    template: str | None,
) -> dict[str, dict[str, object]]:
    """The job definitions by goal: ``canary``, ``promote``, ``rollback``.

    definition: the app's, normalised and without a colour. template: the text of a job template in JSON, None for the
    packaged one. Raises InvalidError if Metronome would refuse what comes out.
    """
    text = default_template() if template is None else template
    jobs: dict[str, dict[str, object]] = {}
    for goal, job_id in job_ids(app_id, revision).items():
        variables = {"id": job_id, "goal": goal, "app": app_id, "revision": revision, "image": image}
        variables |= _variables(definition, goal, app_id, revision, image, settings)
        job = render_template(text, name="job.template.json", variables=variables)
        require_valid(check_job(job, job_id=job_id), what=f"the job {job_id}")
        jobs[goal] = job
    return jobs


def _variables(
    definition: Mapping[str, Any], goal: str, app_id: str, revision: str, image: str, settings: JobSettings
) -> dict[str, Any]:
    """What a job template may use besides id, goal, app, revision and image."""
    deadline = duration_seconds(settings.timeout) + duration_seconds(settings.drain_timeout) + _MARGIN_SECONDS
    return {
        "description": _DESCRIPTIONS[goal].format(app=app_id, revision=revision),
        # Metronome itself ends no run, however long it takes (hazard 32): `timeout` does.
        "cmd": f"exec timeout -k 30 {deadline} bgci {goal} --via direct",
        "env": _env(definition, goal, app_id, revision, image, settings),
        "labels": {**settings.labels, "BGCI_APP": app_id, "BGCI_REVISION": revision, "BGCI_GOAL": goal},
        "secrets": {name.lower(): {"source": source} for name, source in settings.secret_env.items()},
        "job_image": settings.image,
        "deadline_seconds": deadline,
        "cpus": settings.cpus,
        "mem": settings.mem,
        "disk": settings.disk,
    }


def _env(
    definition: Mapping[str, Any], goal: str, app_id: str, revision: str, image: str, settings: JobSettings
) -> dict[str, Any]:
    carried = json.dumps(definition, sort_keys=True, separators=(",", ":"))
    if len(carried) > _MAX_DEFINITION_BYTES:
        raise InvalidError(
            f"the definition of {app_id} has {len(carried)} bytes; a job can carry {_MAX_DEFINITION_BYTES}",
            remedy="shorten it, for example by fetching files instead of writing them into env; or use --via direct",
        )
    optional = {
        "BGCI_CLUSTER_URL": settings.cluster_url or None,
        "BGCI_MARATHON_URL": settings.marathon_url,
        "BGCI_CA_CERT": settings.ca_cert,
        "BGCI_CA_SHA256": settings.ca_sha256,
        "BGCI_INSECURE": "true" if settings.insecure else None,
        "BGCI_ALLOW_NO_HEALTH_CHECK": "true" if settings.allow_no_health_check else None,
        "BGCI_INSTANCES": str(settings.instances) if goal == "canary" else None,
    }
    return {
        **settings.env,
        **{name: {"secret": name.lower()} for name in settings.secret_env},
        "BGCI_APP": app_id,
        "BGCI_REVISION": revision,
        "BGCI_IMAGE": image,
        "BGCI_APP_DEFINITION": carried,
        "BGCI_MARATHON_LB_URL": " ".join(settings.marathon_lb_urls),
        "BGCI_STRATEGY": settings.strategy,
        "BGCI_WAVE": str(settings.wave),
        "BGCI_TIMEOUT": settings.timeout,
        "BGCI_DRAIN_TIMEOUT": settings.drain_timeout,
        "BGCI_ON_DRAIN_TIMEOUT": settings.on_drain_timeout,
        "BGCI_LOG_FORMAT": "text",
        **{name: value for name, value in optional.items() if value is not None},
    }


def definition_from_env(text: str) -> dict[str, Any]:
    """The definition that a job carries in BGCI_APP_DEFINITION; raises InvalidError if it is damaged."""
    problem = "it is no object"
    try:
        definition = json.loads(text)
    except ValueError as error:
        definition, problem = None, f"it is not JSON ({error})"
    if isinstance(definition, dict):
        return definition
    raise InvalidError(f"BGCI_APP_DEFINITION cannot be read: {problem}", remedy="run `bgci publish` again")


def duration_seconds(text: str) -> int:
    """``90s``, ``10m``, ``1h30m`` or ``1.5h`` in whole seconds, rounded up; InvalidError for a bare number too."""
    if not _DURATION.fullmatch(text):
        raise InvalidError(f"{text!r} is no duration", remedy="write a number with its unit, such as 90s or 10m")
    return math.ceil(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))


def to_json(value: object) -> str:
    """The one way in which definitions are written: the same value gives the same bytes, all of them ASCII."""
    return json.dumps(value, sort_keys=True, indent=2) + "\n"
