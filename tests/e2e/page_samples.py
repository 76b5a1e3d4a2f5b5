"""A release as a journal: a canary of one of four, judged, rejected; hours later rolled back."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone
from typing import Any

from bgci.checks.test_result import Case, Outcome
from bgci.engine.decisions import Cause, Create, Delete, Done, Scale, Step, Wait
from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task
from bgci.reporting.rollout_record import encode_observation, encode_step

Json = dict[str, Any]
START = datetime(2026, 3, 1, 9, 30, 0, tzinfo=timezone.utc)
REPLICAS = ("http://10.0.0.1:9090", "http://10.0.0.2:9090")
REASON = "canary 28 errors in 1,752 requests, baseline 9 in 5,267; p = less than 0.000000001"


def event(kind: str, moment: float, offset: float, **fields: Any) -> str:
    at = (START + timedelta(seconds=moment)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": at, "offset": offset, "event": kind, **fields})


def observed(seconds: float, offset: float, step: Step, *apps: tuple[str, str, int, int]) -> str:
    """``apps``: colour, revision, tasks, and how many of them are in rotation."""
    tasks = {colour: tuple(Task(f"{colour}-{n}", True) for n in range(count)) for colour, _, count, _ in apps}
    servers = {
        task.id: Server(Serving.UP if n < up else Serving.MAINT)
        for colour, _, _, up in apps
        for n, task in enumerate(tasks[colour])
    }
    seen = Observation(
        (START + timedelta(seconds=seconds)).timestamp(),
        tuple(
            App(f"/shop/web-{colour}", len(tasks[colour]), tasks[colour], revision, colour)
            for colour, revision, _, _ in apps
        ),
        tuple(Replica(url, servers) for url in REPLICAS),
    )
    return event("observed", seconds, offset, now=seen.now, full=encode_observation(seen), step=encode_step(step))


def samples(begin: float, count: int) -> list[str]:
    """Five seconds apart: 50 requests a second, a quarter of them the canary's, of which 2 % fail."""
    dice, lines = random.Random(7), []
    totals = {"canary": [0, 0], "baseline": [0, 0]}
    for i in range(count):
        arms = {}
        for name, rate, new, ms in (("canary", 0.02, 62, 14.0), ("baseline", 0.001, 188, 11.5)):
            totals[name][0] += new + dice.randint(-6, 6)
            totals[name][1] += sum(dice.random() < rate for _ in range(new))
            arms[name] = {"requests": totals[name][0], "errors": totals[name][1], "ms": round(dice.gauss(ms, 0.8), 2)}
        lines.append(event("sample", begin + 5 * i, 0.5 + 5 * i, **arms))
    return lines


def result(moment: float, offset: float, command: str, code: int, name: str, **fields: Any) -> str:
    return event(
        "result", moment, offset, app="/shop/web", revision="v2", command=command, code=code, name=name, **fields
    )


def journal() -> list[str]:
    alone = ("blue", "v1", 4, 4)
    hybrid = (("blue", "v1", 4, 3), ("green", "v2", 1, 1))
    health = Wait(Cause.HEALTH, "0 of 1 instances of /shop/web-green are healthy")
    return [
        observed(0, 0.02, Create(1, swappable=True), alone),
        observed(0.1, 0.1, health, alone, ("green", "v2", 1, 0)),
        observed(21, 21, Done("v2 has 1 instance beside v1"), *hybrid),
        result(
            22,
            22,
            "canary",
            0,
            "ok",
            message="v2 has 1 instance beside v1",
            seconds=26.1,
            timings={
                "total_seconds": 21.3,
                "limit_seconds": 20.2,
                "waited_seconds": {"health": 18.1, "load balancer": 2.1},
            },
        ),
        observed(40, 0.02, Done("v2 is a canary"), *hybrid),
        *samples(41, 28),
        result(
            180,
            140,
            "test",
            7,
            "rejected",
            message=f"v2 is rejected: {REASON}",
            seconds=142.0,
            judge={"outcome": "fail", "reason": REASON},
        ),
        observed(9200, 0.03, Scale("/shop/web-green", 2), *hybrid),
        observed(9212, 12, Delete("/shop/web-green"), ("blue", "v1", 4, 2), ("green", "v2", 2, 2)),
        observed(9213, 13, Done("v1 serves alone"), alone),
        event("result", 9214, 14, **ended()),
    ]


def ended() -> Json:
    """The last stage's ``result.json``."""
    return {
        "app": "/shop/web",
        "revision": "v2",
        "command": "rollback",
        "code": 0,
        "name": "ok",
        "bgci": "0.1.0",
        "message": "v2 is gone, v1 serves alone with 4 instances",
        "seconds": 15.2,
        "timings": {
            "total_seconds": 13.4,
            "limit_seconds": 12.5,
            "waited_seconds": {"health": 9.0, "load balancer": 1.5, "drain": 2.0},
        },
    }


def cases() -> list[Case]:
    why = "status 200 expected, 503 came: upstream connect error or disconnect before headers"
    places = ("instance 1", "instance 2")
    return [
        *(Case("canary", "home page", place, seconds=0.041) for place in places),
        Case("canary", "checkout under load answers within 300 ms at p95", places[0], seconds=4.2),
        Case("canary", "checkout under load answers within 300 ms at p95", places[1], Outcome.FAILED, why, seconds=6.1),
        Case("load-balancer", "the canary gets its share", "", Outcome.SKIPPED, "no --service-url"),
        Case("judge", "error rate", "", Outcome.FAILED, REASON, seconds=140.0),
    ]
