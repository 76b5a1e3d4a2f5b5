"""The paths of a DC/OS master, which Admin Router serves on one port (dcos: AR/includes/server, AR/lib/service.lua)."""

from __future__ import annotations

from aiohttp import web

from bgci.sandbox.iam.core import Iam
from bgci.sandbox.iam.gate import gate
from bgci.sandbox.iam.login_api import LoginRoutes
from bgci.sandbox.iam.secrets_api import SecretRoutes
from bgci.sandbox.iam.users_api import UserRoutes
from bgci.sandbox.logs import LogRoutes
from bgci.sandbox.marathon import api as marathon_api
from bgci.sandbox.marathon.core import Marathon
from bgci.sandbox.mesos import Mesos
from bgci.sandbox.metronome import api as metronome_api
from bgci.sandbox.metronome.core import Metronome
from bgci.sandbox.web import plain, reply

VERSION = {"version": "2.0.0", "dcos-image-commit": "0" * 40, "bootstrap-id": "0" * 40}


def application(
    marathon: Marathon, metronome: Metronome, mesos: Mesos, iam: Iam | None = None, *, strict: bool = False
) -> web.Application:
    """A web application for the cluster's port. With ``iam`` the cluster is secured: DC/OS Enterprise, in the security
    mode ``strict`` or in the permissive one."""
    app = web.Application(middlewares=[gate(iam)] if iam else [], client_max_size=32 * 1024 * 1024)
    app.on_response_prepare.append(rewrite_location)
    variant = {"dcos-variant": "enterprise" if iam else "open"}

    async def version(_: web.Request) -> web.Response:
        return reply(VERSION | variant)

    app.add_routes([web.get("/dcos-metadata/dcos-version.json", version), web.get("/metadata", metadata)])
    app.add_routes(LogRoutes(mesos, strict=strict).routes())
    if iam:
        app.add_routes([*LoginRoutes(iam).routes(), *UserRoutes(iam).routes(), *SecretRoutes(iam).routes()])
    for prefix in ("/service/marathon", "/marathon"):
        app.router.add_get(prefix, add_slash)
        app.add_subapp(f"{prefix}/", marathon_api.application(marathon))
    app.router.add_get("/service/metronome", add_slash)
    app.add_subapp("/service/metronome/", metronome_api.application(metronome, behind_router=True))
    app.add_routes(metronome_api.outage_routes(metronome))
    app.router.add_route("*", "/{path:.*}", unknown)
    return app


async def metadata(_: web.Request) -> web.Response:
    return reply({"PUBLIC_IPV4": "127.0.0.1", "CLUSTER_ID": "5ab8fc1e-0000-4000-8000-000000000001"})


async def add_slash(request: web.Request) -> web.Response:
    raise web.HTTPMovedPermanently(f"{request.path}/")


async def unknown(request: web.Request) -> web.Response:
    service = request.path.startswith("/service/")
    return plain("404 Not Found: service not found." if service else "404 Not Found", 404)


async def rewrite_location(request: web.Request, response: web.StreamResponse) -> None:
    """``Location: /x`` of a service becomes ``/service/<name>/x``."""
    location = response.headers.get("Location", "")
    parts = request.path.split("/", 3)
    behind = len(parts) > 3 and parts[1] == "service"
    if behind and location.startswith("/"):
        response.headers["Location"] = f"/service/{parts[2]}{location}"
