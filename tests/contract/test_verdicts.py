"""The answers of real Marathons 1.11 and 1.7 to mutated app definitions, and their stored forms.

``tests/data/marathon-verdicts.jsonl.gz`` was recorded by posting each definition and deleting the app again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from contract.client import Marathon, Sandbox, until

VERDICTS = Path(__file__).parents[1] / "data" / "marathon-verdicts.jsonl.gz"
# Fields that Marathon adds to the definition in the answer to a POST.
ADDED = ("deployments", "tasks", "tasksHealthy", "tasksRunning", "tasksStaged", "tasksUnhealthy", "version")


def verdict(marathon: Marathon, definition: dict[str, Any]) -> dict[str, Any]:
    """In the form of the recording; the app is deleted again, and may be locked until it is."""
    reply = until(lambda: unlocked(marathon.post("/v2/apps", definition)))[0]
    body = reply.json()
    if reply.status_code == 201:
        marathon.delete(f"/v2/apps{body['id']}")
        return {"status": 201, "stored": {name: value for name, value in body.items() if name not in ADDED}}
    refusal = {"status": reply.status_code, "message": body["message"]}
    paths = {"paths": sorted(detail["path"] for detail in body["details"])} if "details" in body else {}
    return {**refusal, **paths}


def unlocked(reply: requests.Response) -> list[requests.Response]:
    """The answer in a list; an empty list while an earlier deployment still locks the app."""
    return [] if reply.status_code == 409 else [reply]


def different(marathon: Marathon) -> dict[str, Any]:
    """The definitions for which this Marathon's answer differs from the recorded one of its version."""
    with gzip.open(VERDICTS, "rt") as lines:
        recorded = [json.loads(line) for line in lines]
    assert len(recorded) == 172
    version = "1.11" if marathon.modern else "1.7"
    said = {one["name"]: (verdict(marathon, one["definition"]), one[version]) for one in recorded}
    return {name: {"said": ours, "recorded": theirs} for name, (ours, theirs) in said.items() if ours != theirs}


def test_every_definition_gets_the_recorded_verdict(marathon: Marathon) -> None:
    """On a real Marathon: with all features enabled, the role ``*``, and no app of ids that are recorded."""
    assert different(marathon) == {}


@pytest.mark.sandbox_only
def test_every_definition_gets_the_recorded_verdict_of_1_7(server: Callable[..., Sandbox]) -> None:
    assert different(Marathon(server("--marathon-version", "1.7").marathon_url)) == {}
