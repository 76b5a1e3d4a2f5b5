"""What a job specification may be, and what it is with its defaults (metronome: jobspec.schema.json, JobRunSpec.scala).

Unlike Marathon, Metronome refuses unknown fields and nulls."""

from __future__ import annotations

import re
from typing import Any

from bgci.sandbox.shape import FLAG, SOME_TEXT, STRINGS, TEXT, Problem, Shape, array, choice, problems
from bgci.sandbox.web import ApiError

Json = dict[str, Any]
Errors = dict[str, list[str]]

JOB_ID = re.compile(r"([a-z0-9]+(-+[a-z0-9]+)*)(\.([a-z0-9]+(-+[a-z0-9]+)*))*")


NAME = Shape("string", pattern=JOB_ID)


def record(required: tuple[str, ...] = (), **fields: Shape) -> Shape:
    """An object with these fields and no others."""
    return Shape("object", fields, required, closed=True)


SCHEDULE = Shape("object", {"id": NAME, "cron": TEXT}, ("id", "cron"))
UCR_IMAGE = record(("id",), id=TEXT, kind=choice("docker", "appc"), forcePull=FLAG)
RUN = record(
    ("cpus", "mem", "disk"),
    args=array(TEXT),
    artifacts=array(record(("uri",), uri=TEXT, executable=FLAG, extract=FLAG, cache=FLAG)),
    cmd=SOME_TEXT,
    cpus=Shape("number", least=0.01),
    gpus=Shape("integer", least=0),
    disk=Shape("number", least=0),
    mem=Shape("number", least=32),
    networks=array(
        record(
            ("mode",),
            name=TEXT,
            mode=choice("host", "container/bridge", "container"),
            labels=STRINGS,
        )
    ),
    ucr=record(("image",), image=UCR_IMAGE, privileged=FLAG),
    docker=record(
        ("image",),
        image=TEXT,
        forcePullImage=FLAG,
        privileged=FLAG,
        parameters=array(record(("key", "value"), key=TEXT, value=TEXT)),
    ),
    env=Shape("object", items=Shape("string or object", {"secret": TEXT})),
    maxLaunchDelay=Shape("integer", least=1),
    placement=record(
        constraints=array(
            record(
                ("attribute", "operator"),
                attribute=TEXT,
                operator=choice("IS", "EQ", "LIKE", "UNLIKE"),
                value=TEXT,
            )
        )
    ),
    user=TEXT,
    taskKillGracePeriodSeconds=Shape("number"),
    restart=record(
        ("policy",),
        policy=choice("NEVER", "ON_FAILURE"),
        activeDeadlineSeconds=Shape("integer"),
    ),
    volumes=array(
        record(
            ("containerPath",),
            containerPath=SOME_TEXT,
            hostPath=SOME_TEXT,
            mode=choice("RO", "RW"),
            secret=SOME_TEXT,
        )
    ),
    secrets=Shape("object", items=Shape("object", {"source": TEXT})),
)
JOB = record(
    ("id", "run"),
    id=NAME,
    description=TEXT,
    dependencies=array(Shape("object", {"id": NAME})),
    labels=STRINGS,
    schedules=array(SCHEDULE),
    run=RUN,
)

RUN_DEFAULTS: Json = {
    "artifacts": [], "env": {}, "placement": {"constraints": []}, "restart": {"policy": "NEVER"}, "volumes": [],
    "secrets": {}, "networks": [], "gpus": 0, "maxLaunchDelay": 3600,
}  # fmt: skip
ARTIFACT_DEFAULTS: Json = {"extract": True, "executable": False, "cache": False}


def job_spec(body: Any) -> Json:
    """The specification with its defaults. Raises ApiError 422 with the errors by path."""
    errors: Errors = {}
    for problem in problems(body, JOB):
        _add(errors, "".join(f"/{part}" for part in problem.path), _sentence(problem))
    if not errors:
        _model_errors(body, errors)
    if errors:
        details = [{"path": path or "/", "errors": texts} for path, texts in errors.items()]
        raise ApiError(422, {"message": "Object is not valid", "details": details})
    return _with_defaults(body)


def _sentence(problem: Problem) -> str:
    """A problem in the words of Metronome's JSON schema validator."""
    shape, value = problem.shape, problem.value
    if problem.kind == "missing":
        return f"Property {problem.name} missing."
    if problem.kind == "unknown":
        return f"Additional properties are not allowed but found '{problem.name}'."
    if problem.kind == "type":
        return f"Wrong type. Expected {shape.kind}, was {_type_name(value)}."
    if problem.kind == "least":
        return f"{value} is smaller than required minimum value of {shape.least}."
    if problem.kind == "choice":
        return f"Found {value}, but expected one of: {', '.join(shape.choices)}."
    return f"'{value}' does not match pattern '{shape.pattern.pattern if shape.pattern else ''}'."


def _model_errors(body: Json, errors: Errors) -> None:
    """The rules beyond the schema (metronome: JobRunSpec.scala, JobSpec.scala)."""
    run = body["run"]
    if not run.keys() & {"cmd", "docker", "ucr"}:
        _add(errors, "/run", "Cmd, Docker or UCR image must be specified")
    if {"docker", "ucr"} <= run.keys():
        _add(errors, "/run", "Either Docker or UCR should be provided, but not both")
    if run.get("gpus") and "docker" in run:
        _add(errors, "/run", "GPUs are not supported with Docker")
    for index, volume in enumerate(run.get("volumes", [])):
        keys = set(volume)
        if keys not in ({"containerPath", "hostPath", "mode"}, {"containerPath", "secret"}):
            _add(errors, f"/run/volumes({index})", "must be a host volume or a secret volume")
        elif "secret" in keys and "ucr" not in run:
            _add(errors, f"/run/volumes({index})", "File-based secrets are only supported by the UCR")
    used = {value["secret"] for value in run.get("env", {}).values() if isinstance(value, dict) and "secret" in value}
    used |= {volume["secret"] for volume in run.get("volumes", []) if "secret" in volume}
    declared = set(run.get("secrets", {}))
    if used - declared:
        _add(errors, "/run/secrets", f"Secret names are missing: {', '.join(sorted(used - declared))}")
    if declared - used:
        _add(errors, "/run/secrets", f"Secrets are not used: {', '.join(sorted(declared - used))}")
    if body.get("dependencies") and body.get("schedules"):
        _add(errors, "/", "Jobs may not have both dependencies and schedules")


def _with_defaults(body: Json) -> Json:
    run = {**RUN_DEFAULTS, **body["run"]}
    run["artifacts"] = [{**ARTIFACT_DEFAULTS, **artifact} for artifact in run["artifacts"]]
    constraints = run["placement"].get("constraints", [])
    same = {"EQ": "IS"}
    run["placement"] = {"constraints": [{**c, "operator": same.get(c["operator"], c["operator"])} for c in constraints]}
    if "docker" in run:
        run["docker"] = {"forcePullImage": False, "privileged": False, "parameters": [], **run["docker"]}
    return {"labels": {}, "dependencies": [], **body, "run": run, "schedules": []}


def _type_name(value: Any) -> str:
    names = {type(None): "null", bool: "boolean", str: "string", dict: "object", list: "array", int: "number"}
    return names.get(type(value), "number")


def _add(errors: Errors, path: str, error: str) -> None:
    errors.setdefault(path, []).append(error)
