"""Judgements about the running apps: the app's own pair, and conflicts of the template with other apps. Pure.

``apps``: all apps that the account can read. ``now``: seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bgci.appdef.app_definition import GROUP_LABEL, alt_ports, group, labels, service_ports
from bgci.appdef.colour import STARTED_AT_LABEL, TARGET_LABEL
from bgci.appdef.vips import vips
from bgci.dcos.running_app import RunningApp
from bgci.doctor.adoption import never_ends, upgrade_strategy
from bgci.doctor.finding import CheckResult, Status, counted, failure, ok, warning
from bgci.engine.ownership import Claim, conflict, same_group
from bgci.errors import ConflictError

Definition = Mapping[str, Any]


def of_app(apps: Sequence[RunningApp], app_id: str) -> list[RunningApp]:
    """Our running apps, of either colour or without one."""
    return [app for app in apps if app_id in (app.base_id, app.id)]


def groups(apps: Sequence[RunningApp]) -> dict[str, list[RunningApp]]:
    """The apps by their deployment group, spelled without a leading slash."""
    found: dict[str, list[RunningApp]] = {}
    for app in apps:
        if app.group:
            found.setdefault(app.group.lstrip("/"), []).append(app)
    return found


# -- the template ---------------------------------------------------------------------------------------------------


def taken_group(apps: Sequence[RunningApp], claim: Claim) -> CheckResult:
    """Whether the template's group holds another app, or our app runs in another group (engine.ownership)."""
    members = [app.member for app in apps if same_group(app.group, claim.group) or claim.owns(app.member)]
    found = conflict(members, claim)
    if found is None:
        return ok("group", f"{claim.group} contains no other app")
    return failure("group", ConflictError, found.message, found.remedy)


def taken_ports(apps: Sequence[RunningApp], app_id: str, definition: Definition) -> list[CheckResult]:
    """Service ports of the template that other apps at the same load balancers use, or will use."""
    wanted = {port: "service port" for port in service_ports(definition) if port}
    wanted |= {port: "HAPROXY_DEPLOYMENT_ALT_PORT" for port in alt_ports(definition) if port}
    mine = _balancer_groups(labels(definition))
    clashes = []
    for app in apps:
        ours = app.base_id == app_id or same_group(app.group, group(definition))
        if ours or not mine & _balancer_groups(app.labels):
            continue
        held = dict.fromkeys(alt_ports(app.definition), "as its other port")
        held |= dict.fromkeys((*app.service_ports, *app.public_ports), "now")
        for port in filter(held.get, wanted):
            found = f"{wanted[port]} {port} is in use by {app.id}, {held[port]}"
            clashes.append(failure("ports", ConflictError, found, "Choose a free one in the template."))
    free = ", ".join(map(str, wanted))
    return clashes or [ok("ports", f"service ports {free or 'none'} are free")]


def _balancer_groups(own: Mapping[str, Any]) -> set[str]:
    """The load balancers of an app with these labels: the values of HAPROXY_GROUP and HAPROXY_{n}_GROUP."""
    names = [name for name in own if name.startswith("HAPROXY_") and name.endswith("GROUP") and name != GROUP_LABEL]
    return {part.strip() for name in names for part in str(own[name]).split(",") if part.strip()}


# -- the running apps -----------------------------------------------------------------------------------------------


def state(app_id: str, apps: Sequence[RunningApp]) -> CheckResult:
    """Whether one revision runs alone, or a hybrid is unfinished."""
    if not apps:
        return ok("state", f"{app_id}: no app is visible to this account; the first release deploys it in full")
    if len(apps) > 2:
        found = f"{len(apps)} apps in one group: {_names(apps)}; a release handles two"
        remedy = "Delete the apps that do not belong to it, or correct their HAPROXY_DEPLOYMENT_GROUP."
        return failure("state", ConflictError, found, remedy)
    busy = [one for app in apps for one in app.app.deployments]
    if len(apps) == 1:
        return _alone(apps[0], busy)
    old, new = sorted(apps, key=lambda app: app.app.started_at)
    if old.app.started_at == new.app.started_at:
        found = f"{_names(apps)} cannot be told apart: {STARTED_AT_LABEL} is equal or missing"
        return failure("state", ConflictError, found, "Delete the app that does not belong to the group.")
    if busy:
        return ok("state", f"hybrid under way: {_shown(old)} and {_shown(new)}; deployment {', '.join(busy)} runs")
    found = f"hybrid with no deployment running: {_shown(old)} and {_shown(new)}"
    if not new.revision:
        remedy = f"Delete one of them by hand: {old.id}, or {new.id}."
        return warning("state", f"{found}; bgci did not deploy the newer", remedy)
    remedy = "If no release is under way: finish it, or run `bgci rollback` with the same options."
    return warning("state", found, remedy, f"bgci promote --app {app_id} --revision {new.revision}")


def _alone(app: RunningApp, busy: Sequence[str]) -> CheckResult:
    if busy:
        found = f"{_shown(app)}; deployment {', '.join(busy)} holds its lock"
        remedy = "Wait for it; cancel a deployment whose tasks never become healthy."
        if never_ends(app, upgrade_strategy(app.definition)):
            remedy = (
                "If it changes the configuration, it never ends on Marathon 1.10.5 and later: Marathon checks the app "
                "itself, and the upgradeStrategy leaves no over-capacity. Cancel it, with `stop` instead of `rollback` "
                "if it hangs again."
            )
        return warning("state", found, remedy, f"dcos marathon deployment rollback {busy[0]}")
    return ok("state", f"{_shown(app)} serves alone")


def _shown(app: RunningApp) -> str:
    return f"{app.id} ({app.revision or 'an unknown revision'}, {counted(app.app.instances, 'instance')})"


def start_times(apps: Sequence[RunningApp], now: float) -> list[CheckResult]:
    """STARTED_AT labels on which marathon-lb fails, or which another tool wrote."""
    checks, zones = [], set()
    for app in apps:
        text = app.labels.get(STARTED_AT_LABEL, "")
        if app.wrong_date:
            remedy = "Correct the label, which restarts the app's tasks, or delete the app."
            found = f"{app.id}: {STARTED_AT_LABEL} is {text!r}, which is not a date"
            checks.append(failure("started-at", ConflictError, f"{found}: marathon-lb would fail on it", remedy))
            continue
        if text:
            zones.add(app.app.started_at_zoned)
        checks += _foreign_time(app, text, now)
    if len(apps) > 1 and len(zones) > 1:
        found = f"{_names(apps)}: one label has a time zone, one has none: marathon-lb updates no app at all"
        checks.append(failure("started-at", ConflictError, found, "Delete one of the two now."))
    return checks


def _foreign_time(app: RunningApp, text: str, now: float) -> list[CheckResult]:
    if not text or app.revision:
        return []
    if app.app.started_at > now + 60:
        found = f"{app.id}: {STARTED_AT_LABEL} is {text}, which is in the future"
        remedy = "Deploy this app only with bgci. The next release writes a later date."
        return [warning("started-at", f"{found}: another clock, or local time without a zone", remedy)]
    kind = "a time zone" if app.app.started_at_zoned else "no time zone, which may be local time"
    return [ok("started-at", f"{app.id}: written by another tool with {kind}; the next release uses the same form")]


def baselines(app_id: str, wanted: str, apps: Sequence[RunningApp]) -> list[CheckResult]:
    """Apps that bgci did not deploy, and the missing labels of a baseline.

    wanted: the template's group; empty if unknown.
    """
    checks = []
    adopt = f"bgci doctor --app {app_id} --adopt"
    for app in apps:
        if wanted and not same_group(app.group, wanted):
            found = f"{app.id} is in {'the group ' + app.group if app.group else 'no group'}, not in {wanted}"
            remedy = f"Write HAPROXY_DEPLOYMENT_GROUP={app.group} in the template, which restarts nothing, or adopt it."
            if not app.group:
                remedy = "Adopt it. The command first shows the cost and changes nothing."
            checks.append(failure("baseline", ConflictError, f"{found}: a release refuses it", remedy, adopt))
            continue
        checks += _labels_of(app, alone=len(apps) == 1, adopt=adopt)
        if not app.app.has_health_checks:
            remedy = "Give it one in the template; until it is replaced, --allow-no-health-check accepts lost requests."
            checks.append(warning("baseline", f"{app.id} has no health check", remedy))
    return checks


def _labels_of(app: RunningApp, *, alone: bool, adopt: str) -> list[CheckResult]:
    """Whether the app has the labels of a baseline. alone: whether its target must be its number of instances."""
    target, foreign = app.labels.get(TARGET_LABEL), not app.revision
    stale = alone and target is not None and target != str(app.app.instances)
    origin = "was deployed by another tool"
    if foreign and target is not None and not stale:
        return [ok("baseline", f"{app.id} {origin}; it can be a baseline without a change")]
    if target is None:
        found = f"{app.id} {origin if foreign else 'was changed by hand'}, without {TARGET_LABEL}"
    elif stale:
        how = origin if foreign else "was scaled by hand"
        found = f"{app.id} {how}: {TARGET_LABEL} is {target}, instances {app.app.instances}"
    else:
        return []
    remedy = (
        "It can be a baseline with --strategy bluegreen; but a rollback cannot drain a canary beside it, and "
        "--strategy rolling refuses it. The next promotion sets the label; --adopt sets it now."
    )
    return [warning("baseline", found, remedy, adopt)]


def virtual_addresses(app_id: str, apps: Sequence[RunningApp]) -> list[CheckResult]:
    """Named VIPs of the running apps: of one colour, and shared by both."""
    found = [(app, vip) for app in apps for vip in vips(app.definition) if vip.port and not vip.is_address]
    checks = []
    for app, vip in [pair for pair in found if pair[1].names_a_colour(app_id)]:
        what = f"{app.id}: the VIP {vip.value} belongs to one colour: its clients cannot connect after the next release"
        remedy = f"Write {app_id}:{vip.port} in the template, and use that name in the clients."
        checks.append(warning("vips", what, remedy))
    shared = sorted({vip.value for _, vip in found if not vip.names_a_colour(app_id)})
    if shared:
        note = "both colours share it, spread by instances, without draining (docs/vips.md)"
        checks.append(ok("vips", f"{', '.join(shared)}: {note}"))
    return checks


def everything(apps: Sequence[RunningApp], now: float) -> list[CheckResult]:
    """The problems of every group of the cluster, for a run without --app."""
    found = groups(apps)
    checks: list[CheckResult] = []
    for name, members in sorted(found.items()):
        app_id = members[0].base_id
        per_group = [state(app_id, members), *start_times(members, now), *virtual_addresses(app_id, members)]
        checks += [check for check in per_group if check.status is not Status.OK]
        if len(members) < 3:
            checks += [check for check in baselines(app_id, name, members) if check.status is not Status.OK]
    hybrids = sum(len(members) == 2 for members in found.values())
    counts = f"readable apps: {len(apps)}, deployment groups: {len(found)}, of two colours: {hybrids}"
    return [ok("apps", counts), *checks]


def _names(apps: Iterable[RunningApp]) -> str:
    return ", ".join(app.id for app in apps)
