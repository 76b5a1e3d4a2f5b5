"""Advice about a definition: settings that Marathon accepts but that are probably mistakes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bgci.appdef.app_definition import as_int, as_list, as_mapping, network_mode, port_table, service_ports
from bgci.appdef.findings import Finding, at
from bgci.appdef.marathon_schema import LATEST, misspelt


def advice(definition: Mapping[str, Any], version: str = LATEST) -> Iterator[Finding]:
    """All advice about a normalised definition."""
    for rule in (_resources, _image, _health_checks, _names, _strategy, _volumes, _unused_ports, _fixed_ports):
        for path, message, remedy in rule(definition):
            yield Finding(path, message, remedy, advice=True)
    for path, name in misspelt(definition, version):
        yield Finding(path, "is unknown to Marathon, which ignores it", f"Write {name}", advice=True)
    if version != "1.7":
        return
    for name in ("check", "role", "resourceLimits"):
        if name in definition:
            yield Finding(f"$.{name}", "is unknown to Marathon 1.7, which ignores it", "Remove it", advice=True)


Advice = Iterator[tuple[str, str, str]]


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _resources(definition: Mapping[str, Any]) -> Advice:
    for name, least in (("cpus", 0.01), ("mem", 4)):
        given = _number(definition.get(name))
        if given is not None and 0 <= given < least:
            yield f"$.{name}", f"is {given}, less than Mesos allocates to a task", f"Write {least} or more"


def _image(definition: Mapping[str, Any]) -> Advice:
    image = as_mapping(as_mapping(definition.get("container")).get("docker")).get("image")
    if isinstance(image, str) and re.search(r"\s", image):
        yield "$.container.docker.image", f"is {image!r}, which no registry has", "Remove the blanks"


def _health_checks(definition: Mapping[str, Any]) -> Advice:
    for index, check in enumerate(as_list(definition.get("healthChecks"))):
        path, check = f"$.healthChecks[{index}]", as_mapping(check)
        timeout, interval = _number(check.get("timeoutSeconds", 20)), _number(check.get("intervalSeconds", 60))
        if timeout is not None and timeout < 1:
            yield f"{path}.timeoutSeconds", f"is {timeout}, so that each check fails", "Write 1 or more"
        if interval == 0:
            yield f"{path}.intervalSeconds", "is 0: Marathon would check without a pause", "Write 1 or more"
        if isinstance(check.get("path"), str) and not check["path"].isascii():
            yield f"{path}.path", "has characters outside of ASCII", "Encode them with %"


def _names(definition: Mapping[str, Any]) -> Advice:
    for name in as_mapping(definition.get("env")):
        if name and not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
            yield at("$.env", name), "is a name that shells cannot read", "Use letters, digits and _"


def _strategy(definition: Mapping[str, Any]) -> Advice:
    strategy = definition.get("unreachableStrategy")
    if isinstance(strategy, str) and strategy != "disabled":
        yield "$.unreachableStrategy", f"is {strategy!r}, which Marathon treats as disabled", 'Write "disabled"'


def _volumes(definition: Mapping[str, Any]) -> Advice:
    for index, volume in enumerate(as_list(as_mapping(definition.get("container")).get("volumes"))):
        if "persistent" in as_mapping(volume):
            message = "is a persistent volume: each colour has a separate one, and data does not move between them"
            yield f"$.container.volumes[{index}]", message, "Keep the data in a store outside of the app"


def _unused_ports(definition: Mapping[str, Any]) -> Advice:
    if network_mode(definition) == "host" and as_mapping(definition.get("container")).get("portMappings"):
        remedy = 'Add "networks": [{"mode": "container/bridge"}], or use portDefinitions'
        yield "$.container.portMappings", "is ignored by Marathon on the host's network", remedy


def _fixed_ports(definition: Mapping[str, Any]) -> Advice:
    path, key, table = port_table(definition)
    message = (
        "is fixed: an agent can run one instance of either colour, so that a release needs an agent for each instance "
        "of both colours"
    )
    for index, entry in enumerate(table if key == "servicePort" else ()):
        if as_int(as_mapping(entry).get("hostPort")):
            yield f"{path}[{index}].hostPort", message, "Write 0, or remove it"
    docker = as_mapping(as_mapping(definition.get("container")).get("docker"))
    for index, entry in enumerate(as_list(docker.get("parameters"))):
        name, value = as_mapping(entry).get("key"), str(as_mapping(entry).get("value"))
        if name == "name" or (name in ("publish", "p") and re.search("[0-9]:[0-9]", value)):
            yield f"$.container.docker.parameters[{index}]", message, "Remove it"
    if key != "servicePort" and definition.get("requirePorts") is True and any(service_ports(definition)):
        yield "$.requirePorts", message, "Write false"
