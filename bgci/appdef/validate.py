"""Everything that is wrong with a definition, found before anything is sent."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from bgci.appdef.app_definition import (
    ALT_PORT_LABEL,
    GROUP_LABEL,
    alt_ports,
    as_int,
    as_list,
    as_mapping,
    group,
    labels,
    network_mode,
    port_table,
    service_ports,
)
from bgci.appdef.findings import Finding, at, require_valid
from bgci.appdef.haproxy_labels import check_labels, is_enabled
from bgci.appdef.marathon_rules import check_marathon_rules
from bgci.appdef.names import COLOURS, is_app_id
from bgci.appdef.vips import check_vips

__all__ = ["Finding", "check_definition", "require_valid"]

# The one label of ours that a template may set: where a task says that it is idle.
DRAIN_PATH_LABEL = "BGCI_DRAIN_PATH"
_OWN_PREFIX = "BGCI_"


def check_definition(definition: Mapping[str, Any], *, app_id: str, allow_no_health_check: bool) -> list[Finding]:
    """All findings of a normalised definition that is to be the app ``app_id``; none when it is fit to send."""
    findings = [
        *_identity(definition, app_id),
        *check_marathon_rules(definition),
        *_instances(definition),
        *_group(definition, app_id),
        *_service_ports(definition),
        *_alt_ports(definition),
        *_own_labels(definition),
        *check_labels(definition),
        *([] if allow_no_health_check else _health_check(definition)),
        *_fixed_check_port(definition),
        *check_vips(definition, app_id),
    ]
    return list(dict.fromkeys(findings))


def _identity(definition: Mapping[str, Any], app_id: str) -> Iterator[Finding]:
    own = definition.get("id")
    if own is None:
        yield Finding("$.id", "is missing", f'add "id": "{app_id}"')
    elif isinstance(own, str) and not is_app_id(own):
        yield Finding("$.id", f"is {own!r}, which Marathon refuses", "use lower-case letters, digits, dashes and /")
    elif isinstance(own, str) and own != app_id:
        yield Finding("$.id", f"is {own!r}, but the app is {app_id!r}", f'write "{app_id}", or give --app {own}')


def _instances(definition: Mapping[str, Any]) -> Iterator[Finding]:
    wanted = definition.get("instances", 1)
    if wanted == 0 and not isinstance(wanted, bool):
        yield Finding(
            "$.instances", "is 0: nothing would ever be in rotation", "set it to the wanted total, 1 at least"
        )


def _group(definition: Mapping[str, Any], app_id: str) -> Iterator[Finding]:
    path, name = at("$.labels", GROUP_LABEL), group(definition)
    if not name.strip():
        if isinstance(labels(definition).get(GROUP_LABEL, ""), str):  # else: said already that it has to be text
            remedy = f'add a name that blue and green share, such as "{app_id.lstrip("/")}"'
            yield Finding(path, "is missing: marathon-lb would not know that blue and green belong together", remedy)
    elif not re.fullmatch(r"[A-Za-z0-9._:/-]+", name):
        # HAProxy refuses a configuration with such a backend, and with it every later one of the whole load balancer.
        yield Finding(
            path, f"is {name!r}, which cannot be a backend of HAProxy", "use letters, digits and . _ - / only"
        )
    elif name.rpartition("/")[2] in [f"{app_id.rpartition('/')[2]}-{colour}" for colour in COLOURS]:
        yield Finding(path, f"is {name!r}, the name of one colour", f"both share it: write {app_id.lstrip('/')!r}")


def _service_ports(definition: Mapping[str, Any]) -> Iterator[Finding]:
    path, key, _ = port_table(definition)
    ports = service_ports(definition)
    if not any(_is_served(definition, index) for index in range(len(ports))):
        yield Finding(path, "holds no port that marathon-lb would serve", "add one with a service port")
    seen: Counter[int] = Counter()
    for index, port in enumerate(ports):
        place = at(at(path, index), key) if key else at(path, index)
        if port == 0 and _is_served(definition, index):
            yield Finding(
                place,
                "is not set: Marathon would pick another one for each colour",
                "set the port that marathon-lb is to listen on, such as 10102",
            )
        seen[port] += 1
        if port and seen[port] == 2:
            yield Finding(place, f"is {port} a second time", "give each port a service port of its own")
        label = f"HAPROXY_{index}_PORT"
        if port and labels(definition).get(label, str(port)) != str(port):
            remedy = f"remove the label and make {port} the port to listen on"
            yield Finding(at("$.labels", label), f"contradicts the service port {port}", remedy)


def _is_served(definition: Mapping[str, Any], index: int) -> bool:
    """Whether marathon-lb serves this port. Without any group label it can only be one that serves all apps."""
    own = labels(definition)
    if not is_enabled(own, index):
        return False
    by_port = [name for name in own if re.fullmatch(r"HAPROXY_[0-9]+_GROUP", name)]
    return "HAPROXY_GROUP" in own or not by_port or f"HAPROXY_{index}_GROUP" in by_port


def _alt_ports(definition: Mapping[str, Any]) -> Iterator[Finding]:
    path, alternatives = at("$.labels", ALT_PORT_LABEL), alt_ports(definition)
    own = [port for port in service_ports(definition) if port]
    if not alternatives:
        if isinstance(labels(definition).get(ALT_PORT_LABEL, ""), str):
            remedy = "add a free service port for the second colour; with several ports, a comma list of as many"
            yield Finding(path, "is missing: both colours would claim the same service port", remedy)
        return
    if any(not 0 < port <= 65535 for port in alternatives):
        yield Finding(path, "has a part that is no port", "write numbers from 1 to 65535, separated by commas")
    if own and len(alternatives) != len(own):
        yield Finding(
            path, f"has {len(alternatives)} ports for {len(own)} service ports", "give one for each, in order"
        )
    for port in sorted({port for port in alternatives if port in own}):
        yield Finding(path, f"has {port}, which is a service port already", "choose another, free one")
    if len(set(alternatives)) < len(alternatives):
        yield Finding(path, "has a port twice", "give one for each service port")


def _own_labels(definition: Mapping[str, Any]) -> Iterator[Finding]:
    for name, value in labels(definition).items():
        path = at("$.labels", name)
        if name == DRAIN_PATH_LABEL:
            if isinstance(value, str) and not re.fullmatch(r"/\S*", value):
                yield Finding(path, f"is {value!r}", "write a path that begins with /, such as /idle")
        elif name.startswith(_OWN_PREFIX):
            remedy = f"remove it, or name it otherwise: of these a template may only hold {DRAIN_PATH_LABEL}"
            yield Finding(path, "is a label that bgci writes itself", remedy)


def _health_check(definition: Mapping[str, Any]) -> Iterator[Finding]:
    checks = definition.get("healthChecks")
    if not checks and (checks is None or isinstance(checks, list)):
        yield Finding(
            "$.healthChecks",
            "is missing: traffic would move to tasks that have not started yet",
            "add an HTTP check with portIndex 0, or give --allow-no-health-check",
        )
        return
    first = next((index for index, port in enumerate(service_ports(definition)) if port), 0)
    if isinstance(checks, list) and not any(_checks_port(as_mapping(check), first) for check in checks):
        yield Finding(
            "$.healthChecks",
            f"has none for port {first}, the first service port: HAProxy would not check its servers",
            f"add an HTTP or TCP check with portIndex {first}, or give --allow-no-health-check",
        )


def _checks_port(check: Mapping[str, Any], index: int) -> bool:
    """As marathon-lb's get_health_check does: one with `port` counts for every port."""
    if check.get("protocol") == "COMMAND":
        return False
    return "port" in check or as_int(check.get("portIndex")) == index


def _fixed_check_port(definition: Mapping[str, Any]) -> Iterator[Finding]:
    if network_mode(definition) != "host":
        return
    own = [port for port in service_ports(definition) if port]
    for index, check in enumerate(as_list(definition.get("healthChecks"))):
        port = as_int(as_mapping(check).get("port"))
        if port in own:
            yield Finding(
                f"$.healthChecks[{index}].port",
                f"is {port}, but the second colour runs on another port",
                f"write portIndex {service_ports(definition).index(port)} instead",
            )
