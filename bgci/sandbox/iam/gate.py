"""Admin Router's checks before a request reaches a service: the user's identity, and that user's permission
(dcos: AR/lib/auth/common.lua; docs: security/ent/perms-reference)."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from bgci.sandbox import rights
from bgci.sandbox.iam.core import Iam
from bgci.sandbox.web import ApiError, reply

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
COOKIE = "dcos-acs-auth-cookie"
UID = "bgci.uid"
BASIC = 'Basic realm="Mesosphere"'
OPEN = (
    *(f"/acs/api/v1/auth/{name}" for name in ("login", "logout", "providers", "jwks")),
    *("/dcos-metadata/", "/ca/dcos-ca.crt", "/_sandbox/"),
)
"""Public resources, which need no login: paths, and folders with a slash at the end."""
GUARDED = {
    "/service/marathon": "dcos:adminrouter:service:marathon",
    "/marathon": "dcos:adminrouter:service:marathon",
    "/service/metronome": "dcos:adminrouter:service:metronome",
    "/secrets": "dcos:adminrouter:secrets",
    "/mesos": "dcos:adminrouter:ops:mesos",
    "/agent": "dcos:adminrouter:ops:slave",
    "/slave": "dcos:adminrouter:ops:slave",
    "/system/v1/logs": "dcos:adminrouter:ops:system-logs",
    "/system/v1/agent": "dcos:adminrouter:ops:system-logs",
    "/acs/api/v1": "dcos:adminrouter:acs",
}
"""The permission that each folder needs, always ``full``. Elsewhere a login is enough."""


def gate(iam: Iam) -> Middleware:
    """A middleware for the cluster's port. Every refusal by Admin Router itself is HTML."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await admit(request, handler)
        except ApiError as error:
            return reply(error.body, error.status, error.headers)

    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        if is_open(request.path):
            return await handler(request)
        uid = iam.signer.uid(token_of(request))
        if uid is None or uid not in iam.users.all:
            return _refusal(401, "Authorization Required", {"WWW-Authenticate": "acsjwt"})
        needed = guard(request.path)
        if needed and not iam.acls.allows(uid, needed, "full"):
            return _refusal(403, "Forbidden")
        request[UID] = uid
        rights.give(request, lambda rid, action: iam.acls.allows(uid, rid, action))
        return await handler(request)

    return check


def basic_gate(uid: str, password: str) -> Middleware:
    """A middleware for Marathon's own port: basic authentication, as with its option ``http_credentials``."""
    expected = f"{uid}:{password}".encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        try:
            known = scheme.lower() == "basic" and hmac.compare_digest(base64.b64decode(given.encode()), expected)
        except (binascii.Error, ValueError):
            known = False
        return await handler(request) if known else _refusal(401, "Unauthorized", {"WWW-Authenticate": BASIC})

    return check


def is_open(path: str) -> bool:
    return any(path == one or (one.endswith("/") and path.startswith(one)) for one in OPEN)


def guard(path: str) -> str:
    """The permission that this path needs, "" if none."""
    inside = [folder for folder in GUARDED if path == folder or path.startswith(f"{folder}/")]
    return GUARDED[max(inside, key=len)] if inside else ""


def token_of(request: web.Request) -> str:
    """The token of the header; the cookie counts only without such a header."""
    header = request.headers.get("Authorization")
    if header is None:
        return request.cookies.get(COOKIE, "")
    found = re.fullmatch(r"(?:token=|Bearer +)(\S+)", header.strip())
    return found[1] if found else ""


def _refusal(status: int, title: str, headers: dict[str, str] | None = None) -> web.Response:
    body = (
        f"<html>\n<head><title>{status} {title}</title></head>\n<body>\n<h1>{status} {title}</h1>\n</body>\n</html>\n"
    )
    return web.Response(text=body, status=status, headers=headers, content_type="text/html")
