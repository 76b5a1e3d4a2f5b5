"""The addresses of the instances of a revision."""

from __future__ import annotations

from typing import Any

import pytest

from bgci.dcos.json_answer import JsonAnswer
from bgci.dcos.running_app import running_app
from bgci.operations.topology import places_of


def urls(**fields: Any) -> tuple[str, ...]:
    task = {"id": "web.1", "host": "10.0.0.5", "ports": [31000, 31001], "state": "TASK_RUNNING"}
    raw = {"id": "/web", "instances": 1, "labels": {}, "tasks": [task], **fields}
    (place,) = places_of(running_app(JsonAnswer(raw, "Marathon", "http://m"))).values()
    return place.urls


PLAIN = ("http://10.0.0.5:31000", "http://10.0.0.5:31001")
SECURE = ("http://10.0.0.5:31000", "https://10.0.0.5:31001")
WELL = [{"alive": True}]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"portDefinitions": [{"port": 80}, {"port": 81}]}, PLAIN),
        ({"portDefinitions": [{"port": 80, "name": "http"}, {"port": 81, "name": "https"}]}, SECURE),
        (
            {
                "networks": [{"mode": "container/bridge"}],
                "container": {"portMappings": [{"containerPort": 80}, {"containerPort": 443, "name": "https"}]},
            },
            SECURE,
        ),
    ],
)
def test_a_port_named_https_uses_https(fields: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert urls(**fields) == expected


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ({"protocol": "HTTP", "portIndex": 1}, PLAIN),
        ({"protocol": "HTTPS", "portIndex": 1}, SECURE),
        ({"protocol": "MESOS_HTTPS", "portIndex": 1}, SECURE),
        ({"protocol": "HTTPS", "port": 8443}, PLAIN),
        ({"protocol": "HTTPS"}, ("https://10.0.0.5:31000", "http://10.0.0.5:31001")),
    ],
)
def test_a_port_with_an_https_health_check_uses_https(check: dict[str, Any], expected: tuple[str, ...]) -> None:
    task = {"id": "web.1", "host": "10.0.0.5", "ports": [31000, 31001], "healthCheckResults": WELL}
    assert urls(healthChecks=[check], tasks=[task]) == expected
