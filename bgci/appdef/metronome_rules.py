"""What Metronome would refuse in a job (metronome: jobspec.schema.json, JobRunSpec.scala)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bgci.appdef.findings import Finding, Shape, check_shape

_TEXT, _FLAG = Shape("text"), Shape("flag")
_ID_PATTERN = r"([a-z0-9]+(-+[a-z0-9]+)*)(\.([a-z0-9]+(-+[a-z0-9]+)*))*"
_DOCKER = Shape(
    "object",
    closed=True,
    required=("image",),
    fields={
        "image": Shape("text", pattern=r"\S+"),
        "forcePullImage": _FLAG,
        "privileged": _FLAG,
        "parameters": Shape(
            "list",
            members=Shape("object", closed=True, required=("key", "value"), fields={"key": _TEXT, "value": _TEXT}),
        ),
    },
)
_RUN = Shape(
    "object",
    closed=True,
    required=("cmd", "cpus", "mem", "disk"),
    fields={
        "args": Shape("list", members=_TEXT),
        "artifacts": Shape("list", members=Shape("object", required=("uri",), fields={"uri": _TEXT})),
        "cmd": Shape("text", pattern=r"(?s).+"),
        "cpus": Shape("number", low=0.01),
        "gpus": Shape("integer", low=0),
        "disk": Shape("number", low=0),
        "docker": _DOCKER,
        "env": Shape("object", members=Shape("text or secret")),
        "maxLaunchDelay": Shape("integer", low=1),
        "mem": Shape("number", low=32),
        "networks": Shape("list", members=Shape("object", required=("mode",))),
        "placement": Shape("object", closed=True, fields={"constraints": Shape("list", members=Shape("object"))}),
        "restart": Shape(
            "object",
            closed=True,
            required=("policy",),
            fields={
                "policy": Shape("text", choices=("NEVER", "ON_FAILURE")),
                "activeDeadlineSeconds": Shape("integer", low=1),
            },
        ),
        "secrets": Shape("object", members=Shape("object", required=("source",), fields={"source": _TEXT})),
        "taskKillGracePeriodSeconds": Shape("number", low=0),
        "ucr": Shape(
            "object", closed=True, required=("image",), fields={"image": Shape("object"), "privileged": _FLAG}
        ),
        "user": _TEXT,
        "volumes": Shape("list", members=Shape("object", required=("containerPath",))),
    },
)
_JOB = Shape(
    "object",
    closed=True,
    required=("id", "run"),
    fields={
        "id": Shape("text", pattern=_ID_PATTERN),
        "description": _TEXT,
        "dependencies": Shape("list", members=Shape("object")),
        "labels": Shape("object", members=_TEXT),
        "run": _RUN,
        "schedules": Shape("list", members=Shape("object")),
    },
)


def check_job(job: Mapping[str, Any], *, job_id: str) -> list[Finding]:
    """Everything that Metronome would refuse, and another id than ``job_id``."""
    findings = list(check_shape(job, _JOB))
    if job.get("id") != job_id:
        findings.append(
            Finding("$.id", f"is not {job_id!r}", 'write "id": "{{ id }}": the CI stages look for that name')
        )
    run = job.get("run")
    if isinstance(run, Mapping):
        findings += _check_run(run)
    return findings


def _check_run(run: Mapping[str, Any]) -> Iterator[Finding]:
    if "docker" in run and "ucr" in run:
        yield Finding("$.run.ucr", "stands beside docker", "keep one of the two")
    env, declared = run.get("env"), run.get("secrets")
    values = list(env.values()) if isinstance(env, Mapping) else []
    volumes = run.get("volumes")
    values += volumes if isinstance(volumes, list) else []
    used = {str(value["secret"]) for value in values if isinstance(value, Mapping) and "secret" in value}
    names = set(declared) if isinstance(declared, Mapping) else set()
    for name in sorted(used - names):
        yield Finding("$.run.secrets", f"lacks {name!r}, which is used", "declare it with its source")
    for name in sorted(names - used):
        yield Finding("$.run.secrets", f"declares {name!r}, which nothing uses", "use it in env, or remove it")
