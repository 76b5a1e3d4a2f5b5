"""One Marathon: its state, and the parts that act on it."""

from __future__ import annotations

import re
from typing import Any

from bgci.sandbox.events import EventBus
from bgci.sandbox.iam.secrets import Secrets
from bgci.sandbox.marathon import views
from bgci.sandbox.marathon.deployments import Deployments
from bgci.sandbox.marathon.health import HealthChecker
from bgci.sandbox.marathon.model import App, Instance
from bgci.sandbox.marathon.readiness import ReadinessChecker
from bgci.sandbox.marathon.store import Options, Store
from bgci.sandbox.marathon.tasks import Launcher
from bgci.sandbox.mesos import Mesos
from bgci.sandbox.processes import Ports, Processes
from bgci.sandbox.web import ApiError

_INSTANCE_ID = re.compile(r"(.+\.(?:instance-|marathon-))([^_.]+)[._][^.]+(?:\.\d+)?")
_RESIDENT_ID = re.compile(r"(.+)[._]([^_.]+)[^_.]*\.\d+")
_LEGACY_ID = re.compile(r"(.+)[._]([^_.]+)")
_UUID = re.compile(r"[0-9A-Fa-f]+(-[0-9A-Fa-f]+){4}")


class Marathon:
    """Everything that belongs to one Marathon. ``leader`` is its ``host:port``."""

    def __init__(
        self, options: Options, processes: Processes, ports: Ports, mesos: Mesos, secrets: Secrets | None = None
    ) -> None:
        self.leader = "127.0.0.1:8080"
        self.dialect = options.dialect
        self.store = Store(EventBus(), options)
        self.health = HealthChecker(self.store)
        self.launcher = Launcher(self.store, processes, ports, mesos, self.health, secrets)
        self.deployments = Deployments(self.store, self.launcher, ReadinessChecker(self.store))

    async def open(self) -> None:
        await self.health.open()

    async def close(self) -> None:
        self.store.events.close()
        await self.deployments.close()
        await self.launcher.close()
        await self.health.close()

    def app(self, app_id: str) -> App:
        """The app with this id. Raises ApiError 404."""
        try:
            return self.store.apps[app_id]
        except KeyError:
            raise self.missing(f"App '{app_id}' does not exist") from None

    def missing(self, message: str) -> ApiError:
        """The 404 of most resources: since 1.8 with an empty list of details (marathon: RestResource.scala)."""
        return ApiError(404, {"message": message, **({"details": []} if self.dialect.modern else {})})

    def resolve(self, task_ids: list[str]) -> list[Instance]:
        """The instances of these task ids, also of task ids of earlier incarnations; unknown ids are ignored.
        Raises ApiError 400 and 422 for ids of an unknown form."""
        ids = dict.fromkeys(instance_id(task_id) for task_id in task_ids)
        return [self.store.instances[i] for i in ids if i in self.store.instances]

    def saved(self) -> dict[str, Any]:
        """The apps with all their versions, for ``load``."""
        versions = {i: [views.app_definition(a) for a in kept.values()] for i, kept in self.store.versions.items()}
        return {"versions": versions, "current": {app_id: app.version for app_id, app in self.store.apps.items()}}

    def load(self, saved: dict[str, Any]) -> None:
        """Restores the saved apps and launches their instances."""
        for app_id, definitions in saved["versions"].items():
            for definition in definitions:
                self.store.save_version(_app(definition))
            version = saved["current"].get(app_id)
            if version is not None:
                app = self.store.apps[app_id] = self.store.versions[app_id][version]
                self.launcher.add(app, app.instances)


def _app(definition: dict[str, Any]) -> App:
    version, info = definition.pop("version"), definition.pop("versionInfo")
    return App(definition, version, info["lastScalingAt"], info["lastConfigChangeAt"])


def instance_id(task_id: str) -> str:
    """The instance of a task id, in the forms of all versions (marathon: S/core/task/Task.scala). Raises ApiError 400
    for an id of another form, and 422 for an id without a UUID."""
    found = _INSTANCE_ID.fullmatch(task_id)
    legacy = None if found else _RESIDENT_ID.fullmatch(task_id) or _LEGACY_ID.fullmatch(task_id)
    if found is None and legacy is None:
        text = f"taskId {task_id} no valid identifier"
        raise ApiError(400, {"message": f"Invalid task id '{task_id}'. [{text} (of class java.lang.String)]"})
    prefix, uuid = found.groups() if found else (f"{legacy[1]}.marathon-", legacy[2]) if legacy else ("", "")
    if not _UUID.fullmatch(uuid):
        raise ApiError(422, {"message": f"Invalid UUID string: {uuid}"})
    return f"{prefix}{uuid}"
