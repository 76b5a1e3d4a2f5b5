"""Virtual addresses that survive a change of colour (docs/platform.md, VIPs)."""

from __future__ import annotations

from typing import Any

import pytest

from bgci.appdef.vips import check_vips, vips

FORMS = ("portDefinitions", "container.portMappings", "container.docker.portMappings", "ipAddress.discovery.ports")


def app(form: str, labels: dict[str, Any]) -> dict[str, Any]:
    entry = {"labels": labels}
    forms: dict[str, dict[str, Any]] = {
        "portDefinitions": {"portDefinitions": [{"port": 1, **entry}]},
        "container.portMappings": {
            "networks": [{"mode": "container", "name": "dcos"}],
            "container": {"portMappings": [{"containerPort": 80, **entry}]},
        },
        "container.docker.portMappings": {
            "container": {"docker": {"network": "BRIDGE", "portMappings": [{"containerPort": 80, **entry}]}}
        },
        "ipAddress.discovery.ports": {
            "ipAddress": {"networkName": "dcos", "discovery": {"ports": [{"number": 80, **entry}]}}
        },
    }
    return forms[form]


def findings(labels: dict[str, Any], app_id: str = "/web", form: str = FORMS[0]) -> list[str]:
    return [str(finding) for finding in check_vips(app(form, labels), app_id)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", ["VIP_0", "vip_0", "VIP_12", "VIP", "vip"])
def test_a_vip_of_one_colour_is_refused_in_every_field(form: str, key: str) -> None:
    (said,) = findings({key: "/web-blue:80"}, form=form)
    assert said.startswith(f"$.{form}[0].labels.{key} is '/web-blue:80', a name that changes with the colour")
    assert "'/web:80'" in said


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "value",
    ["/web:80", "web:80", "/web:8080", "/shop:80", "10.1.2.3:80", "[fd01:c::1]:80", "fd01:c::1:80", "/bluebird:1"],
)
def test_an_address_and_a_name_without_a_colour_are_kept(form: str, value: str) -> None:
    assert findings({"VIP_0": value}, form=form) == []
    assert [vip.value for vip in vips(app(form, {"VIP_0": value}))] == [value]


def test_the_name_that_the_user_interface_derives_from_the_id_is_kept() -> None:
    """The user interface derives `<id>:` from the id with its colour whenever an app is edited: `/web:` is then of
    another app."""
    assert findings({"VIP_0": "/team/web:80"}, app_id="/team/web") == []
    assert findings({"VIP_0": "/team/web-green:80"}, app_id="/team/web") != []
    assert findings({"VIP_0": "/green-team/web:80"}, app_id="/green-team/web") == []
    assert findings({"VIP_0": "/blue-web:80"}, app_id="/blue-web") == []


@pytest.mark.parametrize(
    "value", ["", "web", ":80", "/:80", "web:", "web:http", "web:-1", "web:0", "web:65536", "10.1.2.3"]
)
def test_a_vip_that_dcos_ignores_is_a_finding(value: str) -> None:
    (said,) = findings({"VIP_0": value})
    assert "which DC/OS ignores" in said


@pytest.mark.parametrize(
    "labels", [{"vipps": "true"}, {"Vip_0": "/web-blue:80"}, {"VIP_0": 80}, {"other": "web-blue:1"}, {}]
)
def test_other_labels_have_no_finding(labels: dict[str, Any]) -> None:
    assert findings(labels) == []


def test_a_vip_with_a_variable_in_its_name_is_refused() -> None:
    assert findings({"VIP_0": "web-{{colour}}:80"}) != []
    assert findings({"VIP_0": "web-$(COLOUR):80"}) != []
