"""Permissions: the actions of each user on each resource, by permission strings such as
``dcos:service:marathon:marathon:services:/team`` (docs: security/ent/perms-reference)."""

from __future__ import annotations

import re
from typing import Any

ACTIONS = ("create", "read", "update", "delete", "full")
SUPERUSER = "dcos:superuser"
JOBS = "dcos:service:metronome:metronome:jobs"
SERVICES = "dcos:service:marathon:marathon:services"
SECRETS, SECRET_LIST = "dcos:secrets:default", "dcos:secrets:list:default"


class Acls:
    """All named resources, with the actions granted to each user."""

    def __init__(self) -> None:
        self.descriptions: dict[str, str] = {}
        self.grants: dict[str, dict[str, set[str]]] = {}

    def add(self, rid: str, description: str = "") -> None:
        self.descriptions[rid] = description
        self.grants.setdefault(rid, {})

    def remove(self, rid: str) -> None:
        del self.descriptions[rid], self.grants[rid]

    def grant(self, rid: str, uid: str, action: str) -> None:
        """Grants the action. A new resource is added first."""
        if rid not in self.grants:
            self.add(rid)
        self.grants[rid].setdefault(uid, set()).add(action)

    def revoke(self, rid: str, uid: str, action: str) -> None:
        self.actions(rid, uid).discard(action)

    def actions(self, rid: str, uid: str) -> set[str]:
        """The actions granted to the user on the resource; nothing is added for actions that others include."""
        return self.grants.get(rid, {}).get(uid, set())

    def allows(self, uid: str, rid: str, action: str) -> bool:
        """Whether the user's grants include the action. A superuser has all permissions."""
        if "full" in self.actions(SUPERUSER, uid):
            return True
        granted = [one for one, users in self.grants.items() if users.get(uid, set()) & {action, "full"}]
        return any(covers(one, rid) for one in granted)

    def saved(self) -> dict[str, Any]:
        grants = {rid: {uid: sorted(actions) for uid, actions in users.items()} for rid, users in self.grants.items()}
        return {"descriptions": self.descriptions, "grants": grants}

    def load(self, saved: dict[str, Any]) -> None:
        self.descriptions |= saved["descriptions"]
        for rid, users in saved["grants"].items():
            self.grants[rid] = {uid: set(actions) for uid, actions in users.items()}


def covers(granted: str, wanted: str) -> bool:
    """A permission on ``/team`` covers everything below it; one without a path covers only itself."""
    family, path = _parts(granted)
    wanted_family, wanted_path = _parts(wanted)
    return family == wanted_family and wanted_path[: len(path)] == path


def _parts(rid: str) -> tuple[str, tuple[str, ...]]:
    """The kind of resource, and the segments of its path.

    Jobs are spelled in four ways, with dots or slashes and with or without one in front, and ``jobs`` alone means all;
    secrets with or without a slash in front.
    """
    if rid == JOBS or rid.startswith(f"{JOBS}:"):
        return f"{JOBS}:", _segments(rid[len(JOBS) :].lstrip(":"), r"[./]")
    for family in (SECRETS, SECRET_LIST):
        if rid.startswith(f"{family}:"):
            return f"{family}:", _segments(rid[len(family) + 1 :], "/")
    family, has_path, path = rid.partition(":/")
    return family + has_path, _segments(path, "/")


def _segments(path: str, separator: str) -> tuple[str, ...]:
    return tuple(part for part in re.split(separator, path) if part)
