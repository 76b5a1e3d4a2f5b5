"""Reading and writing an app definition in each of Marathon's forms, old and new.

A definition is the rendered template, without a colour. These readers accept any JSON and return "unset" for a value
of the wrong type; `validate` reports such a value.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bgci.appdef.marathon_forms import DOCKER_NETWORKS, absolute
from bgci.appdef.marathon_schema import plain

GROUP_LABEL = "HAPROXY_DEPLOYMENT_GROUP"
ALT_PORT_LABEL = "HAPROXY_DEPLOYMENT_ALT_PORT"


def normalise(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The definition with an absolute id, without null, with enums in upper case, and with its ports in one place.

    Legacy networking remains, because old Marathons need it. Outside of the host's network Marathon ignores
    `portDefinitions` and `ports`, except for their number: it adds missing port mappings
    (marathon: AppNormalization.maybeAddPortMappings). Before 1.5 it took service ports from `ports`.
    """
    definition = plain(raw)
    if isinstance(definition.get("id"), str) and definition["id"].strip("/"):
        definition["id"] = absolute(definition["id"])
    _, key, table = port_table(definition)
    if key == "servicePort" and isinstance(table, list) and all(isinstance(entry, dict) for entry in table):
        _ports_into(table, definition)
    return definition


def _ports_into(table: list[dict[str, Any]], definition: dict[str, Any]) -> None:
    """Move `ports` and `portDefinitions` into the port mappings, unless Marathon refuses the combination."""
    ports, definitions = as_list(definition.get("ports")), as_list(definition.get("portDefinitions"))
    used = [port for port in ports if port]
    contradictory = bool(ports and definitions) and list(ports) != [
        as_mapping(each).get("port") for each in definitions
    ]
    if contradictory or "ipAddress" in definition or not all(isinstance(port, int) for port in ports):
        return
    if len(set(used)) < len(used):
        return
    table += [{} for _ in range(len(definitions or ports) - len(table))]
    for entry, port in zip(table, ports, strict=False):
        if not entry.get("servicePort"):
            entry["servicePort"] = port
    for name in ("ports", "portDefinitions"):
        if isinstance(definition.get(name), list):
            del definition[name]


def as_mapping(value: Any) -> Mapping[str, Any]:
    """``value`` if it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: Any) -> Sequence[Any]:
    """``value`` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else ()


def as_int(value: Any) -> int:
    """``value`` if it is a whole number, else 0 (true is a number in Python, not in JSON)."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def labels(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """The app's labels."""
    return as_mapping(definition.get("labels"))


def network_mode(definition: Mapping[str, Any]) -> str:
    """``host``, ``container/bridge`` or ``container``, from any of the forms (marathon: AppNormalization.scala)."""
    networks = as_list(definition.get("networks"))
    if networks:
        return str(as_mapping(networks[0]).get("mode", "container"))
    docker = as_mapping(as_mapping(definition.get("container")).get("docker"))
    if docker.get("network"):
        return DOCKER_NETWORKS.get(str(docker["network"]), "host")
    return "container" if isinstance(definition.get("ipAddress"), Mapping) else "host"


def port_table(definition: Mapping[str, Any]) -> tuple[str, str, Sequence[Any]]:
    """The ports: the JSON path of the list, the name of the service port in an entry, and the list itself.

    That name is empty for legacy `ports`, a list of bare numbers.
    """
    if network_mode(definition) == "host":
        if definition.get("ports") is not None and definition.get("portDefinitions") is None:
            return "$.ports", "", as_list(definition["ports"])
        return "$.portDefinitions", "port", as_list(definition.get("portDefinitions"))
    container = as_mapping(definition.get("container"))
    docker = as_mapping(container.get("docker"))
    if docker.get("portMappings") is not None and container.get("portMappings") is None:
        return "$.container.docker.portMappings", "servicePort", as_list(docker["portMappings"])
    return "$.container.portMappings", "servicePort", as_list(container.get("portMappings"))


def service_ports(definition: Mapping[str, Any]) -> list[int]:
    """The service port of each port of a definition or a running app; 0 if unset (Marathon then picks one)."""
    _, key, table = port_table(definition)
    return [as_int(as_mapping(entry).get(key)) if key else as_int(entry) for entry in table]


def alt_ports(definition: Mapping[str, Any]) -> list[int]:
    """The comma list in HAPROXY_DEPLOYMENT_ALT_PORT, one per explicit service port; 0 for any other text."""
    text = labels(definition).get(ALT_PORT_LABEL)
    if not isinstance(text, str) or not text.strip():
        return []
    parts = [part.strip() for part in text.split(",")]
    return [int(part) if re.fullmatch("[0-9]{1,5}", part) else 0 for part in parts]


def group(definition: Mapping[str, Any]) -> str:
    """The group, empty without the label."""
    value = labels(definition).get(GROUP_LABEL)
    return value if isinstance(value, str) else ""


def instances(definition: Mapping[str, Any]) -> int:
    """The target: the definition's own number of instances (Marathon's default is 1)."""
    return as_int(definition.get("instances", 1))


def set_service_ports(definition: Mapping[str, Any], ports: Sequence[int]) -> dict[str, Any]:
    """A copy of the definition with these service ports, one for each of its ports."""
    changed: dict[str, Any] = copy.deepcopy(dict(definition))
    _, key, table = port_table(changed)
    if key:
        for entry, port in zip(table, ports, strict=True):
            entry[key] = port
    elif table:
        changed["ports"] = list(ports)
    return changed
