"""``/acs/api/v1/auth`` and the public paths of the cluster (bouncer: bouncer/app/auth.py)."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from typing import Any

from aiohttp import web

from bgci.sandbox.iam.core import Iam
from bgci.sandbox.iam.gate import COOKIE
from bgci.sandbox.iam.users import API
from bgci.sandbox.web import ApiError, reply

Json = dict[str, Any]
COOKIE_SECONDS = int(1.9 * 86400)
PROVIDERS = {
    name: {
        "authentication-type": kind,
        "description": "Default DC/OS login provider",
        "client-method": method,
        "config": {"start_flow_url": f"{API}/auth/login"},
    }
    for name, kind, method in (
        ("dcos-users", "dcos-uid-password", "dcos-usercredential-post-receive-authtoken"),
        ("dcos-services", "dcos-uid-servicekey", "dcos-servicecredential-post-receive-authtoken"),
    )
}


class LoginRoutes:
    """Handlers for logins."""

    def __init__(self, iam: Iam) -> None:
        self._iam = iam

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"{API}/auth/login", self.login),
            web.get(f"{API}/auth/logout", self.logout),
            web.get(f"{API}/auth/providers", self.providers),
            web.get(f"{API}/auth/jwks", self.jwks),
            web.get("/ca/dcos-ca.crt", self.ca),
            web.get("/_sandbox/logins", self.logins),
        ]

    async def login(self, request: web.Request) -> web.Response:
        """The token both as JSON and as a cookie: marathon-lb reads the cookie."""
        given = login_object(await request.read())
        uid, exp = given.get("uid"), given.get("exp")
        if uid is None or not self._iam.users.login(uid, password=given.get("password"), token=given.get("token")):
            raise invalid_credentials()
        user = self._iam.users.all[uid]
        # Only a service account can choose the lifetime of its token.
        token = self._iam.signer.issue(uid, exp if user.public_key else None)
        about = {"uid": uid, "description": user.description, "is_remote": False}
        info = base64.b64encode(json.dumps(about).encode()).decode()
        response = reply({"token": token})
        response.set_cookie(COOKIE, token, max_age=COOKIE_SECONDS, httponly=True, path="/")
        response.set_cookie("dcos-acs-info-cookie", info, max_age=COOKIE_SECONDS, path="/")
        return response

    async def logout(self, request: web.Request) -> web.Response:
        response = web.Response()
        response.del_cookie(COOKIE, path="/", httponly=True)
        return response

    async def providers(self, request: web.Request) -> web.Response:
        return reply(PROVIDERS)

    async def jwks(self, request: web.Request) -> web.Response:
        return reply(self._iam.signer.jwks())

    async def ca(self, request: web.Request) -> web.Response:
        pem = self._iam.certificates.ca.read_bytes()
        return web.Response(body=pem, content_type="application/x-x509-ca-cert")

    async def logins(self, request: web.Request) -> web.Response:
        """Only in the sandbox: the numbers of logins and of failed logins of each account."""
        return reply({uid: asdict(count) for uid, count in self._iam.users.logins.items()})


def login_object(body: bytes) -> Json:
    """The body of a login. Raises ApiError 400 for an invalid body."""
    found = json_object(body)
    texts = [found.get(name) for name in ("uid", "password", "token")]
    number = found.get("exp")
    if not all(isinstance(text, str) for text in texts if text is not None) or isinstance(number, bool):
        raise bad_request("The body does not match the schema LoginObject.")
    if number is not None and not isinstance(number, (int, float)):
        raise bad_request("The body does not match the schema LoginObject.")
    uid, password, token = texts
    if (password is None) == (token is None):
        raise bad_request("Exactly one of `token` and `password` must be provided in the request body")
    if password is not None and uid is None:
        raise bad_request("`uid` missing in the request body")
    if password == "" or uid == "":
        raise bad_request("`uid` and `password` must not be empty strings")
    return found


def json_object(body: bytes) -> Json:
    """The JSON object in the body. Raises ApiError 400."""
    try:
        found = json.loads(body)
    except ValueError:
        raise bad_request("The body is no JSON.") from None
    if not isinstance(found, dict):
        raise bad_request("The body is no JSON object.")
    return found


def bad_request(description: str, code: str = "ERR_INVALID_DATA") -> ApiError:
    return ApiError(400, {"title": "Bad Request", "description": description, "code": code})


def invalid_credentials() -> ApiError:
    body = {"title": "401 Unauthorized", "description": "Invalid credentials.", "code": "ERR_INVALID_CREDENTIALS"}
    return ApiError(401, body, {"WWW-Authenticate": "acsjwt"})
