"""What a job specification may be, and what it is with its defaults (metronome: jobspec.schema.json, JobRunSpec.scala).

Unlike Marathon, Metronome refuses unknown fields and nulls."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bgci.sandbox.web import ApiError

Json = dict[str, Any]
Errors = dict[str, list[str]]

JOB_ID = re.compile(r"([a-z0-9]+(-+[a-z0-9]+)*)(\.([a-z0-9]+(-+[a-z0-9]+)*))*")


@dataclass(frozen=True)
class Shape:
    """What a value must look like: its type, and what that type needs."""

    kind: str
    fields: Mapping[str, Shape] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    items: Shape | None = None
    closed: bool = True
    least: float | None = None
    choices: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None


TEXT = Shape("string")
SOME_TEXT = Shape("string", pattern=re.compile(r"(?s).+"))
FLAG = Shape("boolean")
STRINGS = Shape("object", items=TEXT)
NAME = Shape("string", pattern=JOB_ID)


def record(required: tuple[str, ...] = (), **fields: Shape) -> Shape:
    """An object with these fields and no others."""
    return Shape("object", fields, required)


def array(items: Shape) -> Shape:
    return Shape("array", items=items)


SCHEDULE = Shape("object", {"id": NAME, "cron": TEXT}, ("id", "cron"), closed=False)
UCR_IMAGE = record(("id",), id=TEXT, kind=Shape("string", choices=("docker", "appc")), forcePull=FLAG)
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
            mode=Shape("string", choices=("host", "container/bridge", "container")),
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
    env=Shape("object", items=Shape("string or secret")),
    maxLaunchDelay=Shape("integer", least=1),
    placement=record(
        constraints=array(
            record(
                ("attribute", "operator"),
                attribute=TEXT,
                operator=Shape("string", choices=("IS", "EQ", "LIKE", "UNLIKE")),
                value=TEXT,
            )
        )
    ),
    user=TEXT,
    taskKillGracePeriodSeconds=Shape("number"),
    restart=record(
        ("policy",),
        policy=Shape("string", choices=("NEVER", "ON_FAILURE")),
        activeDeadlineSeconds=Shape("integer"),
    ),
    volumes=array(
        record(
            ("containerPath",),
            containerPath=SOME_TEXT,
            hostPath=SOME_TEXT,
            mode=Shape("string", choices=("RO", "RW")),
            secret=SOME_TEXT,
        )
    ),
    secrets=Shape("object", items=Shape("object", {"source": TEXT}, closed=False)),
)
JOB = record(
    ("id", "run"),
    id=NAME,
    description=TEXT,
    dependencies=array(Shape("object", {"id": NAME}, closed=False)),
    labels=STRINGS,
    schedules=array(SCHEDULE),
    run=RUN,
)

RUN_DEFAULTS: Json = {
    "artifacts": [], "env": {}, "placement": {"constraints": []}, "restart": {"policy": "NEVER"}, "volumes": [],
    "secrets": {}, "networks": [], "gpus": 0, "maxLaunchDelay": 3600,
}  # fmt: skip
ARTIFACT_DEFAULTS: Json = {"extract": True, "executable": False, "cache": False}

_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float), "object": (dict,),
    "array": (list,), "string or secret": (str, dict),
}  # fmt: skip


def job_spec(body: Any) -> Json:
    """The specification with its defaults. Raises ApiError 422 with the errors by path."""
    errors: Errors = {}
    _check(body, JOB, "", errors)
    if not errors:
        _model_errors(body, errors)
    if errors:
        details = [{"path": path or "/", "errors": texts} for path, texts in errors.items()]
        raise ApiError(422, {"message": "Object is not valid", "details": details})
    return _with_defaults(body)


def _check(value: Any, shape: Shape, path: str, errors: Errors) -> None:
    """The rules of the schema."""
    if not isinstance(value, _PYTHON_TYPES[shape.kind]) or (isinstance(value, bool) and shape.kind != "boolean"):
        _add(errors, path, f"Wrong type. Expected {shape.kind}, was {_type_name(value)}.")
    elif isinstance(value, dict):
        _check_object(value, shape, path, errors)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, shape.items or TEXT, f"{path}/{index}", errors)
    else:
        _check_scalar(value, shape, path, errors)


def _check_scalar(value: Any, shape: Shape, path: str, errors: Errors) -> None:
    if shape.least is not None and value < shape.least:
        _add(errors, path, f"{value} is smaller than required minimum value of {shape.least}.")
    elif shape.choices and value not in shape.choices:
        _add(errors, path, f"Found {value}, but expected one of: {', '.join(shape.choices)}.")
    elif shape.pattern is not None and not shape.pattern.fullmatch(value):
        _add(errors, path, f"'{value}' does not match pattern '{shape.pattern.pattern}'.")


def _check_object(value: Json, shape: Shape, path: str, errors: Errors) -> None:
    for name in shape.required:
        if name not in value:
            _add(errors, path, f"Property {name} missing.")
    for name, inner in value.items():
        expected = shape.fields.get(name, shape.items)
        if expected is not None:
            _check(inner, expected, f"{path}/{name}", errors)
        elif shape.closed and shape.kind == "object":
            _add(errors, path, f"Additional properties are not allowed but found '{name}'.")


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
