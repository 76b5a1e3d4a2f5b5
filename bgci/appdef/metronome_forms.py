"""The form in which Metronome stores a job (metronome: api/v1/models/package.scala, JobRunSpec.scala)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_JOB: dict[str, Any] = {"description": None, "dependencies": [], "labels": {}}
_RUN: dict[str, Any] = {
    "cpus": 1,
    "mem": 128,
    "disk": 0,
    "gpus": 0,
    "maxLaunchDelay": 3600,
    "artifacts": [],
    "env": {},
    "networks": [],
    "secrets": {},
    "volumes": [],
    "placement": {"constraints": []},
    "restart": {"policy": "NEVER"},
}
_DOCKER = {"forcePullImage": False, "parameters": [], "privileged": False}
_UCR_IMAGE = {"forcePull": False, "kind": "docker"}
_ARTIFACT = {"cache": False, "executable": False, "extract": True}


def stored_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """The job with Metronome's defaults. `job` is valid, or Metronome's answer, whose state is left out."""
    run = {**_RUN, **job.get("run", {})}
    run["artifacts"] = [{**_ARTIFACT, **artifact} for artifact in run["artifacts"]]
    if "docker" in run:
        run["docker"] = {**_DOCKER, **run["docker"]}
    if "ucr" in run:
        run["ucr"] = {"privileged": False, **run["ucr"], "image": {**_UCR_IMAGE, **run["ucr"].get("image", {})}}
    run["networks"] = [
        {key: value for key, value in network.items() if value not in (None, {})} for network in run["networks"]
    ]
    return {**_JOB, **{key: job[key] for key in (*_JOB, "id") if key in job}, "run": run}
