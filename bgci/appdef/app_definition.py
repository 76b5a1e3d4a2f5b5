"""Reading and writing an app definition in each of Marathon's forms, old and new.

A definition is what the template says, without a colour. These readers take whatever JSON they are given and answer
"unset" for what has the wrong type; `validate` is who complains.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

GROUP_LABEL = "HAPROXY_DEPLOYMENT_GROUP"
ALT_PORT_LABEL = "HAPROXY_DEPLOYMENT_ALT_PORT"

_LEGACY_MODES = {"BRIDGE": "container/bridge", "USER": "container", "HOST": "host"}


def normalise(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The definition without its nulls, with an absolute id, and without what is said twice.

    Legacy networking stays as it is, because old Marathons need it; but beside legacy port mappings `portDefinitions`
    goes (Marathon refuses it for networks other than the host's) and so does `ports`, whose numbers are the service
    ports of the mappings (marathon: AppNormalization.scala).
    """
    definition: dict[str, Any] = _without_nulls(raw)
    app_id = definition.get("id")
    if isinstance(app_id, str) and app_id and not app_id.startswith("/"):
        definition["id"] = f"/{app_id}"
    legacy = definition["container"]["docker"].get("portMappings") if _has_docker(definition) else None
    if legacy and network_mode(definition) != "host":
        definition.pop("portDefinitions", None)
        _move_ports_into(legacy, definition)
    return definition


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _has_docker(definition: Mapping[str, Any]) -> bool:
    return isinstance(as_mapping(definition.get("container")).get("docker"), dict)


def _move_ports_into(mappings: Any, definition: dict[str, Any]) -> None:
    ports = definition.get("ports")
    if not (isinstance(ports, list) and isinstance(mappings, list) and len(ports) <= len(mappings)):
        return
    pairs = [(mapping, port) for mapping, port in zip(mappings, ports, strict=False) if isinstance(mapping, dict)]
    # Where the two contradict each other nobody can tell which is meant: left for `validate` to report.
    if any(mapping.get("servicePort") not in (None, 0, port) for mapping, port in pairs):
        return
    for mapping, port in pairs:
        mapping["servicePort"] = port
    del definition["ports"]


def as_mapping(value: Any) -> Mapping[str, Any]:
    """``value`` where it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: Any) -> Sequence[Any]:
    """``value`` where it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else ()


def as_int(value: Any) -> int:
    """``value`` where it is a whole number, else 0 (in JSON true is no number, in Python it is)."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def labels(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """The app's labels."""
    return as_mapping(definition.get("labels"))


def network_mode(definition: Mapping[str, Any]) -> str:
    """``host``, ``container/bridge`` or ``container``, whichever form says so (marathon: AppNormalization.scala)."""
    networks = as_list(definition.get("networks"))
    if networks:
        return str(as_mapping(networks[0]).get("mode", "container"))
    docker = as_mapping(as_mapping(definition.get("container")).get("docker"))
    if docker.get("network"):
        return _LEGACY_MODES.get(str(docker["network"]), "host")
    return "container" if isinstance(definition.get("ipAddress"), Mapping) else "host"


def port_table(definition: Mapping[str, Any]) -> tuple[str, str, Sequence[Any]]:
    """Where the ports stand: the JSON path of the list, the name of the service port in an entry, and the list itself.

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
    """The service port of each port, 0 where it is unset (Marathon then picks one); of an app that runs, too."""
    _, key, table = port_table(definition)
    return [as_int(as_mapping(entry).get(key)) if key else as_int(entry) for entry in table]


def alt_ports(definition: Mapping[str, Any]) -> list[int]:
    """The comma list in HAPROXY_DEPLOYMENT_ALT_PORT: one for each explicit service port; 0 for what is no number."""
    text = labels(definition).get(ALT_PORT_LABEL)
    if not isinstance(text, str) or not text.strip():
        return []
    parts = [part.strip() for part in text.split(",")]
    return [int(part) if re.fullmatch("[0-9]{1,5}", part) else 0 for part in parts]


def group(definition: Mapping[str, Any]) -> str:
    """The group, empty where the label is missing."""
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
