"""The app of a revision beside its baseline."""

from __future__ import annotations

from typing import Any

from definition_samples import BRIDGE, HOST, LEGACY, changed, with_labels, with_ports

from bgci.appdef.app_definition import service_ports
from bgci.appdef.colour import coloured, fingerprint

STARTED = "2026-01-02T03:04:05.678901"


def colour(definition: dict[str, Any], baseline: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {"revision": "2", "image": "example/web:2", "instances": 1, "swappable": True, **options}
    return coloured(definition, baseline=baseline, started_at=STARTED, **settings)


def running(definition: dict[str, Any] = BRIDGE, **options: Any) -> dict[str, Any]:
    """Marathon's answer for a first deployment of this definition."""
    return colour(definition, revision="1", instances=4, **options)


def test_the_first_deployment_is_blue_on_its_own_port() -> None:
    app = colour(BRIDGE, instances=4)
    assert app["id"] == "/web-blue"
    assert app["instances"] == 4
    assert service_ports(app) == [10102]
    assert app["labels"] == {
        **BRIDGE["labels"],
        "HAPROXY_DEPLOYMENT_COLOUR": "blue",
        "HAPROXY_DEPLOYMENT_STARTED_AT": STARTED,
        "HAPROXY_DEPLOYMENT_TARGET_INSTANCES": "4",
        "HAPROXY_DEPLOYMENT_NEW_INSTANCES": "4",
        "HAPROXY_APP_ID": "/web",
        "HAPROXY_0_PORT": "10102",
        "BGCI_REVISION": "2",
        "BGCI_IMAGE": "example/web:2",
        "BGCI_DEFINITION": fingerprint(BRIDGE),
        "BGCI_BASELINE_INSTANCES": "0",
    }


def test_colours_alternate_and_come_back() -> None:
    blue = running()
    green = colour(BRIDGE, blue)
    again = colour(BRIDGE, green)
    assert (green["id"], green["labels"]["HAPROXY_DEPLOYMENT_COLOUR"]) == ("/web-green", "green")
    assert (again["id"], again["labels"]["HAPROXY_DEPLOYMENT_COLOUR"]) == ("/web-blue", "blue")


def test_h27_each_colour_has_its_own_service_port_in_every_form() -> None:
    for definition in (BRIDGE, HOST, LEGACY):
        blue = running(definition)
        green = colour(definition, blue)
        assert service_ports(green) == [10129]
        assert service_ports(colour(definition, green)) == [10102]
        assert green["labels"]["HAPROXY_0_PORT"] == "10102"


def test_each_of_several_ports_is_exchanged_separately() -> None:
    definition = with_ports(BRIDGE, 10102, 10103, alt="10129,10130")
    blue = running(definition)
    green = colour(definition, blue)
    assert service_ports(green) == [10129, 10130]
    assert (green["labels"]["HAPROXY_0_PORT"], green["labels"]["HAPROXY_1_PORT"]) == ("10102", "10103")
    mixed = changed(blue)
    mixed["container"]["portMappings"][1]["servicePort"] = 10130
    assert service_ports(colour(definition, mixed)) == [10129, 10103]


def test_a_port_assigned_by_marathon_stays_unset_and_gets_no_alternative() -> None:
    definition = with_ports(BRIDGE, 10102, 0, 10103, alt="10129,10130")
    green = colour(definition, running(definition))
    assert service_ports(green) == [10129, 0, 10130]
    assert "HAPROXY_1_PORT" not in green["labels"]
    assert green["labels"]["HAPROXY_2_PORT"] == "10103"


def test_beside_a_foreign_baseline_without_a_colour_the_canary_is_blue() -> None:
    foreign = changed(BRIDGE, labels={})
    app = colour(BRIDGE, foreign)
    assert app["id"] == "/web-blue"
    assert service_ports(app) == [10129]


def test_a_baseline_whose_name_and_label_disagree_never_gets_its_own_id_back() -> None:
    misnamed = with_labels(changed(BRIDGE, id="/web-green"), HAPROXY_DEPLOYMENT_COLOUR="blue")
    assert colour(BRIDGE, misnamed)["id"] == "/web-blue"
    unlabelled = changed(BRIDGE, id="/web-blue", labels={})
    assert colour(BRIDGE, unlabelled)["id"] == "/web-green"


def test_h07_the_target_is_the_number_of_instances_of_the_definition() -> None:
    app = colour(changed(BRIDGE, instances=8), running())
    assert app["labels"]["HAPROXY_DEPLOYMENT_TARGET_INSTANCES"] == "8"
    assert app["labels"]["BGCI_BASELINE_INSTANCES"] == "4"
    assert app["instances"] == 1


def test_without_a_swap_the_label_is_absent_even_if_the_template_has_it() -> None:
    exported = with_labels(BRIDGE, HAPROXY_DEPLOYMENT_NEW_INSTANCES="0")
    assert "HAPROXY_DEPLOYMENT_NEW_INSTANCES" not in colour(exported, swappable=False)["labels"]
    assert colour(exported, swappable=True)["labels"]["HAPROXY_DEPLOYMENT_NEW_INSTANCES"] == "1"


def test_an_app_in_a_folder_keeps_its_folder() -> None:
    app = colour(changed(BRIDGE, id="/team/web"))
    assert app["id"] == "/team/web-blue"
    assert app["labels"]["HAPROXY_APP_ID"] == "/team/web"


def test_the_given_definition_is_never_modified() -> None:
    before = changed(BRIDGE)
    colour(BRIDGE, running())
    assert before == BRIDGE


def test_the_fingerprint_does_not_depend_on_the_order_of_fields() -> None:
    assert fingerprint(dict(reversed(BRIDGE.items()))) == fingerprint(BRIDGE)
    assert fingerprint(changed(BRIDGE, instances=5)) != fingerprint(BRIDGE)
    assert len(fingerprint(BRIDGE)) == 16
