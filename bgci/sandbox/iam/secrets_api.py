"""``/secrets/v1`` (docs: api/secrets.yaml)."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from aiohttp import web

from bgci.sandbox import rights
from bgci.sandbox.iam.acls import SECRET_LIST, SECRETS
from bgci.sandbox.iam.core import Iam
from bgci.sandbox.iam.gate import UID
from bgci.sandbox.iam.login_api import json_object
from bgci.sandbox.iam.secrets import Secret
from bgci.sandbox.web import ApiError, flag, plain, reply

Json = dict[str, Any]
BASE = "/secrets/v1"
BINARY = "application/octet-stream"


class SecretRoutes:
    """Handlers for secrets."""

    def __init__(self, iam: Iam) -> None:
        self._secrets = iam.secrets

    def routes(self) -> list[web.RouteDef]:
        one = f"{BASE}/secret/default/{{path:.*}}"
        return [
            web.get(f"{BASE}/ping", self.ping),
            web.get(f"{BASE}/seal-status/default", self.seal_status),
            web.get(f"{BASE}/store", self.stores),
            web.get(one, self.show),
            web.put(one, self.create),
            web.patch(one, self.update),
            web.delete(one, self.delete),
        ]

    async def ping(self, request: web.Request) -> web.Response:
        return plain("pong")

    async def seal_status(self, request: web.Request) -> web.Response:
        return reply({"sealed": False, "threshold": 1, "shares": 1, "progress": 0})

    async def stores(self, request: web.Request) -> web.Response:
        return reply({"array": [{"name": "default", "description": "Default backend", "initialized": True}]})

    async def show(self, request: web.Request) -> web.Response:
        path = path_of(request)
        if flag(request, "list"):
            allowed(request, f"{SECRET_LIST}:/{path}", "read")
            return reply({"array": self._secrets.below(path)})
        allowed(request, f"{SECRETS}:{path}", "read")
        secret = self._known(path)
        if secret.binary:
            return web.Response(body=secret.value, content_type=BINARY)
        return reply({"value": secret.value.decode(), **secret.about})

    async def create(self, request: web.Request) -> web.Response:
        path = path_of(request)
        allowed(request, f"{SECRETS}:{path}", "create")
        new = await given(request)
        if path in self._secrets.all:
            raise refusal(409, f"Secret with path '{path}' already exists.", "ERR_SECRET_EXISTS")
        self._secrets.all[path] = new
        return web.Response(status=201)

    async def update(self, request: web.Request) -> web.Response:
        path = path_of(request)
        allowed(request, f"{SECRETS}:{path}", "update")
        new = await given(request)
        self._known(path)
        self._secrets.all[path] = new
        return web.Response(status=204)

    async def delete(self, request: web.Request) -> web.Response:
        path = path_of(request)
        allowed(request, f"{SECRETS}:{path}", "delete")
        self._known(path)
        del self._secrets.all[path]
        return web.Response(status=204)

    def _known(self, path: str) -> Secret:
        """The secret at that path. Raises ApiError 404 without one."""
        if path not in self._secrets.all:
            raise refusal(404, f"Secret with path '{path}' not found.", "ERR_SECRET_NOT_FOUND")
        return self._secrets.all[path]


def path_of(request: web.Request) -> str:
    return request.match_info["path"].strip("/")


def allowed(request: web.Request, rid: str, action: str) -> None:
    """Raises ApiError 403, also for a missing secret."""
    if not rights.may(request, rid, action):
        raise refusal(403, f"Not permitted: {action} {rid}", "ERR_FORBIDDEN")


async def given(request: web.Request) -> Secret:
    """The secret in the body: bytes, or JSON with its value. Raises ApiError 400."""
    body = await request.read()
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    about: Json = {"author": str(request.get(UID, "")), "created": now}
    if request.headers.get("Content-Type") == BINARY:
        return Secret(body, True, about)
    found = json_object(body)
    if not isinstance(found.get("value"), str):
        raise refusal(400, "The field 'value' is missing.", "ERR_INVALID_DATA")
    about |= {name: found[name] for name in ("description", "labels", "author") if name in found}
    return Secret(found["value"].encode(), False, about)


def refusal(status: int, description: str, code: str) -> ApiError:
    return ApiError(status, {"title": str(status), "description": description, "code": code})
