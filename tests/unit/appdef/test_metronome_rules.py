"""bgci refuses what a real Metronome refused, and accepts what it accepted.

`tests/data/metronome/verdicts.jsonl.gz` has the answers of Metronome 0.6.70 to 117 job definitions.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from bgci.appdef.metronome_rules import check_job, without_restart

DATA = Path(__file__).parents[2] / "data" / "metronome" / "verdicts.jsonl.gz"
VERDICTS: list[dict[str, Any]] = [json.loads(line) for line in gzip.decompress(DATA.read_bytes()).splitlines()]
RUN: dict[str, Any] = {"cmd": "x", "cpus": 0.1, "mem": 32, "disk": 0}


def paths(run: dict[str, Any], **fields: Any) -> list[str]:
    return [finding.path for finding in check_job({"id": "a", "run": {**RUN, **run}, **fields}, job_id="a")]


def test_a_job_is_refused_exactly_where_metronome_refused_it() -> None:
    wrong = [
        verdict["name"]
        for verdict in VERDICTS
        if bool(check_job(verdict["definition"], job_id=verdict["definition"].get("id"))) == verdict["accepted"]
    ]
    assert wrong == ['restart={"policy": "ON_FAILURE"}'], "refused by bgci itself"


@pytest.mark.parametrize("restart", [{}, {"restart": {"policy": "NEVER", "activeDeadlineSeconds": 5}}])
def test_h72_a_job_that_metronome_would_start_again_is_refused(restart: dict[str, Any]) -> None:
    assert paths(restart) == []
    again = {"restart": {"policy": "ON_FAILURE", "activeDeadlineSeconds": 5}}
    assert paths(again) == ["$.run.restart.policy"]
    job = {"id": "a", "labels": {"b": "c"}, "run": {**RUN, **again}}
    assert without_restart(job) == {**job, "run": {**RUN, "restart": {"policy": "NEVER", "activeDeadlineSeconds": 5}}}
    assert without_restart({**job, "run": {**RUN, **restart}}) == {**job, "run": {**RUN, **restart}}


@pytest.mark.parametrize(
    "run",
    [
        {"ucr": {"image": {"id": "x"}}, "gpus": 1, "networks": [{"mode": "container", "name": n} for n in "ab"]},
        {
            "ucr": {"image": {"id": "x"}},
            "volumes": [{"containerPath": "/a", "secret": "s"}],
            "secrets": {"s": {"source": "p"}},
        },
        {"restart": {"policy": "NEVER", "activeDeadlineSeconds": 0.0}, "taskKillGracePeriodSeconds": -1},
        {"networks": [{"mode": "host"}]},
    ],
)
def test_an_unusual_job_that_metronome_accepts_passes(run: dict[str, Any]) -> None:
    assert paths(run) == []


@pytest.mark.parametrize(
    ("run", "path"),
    [
        ({"docker": {"image": "x"}, "gpus": 1}, "$.run.gpus"),
        ({"docker": {"image": "x"}, "ucr": {"image": {"id": "x"}}}, "$.run.ucr"),
        ({"volumes": [{"containerPath": "/a", "hostPath": "/b"}]}, "$.run.volumes[0]"),
        ({"networks": [{"mode": "container/bridge"}]}, "$.run.networks"),
        ({"networks": [{"mode": "host", "name": "x"}]}, "$.run.networks[0].name"),
        ({"networks": [{"mode": "host", "name": ""}]}, "$.run.networks[0].name"),
        ({"networks": [{"mode": "host", "labels": {"a": "b"}}]}, "$.run.networks[0].labels"),
        ({"docker": {"image": "x"}, "networks": [{"mode": "container", "name": n} for n in "ab"]}, "$.run.networks"),
        ({"taskKillGracePeriodSeconds": 2**40}, "$.run.taskKillGracePeriodSeconds"),
        ({"maxLaunchDelay": 10**10}, "$.run.maxLaunchDelay"),
        ({"env": {"A": {"secret": "s"}}, "secrets": {"s": {}}}, "$.run.secrets.s.source"),
    ],
)
def test_a_job_that_metronome_refuses_is_refused(run: dict[str, Any], path: str) -> None:
    assert path in paths(run)


def test_a_schedule_is_refused_because_bgci_starts_the_job_and_would_not_send_it() -> None:
    assert paths({}, schedules=[{"id": "d", "cron": "0 3 * * *", "timezone": "UTC"}]) == ["$.schedules"]


def test_a_job_that_waits_for_another_one_is_refused_because_bgci_starts_it() -> None:
    assert paths({}, dependencies=[{"id": "a"}]) == ["$.dependencies"]
