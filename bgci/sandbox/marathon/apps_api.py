"""``/v2/apps`` (marathon: S/api/v2/AppsResource.scala, AppVersionsResource.scala)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from bgci.sandbox.marathon import definition, labels, paths, rights, views
from bgci.sandbox.marathon.core import Marathon
from bgci.sandbox.marathon.deployments import Specs
from bgci.sandbox.marathon.model import App, Deployment, Spec, new_app
from bgci.sandbox.web import ApiError, flag, reply

Json = dict[str, Any]
NO_COUNTS = {"tasksStaged": 0, "tasksRunning": 0, "tasksHealthy": 0, "tasksUnhealthy": 0}


class AppRoutes:
    """Handlers for apps."""

    def __init__(self, marathon: Marathon) -> None:
        self._marathon = marathon
        self._store = marathon.store
        self._dialect = marathon.dialect

    def routes(self) -> list[web.RouteDef]:
        one = "/v2/apps/{id:.+}"
        return [
            web.get("/v2/apps", self.index),
            web.post("/v2/apps", self.create),
            web.put("/v2/apps", self.update_many),
            web.patch("/v2/apps", self.update_many),
            web.post(f"{one}/restart", self.restart),
            web.get(f"{one}/versions", self.versions),
            web.get(f"{one}/versions/{{version}}", self.version),
            web.get(one, self.show),
            web.put(one, self.update),
            web.patch(one, self.update),
            web.delete(one, self.delete),
        ]

    async def index(self, request: web.Request) -> web.Response:
        embed = views.embeds(request.query.getall("embed", []))
        chosen = app_filter(request.query)
        apps = [app for app in self._store.apps.values() if rights.may(request, app.id) and chosen(app)]
        return reply({"apps": [views.app_info(self._store, app, embed) for app in apps]})

    async def show(self, request: web.Request) -> web.Response:
        embed = views.embeds(request.query.getall("embed", [])) | {"tasks", "lastTaskFailure"}
        name = request.match_info["id"]
        if name == "*" or name.endswith("/*"):
            return self._group(request, paths.absolute(name[:-1]), embed)
        app = self._permitted(request, "read")
        return reply({"app": views.app_info(self._store, app, embed)})

    def _permitted(self, request: web.Request, action: str) -> App:
        """The app in the path. Raises ApiError 404, and 403 without the permission for that action."""
        app = self._marathon.app(paths.absolute(request.match_info["id"]))
        rights.require(request, app.id, action)
        return app

    def _changeable(self, request: web.Request, action: str) -> App:
        """The app in the path. Raises ApiError 403 and 404; the message of the 404 differs here."""
        app_id = paths.absolute(request.match_info["id"])
        if app_id not in self._store.apps:
            raise missing_app(app_id)
        return self._permitted(request, action)

    def _group(self, request: web.Request, group: str, embed: set[str]) -> web.Response:
        prefix = group.rstrip("/") + "/"
        members = [app for app in self._store.apps.values() if app.id.startswith(prefix)]
        if not members and group != "/":
            raise self._marathon.missing(f"Group '{group}' does not exist")
        readable = [app for app in members if rights.may(request, app.id)]
        return reply({"*": [views.app_info(self._store, app, embed) for app in readable]})

    async def create(self, request: web.Request) -> web.Response:
        spec = definition.create(await json_body(request), self._dialect)
        app_id = str(spec["id"])
        rights.require(request, app_id, "create")

        def add(specs: Specs) -> None:
            if app_id in specs:
                raise ApiError(409, {"message": f"An app with id [{app_id}] already exists."})
            refuse_group(app_id, specs)
            specs[app_id] = spec

        deployment = self._marathon.deployments.change(add, force=flag(request, "force"))
        # As in Marathon, the reply shows the definition before service ports were assigned.
        shown = views.app_definition(new_app(spec, deployment.version), version_info=False) | NO_COUNTS
        self._post_event(request, self._store.apps[app_id])
        headers = {"Location": app_id, **deployment_header(deployment)}
        if not self._dialect.modern:
            shown["tasks"] = []
        return reply({**shown, "deployments": [{"id": deployment.id}]}, 201, headers)

    async def update(self, request: web.Request) -> web.Response:
        app_id = paths.absolute(request.match_info["id"])
        created = app_id not in self._store.apps
        if created and request.method == "PATCH":
            raise missing_app(app_id)
        spec = self._updated(app_id, await json_object(request), partial=is_partial(request))
        rights.require(request, app_id, "create" if created else "update")

        def put(specs: Specs) -> None:
            refuse_group(app_id, specs)
            specs[app_id] = spec

        deployment = self._marathon.deployments.change(put, force=flag(request, "force"))
        self._post_event(request, self._store.apps[app_id])
        headers = {"Location": app_id} if created else {}
        return deployment_result(deployment, 201 if created else 200, headers)

    async def update_many(self, request: web.Request) -> web.Response:
        bodies = await json_body(request)
        if not isinstance(bodies, list) or not all(isinstance(body, dict) for body in bodies):
            raise invalid_shape("error.expected.jsarray")
        if not all(isinstance(body.get("id"), str) for body in bodies):
            raise ApiError(422, {"message": "requirement failed: App Update must have app id set"})
        specs = {paths.absolute(body["id"]): body for body in bodies}
        if request.method == "PATCH":
            for app_id in specs.keys() - self._store.apps.keys():
                raise missing_app(app_id)
        changed = {i: self._updated(i, body, partial=is_partial(request)) for i, body in specs.items()}
        for app_id in changed:
            rights.require(request, app_id, "update" if app_id in self._store.apps else "create")
        deployment = self._marathon.deployments.change(lambda all_: all_.update(changed), force=flag(request, "force"))
        return deployment_result(deployment)

    def _updated(self, app_id: str, body: Json, *, partial: bool) -> Spec:
        """The definition after an update; ``version`` alone restores the definition of that version."""
        current = self._store.apps.get(app_id)
        if current is None or not partial:
            return definition.create(body, self._dialect, app_id)
        spec = definition.update(body, current.spec, self._dialect)
        version = body.get("version")
        return spec if version is None else self._version(app_id, str(version)).spec

    async def delete(self, request: web.Request) -> web.Response:
        app = self._changeable(request, "delete")
        force = flag(request, "force", default=True)

        def remove(specs: Specs) -> None:
            del specs[app.id]

        return deployment_result(self._marathon.deployments.change(remove, force=force))

    async def restart(self, request: web.Request) -> web.Response:
        app = self._changeable(request, "update")
        force = flag(request, "force")
        deployment = self._marathon.deployments.change(lambda specs: None, force=force, restart=[app.id])
        return deployment_result(deployment)

    async def versions(self, request: web.Request) -> web.Response:
        app = self._permitted(request, "read")
        return reply({"versions": list(self._store.versions[app.id])})

    async def version(self, request: web.Request) -> web.Response:
        app_id = paths.absolute(request.match_info["id"])
        rights.require(request, app_id, "read")
        return reply(views.app_definition(self._version(app_id, request.match_info["version"])))

    def _version(self, app_id: str, version: str) -> App:
        found = self._store.versions.get(app_id, {}).get(version)
        if found is None:
            raise self._marathon.missing(f"App '{app_id}' does not exist in version {version}")
        return found

    def _post_event(self, request: web.Request, app: App) -> None:
        uri = request.path[request.path.index("/v2/") :]
        shown = views.app_definition(app)
        self._store.events.publish("api_post_event", clientIp=request.remote, uri=uri, appDefinition=shown)


def app_filter(query: Mapping[str, str]) -> Callable[[App], bool]:
    """``id`` and ``cmd``: case-insensitive substrings; ``label``: a selector. Raises ApiError 422."""
    try:
        by_label = labels.parse(query["label"]) if "label" in query else None
    except labels.SelectorError as error:
        text = f"Can not parse label selector {query['label']}. Reason: {error}"
        raise ApiError(422, {"message": text}) from None

    def chosen(app: App) -> bool:
        if "id" in query and query["id"].lower() not in app.id.lower():
            return False
        if "cmd" in query and ("cmd" not in app.spec or query["cmd"].lower() not in str(app.spec["cmd"]).lower()):
            return False
        return by_label is None or by_label(app.spec["labels"])

    return chosen


def refuse_group(app_id: str, specs: Specs) -> None:
    """Refuses an app above or below another one: an id cannot be both an app and a group. Raises ApiError 422."""
    below = any(other.startswith(f"{app_id}/") for other in specs)
    above = any(app_id.startswith(f"{other}/") for other in specs)
    if below or above:
        error = f"Groups and Applications may not have the same identifier: {app_id}"
        details = [{"path": "/id", "errors": [error]}]
        raise ApiError(422, {"message": "Object is not valid", "details": details})


def is_partial(request: web.Request) -> bool:
    return request.method == "PATCH" or flag(request, "partialUpdate", default=True)


def missing_app(app_id: str) -> ApiError:
    """The 404 of a change, which has no details (marathon: AppNotFoundException)."""
    return ApiError(404, {"message": f"App '{app_id}' does not exist"})


async def json_body(request: web.Request) -> Any:
    """The body. Raises ApiError 400 without one; ValueError."""
    return json.loads(await request.text(), parse_constant=_refuse_constant) if await request.read() else no_json()


def _refuse_constant(name: str) -> Any:
    raise json.JSONDecodeError(f"Non-standard token '{name}'", name, 0)


async def json_object(request: web.Request) -> Json:
    """The body. Raises ApiError 400 without one, 422 if it is not an object; json.JSONDecodeError."""
    body = await json_body(request)
    if not isinstance(body, dict):
        raise invalid_shape("error.expected.jsobject")
    return body


def no_json() -> Any:
    """Raises the refusal of an empty body."""
    details = "No content to map due to end-of-input"
    raise ApiError(400, {"message": "Please specify data in JSON format", "details": details})


def invalid_shape(error: str) -> ApiError:
    return ApiError(422, {"message": "Invalid JSON", "details": [{"path": "/", "errors": [error]}]})


def deployment_header(deployment: Deployment) -> dict[str, str]:
    return {"Marathon-Deployment-Id": deployment.id}


def deployment_result(
    deployment: Deployment, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """The reply of every call that starts a deployment."""
    body = {"version": deployment.version, "deploymentId": deployment.id}
    return reply(body, status, {**(headers or {}), **deployment_header(deployment)})
