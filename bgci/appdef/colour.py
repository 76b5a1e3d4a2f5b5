"""Converts a definition, which has no colour, to the app of one colour, and back."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from bgci.appdef.app_definition import alt_ports, as_int, labels, service_ports, set_service_ports
from bgci.appdef.app_definition import instances as target_of
from bgci.appdef.marathon_forms import stored
from bgci.appdef.marathon_schema import LATEST
from bgci.appdef.previous import DEFINITION_LABEL, REVISION_LABEL, record

COLOUR_LABEL = "HAPROXY_DEPLOYMENT_COLOUR"
STARTED_AT_LABEL = "HAPROXY_DEPLOYMENT_STARTED_AT"
TARGET_LABEL = "HAPROXY_DEPLOYMENT_TARGET_INSTANCES"
SWAPPABLE_LABEL = "HAPROXY_DEPLOYMENT_NEW_INSTANCES"
APP_ID_LABEL = "HAPROXY_APP_ID"
STAND_IN_LABEL = "BGCI_STAND_IN"
FINGERPRINT_LABEL = "BGCI_DEFINITION"
# The labels of the app's identity and rollout, which are not part of its definition.
_OWN_LABELS = (
    *(COLOUR_LABEL, STARTED_AT_LABEL, TARGET_LABEL, SWAPPABLE_LABEL, APP_ID_LABEL),
    *("BGCI_REVISION", "BGCI_IMAGE", FINGERPRINT_LABEL, "BGCI_BASELINE_INSTANCES"),
    STAND_IN_LABEL,
    *(REVISION_LABEL, DEFINITION_LABEL),
)


def coloured(
    definition: Mapping[str, Any],
    *,
    revision: str,
    image: str,
    baseline: Mapping[str, Any] | None,
    instances: int,
    started_at: str,
    swappable: bool,
) -> dict[str, Any]:
    """The app to create for this revision. ``definition`` is normalised and valid.

    baseline: Marathon's JSON of the running app, None at the first deployment.
    instances: how many to start; the target stays the definition's own number (hazard 7).
    started_at: UTC without a suffix, ISO format (hazards 13 and 33).
    swappable: whether marathon-lb can swap the roles: the label HAPROXY_DEPLOYMENT_NEW_INSTANCES allows it.
    """
    app_id = str(definition["id"])
    colour = next_colour(app_id, baseline)
    own = service_ports(definition)
    app = set_service_ports(definition, _free_ports(own, alt_ports(definition), baseline))
    kept = {key: value for key, value in labels(definition).items() if key != SWAPPABLE_LABEL}
    app["id"] = f"{app_id}-{colour}"
    app["instances"] = instances
    app["labels"] = {
        **kept,
        COLOUR_LABEL: colour,
        STARTED_AT_LABEL: started_at,
        TARGET_LABEL: str(target_of(definition)),
        **({SWAPPABLE_LABEL: str(instances)} if swappable else {}),
        APP_ID_LABEL: app_id,
        # marathon-lb serves both colours on the definition's own port, not on their service ports.
        **{f"HAPROXY_{index}_PORT": str(port) for index, port in enumerate(own) if port},
        "BGCI_REVISION": revision,
        "BGCI_IMAGE": image,
        FINGERPRINT_LABEL: fingerprint(definition),
        "BGCI_BASELINE_INSTANCES": str(as_int(baseline.get("instances")) if baseline else 0),
        **(record(baseline, {**colourless(baseline), "id": app_id}, revision) if baseline else {}),
    }
    return app


def stand_in(app: Mapping[str, Any], *, instances: int, started_at: str) -> dict[str, Any]:
    """The other colour of a running app, made from the same definition (engine.surplus). ``app``: Marathon's JSON."""
    own = labels(app)
    made = coloured(
        colourless(app),
        revision=str(own.get("BGCI_REVISION", "")),
        image=str(own.get("BGCI_IMAGE", "")),
        baseline=app,
        instances=instances,
        started_at=started_at,
        swappable=True,
    )
    kept = {name: text for name, text in made["labels"].items() if name not in (REVISION_LABEL, DEFINITION_LABEL)}
    made["labels"] = {**kept, FINGERPRINT_LABEL: own.get(FINGERPRINT_LABEL, ""), STAND_IN_LABEL: "true"}
    return made


def fingerprint(definition: Mapping[str, Any]) -> str:
    """16 hex digits of the definition's stored form: two ways to write one app have one fingerprint."""
    canonical = json.dumps(stored(definition), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def uncoloured(app: Mapping[str, Any], version: str = LATEST) -> dict[str, Any]:
    """The definition of the app, without a colour, in the form that Marathon stores.

    app: an app that Marathon returned, or a definition without a colour, with the same result. version: of
    Marathon, whose defaults differ.
    """
    made = stored(colourless(app), version)
    for check in made.get("healthChecks", ()):
        # Marathon adds it when it reads the app from its store (marathon: PortReference.fromProto).
        if check.get("protocol") != "COMMAND" and "port" not in check:
            check.setdefault("portIndex", 0)
    return made


def colourless(app: Mapping[str, Any]) -> dict[str, Any]:
    """The definition of the app, without a colour, with Marathon's defaults."""
    own = labels(app)
    ports = [_own_port(own, index, port) for index, port in enumerate(service_ports(app))]
    changed = set_service_ports(app, ports)
    target = str(own.get(TARGET_LABEL, ""))
    changed["labels"] = {
        key: value
        for key, value in own.items()
        if key not in _OWN_LABELS and key not in [f"HAPROXY_{index}_PORT" for index in range(len(ports))]
    }
    changed["id"] = own.get(APP_ID_LABEL, app.get("id", ""))
    changed["instances"] = int(target) if re.fullmatch("[0-9]{1,9}", target) else app.get("instances", 1)
    return changed


def _own_port(own: Mapping[str, Any], index: int, port: int) -> int:
    text = own.get(f"HAPROXY_{index}_PORT", "")
    return int(text) if re.fullmatch("[0-9]{1,5}", str(text)) else port


def next_colour(app_id: str, baseline: Mapping[str, Any] | None) -> str:
    """The colour of the new app beside the baseline, or of the first one."""
    if baseline is None:
        return "blue"
    colour = "green" if labels(baseline).get(COLOUR_LABEL) == "blue" else "blue"
    if baseline.get("id") == f"{app_id}-{colour}":  # its label and its name disagree; two apps need two names
        return "blue" if colour == "green" else "green"
    return colour


def _free_ports(own: list[int], alternative: list[int], baseline: Mapping[str, Any] | None) -> list[int]:
    """Each port's own number, or its alternative unless the baseline is on that one (hazard 27).

    No load balancer serves a port of 0: Marathon picks its number, and it has no alternative.
    """
    if baseline is None:
        return own
    taken = set(service_ports(baseline))
    spare = iter(alternative)
    others = [next(spare, port) if port else 0 for port in own]
    return [port if other in taken else other for port, other in zip(own, others, strict=True)]
