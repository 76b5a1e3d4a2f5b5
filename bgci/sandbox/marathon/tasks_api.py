"""``/v2/tasks`` and ``/v2/apps/{id}/tasks`` (marathon: TasksResource, AppTasksResource, TaskKiller)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from bgci.sandbox.marathon import paths, rights, views
from bgci.sandbox.marathon.apps_api import deployment_result, invalid_shape, json_object
from bgci.sandbox.marathon.core import Marathon, instance_id
from bgci.sandbox.marathon.deployments import Specs
from bgci.sandbox.marathon.model import App, Condition, Deployment, Instance
from bgci.sandbox.web import ApiError, accepts, flag, plain, reply


class TaskRoutes:
    """Handlers for tasks."""

    def __init__(self, marathon: Marathon) -> None:
        self._marathon = marathon
        self._store = marathon.store

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v2/tasks", self.index),
            web.post("/v2/tasks/delete", self.delete_by_id),
            web.get("/v2/apps/{id:.+}/tasks", self.of_app),
            web.delete("/v2/apps/{id:.+}/tasks", self.delete_many),
            web.delete("/v2/apps/{id:.+}/tasks/{task}", self.delete_one),
        ]

    async def index(self, request: web.Request) -> web.Response:
        states = [*request.query.getall("status", []), *request.query.getall("status[]", [])]
        tasks = [task for task in views.all_tasks(self._store, states) if rights.may(request, task["appId"])]
        if not accepts(request, "application/json") and not self._marathon.dialect.modern:
            return plain(endpoints_table(tasks))
        return reply({"tasks": tasks})

    async def of_app(self, request: web.Request) -> web.Response:
        app = self._permitted(request, "read")
        return reply({"tasks": views.tasks(self._store.of_app(app.id))})

    async def delete_by_id(self, request: web.Request) -> web.Response:
        scale, wipe = scale_and_wipe(request)
        ids = (await json_object(request)).get("ids")
        if not isinstance(ids, list) or not all(isinstance(task_id, str) for task_id in ids):
            raise invalid_shape("error.expected.jsarray")
        instances = self._marathon.resolve(ids)
        for app_id in {instance.app_id for instance in instances}:
            rights.require(request, app_id, "update")
        if scale:
            return deployment_result(self._kill_and_scale(instances, force=flag(request, "force")))
        existing = [instance for instance in instances if instance.app_id in self._store.apps]
        return reply({"tasks": self._kill(existing, wipe=wipe, with_health=False)})

    async def delete_many(self, request: web.Request) -> web.Response:
        app = self._permitted(request, "update")
        scale, wipe = scale_and_wipe(request)
        host = request.query.get("host", "*")
        instances = [i for i in self._store.of_app(app.id) if host == "*" or (i.task and host in i.task.host)]
        if scale:
            active = [instance for instance in instances if instance.condition.is_active]
            return deployment_result(self._kill_and_scale(active, force=flag(request, "force")))
        return reply({"tasks": self._kill(instances, wipe=wipe)})

    async def delete_one(self, request: web.Request) -> web.Response:
        app = self._permitted(request, "update")
        task_id = request.match_info["task"]
        scale, wipe = scale_and_wipe(request)
        named = self._named(task_id, scale=scale)
        instances = [instance for instance in self._store.of_app(app.id) if instance.id == named]
        if scale:
            active = [instance for instance in instances if instance.condition.is_active]
            return deployment_result(self._kill_and_scale(active, force=flag(request, "force")))
        killed = self._kill(instances, wipe=wipe)
        if not killed:
            raise self._marathon.missing(f"Task '{task_id}' does not exist")
        return reply({"task": killed[0]})

    def _named(self, task_id: str, *, scale: bool) -> str:
        """The instance of a task id; empty for an id of an unknown form. Raises ApiError for an id without a UUID:
        since 1.8 the response is an internal error of Marathon, but not when scaling
        (marathon: AppTasksResource.scala)."""
        try:
            return instance_id(task_id)
        except ApiError as error:
            if error.status == 400:
                return ""
            if scale or not self._marathon.dialect.modern:
                raise
            text = f"Failure(java.lang.IllegalArgumentException: {error}) (of class scala.util.Failure)"
            raise ApiError(500, {"message": text}) from None

    def _permitted(self, request: web.Request, action: str) -> App:
        """The app in the path. Raises ApiError 404, and 403 without the permission for that action."""
        app = self._marathon.app(paths.absolute(request.match_info["id"]))
        rights.require(request, app.id, action)
        return app

    def _kill(self, instances: Sequence[Instance], *, wipe: bool, with_health: bool = True) -> list[dict[str, Any]]:
        """Fire and forget: no deployment, no lock; the task is replaced within its instance, or with it if wiped."""
        shown = views.tasks(instances)
        for instance in instances:
            if wipe:
                self._store.decommission(instance)
            else:
                self._store.kill(instance)
        return shown if with_health else [{**task, "healthCheckResults": []} for task in shown]

    def _kill_and_scale(self, instances: Sequence[Instance], *, force: bool) -> Deployment:
        """One deployment over all apps: each scaled down by its instances that are active and not being killed."""
        to_kill: dict[str, list[str]] = {}
        for instance in instances:
            to_kill.setdefault(instance.app_id, []).append(instance.id)

        def scale_down(specs: Specs) -> None:
            for app_id in to_kill.keys() & specs.keys():
                specs[app_id] = {**specs[app_id], "instances": scaled(specs[app_id], instances)}

        return self._marathon.deployments.change(scale_down, force=force, to_kill=to_kill)


def scaled(spec: Mapping[str, Any], killed: Sequence[Instance]) -> int:
    """The number of instances after the kill, never below zero."""
    mine = [instance for instance in killed if instance.app_id == spec["id"]]
    count = sum(i.condition.is_active and i.condition is not Condition.KILLING for i in mine)
    return max(0, int(spec["instances"]) - count)


def scale_and_wipe(request: web.Request) -> tuple[bool, bool]:
    """The flags ``scale`` and ``wipe``. Raises ApiError 400 if both are requested."""
    scale, wipe = flag(request, "scale"), flag(request, "wipe")
    if scale and wipe:
        raise ApiError(400, {"message": "You cannot use scale and wipe at the same time."})
    return scale, wipe


def endpoints_table(tasks: Sequence[Mapping[str, Any]]) -> str:
    """The tab-separated form: app, service port, and the endpoints of its tasks."""
    rows: dict[tuple[str, int], list[str]] = {}
    for task in tasks:
        name = task["appId"].strip("/").replace("/", "_")
        for service_port, port in zip(task["servicePorts"], task["ports"], strict=False):
            rows.setdefault((name, service_port), []).append(f"{task['host']}:{port}")
    return "".join(f"{name}\t{port}\t" + "\t".join(places) + "\n" for (name, port), places in rows.items())
