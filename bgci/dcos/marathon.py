"""Marathon's REST API, as far as a release needs it (docs/platform.md, Marathon)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

from bgci.appdef.names import COLOURS
from bgci.dcos.http import Http
from bgci.dcos.http_failure import HttpFailure
from bgci.errors import ConflictError, DeniedError, InvalidError, UnavailableError

GROUP_LABEL = "HAPROXY_DEPLOYMENT_GROUP"
EMBED = tuple(("embed", f"apps.{what}") for what in ("tasks", "deployments", "counts", "lastTaskFailure"))
T = TypeVar("T")


class Locked(ConflictError):
    """An app is locked by running deployments (409). ``app_id`` is empty when tasks were named instead."""

    def __init__(self, app_id: str, deployment_ids: Sequence[str], said: str) -> None:
        self.app_id = app_id
        self.deployment_ids = tuple(deployment_ids)
        names = ", ".join(self.deployment_ids) or "an unnamed one"
        super().__init__(
            f"{app_id or 'The app of these tasks'} is locked by a running deployment: {names}. Marathon says: {said}",
            remedy="Wait until it has ended, or cancel it (DELETE /v2/deployments/<id>), and run the command again.",
        )


class Marathon:
    """A client. Expected failures are bgci errors that quote Marathon's own message."""

    def __init__(self, http: Http) -> None:
        self.http = http.below("", name="Marathon")

    def group_apps(self, group: str) -> list[dict[str, Any]]:
        """The apps whose ``HAPROXY_DEPLOYMENT_GROUP`` is ``group``, with tasks, deployments, counts and last failure.

        ``web`` and ``/web`` are one group, as they are for marathon-lb (marathon_lb.py: get_apps).
        """
        # Asked for one by one: the plain == is the form of a selector that everything in front of Marathon knows.
        spellings = (group.lstrip("/"), "/" + group.lstrip("/"))
        return [app for spelling in spellings for app in self.labelled(GROUP_LABEL, spelling, EMBED)]

    def labelled(self, label: str, value: str, embed: Sequence[tuple[str, str]] = ()) -> list[dict[str, Any]]:
        """The apps with this label and value; ``embed``: what else to tell of them, such as their tasks."""
        selector = f"{label}=={_escaped(value)}"
        reply = self._call(lambda: self.http.get("/v2/apps", params=[("label", selector), *embed]))
        # Looked at again here: a proxy or an emulator that overlooks the selector must not widen the group.
        return [app for app in self._list(reply, "apps") if app.get("labels", {}).get(label) == value]

    def colours(self, app_id: str) -> list[dict[str, Any]]:
        """What runs of an app by its label HAPROXY_APP_ID.

        Raises DeniedError when it runs and cannot be seen: a list leaves out without a word what one may not read.
        """
        found = self.labelled("HAPROXY_APP_ID", app_id)
        for colour in COLOURS if not found else ():
            self.app(f"{app_id}-{colour}")
        return found

    def app(self, app_id: str) -> dict[str, Any] | None:
        """The app with its tasks, or None when there is none of that id."""
        try:
            reply = self._call(lambda: self.http.get(_path(app_id), params=[*EMBED]), missing=True)
        except HttpFailure:
            return None
        found = reply.get("app") if isinstance(reply, dict) else None
        if not isinstance(found, dict):
            raise self._stranger()
        return found

    def create(self, definition: Mapping[str, Any]) -> None:
        """Raises ConflictError when the id exists, InvalidError with each violation's path, Locked."""
        self._call(lambda: self.http.post("/v2/apps", json=definition), app_id=str(definition.get("id", "")))

    def scale(self, app_id: str, instances: int, force: bool = False) -> None:
        """Asks for ``instances``; returns before anything has happened. ``force`` cancels deployments in the way."""
        flag = [("force", str(force).lower())]
        self._call(lambda: self.http.put(_path(app_id), params=flag, json={"instances": instances}), app_id=app_id)

    def change(self, app_id: str, fields: Mapping[str, Any]) -> None:
        """Replaces whole fields of the app, such as ``labels``: any but ``instances`` restarts its tasks."""
        self._call(lambda: self.http.put(_path(app_id), json=fields), app_id=app_id)

    def kill(self, task_ids: Sequence[str], *, scale: bool, force: bool = False) -> None:
        """Kills these tasks in one request; with ``scale`` they are not replaced (which takes the app's lock, or with
        ``force`` cancels the deployment that has it).

        An id that is stale by now hits the task that runs in its instance today: read the tasks right before this.
        """
        flags = [("scale", str(scale).lower())] + ([("force", "true")] if force else [])
        self._call(lambda: self.http.post("/v2/tasks/delete", params=flags, json={"ids": list(task_ids)}))

    def delete(self, app_id: str) -> None:
        """Deletes the app, cancelling a deployment of it (Marathon's own default). One that is gone is no failure."""
        try:
            self._call(lambda: self.http.delete(_path(app_id), params=[("force", "true")]), app_id, missing=True)
        except HttpFailure:
            return

    def queue(self) -> list[dict[str, Any]]:
        """What waits for offers or sits out a back-off, one entry per app."""
        return self._list(self._call(lambda: self.http.get("/v2/queue")), "queue")

    def deployments(self) -> list[dict[str, Any]]:
        """The deployments that run now."""
        reply = self._call(lambda: self.http.get("/v2/deployments"))
        if not isinstance(reply, list):
            raise self._stranger()
        return reply

    def info(self) -> dict[str, Any]:
        """Version, leader and configuration."""
        reply = self._call(lambda: self.http.get("/v2/info"))
        if not isinstance(reply, dict):
            raise self._stranger()
        return reply

    def _call(self, call: Callable[[], T], app_id: str = "", *, missing: bool = False) -> T:
        """``missing``: let Marathon's own 404 through as HttpFailure (not a proxy's: that is a wrong URL)."""
        try:
            return call()
        except HttpFailure as failure:
            if missing and failure.status == 404 and failure.is_api:
                raise
            raise _translated(failure, app_id) from failure
        except DeniedError as error:
            cause = error.__cause__
            if isinstance(cause, HttpFailure) and "running deployments" in cause.message:
                raise ConflictError(
                    f"Marathon refuses another deployment: {cause.message}",
                    remedy="Wait for the cluster's other deployments to end, then run the command again.",
                ) from error
            raise

    def _list(self, reply: Any, key: str) -> list[dict[str, Any]]:
        found = reply.get(key) if isinstance(reply, dict) else None
        if not isinstance(found, list):
            raise self._stranger()
        return found

    def _stranger(self) -> UnavailableError:
        url = self.http.base_url
        return UnavailableError(f"{url} does not answer as Marathon does.", remedy=f"Is {url} the URL of Marathon?")


def _translated(failure: HttpFailure, app_id: str) -> Exception:
    """The bgci error for a status of Marathon (marathon: MarathonExceptionMapper)."""
    if failure.status == 409:
        locks = failure.body.get("deployments") if failure.is_api else None
        if locks is not None:
            return Locked(app_id, [lock["id"] for lock in locks], failure.message)
        return ConflictError(
            f"Marathon refuses {app_id or 'this'}: {failure.message}",
            remedy="Look at it with `bgci status`; remove it, or choose another name.",
        )
    if failure.status in (400, 422):
        return InvalidError(
            "\n  ".join([f"Marathon does not accept {app_id or 'this'}: {failure.message}", *failure.details]),
            remedy="Correct the template or its variables.",
        )
    if failure.status == 404 and failure.is_api:
        return ConflictError(f"Marathon: {failure.message}", remedy="Somebody else changed it: run the command again.")
    return failure.unavailable("Marathon fails")


def _path(app_id: str) -> str:
    return "/v2/apps/" + quote(app_id.strip("/"), safe="/")


def _escaped(value: str) -> str:
    """A term of a label selector (marathon: LabelSelector)."""
    return re.sub(r"([^-A-Za-z0-9_.])", r"\\\1", value)
