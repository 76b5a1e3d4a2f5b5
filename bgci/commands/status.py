"""Command ``status``: colours, revisions, instances, health, share of traffic, jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from bgci.dcos.metronome import Job
from bgci.dcos.running_app import RunningApp
from bgci.engine.observation import Observation, Serving
from bgci.errors import ConflictError, DeniedError, UnavailableError
from bgci.operations.context import Context, stage
from bgci.operations.exclusion import lock_row, other_locks
from bgci.operations.owned_apps import strangers
from bgci.operations.planning import observer_of
from bgci.operations.publishing import jobs_of_app
from bgci.options import Settings
from bgci.reporting.rollout_log import summary


def run(settings: Settings) -> None:
    """Print the status. Changes nothing."""
    with stage("status", settings) as context:
        if not settings.app:
            _answer_all(context)
            return
        found = status(context)
        listed = {name: tuple(found[name]) for name in ("jobs", "strangers", "locks")}
        context.result = replace(context.result, **{**found, **listed})
        context.answer(found, table(context.app_id, found))


def _answer_all(context: Context) -> None:
    found = overview(context.cluster.marathon.apps(), _jobs(context, every=True))
    context.result = replace(context.result, apps=tuple(found))
    context.answer({"apps": found}, overview_table(found))


def overview(apps: Sequence[RunningApp], jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """One row for each app of a deployment group, or with jobs of bgci, by its base id."""
    colours: dict[str, list[RunningApp]] = {job.app: [] for job in jobs if job.app}
    for app in apps:
        if app.group or app.revision:
            colours.setdefault(app.base_id, []).append(app)
    rows = []
    for base_id, found in sorted(colours.items()):
        ordered = sorted(found, key=lambda app: app.app.started_at)
        rows.append(
            {
                "app": base_id,
                "state": "none" if not ordered else "hybrid" if len(ordered) > 1 else "full",
                "revisions": [app.revision or None for app in ordered],
                "instances": sum(app.app.instances for app in ordered),
                "healthy": sum(len(app.app.healthy) for app in ordered),
                "jobs": sum(job.app == base_id for job in jobs),
            }
        )
    return rows


def overview_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The overview as text, line by line."""
    if not rows:
        return ["No app of a deployment group, and no job of bgci, is visible to this account."]
    lines = [f"{'app':<32} {'state':<8} {'healthy':>9} {'jobs':>6}  revisions"]
    for row in rows:
        revisions = ", ".join(name or "unknown" for name in row["revisions"]) or "-"
        healthy = f"{row['healthy']}/{row['instances']}"
        lines.append(f"{row['app']:<32} {row['state']:<8} {healthy:>9} {row['jobs']:>6}  {revisions}")
    return lines


def _require_known(context: Context, members: Sequence[RunningApp], jobs: Sequence[Job]) -> None:
    """Raises ConflictError for an app that neither runs nor has jobs, with similar names."""
    if members or jobs:
        return
    known = [row["app"] for row in overview(context.cluster.marathon.apps(), _jobs(context, every=True))]
    by_name = {name.rpartition("/")[2]: name for name in known}
    near = get_close_matches(context.app_id, known, n=3, cutoff=0.6)
    near += [by_name[name] for name in get_close_matches(context.app_id.rpartition("/")[2], by_name, n=3, cutoff=0.6)]
    named = ", ".join(dict.fromkeys(near))
    raise ConflictError(
        f"No app {context.app_id}, and no job of it, is visible to this account.",
        remedy=f"Did you mean {named}?" if named else "List the apps with `bgci status`, without --app.",
    )


def status(context: Context) -> dict[str, Any]:
    """The state of the app's group and its jobs. Raises ConflictError for an unknown app."""
    members, jobs = context.cluster.marathon.members(context.app_id, ""), _jobs(context)
    _require_known(context, members, jobs)
    group = next((app.group for app in members if app.group), "")
    seen = observer_of(context, refuse=False).observe(group) if group else None
    foreign = _strangers(context, members, group) if seen else []
    return {
        "group": group,
        "state": summary(seen) if seen else {"apps": [], "load_balancers": []},
        "share": shares(seen, sum(one["share"] for one in foreign)) if seen else {},
        "strangers": foreign,
        "jobs": [_job(job) for job in jobs],
        "locks": [lock_row(lock) for lock in other_locks(context)],
    }


def _strangers(context: Context, members: Sequence[RunningApp], group: str) -> list[dict[str, Any]]:
    """Strangers behind our ports: a row for each address, with its share of the traffic (0..1) over all load balancers
    and ports."""
    try:
        found = strangers(context.balancers, context.cluster.marathon, members, group, ())
    except UnavailableError as error:
        context.console.warn(f"Other servers behind these ports cannot be read. {error.message}")
        return []
    places = len({(one.replica, one.port) for one in found}) or 1
    rows: dict[str, dict[str, Any]] = {}
    for one in found:
        row = rows.setdefault(one.address, {"app": one.app, "address": one.address, "server": one.server, "share": 0.0})
        row["share"] = round(row["share"] + one.share / places, 3)
    return list(rows.values())


def shares(seen: Observation, others: float = 0.0) -> dict[str, float | None]:
    """Each app's share of the traffic, 0..1: HAProxy gives each server in rotation the same share. ``others``: the
    share of strangers. None when no load balancer can be read."""
    if all(replica.problem for replica in seen.replicas):
        return {app.id: None for app in seen.apps}
    up = {
        app.id: sum(replica.server(task.id).serving is Serving.UP for replica in seen.replicas for task in app.tasks)
        for app in seen.apps
    }
    total = sum(up.values())
    return {app_id: round((1 - others) * count / total, 3) if total else 0.0 for app_id, count in up.items()}


def _jobs(context: Context, *, every: bool = False) -> list[Job]:
    """The app's jobs, or all jobs of bgci; none if the account cannot read jobs."""
    try:
        if every:
            return context.cluster.metronome.jobs() if context.cluster.metronome else []
        return jobs_of_app(context)
    except DeniedError as error:
        context.console.warn(f"Jobs are left out: {error.message}")
        return []


def _job(job: Job) -> dict[str, Any]:
    return {
        "id": job.id,
        "revision": job.revision or None,
        "active_runs": [run.id for run in job.active_runs],
        "last_success": job.last_success or None,
        "last_failure": job.last_failure or None,
    }


def table(app_id: str, found: Mapping[str, Any]) -> list[str]:
    """The status as text, line by line."""
    apps: Sequence[Mapping[str, Any]] = found["state"]["apps"]
    lines = [f"{app_id}: {'nothing runs' if not apps else 'hybrid' if len(apps) > 1 else 'one revision runs'}"]
    if apps:
        lines.append(f"  {'app':<32} {'revision':<16} {'healthy':>9} {'in rotation':>24} {'traffic':>8}")
    unread = {balancer["url"] for balancer in found["state"]["load_balancers"] if balancer["problem"]}
    for app in apps:
        rotation = ", ".join(
            "unknown" if url in unread else f"{counts.get('up', 0)} up {counts.get('maint', 0)} out"
            for url, counts in app["serving"].items()
        )
        healthy = f"{app['healthy']}/{app['instances']}"
        share = "unknown" if found["share"].get(app["id"]) is None else f"{found['share'][app['id']]:.0%}"
        lines.append(f"  {app['id']:<32} {app['revision'] or 'unknown':<16} {healthy:>9} {rotation:>24} {share:>8}")
        lines += [f"    deployment {deployment} is running" for deployment in app["deployments"]]
    for one in found["strangers"]:
        name = f"{one['app'] or 'an unknown app'} (not ours)"
        lines.append(f"  {name:<32} {one['address']:<16} {'':>9} {'':>24} {one['share']:>8.0%}")
    for balancer in found["state"]["load_balancers"]:
        old = len(balancer["older_workers"])
        state = balancer["problem"] or (f"{old} older workers still draining" if old else "settled")
        lines.append(f"  load balancer {balancer['url']}: {state}")
    for lock in found["locks"]:
        lines.append(f"  locked by {lock['owner']} since {lock['since']}, until {lock['until']} unless renewed")
    for job in found["jobs"]:
        active = f", run {job['active_runs'][0]} active" if job["active_runs"] else ""
        lines.append(f"  job {job['id']}{active}")
    return lines
