"""Marathon v2 over HTTP: the routes, and their shared middlewares."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from bgci.sandbox import events
from bgci.sandbox.marathon import rights
from bgci.sandbox.marathon.apps_api import AppRoutes
from bgci.sandbox.marathon.core import Marathon
from bgci.sandbox.marathon.dialect import Dialect
from bgci.sandbox.marathon.system_api import SystemRoutes
from bgci.sandbox.marathon.tasks_api import TaskRoutes
from bgci.sandbox.web import ApiError, accepts, reply

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JSON = "application/json"
HEADERS = {
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "1; mode=block",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
    "Expires": "0",
}


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal as a JSON object; an unrouted path is 500, not 404 (marathon: MarathonExceptionMapper.scala)."""
    try:
        return await handler(request)
    except ApiError as error:
        return reply(error.body, error.status)
    except json.JSONDecodeError as error:
        return reply({"message": "Invalid JSON", "details": str(error)}, 400)
    except web.HTTPNotFound:
        return reply({"message": "URI not found"}, 500)
    except web.HTTPMethodNotAllowed:
        return reply({"message": "HTTP 405 Method Not Allowed"}, 405)


def negotiation(dialect: Dialect) -> Middleware:
    """Refuses every content type except JSON, because the resources read and write JSON only.

    Until 1.7 ``/v2/tasks`` writes text as well."""

    @web.middleware
    async def negotiate(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = "/v2/" + request.path.partition("/v2/")[2]
        text = resource == "/v2/tasks" and not dialect.modern and accepts(request, "text/plain")
        if "/v2/" in request.path and resource != "/v2/events":
            if not (accepts(request, "application/json") or text):
                raise ApiError(406, {"message": "Not Acceptable"})
            if request.can_read_body and request.headers.get("Content-Type") and request.content_type != JSON:
                raise ApiError(415, {"message": "Unsupported Media Type"})
        return await handler(request)

    return negotiate


def application(marathon: Marathon, gate: Middleware | None = None) -> web.Application:
    """A web application for this Marathon; several may serve the same one. Requests pass ``gate`` first."""

    async def stream(request: web.Request) -> web.StreamResponse:
        rights.require_admin(request, "events")
        return await events.stream(request, marathon.store.events)

    async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers["X-Marathon-Leader"] = f"http://{marathon.leader}"

    middlewares = [*([gate] if gate else []), errors, negotiation(marathon.dialect)]
    app = web.Application(middlewares=middlewares, client_max_size=32 * 1024 * 1024)
    app.on_response_prepare.append(add_headers)
    apps, tasks, system = AppRoutes(marathon), TaskRoutes(marathon), SystemRoutes(marathon)
    app.add_routes([*tasks.routes(), *apps.routes(), *system.routes(), web.get("/v2/events", stream)])
    return app
