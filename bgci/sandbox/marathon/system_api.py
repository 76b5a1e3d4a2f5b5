"""Deployments, queue, info, leader, ping (marathon: DeploymentsResource, QueueResource, InfoResource ...)."""

from __future__ import annotations

from aiohttp import web

from bgci.sandbox.marathon import paths, rights, views
from bgci.sandbox.marathon.apps_api import deployment_result
from bgci.sandbox.marathon.core import Marathon
from bgci.sandbox.marathon.dialect import DEFAULT_ROLE
from bgci.sandbox.marathon.model import Deployment
from bgci.sandbox.marathon.plan import PORT_RANGE
from bgci.sandbox.mesos import FRAMEWORKS
from bgci.sandbox.web import flag, plain, reply

FEATURES = ("external_volumes", "gpu_resources", "secrets", "task_killing")


class SystemRoutes:
    """Handlers for all routes except those of apps and tasks."""

    def __init__(self, marathon: Marathon) -> None:
        self._marathon = marathon
        self._store = marathon.store

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v2/deployments", self.deployments),
            web.delete("/v2/deployments/{id}", self.cancel),
            web.get("/v2/queue", self.queue),
            web.delete("/v2/queue/{id:.+}/delay", self.reset_delay),
            web.get("/v2/info", self.info),
            web.get("/v2/leader", self.leader),
            web.delete("/v2/leader", self.abdicate),
            web.get("/ping", self.ping),
            web.get("/", self.root),
        ]

    async def deployments(self, request: web.Request) -> web.Response:
        def readable(deployment: Deployment) -> bool:
            return any(rights.may(request, app_id) for app_id in deployment.app_ids)

        return reply([views.deployment_json(one) for one in self._store.deployments.values() if readable(one)])

    async def cancel(self, request: web.Request) -> web.Response:
        deployment = self._store.deployments.get(request.match_info["id"])
        if deployment is None:
            raise self._marathon.missing(f"DeploymentPlan {request.match_info['id']} does not exist")
        for app_id in deployment.app_ids:
            rights.require(request, app_id, "update")
        if flag(request, "force"):
            self._marathon.deployments.cancel(deployment)
            return web.Response(status=202)
        return deployment_result(self._marathon.deployments.revert(deployment))

    async def queue(self, request: web.Request) -> web.Response:
        waiting = [entry for entry in views.queue(self._store) if rights.may(request, entry["app"]["id"])]
        return reply({"queue": waiting})

    async def reset_delay(self, request: web.Request) -> web.Response:
        app_id = paths.absolute(request.match_info["id"])
        if not any(entry["app"]["id"] == app_id for entry in views.queue(self._store)):
            raise self._marathon.missing(f"Application {app_id} not found in tasks queue.")
        app = self._marathon.app(app_id)
        rights.require(request, app_id, "update")
        self._store.backoffs.pop((app_id, app.last_config), None)
        for instance in self._store.of_app(app_id):
            instance.wake.set()
        return web.Response(status=204)

    async def info(self, request: web.Request) -> web.Response:
        rights.require_admin(request, "config")
        host, _, port = self._marathon.leader.rpartition(":")
        return reply(
            {
                "name": "marathon",
                "version": self._marathon.dialect.version,
                "buildref": "bgci-sandbox",
                "elected": True,
                "leader": self._marathon.leader,
                "frameworkId": FRAMEWORKS["marathon"],
                "marathon_config": {
                    "master": "zk://127.0.0.1:2181/mesos",
                    "checkpoint": True,
                    "local_port_min": PORT_RANGE.start,
                    "local_port_max": PORT_RANGE.stop - 1,
                    "hostname": host,
                    "framework_name": "marathon",
                    "mesos_role": DEFAULT_ROLE,
                    "features": list(FEATURES),
                    "mesos_leader_ui_url": "/mesos",
                    "webui_url": None,
                },
                "zookeeper_config": {"zk": "zk://127.0.0.1:2181/marathon"},
                "http_config": {"http_port": int(port), "https_port": 8443},
            }
        )

    async def leader(self, request: web.Request) -> web.Response:
        rights.require_admin(request, "leader")
        return reply({"leader": self._marathon.leader})

    async def abdicate(self, request: web.Request) -> web.Response:
        """A change of leader: all streams end, and health is unknown until the first checks (hazard 39)."""
        rights.require_admin(request, "leader", "update")
        self._store.events.close()
        self._marathon.health.forget_results()
        return reply({"message": "Leadership abdicated"})

    async def ping(self, request: web.Request) -> web.Response:
        accept = request.headers.get("Accept", "*/*")
        if "application/json" in accept:
            return reply("pong")
        return plain("pong") if "*/*" in accept or "text/plain" in accept else web.Response(status=204)

    async def root(self, request: web.Request) -> web.Response:
        raise web.HTTPFound("/ui/")
