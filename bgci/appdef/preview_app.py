"""The preview: one instance of a new revision as a separate app, with its own load-balancer labels in force. Pure.

While two colours run, marathon-lb uses the baseline's labels for both (hazard 50). So the preview tests a new
revision's labels outside of the pair: on its alternative ports, under a virtual host without users.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from bgci.appdef.app_definition import alt_ports, labels, port_table, service_ports, set_service_ports
from bgci.appdef.colour import APP_ID_LABEL

PREVIEW_LABEL = "BGCI_PREVIEW_OF"  # label: the base id of the preview's or probe's app
_PAIR_LABEL = re.compile(r"HAPROXY_DEPLOYMENT_.*")
_VHOST_LABEL = re.compile(r"HAPROXY_\d+_VHOST")
_NOT_KEPT = {APP_ID_LABEL, "MARATHON_SINGLE_INSTANCE_APP"}


def preview_id(app_id: str) -> str:
    """The id of the app's preview."""
    return f"{app_id}-preview"


def preview_ports(definition: Mapping[str, Any]) -> list[int]:
    """The preview's service port for each port of the app, 0 for an unserved one.

    Empty if a served port has no alternative in HAPROXY_DEPLOYMENT_ALT_PORT: then a preview is not possible.
    """
    spare = iter(alt_ports(definition))
    ports = [next(spare, 0) if port else 0 for port in service_ports(definition)]
    complete = all(port for port, own in zip(ports, service_ports(definition), strict=True) if own)
    return ports if complete and any(ports) else []


def preview_app(definition: Mapping[str, Any], revision: str) -> dict[str, Any]:
    """The app to create. ``definition`` is normalised, without a colour, and has preview ports.

    It keeps all of marathon-lb's labels except those of the pair. It replaces a virtual host instead of dropping it,
    because marathon-lb derives the mode and the path rules from it. It drops names of virtual addresses (VIPs), because
    the preview would get traffic of the app's users.
    """
    app_id, ports = str(definition["id"]), preview_ports(definition)
    app = set_service_ports(definition, ports)
    own = labels(definition)
    kept = {key: value for key, value in own.items() if not _PAIR_LABEL.fullmatch(key) and key not in _NOT_KEPT}
    hosts = {key: f"{preview_host(app_id)}" for key in kept if _VHOST_LABEL.fullmatch(key)}
    numbers = {f"HAPROXY_{index}_PORT": str(port) for index, port in enumerate(ports) if port}
    app["id"], app["instances"] = preview_id(app_id), 1
    app["labels"] = {**kept, **hosts, **numbers, PREVIEW_LABEL: app_id, "BGCI_PREVIEW_REVISION": revision}
    app.pop("dependencies", None)
    for entry in port_table(app)[2]:
        if isinstance(entry, dict):
            _make_private(entry)
    return app


def probe_app(app_id: str, own_id: str) -> dict[str, Any]:
    """An app without instances, of this id, which shows whether an account can read an app that it creates."""
    return {"id": own_id, "instances": 0, "cpus": 0.01, "mem": 32, "cmd": "true", "labels": {PREVIEW_LABEL: app_id}}


def preview_host(app_id: str) -> str:
    """The virtual host of a preview: a name that exists nowhere (RFC 2606)."""
    return f"{app_id.strip('/').replace('/', '-')}-preview.invalid"


def _make_private(entry: dict[str, Any]) -> None:
    """The port without a fixed host port, which the running colour uses, and without virtual addresses."""
    if entry.get("hostPort"):
        entry["hostPort"] = 0
    if isinstance(entry.get("labels"), dict):
        entry["labels"] = {
            key: value for key, value in copy.deepcopy(entry["labels"]).items() if not key.upper().startswith("VIP")
        }
