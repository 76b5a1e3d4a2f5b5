"""Probes which permissions of a release the account has, without a change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from bgci.appdef.names import app_slug
from bgci.dcos.cluster import Cluster
from bgci.dcos.examine import answers, may_update_app, may_update_jobs, own_permissions, secrets_listed
from bgci.dcos.http_failure import HttpFailure, failure_of
from bgci.dcos.permissions import APPS, JOBS, ROUTER, SECRET_NAMES, Permission, folder_of, needed, of_request
from bgci.dcos.running_app import RunningApp
from bgci.doctor import access
from bgci.doctor.finding import CheckResult, skipped
from bgci.doctor.running_apps import of_app
from bgci.errors import BgciError, DeniedError
from bgci.operations.context import Context

# By permission of the admin router: a path that needs it. Any answer except a refusal of the router proves it.
ROUTES = {
    f"{ROUTER}service:marathon": "/service/marathon/ping",
    f"{ROUTER}service:metronome": "/service/metronome/ping",
    f"{ROUTER}secrets": "/secrets/v1/ping",
    f"{ROUTER}ops:mesos": "/mesos/state-summary",
    f"{ROUTER}ops:slave": "/agent/bgci-doctor/files/debug",
    f"{ROUTER}ops:system-logs": "/system/v1/logs/v2/task/bgci-doctor/file/stdout",
}


def known_permissions(
    context: Context, visible: Sequence[RunningApp], *, via_job: bool, secret: str
) -> Iterator[CheckResult]:
    """The rows for the permissions of CI's account, and one for those of the job's account."""
    both = needed(context.app_id, via_job=via_job, secret=secret or None)
    uid = _uid(context.cluster)
    yield from access.permissions(_known(context, uid, visible, both.ci, secret), account=uid or access.ACCOUNT)
    if both.job:
        listed = "; ".join(map(str, both.job))
        yield skipped("permissions", f"the job's own account, which bgci cannot check from here, needs: {listed}")


def grant_of(error: Exception) -> str:
    """The command that grants the missing permission of a check; empty for another error."""
    cause = failure_of(error)
    if not isinstance(error, DeniedError) or cause is None or cause.status != 403:
        return ""
    lacks = of_request("GET", urlsplit(cause.url).path, by_router=not cause.is_api)
    return access.grant(lacks) if lacks else ""


def _known(
    context: Context, uid: str, visible: Sequence[RunningApp], wanted: Sequence[Permission], secret: str
) -> dict[Permission, bool | None]:
    cluster = context.cluster
    own = own_permissions(cluster.http, uid) if cluster.http and uid else None
    if own is not None:
        return {one: access.granted(one, own) for one in wanted}
    return {one: _probed(cluster, context.app_id, visible, one, secret) for one in wanted}


def _uid(cluster: Cluster) -> str:
    headers: dict[str, str] = {}
    cluster.login(headers)
    return str(access.claims(headers.get("Authorization", "")).get("uid", ""))


def _probed(cluster: Cluster, app_id: str, visible: Sequence[RunningApp], one: Permission, secret: str) -> bool | None:
    """Whether the account has the permission; None if only a change would show it."""
    http, mine = cluster.http, of_app(visible, app_id)
    if one.rid in ROUTES and http:
        return answers(http, ROUTES[one.rid])
    if one.rid.startswith(SECRET_NAMES) and http:
        return secrets_listed(http, secret)
    if one.rid.startswith(APPS):
        inside = [app for app in mine if access.covers(one.rid, APPS + app.id)]
        if one.action == "read":
            return True if inside else None  # Marathon leaves unreadable apps out of its lists
        if one.action == "update" and inside:
            return may_update_app(cluster.marathon, inside[0].id)
    if one.rid.startswith(JOBS) and cluster.metronome:
        if one.action == "read":
            return True if _sees_jobs(cluster, app_id) else None
        if one.action == "update":
            return may_update_jobs(cluster.metronome, app_id)
    return None


def _sees_jobs(cluster: Cluster, app_id: str) -> bool:
    folder = app_slug(folder_of(app_id))
    try:
        jobs = cluster.metronome.jobs() if cluster.metronome else []
    except (BgciError, HttpFailure):
        return False
    return any(not folder or job.id.startswith(f"{folder}.") for job in jobs)
