"""A lock as an app of Marathon without instances: writes and reads its definition."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from bgci.dcos.json_answer import JsonAnswer
from bgci.dcos.running_app import seconds_of
from bgci.engine.lock import LEASE, LONGEST_LEASE, Lock, Owner, Way
from bgci.redaction import redacted

LOCK_LABEL = "BGCI_LOCK_OF"  # the base id of the app that is locked
_LEASE, _SINCE, _RENEWED = "BGCI_LOCK_LEASE", "BGCI_LOCK_SINCE", "BGCI_LOCK_RENEWED"
_OWNER = {
    name: f"BGCI_LOCK_{name.upper()}"
    for name in ("way", "command", "revision", "machine", "process", "task", "ci_job", "name", "url")
}


def new_lock_id(base_id: str) -> str:
    """An id that no lock has had, so that the deletion of an expired lock never hits a new one."""
    return f"{base_id}-lock-{secrets.token_hex(5)}"


def lock_app(base_id: str, lock_id: str, owner: Owner, lease: float = LEASE) -> dict[str, Any]:
    """The app definition. It needs no resources, and marathon-lb ignores it, because it has none of its labels."""
    labels = {_OWNER[name]: redacted(str(getattr(value, "value", value))) for name, value in vars(owner).items()}
    labels = {LOCK_LABEL: base_id, _LEASE: f"{lease:g}", **{name: text for name, text in labels.items() if text}}
    return {"id": lock_id, "instances": 0, "cpus": 0.01, "mem": 32, "cmd": "true", "labels": labels}


def renewed_labels(labels: Mapping[str, str], since: str, count: int) -> dict[str, str]:
    """The labels of a renewal: Marathon gives the app a new version, so ``since`` keeps the first one."""
    return {**labels, _SINCE: since, _RENEWED: str(count)}


def read_lock(app: JsonAnswer) -> Lock:
    """The lock. With invalid labels of another program it has an unknown owner and the usual lease."""
    labels, version = app["labels"].texts(), app["version"].text()
    owner = None
    with suppress(ValueError):
        owner = Owner(
            Way(labels.get(_OWNER["way"], "")), **{n: labels.get(_OWNER[n], "") for n in _OWNER if n != "way"}
        )
    renewed = seconds_of(version)
    since = seconds_of(labels.get(_SINCE, "")) or renewed
    return Lock(app["id"].text(), owner, min(since, renewed), renewed, _lease(labels.get(_LEASE, "")))


def _lease(text: str) -> float:
    with suppress(ValueError):
        if math.isfinite(value := float(text)) and 0 < value <= LONGEST_LEASE:
            return value
    return LEASE
