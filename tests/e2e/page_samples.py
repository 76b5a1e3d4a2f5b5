"""A release as the page tells of it: a canary of one of four, judged, rejected; then, hours later, going back."""

from __future__ import annotations

import json
import random
from datetime import datetime, timedelta, timezone
from typing import Any

from bgci.checks.test_result import Case, Outcome

Json = dict[str, Any]
START = datetime(2026, 3, 1, 9, 30, 0, tzinfo=timezone.utc)
REPLICAS = ("http://10.0.0.1:9090", "http://10.0.0.2:9090")
REASON = "canary 28 errors in 1,752 requests, baseline 9 in 5,267; p = less than 0.000000001"


def event(kind: str, moment: float, offset: float, **fields: Any) -> str:
    at = (START + timedelta(seconds=moment)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": at, "offset": offset, "event": kind, **fields})


def app(colour: str, revision: str, tasks: int, up: int) -> Json:
    return {
        "id": f"/shop/web-{colour}",
        "revision": revision,
        "colour": colour,
        "instances": tasks,
        "tasks": tasks,
        "healthy": tasks,
        "serving": {url: {"up": up, "maint": tasks - up} for url in REPLICAS},
    }


def observed(seconds: float, offset: float, *apps: Json) -> str:
    balancers = [{"url": url, "older_workers": [], "problem": ""} for url in REPLICAS]
    return event("observed", seconds, offset, apps=list(apps), load_balancers=balancers)


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
    alone = app("blue", "v1", 4, 4)
    hybrid = (app("blue", "v1", 4, 3), app("green", "v2", 1, 1))
    return [
        observed(0, 0.02, alone),
        event("step", 0, 0.02, do="create", instances=1, swappable=True),
        observed(0.1, 0.1, alone, app("green", "v2", 1, 0)),
        event("step", 0.1, 0.1, wait="health", why="0 of 1 instances of /shop/web-green are healthy"),
        observed(21, 21, *hybrid),
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
        observed(40, 0.02, *hybrid),
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
        observed(9200, 0.03, *hybrid),
        event("step", 9200, 0.03, do="scale", app_id="/shop/web-green", instances=2, ballast=True),
        observed(9212, 12, app("blue", "v1", 4, 2), app("green", "v2", 2, 2)),
        event("step", 9212, 12, do="delete", app_id="/shop/web-green"),
        observed(9213, 13, alone),
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
