"""Checks a definition before it is sent: refusals of Marathon and of marathon-lb, and advice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from bgci.appdef.advice import advice
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
from bgci.appdef.marathon_schema import LATEST
from bgci.appdef.names import COLOURS, is_app_id
from bgci.appdef.vips import check_vips

__all__ = ["Finding", "check_definition", "require_valid"]

# The only BGCI label that a template can set: a path at which a task answers 200 when it is idle.
DRAIN_PATH_LABEL = "BGCI_DRAIN_PATH"
_OWN_PREFIX = "BGCI_"


def check_definition(
    definition: Mapping[str, Any], *, app_id: str, allow_no_health_check: bool, marathon_version: str = LATEST
) -> list[Finding]:
    """All findings of a normalised definition of the app ``app_id``: errors and advice.

    A document that is not an app has one finding, which names its kind.
    """
    kind = other_document(definition)
    if kind:
        return [kind]
    findings = [
        *_identity(definition, app_id),
        *check_marathon_rules(definition, marathon_version),
        *_instances(definition),
        *_group(definition, app_id),
        *_service_ports(definition),
        *_alt_ports(definition),
        *_own_labels(definition),
        *check_labels(definition),
        *([] if allow_no_health_check else _health_check(definition)),
        *_check_path(definition),
        *_fixed_check_port(definition),
        *_second_colour(definition),
        *check_vips(definition, app_id),
        *advice(definition, marathon_version),
    ]
    return list(dict.fromkeys(findings))


def other_document(definition: Mapping[str, Any]) -> Finding | None:
    """A finding for a group, a pod, an answer of Marathon, a job or a file of another tool instead of an app."""
    of_apps = ("a group", "Write each app of the group in a separate template")
    kinds = {
        "apps": of_apps,
        "groups": of_apps,
        "pods": of_apps,
        "containers": ("a pod", "Write it as an app: bgci does not release pods"),
        "app": ("an answer of Marathon with an app in it", "Keep only the value of app"),
        "run": ("a DC/OS Job", "Write an app definition"),
        "spec": ("a Kubernetes object", "Write it as an app definition of Marathon"),
        "services": ("a Compose file", "Write each service as an app definition of Marathon"),
    }
    for field, (what, remedy) in kinds.items():
        if isinstance(definition.get(field), list | Mapping) and not {"container", "cmd", "args"} & set(definition):
            return Finding(f"$.{field}", f"shows that this is {what}; bgci releases one app", remedy)
    return None


def _identity(definition: Mapping[str, Any], app_id: str) -> Iterator[Finding]:
    own = definition.get("id")
    if isinstance(own, str) and own != app_id:
        remedy = f'Write "{app_id}", or give --app {own}' if is_app_id(own) else f'Write "{app_id}"'
        yield Finding("$.id", f"is {own!r}, but the app is {app_id!r}", remedy)


def _instances(definition: Mapping[str, Any]) -> Iterator[Finding]:
    wanted = definition.get("instances", 1)
    if wanted == 0 and not isinstance(wanted, bool):
        yield Finding("$.instances", "is 0, so no instance would serve", "Set it to the wanted total, at least 1")


def _group(definition: Mapping[str, Any], app_id: str) -> Iterator[Finding]:
    path, name = at("$.labels", GROUP_LABEL), group(definition)
    if not name.strip():
        if isinstance(
            labels(definition).get(GROUP_LABEL, ""), str
        ):  # else another finding reports that it must be text
            remedy = f'Add a name that blue and green share, such as "{app_id.lstrip("/")}"'
            yield Finding(path, "is missing: marathon-lb could not pair blue and green", remedy)
    elif not re.fullmatch(r"[A-Za-z0-9._:/-]+", name):
        # HAProxy refuses a configuration with such a backend, so marathon-lb could not change any app any more.
        yield Finding(path, f"is {name!r}, which cannot be a backend of HAProxy", "Use letters, digits and . _ - /")
    elif name.rpartition("/")[2] in [f"{app_id.rpartition('/')[2]}-{colour}" for colour in COLOURS]:
        yield Finding(path, f"is {name!r}, the name of one colour", f"Write {app_id.lstrip('/')!r} for both colours")


def _service_ports(definition: Mapping[str, Any]) -> Iterator[Finding]:
    path, key, _ = port_table(definition)
    ports = service_ports(definition)
    if not any(_is_served(definition, index) for index in range(len(ports))):
        yield Finding(path, "has no port that marathon-lb serves", "Add one with a service port")
    seen: Counter[int] = Counter()
    for index, port in enumerate(ports):
        place = at(at(path, index), key) if key else at(path, index)
        if port == 0 and _is_served(definition, index):
            remedy = "Set the port on which marathon-lb listens, such as 10102"
            yield Finding(place, "is not set: Marathon would choose another one for each colour", remedy)
        if not 0 <= port <= 65535:
            yield Finding(place, f"is {port}, which is not a port", "Write a port from 1 to 65535")
        seen[port] += 1
        if port and seen[port] == 2:
            yield Finding(place, f"is {port} a second time", "Give each port a different service port")
        label = f"HAPROXY_{index}_PORT"
        if port and labels(definition).get(label, str(port)) != str(port):
            remedy = f"Remove the label, and set {port} as the service port"
            yield Finding(at("$.labels", label), f"contradicts the service port {port}", remedy)


def _is_served(definition: Mapping[str, Any], index: int) -> bool:
    """Whether marathon-lb serves this port. An app without any group label belongs to one that serves all apps."""
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
            remedy = "Add a free service port for the second colour; with several ports, a comma list of as many"
            yield Finding(path, "is missing: both colours would claim the same service port", remedy)
        return
    if any(not 0 < port <= 65535 for port in alternatives):
        yield Finding(path, "has a part that is not a port", "Write numbers from 1 to 65535, separated by commas")
    if own and len(alternatives) != len(own):
        message = f"has {len(alternatives)} ports for {len(own)} service ports"
        yield Finding(path, message, "Give one for each, in order")
    for port in sorted({port for port in alternatives if port in own}):
        yield Finding(path, f"has {port}, which is a service port already", "Choose another, free one")
    if len(set(alternatives)) < len(alternatives):
        yield Finding(path, "has a port twice", "Give one for each service port")


def _own_labels(definition: Mapping[str, Any]) -> Iterator[Finding]:
    for name, value in labels(definition).items():
        path = at("$.labels", name)
        if name == DRAIN_PATH_LABEL:
            if isinstance(value, str) and not re.fullmatch(r"/\S*", value):
                yield Finding(path, f"is {value!r}", "Write a path that begins with /, such as /idle")
        elif re.sub("[^A-Z]", "", name.upper()) == DRAIN_PATH_LABEL.replace("_", ""):
            yield Finding(path, f"is not the label {DRAIN_PATH_LABEL}: bgci ignores it", f"Write {DRAIN_PATH_LABEL}")
        elif name.startswith(_OWN_PREFIX):
            remedy = f"Remove or rename it: of these a template can only set {DRAIN_PATH_LABEL}"
            yield Finding(path, "is a label that bgci writes itself", remedy)


def _health_check(definition: Mapping[str, Any]) -> Iterator[Finding]:
    checks = definition.get("healthChecks")
    if not checks and (checks is None or isinstance(checks, list)):
        remedy = "Add an HTTP check with portIndex 0, or give --allow-no-health-check"
        yield Finding(
            "$.healthChecks", "is missing: marathon-lb would send requests to tasks that have not started yet", remedy
        )
        return
    first = next((index for index, port in enumerate(service_ports(definition)) if port), 0)
    if isinstance(checks, list) and not any(_checks_port(as_mapping(check), first) for check in checks):
        message = f"has none for port {first}, the first service port: HAProxy would not check its servers"
        remedy = f"Add an HTTP or TCP check with portIndex {first}, or give --allow-no-health-check"
        yield Finding("$.healthChecks", message, remedy)


def _checks_port(check: Mapping[str, Any], index: int) -> bool:
    """As marathon-lb's get_health_check does: a check with `port` counts for every port."""
    if check.get("protocol") == "COMMAND":
        return False
    return "port" in check or as_int(check.get("portIndex")) == index


def _check_path(definition: Mapping[str, Any]) -> Iterator[Finding]:
    """marathon-lb writes the path into HAProxy's line `option httpchk GET <path>`, where a blank ends it."""
    for index, check in enumerate(as_list(definition.get("healthChecks"))):
        path = as_mapping(check).get("path")
        if isinstance(path, str) and path and not re.fullmatch(r"/\S*", path):
            message = f"is {path!r}: HAProxy would request another path, and take every server out of rotation"
            yield Finding(f"$.healthChecks[{index}].path", message, "Begin it with /, and write %20 for a blank")


def _fixed_check_port(definition: Mapping[str, Any]) -> Iterator[Finding]:
    if network_mode(definition) != "host":
        return
    own = [port for port in service_ports(definition) if port]
    for index, check in enumerate(as_list(definition.get("healthChecks"))):
        port = as_int(as_mapping(check).get("port"))
        if port in own:
            remedy = f"Write portIndex {service_ports(definition).index(port)} instead"
            path = f"$.healthChecks[{index}].port"
            yield Finding(path, f"is {port}, but the second colour runs on another port", remedy)


def fixed_host_ports(definition: Mapping[str, Any]) -> list[str]:
    """The JSON path of each host port that only one instance per agent, of either colour, can have."""
    path, key, table = port_table(definition)
    if key != "servicePort":
        return [path] if definition.get("requirePorts") is True and any(service_ports(definition)) else []
    return [
        f"{path}[{index}].hostPort" for index, entry in enumerate(table) if as_int(as_mapping(entry).get("hostPort"))
    ]


def _second_colour(definition: Mapping[str, Any]) -> Iterator[Finding]:
    """Settings with which the second colour never starts while the first one runs."""
    pinned = [index for index, parts in enumerate(as_list(definition.get("constraints"))) if _pins_agent(parts)]
    for path in fixed_host_ports(definition) if pinned else ():
        message = f"is fixed, and constraints[{pinned[0]}] keeps all instances on one agent, so only one colour fits"
        yield Finding(path, message, "Write 0, or remove the constraint")
    volumes = as_list(as_mapping(definition.get("container")).get("volumes"))
    for index, volume in enumerate(volumes):
        external = as_mapping(as_mapping(volume).get("external"))
        if external.get("provider") == "dvdi" and external.get("shared") is not True:
            path = f"$.container.volumes[{index}].external"
            message = "is a volume that only one app can use, so Marathon refuses the second colour"
            yield Finding(path, message, 'Add "shared": true if the storage can be used by both colours')


def _pins_agent(constraint: Any) -> bool:
    parts = [str(part) for part in as_list(constraint)]
    if len(parts) < 2 or parts[0] not in ("hostname", "@hostname"):
        return False
    literal = len(parts) > 2 and re.fullmatch(r"[\w.-]+", parts[2]) is not None
    return parts[1] in ("CLUSTER",) or (parts[1] in ("IS", "LIKE") and literal)
