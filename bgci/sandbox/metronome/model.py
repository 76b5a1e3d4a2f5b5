"""Converts a request's body to the stored job (metronome: v1/models/package.scala, JobRunSpec.scala, JobSpec.scala).

Metronome reads all fields, then it applies its own rules. Each of the two passes collects its errors; a number that
is not a valid duration ends with 500."""

from __future__ import annotations

import json
import zoneinfo
from collections import Counter
from collections.abc import Iterator
from datetime import timezone
from typing import Any

from bgci.sandbox.clock import metronome_time, utc_now
from bgci.sandbox.metronome import cron
from bgci.sandbox.metronome.spec import JOB, SCHEDULE, Errors, Json, check_shape, refuse
from bgci.sandbox.shape import Shape

MISSING = "error.path.missing"
LONGEST = 9_223_372_036
"""Seconds; no duration of the real one is longer."""

RUN_DEFAULTS: Json = {
    "artifacts": [], "env": {}, "placement": {"constraints": []}, "restart": {"policy": "NEVER"}, "volumes": [],
    "secrets": {}, "networks": [], "gpus": 0, "maxLaunchDelay": 3600,
}  # fmt: skip
ARTIFACT_DEFAULTS: Json = {"extract": True, "executable": False, "cache": False}
DOCKER_DEFAULTS: Json = {"forcePullImage": False, "privileged": False, "parameters": []}
SCHEDULE_DEFAULTS: Json = {
    "timezone": "UTC", "startingDeadlineSeconds": 900, "concurrencyPolicy": "ALLOW", "enabled": True,
}  # fmt: skip
HOST_VOLUME, SECRET_VOLUME = {"containerPath", "hostPath", "mode"}, {"containerPath", "secret"}


class ServerError(Exception):
    """Metronome answers this request with 500."""


def job_spec(body: Any, shape: Shape = JOB) -> Json:
    """The job as it is stored. Raises ApiError 422 with the errors by path, and ServerError."""
    check_shape(body, shape)
    errors: Errors = {}
    stored = _read(body, errors)
    refuse(errors)
    for path, error in _violations(stored):
        errors.setdefault(path, []).append(error)
    refuse(errors)
    return stored


def schedule_spec(body: Any, schedule_id: str | None = None) -> Json:
    """One schedule as it is stored. Raises ApiError 422."""
    check_shape(body, SCHEDULE)
    errors: Errors = {}
    stored = _read_schedule(body if schedule_id is None else {**body, "id": schedule_id}, "", errors)
    refuse(errors)
    if stored["startingDeadlineSeconds"] < 60:
        refuse({"/startingDeadline": [_too_soon(stored)]})
    return stored


def shown_schedule(schedule: Json) -> Json:
    """A schedule with the time when it is due next."""
    zone = zoneinfo.ZoneInfo(schedule["timezone"])
    due = cron.parse(schedule["cron"]).next_after(utc_now(), zone)
    return {**schedule, "nextRunAt": None if due is None else metronome_time(due.astimezone(timezone.utc))}


def shown_job(job: Json) -> Json:
    """A job with its schedules as they are shown."""
    return {**job, "schedules": [shown_schedule(schedule) for schedule in job["schedules"]]}


def _read(body: Json, errors: Errors) -> Json:
    stored = {"labels": {}, **body, "run": _read_run(body["run"], errors)}
    stored["schedules"] = [
        _read_schedule(schedule, f"/schedules({index})", errors)
        for index, schedule in enumerate(body.get("schedules", []))
    ]
    dependencies = body.get("dependencies", [])
    for index, dependency in enumerate(dependencies):
        if "id" not in dependency:
            errors[f"/dependencies({index})/id"] = [MISSING]
    stored["dependencies"] = [{"id": dependency.get("id")} for dependency in dependencies]
    return stored


def _read_schedule(schedule: Json, path: str, errors: Errors) -> Json:
    known = ("id", "cron", *SCHEDULE_DEFAULTS)
    stored = {**SCHEDULE_DEFAULTS, **{key: value for key, value in schedule.items() if key in known}}
    try:
        stored["cron"] = cron.parse(stored["cron"]).text
    except ValueError:
        errors[f"{path}/cron"] = [f"Can not read cron expression {json.dumps(stored['cron'])}"]
    if stored["timezone"] not in zoneinfo.available_timezones():
        errors[f"{path}/timezone"] = [f"No time zone found with this id: {json.dumps(stored['timezone'])}"]
    _duration(stored["startingDeadlineSeconds"])
    return stored


def _read_run(given: Json, errors: Errors) -> Json:
    run = {**RUN_DEFAULTS, **given}
    if not -(2**31) <= run["gpus"] < 2**31:
        errors["/run/gpus"] = ["error.expected.int"]
    run["env"] = {name: _read_env(name, value, errors) for name, value in run["env"].items()}
    run["placement"] = _read_placement(run["placement"], errors)
    run["artifacts"] = [{**ARTIFACT_DEFAULTS, **artifact} for artifact in run["artifacts"]]
    run["maxLaunchDelay"] = _duration(run["maxLaunchDelay"])
    if "docker" in run:
        run["docker"] = {**DOCKER_DEFAULTS, **run["docker"]}
    if "ucr" in run:
        image = {"kind": "docker", "forcePull": False, **run["ucr"]["image"]}
        run["ucr"] = {"privileged": False, **run["ucr"], "image": image}
    for index, volume in enumerate(run["volumes"]):
        if volume.keys() not in (HOST_VOLUME, SECRET_VOLUME):
            shown = json.dumps(volume, separators=(",", ":"), ensure_ascii=False)
            errors[f"/run/volumes({index})"] = [f"expected HostVolume or SecretVolume object but got {shown}"]
    if "activeDeadlineSeconds" in run["restart"]:
        deadline = run["restart"]["activeDeadlineSeconds"]
        if deadline < 0:
            errors["/run/restart/activeDeadlineSeconds"] = [f"Can not read duration: {deadline}"]
        run["restart"] = {**run["restart"], "activeDeadlineSeconds": _duration(deadline)}
    if "taskKillGracePeriodSeconds" in run:
        run["taskKillGracePeriodSeconds"] = _duration(run["taskKillGracePeriodSeconds"])
    run["secrets"] = {name: _read_secret(name, secret, errors) for name, secret in run["secrets"].items()}
    networks = run["networks"]
    run["networks"] = [{key: value for key, value in network.items() if value != {}} for network in networks]
    return run


def _read_env(name: str, value: Any, errors: Errors) -> Any:
    if isinstance(value, str):
        return value
    if "secret" not in value:
        errors[f"/run/env/{name}/secret"] = [MISSING]
    return {"secret": value.get("secret")}


def _read_placement(placement: Json, errors: Errors) -> Json:
    if "constraints" not in placement:
        errors["/run/placement/constraints"] = [MISSING]
    same = {"EQ": "IS"}
    constraints = placement.get("constraints", [])
    return {"constraints": [{**one, "operator": same.get(one["operator"], one["operator"])} for one in constraints]}


def _read_secret(name: str, secret: Json, errors: Errors) -> Json:
    source = secret.get("source")
    if source is None:
        shown = json.dumps(secret, separators=(",", ":"))
        errors[f"/run/secrets/{name}/source"] = [f"'source' is undefined on object: {shown}"]
    elif not source:
        errors[f"/run/secrets/{name}/source"] = ["error.minLength"]
    return {"source": source}


def _duration(seconds: float) -> int:
    """Whole seconds. Raises ServerError for a number above the largest duration."""
    if abs(seconds) > LONGEST:
        raise ServerError(f"not a duration: {seconds}")
    return int(seconds)


def _violations(job: Json) -> Iterator[tuple[str, str]]:
    """The violated rules, each with its path. Raises ServerError."""
    run = job["run"]
    for index, schedule in enumerate(job["schedules"]):
        if schedule["startingDeadlineSeconds"] < 60:
            yield f"/schedules({index})/startingDeadline", _too_soon(schedule)
    if len(job["schedules"]) > 1:
        yield "/schedules", f"has size {len(job['schedules'])}, expected 1 or less"
    if max(Counter(one["id"] for one in job["dependencies"]).values(), default=0) > 1:
        yield "/dependencies", "has double entries"
    if job["schedules"] and job["dependencies"]:
        yield "/", "Jobs may not have both dependencies and schedules specified"
    for error in _network_errors(run):
        yield "/run/networks", error
    if run["gpus"] and "docker" in run:
        yield "/run/gpus", "GPUs are not supported with Docker"
    if "docker" in run and any("secret" in volume for volume in run["volumes"]):
        yield "/run/volumes", "File based secrets are only supported by UCR"
    if not ("cmd" in run or run.get("docker", {}).get("image") or "ucr" in run):
        yield "/run", "Cmd, Docker or UCR image must be specified"
    if {"docker", "ucr"} <= run.keys():
        yield "/run", "Either Docker or UCR should be provided, but not both"
    if secrets := _secrets_error(run):
        yield "/run", secrets


def _network_errors(run: Json) -> Iterator[str]:
    networks: list[Json] = run["networks"]
    for network in networks:
        named, labelled = network.get("name"), network.get("labels")
        bare = network["mode"] != "container"
        if (bare and named is not None) or (network["mode"] == "host" and labelled) or (not bare and not named):
            raise ServerError("Metronome has no error message for this network")
    modes = {network["mode"] for network in networks}
    if not run.keys() & {"docker", "ucr"}:
        if modes - {"host"}:
            yield "Only containers may join container or bridge networks"
    elif "ucr" not in run and modes == {"container"} and len(networks) > 1:
        yield "Docker does not allow specification of multiple networks"
    if len(modes) > 1:
        yield "You may not mix host, container, or container/bridge networking. Only define one kind of network."
    if modes - {"container"} and len(networks) > 1:
        yield "Only one host or container/bridge network modes are allowed"
    names = [network["name"] for network in networks if "name" in network]
    if len(names) > len(set(names)):
        yield "network names must be unique"


def _secrets_error(run: Json) -> str:
    used = [value["secret"] for value in run["env"].values() if isinstance(value, dict)]
    used += [volume["secret"] for volume in run["volumes"] if "secret" in volume]
    undefined = [name for name in dict.fromkeys(used) if name not in run["secrets"]]
    unused = [name for name in run["secrets"] if name not in used]
    text = ""
    if undefined:
        text += f"The following secrets are referenced, but undefined: {', '.join(undefined)}"
        text += ". Please add them to the secrets field."
    if unused:
        text += f"The following secrets are defined, but not referenced: {', '.join(unused)}"
        text += ". Please remove them from the secrets field."
    return text


def _too_soon(schedule: Json) -> str:
    seconds = schedule["startingDeadlineSeconds"]
    return f"got {seconds} second{'s' * (seconds != 1)}, expected 1 minute or more"
