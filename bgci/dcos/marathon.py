"""Marathon's REST API, as far as a release needs it (docs/platform.md, Marathon)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from bgci.appdef.app_definition import GROUP_LABEL
from bgci.appdef.colour import APP_ID_LABEL
from bgci.appdef.names import COLOURS
from bgci.appdef.preview_app import PREVIEW_LABEL
from bgci.dcos.http_failure import HttpFailure
from bgci.dcos.http_session import http_date
from bgci.dcos.json_answer import JsonAnswer
from bgci.dcos.lock_apps import LOCK_LABEL, read_lock
from bgci.dcos.permissions import of_request
from bgci.dcos.running_app import QueueEntry, RunningApp, queue_entry, running_app
from bgci.dcos.service import Service
from bgci.engine.lock import Lock
from bgci.errors import ConflictError, DeniedError, UnavailableError

EMBED = tuple(("embed", f"apps.{what}") for what in ("tasks", "deployments", "counts", "lastTaskFailure"))


class Locked(ConflictError):
    """An app is locked by running deployments (409). ``app_id`` is empty when tasks were named instead."""

    def __init__(self, app_id: str, deployment_ids: Sequence[str], text: str) -> None:
        self.app_id = app_id
        self.deployment_ids = tuple(deployment_ids)
        names = ", ".join(self.deployment_ids) or "an unnamed one"
        super().__init__(
            f"{app_id or 'The app of these tasks'} is locked by a running deployment: {names}. Marathon says: {text}",
            remedy="Wait until it has ended, or cancel it (DELETE /v2/deployments/<id>), and run the command again.",
        )


@dataclass(frozen=True)
class MarathonInfo:
    """``version``: empty if unknown; ``has_leader``: whether these Marathons have a leader."""

    version: str
    has_leader: bool


class Marathon(Service):
    name = "Marathon"

    def apps(self) -> list[RunningApp]:
        """Every app that the account can read, without locks."""
        found = (running_app(app) for app in self._apps(()))
        return [app for app in found if LOCK_LABEL not in app.labels]

    def group_apps(self, group: str) -> list[RunningApp]:
        """The apps whose label ``HAPROXY_DEPLOYMENT_GROUP`` is ``group``.

        ``web`` and ``/web`` are one group, as they are for marathon-lb (marathon_lb.py: get_apps).
        """
        # Two requests, because every proxy in front of Marathon accepts the plain == form of a selector.
        spellings = (group.lstrip("/"), "/" + group.lstrip("/"))
        return [app for spelling in spellings for app in self._labelled(GROUP_LABEL, spelling)]

    def colours(self, app_id: str) -> list[RunningApp]:
        """The running colours of an app, by its label HAPROXY_APP_ID.

        Raises DeniedError if it runs and cannot be read: a list silently leaves such an app out.
        """
        found = self._labelled(APP_ID_LABEL, app_id)
        for colour in COLOURS if not found else ():
            self.app(f"{app_id}-{colour}")
        return found

    def members(self, base_id: str, group: str) -> list[RunningApp]:
        """Every app of the group, and every app of this base id in any group (hazards 51 and 52).

        Raises DeniedError for a running app of ours that cannot be read.
        """
        found = [*(self.group_apps(group) if group else ()), *self._labelled(APP_ID_LABEL, base_id)]
        known = {app.id: app for app in found}
        for app_id in (base_id, *(f"{base_id}-{colour}" for colour in COLOURS)):
            app = known.get(app_id) or self.app(app_id)
            if app and app.base_id == base_id:
                known[app_id] = app
        return [app for app in known.values() if PREVIEW_LABEL not in app.labels]

    def previews(self, base_id: str) -> list[RunningApp]:
        """The existing previews and probes of this app: an interrupted command may have left one behind."""
        return self._labelled(PREVIEW_LABEL, base_id)

    def app(self, app_id: str) -> RunningApp | None:
        """The app with its tasks, or None without one. Raises DeniedError for an app that is not readable."""
        found = self._if_there(lambda: self.http.get(_path(app_id), params=[*EMBED]), app_id)
        return running_app(found["app"].required()) if found else None

    def _labelled(self, label: str, value: str) -> list[RunningApp]:
        # Compared again here: a proxy or an emulator that ignores the selector must not widen the group.
        found = self._apps([("label", f"{label}=={_escaped(value)}")])
        return [running_app(app) for app in found if app["labels"][label].value == value]

    def _apps(self, selector: Sequence[tuple[str, str]]) -> list[JsonAnswer]:
        return self._call(lambda: self.http.get("/v2/apps", params=[*selector, *EMBED]))["apps"].required().items()

    def locks(self, base_id: str) -> tuple[list[Lock], float]:
        """The locks of an app, and the time of the answering server in seconds; 0 if unknown."""
        selector = [("label", f"{LOCK_LABEL}=={_escaped(base_id)}")]
        date = [0.0]

        def listed() -> Any:
            value, reply = self.http.got("/v2/apps", params=selector)
            date[0] = http_date(reply.headers.get("Date", ""))
            return value

        apps = self._call(listed)["apps"].required().items()
        return [read_lock(app) for app in apps if app["labels"].texts().get(LOCK_LABEL) == base_id], date[0]

    def renew_lock(self, lock_id: str, labels: Mapping[str, str]) -> None:
        """Gives a lock a new version. Raises InvalidError when it no longer exists."""
        self._call(lambda: self.http.put(_path(lock_id), params=[("force", "true")], json={"labels": labels}), lock_id)

    def remove_lock(self, lock_id: str) -> bool:
        """Delete a lock. Returns whether Marathon confirms the deletion."""
        found = self._if_there(lambda: self.http.delete(_path(lock_id), params=[("force", "true")]), lock_id)
        return found is None or _confirms(found)

    def free(self) -> Marathon:
        """A client whose changes need no lock."""
        return Marathon(self.http.free())

    def once(self) -> Marathon:
        """A client that sends no request twice."""
        return Marathon(self.http.once())

    def apart(self) -> Marathon:
        """A client for another thread."""
        return Marathon(self.http.apart())

    def create(self, definition: Mapping[str, Any]) -> bool:
        """Whether Marathon confirms the new app by its version; an answer without one does not.

        Raises ConflictError when the id exists, InvalidError with each violation's path, Locked.
        """
        found = self._call(lambda: self.http.post("/v2/apps", json=definition), str(definition.get("id", "")))
        return bool(found["version"].text())

    def scale(self, app_id: str, instances: int, force: bool = False) -> None:
        """Requests ``instances``; returns before Marathon has changed anything. ``force`` cancels conflicting
        deployments. Raises UnavailableError for an answer that does not confirm it."""
        flag = [("force", str(force).lower())]
        _require_deployment(
            self._call(lambda: self.http.put(_path(app_id), params=flag, json={"instances": instances}), app_id)
        )

    def change(self, app_id: str, fields: Mapping[str, Any]) -> str:
        """Replaces whole fields of the app, such as ``labels``: any field except ``instances`` restarts its tasks.

        Returns the id of the deployment.
        """
        return self._call(lambda: self.http.put(_path(app_id), json=fields), app_id)["deploymentId"].text()

    def kill(self, task_ids: Sequence[str], *, scale: bool, force: bool = False) -> None:
        """Kills these tasks in one request; with ``scale`` they are not replaced (which takes the app's lock, or with
        ``force`` cancels the deployment that has it).

        A stale id kills the current task of its instance: read the tasks immediately before. Raises UnavailableError
        for an answer that does not confirm it.
        """
        flags = [("scale", str(scale).lower())] + ([("force", "true")] if force else [])
        found = self._call(lambda: self.http.post("/v2/tasks/delete", params=flags, json={"ids": list(task_ids)}))
        if scale:
            _require_deployment(found)

    def delete(self, app_id: str) -> None:
        """Deletes the app, if it exists, cancelling a deployment of it (Marathon's own default). Raises
        UnavailableError for an answer that does not confirm it."""
        found = self._if_there(lambda: self.http.delete(_path(app_id), params=[("force", "true")]), app_id)
        if found is not None:
            _require_deployment(found)

    def queue(self) -> list[QueueEntry]:
        """The launch queue."""
        found = self._call(lambda: self.http.get("/v2/queue"))
        return [queue_entry(entry) for entry in found["queue"].required().items()]

    def cancel(self, deployment_id: str, *, force: bool = False) -> str:
        """Cancels a deployment. One that has ended is not a failure.

        Marathon restores the earlier configuration by another deployment and returns its id (empty without one). With
        ``force`` it only cancels: the app keeps its current configuration and tasks.
        """
        path, flags = f"/v2/deployments/{quote(deployment_id, safe='')}", [("force", "true")] if force else []
        found = self._if_there(lambda: self.http.delete(path, params=flags))
        return found["deploymentId"].text() if found and not force else ""

    def info(self) -> MarathonInfo:
        """Version and leader."""
        found = self._call(lambda: self.http.get("/v2/info")).required()
        return MarathonInfo(found["version"].text(), found["elected"].flag() or bool(found["leader"].text()))

    def _asked(self, request: Callable[[], Any], what: str, *, missing: bool = False) -> JsonAnswer | None:
        try:
            return super()._asked(request, what, missing=missing)
        except DeniedError as error:
            cause = error.__cause__
            if isinstance(cause, HttpFailure) and "running deployments" in cause.message:
                raise ConflictError(
                    f"Marathon refuses another deployment: {cause.message}",
                    remedy="Wait for the cluster's other deployments to end, then run the command again.",
                ) from error
            raise

    def translated(self, failure: HttpFailure, what: str) -> Exception:
        """The bgci error for a status of Marathon (marathon: MarathonExceptionMapper)."""
        if failure.status == 409:
            locks = failure.body.get("deployments") if failure.is_api else None
            if isinstance(locks, list):
                ids = [str(lock["id"]) for lock in locks if isinstance(lock, dict) and "id" in lock]
                return Locked(what, ids, failure.message)
            return ConflictError(
                f"Marathon refuses {what or 'this'}: {failure.message}",
                remedy="Check it with `bgci status`; remove it, or choose another name.",
            )
        if failure.status == 404 and failure.is_api:
            return ConflictError(
                f"Marathon: {failure.message}", remedy="The app was changed meanwhile: run the command again."
            )
        if _hidden(failure):
            return unreadable(what)
        return super().translated(failure, what)


def unreadable(app_id: str) -> DeniedError:
    """The error for an existing app that this account cannot read."""
    return DeniedError(
        f"Marathon does not show {app_id} to this account. Missing: {of_request('GET', _path(app_id))}.",
        remedy="Grant it, or use other credentials; `bgci doctor` lists the permissions.",
    )


def _confirms(answer: JsonAnswer) -> bool:
    """Whether the answer to a change names its deployment (marathon: DeploymentResult)."""
    return bool(answer["deploymentId"].text())


def _require_deployment(answer: JsonAnswer) -> None:
    """Raise UnavailableError for an answer that does not confirm the change."""
    if not _confirms(answer):
        raise UnavailableError(
            "An answer to a change does not name its deployment, so Marathon has not confirmed it.",
            remedy="Check what is in front of Marathon, then run the same command again.",
        )


def _hidden(failure: HttpFailure) -> bool:
    """Whether this is Marathon's other answer (not 403) for an existing app that is not readable: a MatchError
    (marathon: DefaultInfoService.selectApp, which matches only an admitted app, and no app)."""
    return failure.status == 500 and failure.is_api and "(of class scala.Some)" in failure.message


def _path(app_id: str) -> str:
    return "/v2/apps/" + quote(app_id.strip("/"), safe="/")


def _escaped(value: str) -> str:
    """A term of a label selector (marathon: LabelSelector)."""
    return re.sub(r"([^-A-Za-z0-9_.])", r"\\\1", value)
