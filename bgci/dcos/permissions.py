"""The permissions of DC/OS Enterprise that a release needs, and the one that a refused request lacked. Pure.

Resources and actions: docs/permissions.md. A permission for a path covers everything below it. The open DC/OS
has none: every account can do everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote

from bgci.appdef.names import COLOURS, app_slug

ROUTER = "dcos:adminrouter:"
APPS = "dcos:service:marathon:marathon:services:"
ADMIN = "dcos:service:marathon:marathon:admin:"
JOBS = "dcos:service:metronome:metronome:jobs"
SECRETS = "dcos:secrets:default:"
SECRET_NAMES = "dcos:secrets:list:default:/"  # noqa: S105 - the name of a resource
_MESOS = ("master:executor:app_id:", "master:task:app_id:", "agent:executor:app_id:", "agent:task:app_id:")

_BY_METHOD = {"GET": "read", "POST": "create", "PUT": "update", "DELETE": "delete"}


@dataclass(frozen=True)
class Permission:
    """``optional``: a release succeeds without it, with a shorter log."""

    rid: str
    action: str
    why: str
    optional: bool = False

    def __str__(self) -> str:
        return f"{self.rid} {self.action}"


class Needed(NamedTuple):
    """``ci``: for the account that CI logs in with. ``job``: for the account inside the job, empty without jobs."""

    ci: list[Permission]
    job: list[Permission]


def folder_of(app_id: str) -> str:
    """``/team`` for ``/team/web``, empty for an app at the root."""
    return app_id.rpartition("/")[0]


def needed(app_id: str, *, via_job: bool, secret: str | None = None, strict: bool = False) -> Needed:
    """Least privilege to release ``app_id``.

    via_job: whether the goals run as DC/OS Jobs. secret: the path of the one that holds the job's service account,
    None without one. strict: in this security mode logs need further permissions.
    """
    if not via_job:
        return Needed(ci=_service("Marathon", _apps(app_id), _WRITES_APPS), job=[])
    ci = _service("Marathon", _apps(app_id), _READS_APPS)
    ci += _service("Metronome", [_jobs(folder_of(app_id))], _RUNS_JOBS)
    ci += _holds_lock(app_id) + _reads_logs(app_id, strict)
    if secret:
        ci += _sees_secret(secret)
    return Needed(ci=ci, job=_service("Marathon", _apps(app_id), _WRITES_APPS))


_READS_APPS = {"read": "read the running apps: test, status, doctor"}
_WRITES_APPS = {
    "read": "read the running apps",
    "create": "create the app of the new colour",
    "update": "scale it, and remove drained tasks",
    "delete": "delete the app that no longer serves",
}
_RUNS_JOBS = {
    "create": "publish the jobs of a revision",
    "read": "read the jobs and their runs",
    "update": "run and stop them",
    "delete": "replace them, and prune those of old revisions",
}


def _service(name: str, rids: Iterable[str], reasons: Mapping[str, str]) -> list[Permission]:
    """The route to a service, and the actions on its resources with their reasons."""
    route = Permission(f"{ROUTER}service:{name.lower()}", "full", f"reach {name}")
    return [route, *(Permission(rid, action, why) for rid in rids for action, why in reasons.items())]


def _holds_lock(app_id: str) -> list[Permission]:
    """The lock is an app in the app's folder. At the root no permission can name it."""
    folder, why = folder_of(app_id), "hold the lock from one job to the next"
    actions = ("create", "update", "delete") if folder else ()
    return [Permission(APPS + folder, action, why, optional=True) for action in actions]


def _reads_logs(app_id: str, strict: bool) -> list[Permission]:
    why = "show the job's log"
    found = [
        Permission(f"{ROUTER}ops:{what}", "full", why, optional=True) for what in ("mesos", "slave", "system-logs")
    ]
    if strict:
        where = folder_of(app_id) or "/"
        more = [f"dcos:mesos:{part}{where}" for part in (*_MESOS, "agent:sandbox:app_id:")]
        more += [f"dcos:mesos:{part}:framework:role:*" for part in ("master", "agent")]
        found += [Permission(rid, "read", f"{why} (strict mode)", optional=True) for rid in more]
    return found


def _sees_secret(secret: str) -> list[Permission]:
    """Permissions to check the job's secret. DC/OS itself gives it to the job, so a release needs none."""
    why = "let `bgci doctor` see that the job's secret is there"
    return [
        Permission(f"{ROUTER}secrets", "full", why, optional=True),
        Permission(f"{SECRET_NAMES}{secret.rpartition('/')[0]}", "read", f"{why}, by its name only", optional=True),
    ]


def _apps(app_id: str) -> list[str]:
    """For an app in a folder the folder; at the root each of its two colours."""
    folder = folder_of(app_id)
    if folder:
        return [APPS + folder]
    plain = app_id
    for colour in COLOURS:
        plain = plain.removesuffix(f"-{colour}")
    return [f"{APPS}{plain}-{colour}" for colour in COLOURS]


def _jobs(folder: str) -> str:
    """The jobs of a folder. At the root all jobs, because no permission can cover a prefix of names."""
    return f"{JOBS}:{app_slug(folder)}" if folder else JOBS


def of_request(method: str, path: str, *, body: Any = None, by_router: bool = False) -> str:
    """The permission for a request to DC/OS, as ``rid action``; empty if unknown.

    body: of the request, which names the app or job that is created. by_router: whether the admin router refused it
    (in HTML), rather than the service behind it (in JSON).
    """
    path = unquote(path)
    if by_router:
        return _of_route(path)
    sent = body if isinstance(body, Mapping) else {}
    method = method.upper()
    for pattern, answer in _ANSWERS:
        found = re.search(pattern, path)
        if found:
            return answer(method, found, sent)
    return ""


def _of_route(path: str) -> str:
    for prefix, resource in _ROUTES.items():
        if path == prefix or path.startswith(f"{prefix}/"):
            return f"{ROUTER}{resource} full"
    found = re.match(r"/service/([^/]+)", path)
    return f"{ROUTER}service:{found[1]} full" if found else ""


def _of_app(method: str, found: re.Match[str], body: Mapping[str, Any]) -> str:
    own = found["id"].strip("/")
    inside = re.search(r"(?:^|/)(?:restart|versions|tasks)(?:$|/)", own)  # what an app is asked for, rather than its id
    if inside:
        own, action = own[: inside.start()].strip("/"), "read" if method == "GET" else "update"
    else:
        action = _BY_METHOD.get(method, "")
    own = own or str(body.get("id", "")).strip("/")
    return _permission(own, action)


def _of_tasks(method: str, found: re.Match[str], body: Mapping[str, Any]) -> str:
    """A task's id begins with its app's, the parts joined by ``_`` (marathon: Task.scala)."""
    tasks = body.get("ids") if isinstance(body.get("ids"), list) else []
    apps = {_permission(str(task).split(".")[0].replace("_", "/"), "update") for task in tasks or []}
    return min(apps, default="")


def _permission(app: str, action: str) -> str:
    """The permission in the form of `needed`: the folder's, or the app's own at the root."""
    if not app or not action:
        return f"{APPS}/ {action}" if action == "read" else ""
    return f"{APPS}{folder_of(f'/{app}') or f'/{app}'} {action}"


def _of_job(method: str, found: re.Match[str], body: Mapping[str, Any]) -> str:
    job = found["id"] or str(body.get("id", ""))
    action = _BY_METHOD.get(method, "")
    if found["more"]:
        action = "read" if method == "GET" else "update"
    return f"{_jobs('/' + '/'.join(job.split('.')[:-1]) if '.' in job else '')} {action}" if action else ""


def _of_secret(method: str, found: re.Match[str], body: Mapping[str, Any]) -> str:
    action = "create" if method == "PUT" else _BY_METHOD.get(method, "")
    return f"{SECRETS}{found['path'].strip('/')} {action}" if action else ""


_ROUTES = {
    "/marathon": "service:marathon",
    "/secrets": "secrets",
    "/mesos": "ops:mesos",
    "/agent": "ops:slave",
    "/slave": "ops:slave",
    "/system/v1/logs": "ops:system-logs",
    "/system/v1/agent": "ops:system-logs",
}
_ANSWERS: tuple[tuple[str, Callable[[str, re.Match[str], Mapping[str, Any]], str]], ...] = (
    (r"/v2/apps(?P<id>/.*|)$", _of_app),
    (r"/v2/tasks/delete$", _of_tasks),
    (r"/v2/info$", lambda *_: f"{ADMIN}config read"),
    (r"/v1/jobs(?:/(?P<id>[^/]+)(?P<more>/.*|)|)$", _of_job),
    (r"/secrets/v1/secret/default/(?P<path>.+)$", _of_secret),
)
