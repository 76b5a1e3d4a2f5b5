"""Judgements about the apps that run: the pair itself, and what others hold that the template wants. Pure.

``apps``: Marathon's JSON of all apps that one may read. ``now``: seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bgci.appdef.app_definition import alt_ports, group, labels, service_ports
from bgci.appdef.colour import APP_ID_LABEL, STARTED_AT_LABEL, TARGET_LABEL
from bgci.appdef.names import COLOURS
from bgci.appdef.vips import vips
from bgci.dcos.app_state import public_ports, started
from bgci.doctor.finding import Check, Outcome, counted, failure, ok, warning
from bgci.errors import ConflictError

Raw = Mapping[str, Any]


def same_group(one: str, other: str) -> bool:
    """``web`` and ``/web`` are one group, as they are for marathon-lb (marathon_lb.py: get_apps)."""
    return bool(one) and one.strip("/") == other.strip("/")


def owner(app: Raw) -> str:
    """The app that this one is a colour of, as far as its labels and its id tell: ``/web`` for ``/web-blue``."""
    said = labels(app).get(APP_ID_LABEL)
    if isinstance(said, str) and said.strip("/"):
        return "/" + said.strip("/")
    own = str(app["id"])
    return next((own.removesuffix(f"-{colour}") for colour in COLOURS if own.endswith(f"-{colour}")), own)


def of_app(apps: Sequence[Raw], app_id: str) -> list[Raw]:
    """The apps that are this one, in either colour or in none."""
    return [app for app in apps if owner(app) == app_id or app["id"] == app_id]


def groups(apps: Sequence[Raw]) -> dict[str, list[Raw]]:
    """The apps by their deployment group, spelled without a leading slash."""
    found: dict[str, list[Raw]] = {}
    for app in apps:
        if group(app):
            found.setdefault(group(app).lstrip("/"), []).append(app)
    return found


# -- what the template wants ----------------------------------------------------------------------------------------


def taken_group(apps: Sequence[Raw], app_id: str, wanted: str) -> Check:
    """Whether the template's group holds another app: it would be taken for the baseline, and deleted in the end."""
    others = [app for app in apps if same_group(group(app), wanted) and owner(app) != app_id]
    if not others:
        return ok("group", f"{wanted} holds no other app")
    names = _names(others)
    told = [app for app in others if labels(app).get(APP_ID_LABEL)]
    if told or len(others) > 1:
        return failure(
            "group",
            ConflictError,
            f"HAPROXY_DEPLOYMENT_GROUP {wanted} is taken by {names}, which {app_id} would replace",
            "give the template a group of its own",
        )
    return warning(
        "group",
        f"{names} is in the group {wanted}: the release takes it for the baseline, and deletes it when it is done",
        "if it is another app, give the template a group of its own",
    )


def taken_ports(apps: Sequence[Raw], app_id: str, definition: Raw) -> list[Check]:
    """Service ports of the template that others, at the same load balancers, listen on or will."""
    wanted = {port: "service port" for port in service_ports(definition) if port}
    wanted |= {port: "HAPROXY_DEPLOYMENT_ALT_PORT" for port in alt_ports(definition) if port}
    mine = _balancer_groups(definition)
    clashes = []
    for app in apps:
        ours = owner(app) == app_id or same_group(group(app), group(definition))
        if ours or not mine & _balancer_groups(app):
            continue
        held = dict.fromkeys(alt_ports(app), "as its other port") | dict.fromkeys(_held(app), "now")
        clashes += [
            failure(
                "ports",
                ConflictError,
                f"{what} {port} is taken by {app['id']}, which uses it {held[port]}",
                "choose a free one in the template",
            )
            for port, what in wanted.items()
            if port in held
        ]
    free = ", ".join(map(str, wanted))
    return clashes or [ok("ports", f"{free or 'none'}: nobody else's")]


def _held(app: Raw) -> list[int]:
    return [port for port in [*service_ports(app), *public_ports(app)] if port]


def _balancer_groups(app: Raw) -> set[str]:
    """Which load balancers serve the app: the values of HAPROXY_GROUP and HAPROXY_{n}_GROUP."""
    texts = [
        str(value) for name, value in labels(app).items() if name.startswith("HAPROXY_") and name.endswith("GROUP")
    ]
    own = [str(labels(app).get("HAPROXY_DEPLOYMENT_GROUP", ""))]
    return {part.strip() for text in texts if text not in own for part in text.split(",") if part.strip()}


# -- what runs ------------------------------------------------------------------------------------------------------


def state(app_id: str, apps: Sequence[Raw]) -> Check:
    """Whether one revision runs, or a hybrid waits for somebody."""
    if not apps:
        return ok("state", f"{app_id}: nothing that one may read runs; the first release deploys it in full")
    if len(apps) > 2:
        return failure(
            "state",
            ConflictError,
            f"{len(apps)} apps in one group: {_names(apps)}; a release can tell two apart",
            "delete those that do not belong to it, or correct their HAPROXY_DEPLOYMENT_GROUP",
        )
    busy = [str(one["id"]) for app in apps for one in app.get("deployments") or ()]
    if len(apps) == 1:
        return _alone(apps[0], busy)
    if not _apart(apps):
        return failure(
            "state",
            ConflictError,
            f"{_names(apps)} cannot be told apart: {STARTED_AT_LABEL} is equal or missing",
            "delete the one that should not be there",
        )
    old, new = sorted(apps, key=_began)
    if busy:
        return ok("state", f"hybrid under way: {_shown(old)} and {_shown(new)}; deployment {', '.join(busy)} runs")
    revision = labels(new).get("BGCI_REVISION")
    found = f"hybrid with no deployment running: {_shown(old)} and {_shown(new)}"
    if not revision:
        return warning(
            "state", f"{found}; the newer one is not bgci's", f"delete one of them by hand: {old['id']}, or {new['id']}"
        )
    more = f"--app {app_id} --revision {revision}"
    remedy = "if no release is under way: finish it, or go back with `bgci rollback` and the same options"
    return warning("state", found, remedy, f"bgci promote {more}")


def _alone(app: Raw, busy: Sequence[str]) -> Check:
    if busy:
        remedy = "wait for it; a deployment whose tasks never become healthy has to be cancelled"
        return warning("state", f"{_shown(app)}; deployment {', '.join(busy)} holds its lock", remedy)
    return ok("state", f"{_shown(app)} serves alone")


def _shown(app: Raw) -> str:
    revision = labels(app).get("BGCI_REVISION") or "an unknown revision"
    return f"{app['id']} ({revision}, {counted(int(app.get('instances', 1)), 'instance')})"


def start_times(apps: Sequence[Raw], now: float) -> list[Check]:
    """STARTED_AT labels that marathon-lb would trip over, or that were written by other means."""
    checks, zones = [], set()
    for app in apps:
        text = str(labels(app).get(STARTED_AT_LABEL, ""))
        try:
            moment, zoned = started(text)
        except ValueError:
            remedy = "correct the label, which restarts the app's tasks, or delete the app"
            found = f"{app['id']}: {STARTED_AT_LABEL} is {text!r}, which is no date"
            checks.append(failure("started-at", ConflictError, f"{found}: marathon-lb would stop on it", remedy))
            continue
        if text:
            zones.add(zoned)
        checks += _foreign_time(app, text, moment, zoned, now)
    if len(apps) > 1 and len(zones) > 1:
        checks.append(
            failure(
                "started-at",
                ConflictError,
                f"{_names(apps)}: one label has a time zone, one has none: marathon-lb updates no app at all",
                "delete one of the two now",
            )
        )
    return checks


def _foreign_time(app: Raw, text: str, moment: float, zoned: bool, now: float) -> list[Check]:
    if not text or labels(app).get("BGCI_REVISION"):
        return []
    if moment > now + 60:
        found = f"{app['id']}: {STARTED_AT_LABEL} is {text}, which is yet to come"
        remedy = "nothing: the next release writes a later one; no other tool must deploy this app any more"
        return [warning("started-at", f"{found}: another clock, or local time without a zone", remedy)]
    kind = "a time zone" if zoned else "no time zone, which may be local time"
    return [ok("started-at", f"{app['id']}: written by other means with {kind}; the next release follows its form")]


def baselines(app_id: str, wanted: str, apps: Sequence[Raw]) -> list[Check]:
    """Apps that bgci did not deploy, and what is missing for them to be a baseline.

    wanted: the group that the app is to be in; empty when it is not known.
    """
    checks = []
    adopt = f"bgci doctor --app {app_id} --adopt"
    for app in apps:
        own = labels(app)
        if wanted and not same_group(group(app), wanted):
            found = f"{app['id']} is in {'the group ' + group(app) if group(app) else 'no group'}, not in {wanted}"
            remedy = "adopt it, or write its group in the template: else it is left running beside the release"
            checks.append(failure("baseline", ConflictError, f"{found}: releases do not see it", remedy, adopt))
            continue
        lacking = "" if own.get("BGCI_REVISION") else "was deployed by other means"
        target = own.get(TARGET_LABEL)
        if target is None:
            lacking = f"{lacking or 'was changed by hand'}, without {TARGET_LABEL}"
        elif len(apps) == 1 and target != str(app.get("instances", 1)):
            lacking = f"{lacking or 'was scaled by hand'}: {TARGET_LABEL} is {target}, instances {app.get('instances')}"
        if lacking:
            checks.append(_unlabelled(app, lacking, target is None, adopt))
        if not app.get("healthChecks"):
            remedy = "give it one in the template; until it is replaced, --allow-no-health-check accepts lost requests"
            checks.append(warning("baseline", f"{app['id']} has no health check", remedy))
    return checks


def _unlabelled(app: Raw, lacking: str, targetless: bool, adopt: str) -> Check:
    found = f"{app['id']} {lacking}"
    if not targetless and "other means" in lacking and ":" not in lacking:
        return ok("baseline", f"{found}; it can be a baseline as it is")
    remedy = (
        "it can be a baseline as it is with --strategy bluegreen; but a canary beside it cannot be drained on going "
        "back, and --strategy rolling refuses. The next promotion puts that right; --adopt does it before"
    )
    return warning("baseline", found, remedy, adopt)


def virtual_addresses(app_id: str, apps: Sequence[Raw]) -> list[Check]:
    """Named VIPs of what runs: those of one colour, and those that both share."""
    found = [(app, vip) for app in apps for vip in vips(app) if vip.port and not vip.is_address]
    checks = [
        warning(
            "vips",
            f"{app['id']}: the VIP {vip.value} is of one colour: its consumers find nothing after the next release",
            f"write {app_id}:{vip.port} in the template, and let them use that name",
        )
        for app, vip in found
        if vip.names_a_colour(app_id)
    ]
    shared = sorted({vip.value for _, vip in found if not vip.names_a_colour(app_id)})
    if shared:
        note = "both colours share it, spread by instances, without draining (docs/vips.md)"
        checks.append(ok("vips", f"{', '.join(shared)}: {note}"))
    return checks


def everything(apps: Sequence[Raw], now: float) -> list[Check]:
    """What is wrong in any group: for a look at the whole cluster, when no app is named."""
    found = groups(apps)
    checks: list[Check] = []
    for name, members in sorted(found.items()):
        app_id = owner(members[0])
        per_group = [state(app_id, members), *start_times(members, now), *virtual_addresses(app_id, members)]
        checks += [check for check in per_group if check.outcome is not Outcome.OK]
        if len(members) < 3:
            checks += [check for check in baselines(app_id, name, members) if check.outcome is not Outcome.OK]
    hybrids = sum(len(members) == 2 for members in found.values())
    told = f"apps that one may read: {len(apps)}, deployment groups: {len(found)}, of two colours: {hybrids}"
    return [ok("apps", told), *checks]


def _apart(apps: Sequence[Raw]) -> bool:
    return len({_began(app) for app in apps}) == len(apps)


def _began(app: Raw) -> float:
    try:
        return started(str(labels(app).get(STARTED_AT_LABEL, "")))[0]
    except ValueError:
        return 0.0


def _names(apps: Iterable[Raw]) -> str:
    return ", ".join(str(app["id"]) for app in apps)
