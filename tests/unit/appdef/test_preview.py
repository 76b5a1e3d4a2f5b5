"""The preview's app: it keeps all labels of marathon-lb except those of the pair (hazard 50)."""

from __future__ import annotations

from typing import Any

import pytest

from bgci.appdef.preview_app import preview_app, preview_ports

DEFINITION: dict[str, Any] = {
    "id": "/team/web",
    "instances": 4,
    "networks": [{"mode": "container/bridge"}],
    "container": {
        "docker": {"image": "x"},
        "portMappings": [
            {"containerPort": 80, "servicePort": 10101, "hostPort": 8080, "labels": {"VIP_0": "/web:80", "x": "y"}},
            {"containerPort": 81, "servicePort": 0},
            {"containerPort": 82, "servicePort": 10102},
        ],
    },
    "dependencies": ["/db"],
    "healthChecks": [
        {"protocol": "HTTP", "intervalSeconds": 3, "timeoutSeconds": 2, "maxConsecutiveFailures": 3},
        {"protocol": "COMMAND", "intervalSeconds": 500},
    ],
    "labels": {
        "HAPROXY_GROUP": "external",
        "HAPROXY_0_VHOST": "web.example.com,www.example.com",
        "HAPROXY_0_PATH": "/shop",
        "HAPROXY_DEPLOYMENT_GROUP": "web",
        "HAPROXY_DEPLOYMENT_ALT_PORT": "10201,10202",
        "HAPROXY_APP_ID": "/team/web",
        "OWNER": "me",
    },
}


def test_preview_has_the_alternative_ports_and_a_host_that_exists_nowhere() -> None:
    app = preview_app(DEFINITION, "v2")
    assert (app["id"], app["instances"]) == ("/team/web-preview", 1)
    assert [mapping["servicePort"] for mapping in app["container"]["portMappings"]] == [10201, 0, 10202]
    assert app["labels"] == {
        "HAPROXY_GROUP": "external",
        "HAPROXY_0_VHOST": "team-web-preview.invalid",
        "HAPROXY_0_PATH": "/shop",
        "HAPROXY_0_PORT": "10201",
        "HAPROXY_2_PORT": "10202",
        "OWNER": "me",
        "BGCI_PREVIEW_OF": "/team/web",
        "BGCI_PREVIEW_REVISION": "v2",
    }


def test_preview_shares_no_virtual_address_no_fixed_port_and_no_dependency() -> None:
    mapping = preview_app(DEFINITION, "v2")["container"]["portMappings"][0]
    assert mapping["labels"] == {"x": "y"}
    assert mapping["hostPort"] == 0
    assert "dependencies" not in preview_app(DEFINITION, "v2")
    assert DEFINITION["container"]["portMappings"][0]["hostPort"] == 8080  # the definition is not changed


@pytest.mark.parametrize(("alternatives", "ports"), [("10201,10202", [10201, 0, 10202]), ("10201", []), ("", [])])
def test_there_is_a_preview_only_with_an_alternative_for_each_served_port(alternatives: str, ports: list[int]) -> None:
    labels = {**DEFINITION["labels"], "HAPROXY_DEPLOYMENT_ALT_PORT": alternatives}
    assert preview_ports({**DEFINITION, "labels": labels}) == ports
