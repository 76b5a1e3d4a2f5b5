"""Differences that people read: only what the author of a definition changed."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from bgci.appdef.app_definition import normalise, service_ports, set_service_ports
from bgci.appdef.colour import coloured, fingerprint
from bgci.appdef.marathon_forms import stored
from bgci.appdef.marathon_schema import VERSIONS
from bgci.reporting.diff import NO_DIFFERENCE, definition_difference, difference, job_difference

DATA = Path(__file__).parents[2] / "data" / "marathon-verdicts.jsonl.gz"
VERDICTS: list[dict[str, Any]] = [json.loads(line) for line in gzip.decompress(DATA.read_bytes()).splitlines()]
STATE = {"version": "2026-01-01T00:00:00.000Z", "tasksRunning": 1, "tasks": [], "deployments": [{"id": "x"}]}


def deployed(definition: dict[str, Any], version: str) -> dict[str, Any]:
    """What Marathon returns of the second colour of this definition, which another one preceded."""
    baseline = {"id": "/v/x-blue", "labels": {"HAPROXY_DEPLOYMENT_COLOUR": "blue"}, "instances": 3}
    app = coloured(
        definition, revision="2", image="i", baseline=baseline, instances=1, started_at="2026-01-01", swappable=True
    )
    kept = {**stored(app, version), **STATE}
    # Marathon chooses a number for each port 0.
    return set_service_ports(kept, [port or 20_000 + index for index, port in enumerate(service_ports(kept))])


@pytest.mark.parametrize("version", VERSIONS)
def test_an_accepted_definition_does_not_differ_from_its_running_form(version: str) -> None:
    accepted = [verdict for verdict in VERDICTS if verdict[version]["status"] == 201]
    assert len(accepted) > 70
    for verdict in accepted:
        definition = normalise(verdict["definition"])
        shown = definition_difference(deployed(definition, version), definition, version)
        assert shown == NO_DIFFERENCE, verdict["name"]


def test_the_stored_form_has_the_fingerprint_of_the_written_one() -> None:
    for verdict in VERDICTS:
        if verdict["1.11"]["status"] == 201:
            assert fingerprint(verdict["1.11"]["stored"]) == fingerprint(verdict["definition"]), verdict["name"]


def test_only_the_change_is_shown() -> None:
    definition = normalise(VERDICTS[0]["definition"])
    changed = {**definition, "mem": 64, "env": {"A": "b"}}
    lines = definition_difference(deployed(definition, "1.11"), changed).splitlines()[2:]
    assert [line.strip() for line in lines if line[0] in "+-"] == [
        '+  "env": {',
        '+    "A": "b"',
        "+  },",
        '-  "mem": 32,',
        '+  "mem": 64,',
    ]


def test_the_first_deployment_shows_the_whole_definition() -> None:
    shown = definition_difference({}, VERDICTS[0]["definition"])
    assert '+  "id": "/v/x"' in shown
    assert [line for line in shown.splitlines()[2:] if line.startswith("-")] == ["-{}"]


def test_equal_values_have_no_difference() -> None:
    assert difference({"a": 1}, {"a": 1}) == NO_DIFFERENCE


JOB: dict[str, Any] = {"id": "a", "run": {"cmd": "x", "cpus": 0.1, "mem": 32, "disk": 0, "docker": {"image": "i"}}}


def test_a_published_job_does_not_differ_from_itself() -> None:
    run = {
        **JOB["run"],
        "env": {},
        "placement": {"constraints": []},
        "artifacts": [],
        "maxLaunchDelay": 3600,
        "gpus": 0,
        "volumes": [],
        "restart": {"policy": "NEVER"},
        "secrets": {},
        "networks": [],
        "docker": {"image": "i", "forcePullImage": False, "privileged": False, "parameters": []},
    }
    answer = {"id": "a", "labels": {}, "dependencies": [], "run": run, "historySummary": {"successCount": 1}}
    assert job_difference(answer, JOB) == NO_DIFFERENCE


def test_a_change_of_a_job_is_shown() -> None:
    other = {**JOB, "run": {**JOB["run"], "mem": 64}}
    assert [line for line in job_difference(JOB, other).splitlines() if line[0] in "+-"][2:] == [
        '-    "mem": 32,',
        '+    "mem": 64,',
    ]
    assert job_difference({}, JOB).startswith("--- now")
