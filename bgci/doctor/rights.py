"""Which of the permissions that a release needs are there, found out without changing anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from bgci.appdef.names import app_slug
from bgci.dcos.cluster import Cluster
from bgci.dcos.examine import answers, may_update_app, may_update_jobs, own_permissions, secrets_listed
from bgci.dcos.http_failure import HttpFailure
from bgci.dcos.permissions import APPS, JOBS, ROUTER, SECRET_NAMES, Permission, folder_of, needed, of_request
from bgci.dcos.running_app import RunningApp
from bgci.doctor import access
from bgci.doctor.finding import CheckResult, skipped
from bgci.doctor.running_apps import of_app
from bgci.doctor.session import claims
from bgci.errors import BgciError, DeniedError
from bgci.operations.context import Context

# What the router asks for, and a path behind it that shows whether it is given, whatever else it answers.
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
    """The rows for what CI's account needs, and a word on the job's."""
    both = needed(context.app_id, via_job=via_job, secret=secret or None)
    uid = _uid(context.cluster)
    known = _known(context, uid, visible, both.ci, secret)
    yield from access.permissions(both.ci, known, account=uid or access.ACCOUNT)
    if both.job:
        listed = "; ".join(map(str, both.job))
        yield skipped("permissions", f"the job's own account, which this one cannot ask about, needs: {listed}")


def grant_of(error: Exception) -> str:
    """The command that would grant what a look was refused for; empty where it was not for a permission."""
    cause = error.__cause__
    if not (isinstance(error, DeniedError) and isinstance(cause, HttpFailure) and cause.status == 403):
        return ""
    lacks = of_request("GET", urlsplit(cause.url).path, by_router=not cause.is_api)
    return access.grant(lacks) if lacks else ""


def _known(
    context: Context, uid: str, visible: Sequence[RunningApp], wanted: Sequence[Permission], secret: str
) -> dict[str, bool]:
    cluster = context.cluster
    own = own_permissions(cluster.http, uid) if cluster.http and uid else None
    if own is not None:
        return {str(one): access.granted(one, own) for one in wanted}
    found = {str(one): _probed(cluster, context.app_id, visible, one, secret) for one in wanted}
    return {name: there for name, there in found.items() if there is not None}


def _uid(cluster: Cluster) -> str:
    headers: dict[str, str] = {}
    cluster.login(headers)
    return str(claims(headers.get("Authorization", "")).get("uid", ""))


def _probed(cluster: Cluster, app_id: str, visible: Sequence[RunningApp], one: Permission, secret: str) -> bool | None:
    """Whether the permission is there; None where only a change would tell."""
    http, mine = cluster.http, of_app(visible, app_id)
    if one.rid in ROUTES and http:
        return answers(http, ROUTES[one.rid])
    if one.rid.startswith(SECRET_NAMES) and http:
        return secrets_listed(http, secret)
    if one.rid.startswith(APPS):
        inside = [app for app in mine if access.covers(one.rid, APPS + app.id)]
        if one.action == "read":
            return True if inside else None  # what one may not read is left out without a word
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
