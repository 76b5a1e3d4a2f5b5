"""What real Marathons 1.11 and 1.7 said to app definitions, each a mutation of a sound one, and what they stored.

``tests/data/marathon-verdicts.jsonl.gz`` was recorded by posting each definition and deleting the app again."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contract.client import Marathon, Sandbox

VERDICTS = Path(__file__).parents[1] / "data" / "marathon-verdicts.jsonl.gz"
# Of the POST's answer: what Marathon adds to what it stores.
ADDED = ("deployments", "tasks", "tasksHealthy", "tasksRunning", "tasksStaged", "tasksUnhealthy", "version")


def verdict(marathon: Marathon, definition: dict[str, Any]) -> dict[str, Any]:
    """In the form of the recording; the app is deleted again."""
    reply = marathon.post("/v2/apps", definition)
    body = reply.json()
    if reply.status_code == 201:
        marathon.delete(f"/v2/apps{body['id']}")
        return {"status": 201, "stored": {name: value for name, value in body.items() if name not in ADDED}}
    refusal = {"status": reply.status_code, "message": body["message"]}
    paths = {"paths": sorted(detail["path"] for detail in body["details"])} if "details" in body else {}
    return {**refusal, **paths}


@pytest.mark.parametrize("version", ["1.11", "1.7"])
def test_every_definition_gets_the_verdict_of_that_marathon(server: Callable[..., Sandbox], version: str) -> None:
    marathon = Marathon(server("--marathon-version", version).marathon_url)
    with gzip.open(VERDICTS, "rt") as lines:
        recorded = [json.loads(line) for line in lines]
    assert len(recorded) == 172
    wrong = {}
    for one in recorded:
        said = verdict(marathon, one["definition"])
        if said != one[version]:
            wrong[one["name"]] = {"sandbox": said, "real": one[version]}
    assert wrong == {}
