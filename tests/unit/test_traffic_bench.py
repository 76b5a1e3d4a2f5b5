"""The causes that the bench of traffic names (bench/traffic_evidence.py)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

from traffic_evidence import LOG_LINE, Evidence, classify  # type: ignore[import-not-found]

LINE = (
    "1795713955.290 <134>Nov 26 17:25:55 haproxy[25069]: 127.0.0.1:34200 web_14001/127_0_0_1_31000 127.0.0.1:53330 "
    '127.0.0.1:31000 0/0/1/-1/1 502 209 SH-- 15/14/9/3/0 25069 "GET / HTTP/1.1"'
)


def failure(**fields: Any) -> dict[str, Any]:
    return {"error": "status 502", "began": 100.0, "ended": 101.0, "requests": 1, "task": "", **fields}


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        (Evidence(failure(), state="SH--"), "its task closed without an answer"),
        (Evidence(failure(), state="SH--", reload=0.3), "its task closed without an answer, near a reload"),
        (Evidence(failure(), state="SH--", task_ended=0.9, task_end="TASK_KILLING"), "engine: its task was killed"),
        (Evidence(failure(), state="SH--", task_ended=0.9, task_end="TASK_FAILED"), "its task ended by itself"),
        (
            Evidence(failure(), state="SH--", task_ended=17.0, task_end="TASK_KILLING"),
            "its task closed without an answer",
        ),
        (Evidence(failure(), state="SC--", server="<NOSRV>"), "engine: no server in rotation"),
        (Evidence(failure(requests=7)), "a kept connection was closed as its next request left"),
        (Evidence(failure(error="no answer in time")), "its task was too slow"),
    ],
)
def test_the_cause_of_a_failure_follows_from_the_evidence(found: Evidence, cause: str) -> None:
    assert classify(found) == cause


def test_a_log_line_of_haproxy_has_the_sockets_of_both_sides() -> None:
    match = LOG_LINE.match(LINE)
    assert match
    assert (match["client"], match["own"], match["task"]) == ("127.0.0.1:34200", "127.0.0.1:53330", "127.0.0.1:31000")
    assert match["state"] == "SH--"
