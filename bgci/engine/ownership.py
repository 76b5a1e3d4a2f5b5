"""Which apps a release owns: the base id decides, never the deployment group. Pure.

The label HAPROXY_DEPLOYMENT_GROUP only tells marathon-lb which two apps to pair. Two teams can use the same value,
so the engine never scales, kills or deletes a member of the group with another base id, and never treats it as a
baseline (hazard 51). It never overlooks an app of its own in another group (hazard 52).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bgci.engine.decisions import Fail

COLOURS = ("blue", "green")


@dataclass(frozen=True)
class Member:
    """A running app of the group or of our base id. ``group`` is empty without the label."""

    id: str
    base_id: str
    group: str


@dataclass(frozen=True)
class Claim:
    """The apps that a release owns. ``replaces``: the earlier base id of the same app (--replaces)."""

    base_id: str
    group: str
    replaces: str = ""

    def owns(self, member: Member) -> bool:
        """Whether the member is this app, by its own or its earlier base id."""
        return member.base_id in {self.base_id, self.replaces} - {""}


def base_id(app_id: str, label: str | None) -> str:
    """The base id of an app: its label HAPROXY_APP_ID, else its id without ``-blue`` or ``-green``.

    A label that names an app of another folder does not count: a release owns apps of one folder only.
    """
    own = "/" + app_id.strip("/")
    if label and label.strip("/"):
        named = "/" + label.strip("/")
        if folder(named) == folder(own):
            return named
    return next((own.removesuffix(f"-{colour}") for colour in COLOURS if own.endswith(f"-{colour}")), own)


def folder(app_id: str) -> str:
    """The folder of an app id: ``/team`` for ``/team/web``, ``/`` for ``/web``."""
    return "/" + app_id.strip("/").rpartition("/")[0]


def same_group(one: str, other: str) -> bool:
    """Whether marathon-lb pairs the two groups: ``web`` and ``/web`` are one (marathon-lb: get_apps)."""
    return bool(one.strip("/")) and one.strip("/") == other.strip("/")


def ours(members: Iterable[Member], claim: Claim) -> list[Member]:
    """The members that the release owns."""
    return [member for member in members if claim.owns(member)]


def conflict(members: Sequence[Member], claim: Claim) -> Fail | None:
    """The conflict that forbids every change, or None. ``members``: every app of the group and every app of our base
    id.

    ``claim.group`` is empty without a definition (an emergency rollback): then only apps of another base id
    that share the group of our own apps are a conflict.
    """
    mine = ours(members, claim)
    groups = {claim.group.strip("/"), *(member.group.strip("/") for member in mine)} - {""}
    foreign = [member for member in members if not claim.owns(member) and member.group.strip("/") in groups]
    if foreign:
        return _another_app(foreign, claim)
    elsewhere = [member for member in mine if claim.group and not same_group(member.group, claim.group)]
    return _renamed_group(elsewhere, claim) if elsewhere else None


def _another_app(foreign: Sequence[Member], claim: Claim) -> Fail:
    named = ", ".join(f"{member.id} (app {member.base_id}, folder {folder(member.base_id)})" for member in foreign)
    first, several = foreign[0], len(foreign) > 1
    return Fail(
        f"{named} {'are' if several else 'is'} in the deployment group of {claim.base_id} (folder "
        f"{folder(claim.base_id)}): {'all' if several else 'both'} have the label "
        f"HAPROXY_DEPLOYMENT_GROUP={first.group}. A release would treat {first.id} as its own baseline and delete it.",
        f"Give the template of {claim.base_id} a different deployment group. If {first.id} is the same app under "
        f"another name, release once with --replaces {first.base_id}, which restarts nothing in place. "
        f"`bgci doctor --app {claim.base_id.lstrip('/')} --adopt` shows the alternative.",
    )


def _renamed_group(elsewhere: Sequence[Member], claim: Claim) -> Fail:
    member = elsewhere[0]
    if not member.group:
        return Fail(
            f"{member.id} runs without the label HAPROXY_DEPLOYMENT_GROUP, the definition has {claim.group!r}: "
            "marathon-lb would serve both revisions as two apps on one port.",
            f"Adopt it first: `bgci doctor --app {claim.base_id.lstrip('/')} --adopt` shows the steps and their cost.",
        )
    return Fail(
        f"{member.id} runs in the deployment group {member.group!r}, the definition has {claim.group!r}: marathon-lb "
        "would serve both revisions as two apps on one port.",
        f"Write HAPROXY_DEPLOYMENT_GROUP={member.group} in the template. To rename the group, remove the app first "
        f"(`bgci remove --app {claim.base_id.lstrip('/')}`), which causes a downtime.",
    )
