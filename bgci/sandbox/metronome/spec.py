"""The schemas of a job specification and a schedule (metronome: jobspec.schema.json, schedulespec.schema.json).

Unlike Marathon, Metronome refuses unknown fields and nulls. ``model`` has the rules beyond the schema."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from bgci.sandbox.shape import FLAG, SOME_TEXT, STRINGS, TEXT, Problem, Shape, array, choice, problems
from bgci.sandbox.web import ApiError

Json = dict[str, Any]
Errors = dict[str, list[str]]

JOB_ID = re.compile(r"([a-z0-9]+(\-+[a-z0-9]+)*)(\.([a-z0-9]+(\-+[a-z0-9]+)*))*")
SCHEDULE_ID = re.compile(r"([a-z0-9][a-z0-9\-]*[a-z0-9]+)")
NAME = Shape("string", pattern=JOB_ID)
ENV = ("run", "env")
_TOO_SHORT = "'' does not match minimum length of 1."


def record(required: tuple[str, ...] = (), **fields: Shape) -> Shape:
    """An object with these fields and no others."""
    return Shape("object", fields, required, closed=True)


def schedule_of(name: Shape) -> Shape:
    fields = {
        "id": name,
        "cron": TEXT,
        "timezone": TEXT,
        "startingDeadlineSeconds": Shape("integer", least=1),
        "concurrencyPolicy": choice("ALLOW", "FORBID"),
        "enabled": FLAG,
    }
    return Shape("object", fields, ("id", "cron"))


SCHEDULE = schedule_of(Shape("string", pattern=SCHEDULE_ID))
NETWORK = record(("mode",), name=TEXT, mode=choice("host", "container/bridge", "container"), labels=STRINGS)
UCR_IMAGE = record(("id",), id=TEXT, kind=choice("docker", "appc"), forcePull=FLAG)
PARAMETER = record(("key", "value"), key=TEXT, value=TEXT)
CONSTRAINT = record(
    ("attribute", "operator"), attribute=TEXT, operator=choice("IS", "EQ", "LIKE", "UNLIKE"), value=TEXT
)
VOLUME = record(
    ("containerPath",), containerPath=SOME_TEXT, hostPath=SOME_TEXT, mode=choice("RO", "RW"), secret=SOME_TEXT
)
RUN: dict[str, Shape] = {
    "args": array(TEXT),
    "artifacts": array(record(("uri",), uri=TEXT, executable=FLAG, extract=FLAG, cache=FLAG)),
    "cmd": SOME_TEXT,
    "cpus": Shape("number", least=0.01),
    "gpus": Shape("integer", least=0),
    "disk": Shape("number", least=0),
    "mem": Shape("number", least=32),
    "networks": array(NETWORK),
    "ucr": record(("image",), image=UCR_IMAGE, privileged=FLAG),
    "docker": record(("image",), image=TEXT, forcePullImage=FLAG, privileged=FLAG, parameters=array(PARAMETER)),
    "env": Shape("object", items=Shape("string or object", {"secret": TEXT})),
    "maxLaunchDelay": Shape("integer", least=1),
    "placement": record(constraints=array(CONSTRAINT)),
    "user": TEXT,
    "taskKillGracePeriodSeconds": Shape("number"),
    "restart": record(("policy",), policy=choice("NEVER", "ON_FAILURE"), activeDeadlineSeconds=Shape("integer")),
    "volumes": array(VOLUME),
    "secrets": Shape("object", items=Shape("object", {"source": TEXT})),
}


def job_of(run: dict[str, Shape]) -> Shape:
    return record(
        ("id", "run"),
        id=NAME,
        description=TEXT,
        dependencies=array(Shape("object", {"id": NAME})),
        labels=STRINGS,
        schedules=array(schedule_of(NAME)),
        run=record(("cpus", "mem", "disk"), **run),
    )


JOB = job_of(RUN)
JOB_V0 = job_of({name: shape for name, shape in RUN.items() if name != "taskKillGracePeriodSeconds"})
"""The shape of a job in ``/v0/scheduled-jobs``."""


def check_shape(body: Any, shape: Shape) -> None:
    """Checks a value against its schema. Raises ApiError 422 with the errors by path."""
    errors: Errors = {}
    unknown: dict[str, list[str]] = {}
    for problem in problems(body, shape):
        path = problem.path[:3] if problem.path[:2] == ENV else problem.path
        text = "".join(f"/{part}" for part in path)
        if problem.kind == "unknown":
            unknown.setdefault(text, []).append(f"'{problem.name}'")
            continue
        if problem.kind == "pattern" and problem.value == "":
            errors.setdefault(text, []).append(_TOO_SHORT)
        if (sentence := _sentence(problem)) not in errors.setdefault(text, []):
            errors[text].append(sentence)
    for text, names in unknown.items():
        message = f"Additional properties are not allowed, but found properties {', '.join(names)}."
        errors.setdefault(text, []).append(message)
    refuse(errors)


def refuse(errors: Errors) -> None:
    """Refuses a request with errors. Raises ApiError 422 if there are any."""
    if errors:
        details = [{"path": path, "errors": texts} for path, texts in errors.items()]
        raise ApiError(422, {"message": "Object is not valid", "details": details})


def _sentence(problem: Problem) -> str:
    """The message of Metronome's JSON schema validator for a problem."""
    shape, value = problem.shape, problem.value
    if problem.path[:2] == ENV and len(problem.path) > 2:
        return "Instance does not match any schema."
    if problem.kind == "missing":
        return f"Property {problem.name} missing."
    if problem.kind == "type":
        return f"Wrong type. Expected {shape.kind}, was {_type_name(value)}."
    if problem.kind == "least":
        return f"{Decimal(str(value))} is smaller than required minimum value of {shape.least}."
    if problem.kind == "choice":
        return "Instance is invalid enum value."
    if shape is SOME_TEXT:
        return _TOO_SHORT
    return f"'{value}' does not match pattern '^{shape.pattern.pattern if shape.pattern else ''}$'."


def _type_name(value: Any) -> str:
    names = {type(None): "null", bool: "boolean", str: "string", dict: "object", list: "array"}
    return names.get(type(value), "number")
