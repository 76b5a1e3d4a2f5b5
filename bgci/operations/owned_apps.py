"""Which running apps a command owns: checked before any change, and at every observation of a rollout."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bgci.appdef.app_definition import service_ports
from bgci.appdef.colour import next_colour
from bgci.appdef.names import parse_app
from bgci.appdef.preview_app import probe_app
from bgci.dcos.haproxy_config import Stranger
from bgci.dcos.marathon import Marathon, unreadable
from bgci.dcos.marathon_lb import Endpoint, LoadBalancer
from bgci.dcos.running_app import RunningApp, endpoints
from bgci.engine.decisions import Release
from bgci.engine.observation import App
from bgci.engine.ownership import Claim, conflict, folder, same_group
from bgci.errors import ConflictError, UnavailableError
from bgci.interruption import before_cleanup, cleanup, pause
from bgci.operations.context import Context

SETTLE_SECONDS = 5.0  # seconds after a reload request in which a load balancer can still show ended tasks
PAUSE = 0.2


@dataclass(frozen=True)
class Owned:
    """Our running apps, and the claim that makes them ours."""

    claim: Claim
    apps: tuple[RunningApp, ...] = ()


def require_owned(context: Context, group: str = "") -> Owned:
    """Our running apps for this command. ``group``: of the definition, empty without one."""
    return owned(context.cluster.marathon, claim_of(context, group))


def group_apps(mine: Owned) -> tuple[App, ...]:
    """The apps of our group, as the engine observes them."""
    return tuple(one.app for one in mine.apps if same_group(one.group, mine.claim.group))


def claim_of(context: Context, group: str = "") -> Claim:
    """The claim of this command."""
    replaces = context.settings.replaces
    return Claim(context.app_id, group, parse_app(replaces) if replaces else "")


def check_strangers(context: Context, release: Release, mine: Owned) -> None:
    """Raises ConflictError for a stranger behind our service ports; only warns while our canary runs."""
    ports = service_ports(release.definition or {})
    found = strangers(context.balancers, context.cluster.marathon, mine.apps, mine.claim.group, ports)
    if release.definition is None or any(app.revision == release.revision for app in mine.apps):
        for one in found:
            context.console.warn(f"The load balancer serves {one} with {one.share:.0%} of the traffic of its port.")
        return
    require_no_strangers(found, mine.claim.base_id)


def require_readable(context: Context, mine: Owned, revision: str) -> None:
    """Raises DeniedError before the creation of an app that the account could not read.

    Marathon leaves out of its lists what an account cannot read, and answers 404 for an app that does not exist,
    before it checks the permission (marathon: AppsResource.show). So only an existing app shows the permission. In a
    folder the lock has shown it. At the root a permission covers one app only: there bgci creates a probe with the id
    of the new colour, without instances and load-balancer labels, reads it, and deletes it at once.
    """
    creates = len(mine.apps) < 2 and all(app.revision != revision for app in mine.apps)
    if not creates or context.credentials is None or folder(context.app_id) != "/":
        return
    marathon, baseline = context.cluster.marathon, mine.apps[0].definition if mine.apps else None
    probe_id = f"{context.app_id}-{next_colour(context.app_id, baseline)}"
    marathon.create(probe_app(context.app_id, probe_id))
    try:
        with before_cleanup():
            if marathon.app(probe_id) is None:
                raise unreadable(probe_id)
    finally:
        with cleanup():
            marathon.delete(probe_id)


def owned(marathon: Marathon, claim: Claim) -> Owned:
    """Our running apps, in any group. Raises ConflictError when the group contains another app or was renamed,
    DeniedError for a running app of ours that cannot be read.

    Without a group in the claim, the group of our own apps counts.
    """
    bases = [base for base in (claim.base_id, claim.replaces) if base]
    members = _distinct(app for base in bases for app in marathon.members(base, claim.group))
    group = claim.group or next((app.group for app in members if claim.owns(app.member) and app.group), "")
    if group and not claim.group:
        members = _distinct([*members, *marathon.group_apps(group)])
    return Owned(replace(claim, group=group), require_ours(members, replace(claim, group=group)))


def require_ours(apps: Sequence[RunningApp], claim: Claim) -> tuple[RunningApp, ...]:
    """Our apps among these. Raises ConflictError for another app in the group (hazards 51 and 52)."""
    found = conflict([app.member for app in apps], claim)
    if found:
        raise ConflictError(found.message, remedy=found.remedy)
    return tuple(app for app in apps if claim.owns(app.member))


def _distinct(apps: Iterable[RunningApp]) -> list[RunningApp]:
    return list({app.id: app for app in apps}.values())


# -- strangers at the load balancer -----------------------------------------------------------------------------------


def strangers(
    balancers: Sequence[LoadBalancer], marathon: Marathon, apps: Sequence[RunningApp], group: str, ports: Iterable[int]
) -> list[Stranger]:
    """Servers behind our service ports that are not our tasks, each with its app if this account can read it.

    A load balancer can still show tasks of ours that have just ended (hazard 38). bgci asks it to reload, and ignores
    servers that disappear within some seconds. Raises UnavailableError when no load balancer can be read.
    """
    wanted = sorted({port for port in ports if port} | {port for app in apps for port in app.public_ports if port})
    ours = [end for ends in endpoints(apps, group).values() for end in ends]
    until = time.monotonic() + SETTLE_SECONDS
    found = _behind(balancers, wanted, ours)
    if found:
        for balancer in balancers:
            balancer.request_reload()
    while found and time.monotonic() < until:
        pause(PAUSE)
        found = _behind(balancers, wanted, ours)
    return _named(found, marathon) if found else []


def _behind(balancers: Sequence[LoadBalancer], ports: Sequence[int], ours: Sequence[Endpoint]) -> list[Stranger]:
    """The strangers at every load balancer that answers. Raises UnavailableError when none answers."""
    found: list[Stranger] = []
    problems = []
    for balancer in balancers:
        try:
            found += balancer.strangers(ports, ours)
        except UnavailableError as error:
            problems.append(error)
    if problems and len(problems) == len(balancers):
        raise problems[0]
    return found


def _named(found: Sequence[Stranger], marathon: Marathon) -> list[Stranger]:
    """The strangers with the ids of their apps, as far as this account can read them."""
    owners = {at.netloc: app.id for app in marathon.apps() for ats in app.addresses.values() for at in ats}
    return [replace(one, app=owners.get(one.address, "")) for one in found]


def require_no_strangers(found: Sequence[Stranger], base_id: str) -> None:
    """Raises ConflictError that names each stranger (hazard 53)."""
    if not found:
        return
    listed = "\n".join(f"  - {one}: {one.share:.0%} of the traffic of port {one.port}" for one in found)
    ports = ", ".join(str(port) for port in sorted({one.port for one in found}))
    raise ConflictError(
        f"The load balancer serves tasks on the service port {ports} of {base_id} that do not belong to it:\n{listed}",
        remedy="Give one of the two apps another service port and another HAPROXY_DEPLOYMENT_GROUP, or remove the "
        "other app. If it cannot be read with this account, ask its team.",
    )
