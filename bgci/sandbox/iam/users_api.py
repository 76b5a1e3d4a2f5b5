"""``/acs/api/v1/users`` and ``/acls``: for superusers (bouncer: bouncer/app/users.py; docs: api/ent-iam.yaml)."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

from aiohttp import web

from bgci.sandbox import rights
from bgci.sandbox.iam.acls import ACTIONS, SUPERUSER
from bgci.sandbox.iam.core import Iam
from bgci.sandbox.iam.login_api import bad_request, json_object
from bgci.sandbox.iam.users import API, User
from bgci.sandbox.web import ApiError, reply

Json = dict[str, Any]


class UserRoutes:
    """Handlers for users and their permissions."""

    def __init__(self, iam: Iam) -> None:
        self._users, self._acls = iam.users, iam.acls

    def routes(self) -> list[web.RouteDef]:
        user, acl = f"{API}/users/{{uid}}", f"{API}/acls/{{rid}}"
        permission = f"{acl}/users/{{uid}}/{{action}}"
        return [
            web.get(f"{API}/users", self.users),
            web.get(user, self.user),
            web.put(user, self.add_user),
            web.delete(user, self.delete_user),
            web.get(f"{user}/permissions", self.of_user),
            web.get(f"{API}/acls", self.acls),
            web.get(acl, self.acl),
            web.put(acl, self.add_acl),
            web.delete(acl, self.delete_acl),
            web.get(f"{acl}/permissions", self.of_acl),
            web.get(permission, self.allowed),
            web.put(permission, self.grant),
            web.delete(permission, self.revoke),
        ]

    async def users(self, request: web.Request) -> web.Response:
        superuser(request)
        services = request.query.get("type") == "service"
        return reply({"array": [u.as_json() for u in self._users.all.values() if bool(u.public_key) == services]})

    async def user(self, request: web.Request) -> web.Response:
        superuser(request)
        return reply(self._user(request).as_json())

    async def add_user(self, request: web.Request) -> web.Response:
        superuser(request)
        uid, given = request.match_info["uid"], json_object(await request.read())
        chosen = {name: given[name] for name in ("password", "public_key") if given.get(name)}
        if len(chosen) != 1 or not all(isinstance(text, str) for text in chosen.values()):
            raise bad_request("One of `password` or `public_key` must be provided")
        if uid in self._users.all:
            raise conflict(f"User with id `{uid}` already exists.", "ERR_USER_EXISTS")
        try:
            self._users.add(uid, description=str(given.get("description", "")), **chosen)
        except ValueError as error:
            if "public_key" in chosen:
                raise bad_request(f"Invalid public key: {error}", "ERR_INVALID_PUBLIC_KEY") from None
            raise bad_request(f"Password does not match rules: {error}") from None
        return web.Response(status=201)

    async def delete_user(self, request: web.Request) -> web.Response:
        superuser(request)
        uid = self._user(request).uid
        del self._users.all[uid]
        for users in self._acls.grants.values():
            users.pop(uid, None)
        return web.Response(status=204)

    async def of_user(self, request: web.Request) -> web.Response:
        """The grants of one user, as they were granted."""
        superuser(request)
        uid = self._user(request).uid
        direct = [
            {
                "rid": rid,
                "description": self._acls.descriptions[rid],
                "aclurl": _url(rid),
                "actions": [{"name": action, "url": f"{_url(rid)}/users/{uid}/{action}"} for action in sorted(granted)],
            }
            for rid in self._acls.grants
            if (granted := self._acls.actions(rid, uid))
        ]
        return reply({"direct": direct, "groups": []})

    async def acls(self, request: web.Request) -> web.Response:
        superuser(request)
        return reply({"array": [self._acl_json(rid) for rid in self._acls.descriptions]})

    async def acl(self, request: web.Request) -> web.Response:
        superuser(request)
        return reply(self._acl_json(self._rid(request)))

    async def add_acl(self, request: web.Request) -> web.Response:
        superuser(request)
        rid, given = resource(request), json_object(await request.read())
        if rid in self._acls.descriptions:
            raise conflict(f"ACL for resource ID `{rid}` already exists.", "ERR_ACL_EXISTS")
        self._acls.add(rid, str(given.get("description", "")))
        return web.Response(status=201)

    async def delete_acl(self, request: web.Request) -> web.Response:
        superuser(request)
        self._acls.remove(self._rid(request))
        return web.Response(status=204)

    async def of_acl(self, request: web.Request) -> web.Response:
        """The users and actions granted on one resource."""
        superuser(request)
        rid = self._rid(request)
        users = [
            {
                "uid": uid,
                "userurl": f"{API}/users/{uid}",
                "actions": [{"name": action, "url": f"{_url(rid)}/users/{uid}/{action}"} for action in sorted(granted)],
            }
            for uid, granted in self._acls.grants[rid].items()
        ]
        return reply({"users": users, "groups": []})

    async def allowed(self, request: web.Request) -> web.Response:
        """Whether any grant permits the action to one user."""
        superuser(request)
        uid, action = self._user(request).uid, known_action(request)
        return reply({"allowed": self._acls.allows(uid, resource(request), action)})

    async def grant(self, request: web.Request) -> web.Response:
        superuser(request)
        rid, uid, action = self._rid(request, 400), self._user(request, 400).uid, known_action(request)
        if action in self._acls.actions(rid, uid):
            raise conflict(f"User `{uid}` already has action `{action}` on `{rid}`.", "ERR_ACTION_EXISTS")
        self._acls.grant(rid, uid, action)
        return web.Response(status=204)

    async def revoke(self, request: web.Request) -> web.Response:
        superuser(request)
        self._acls.revoke(self._rid(request, 400), self._user(request, 400).uid, known_action(request))
        return web.Response(status=204)

    def _user(self, request: web.Request, status: int = 404) -> User:
        uid = request.match_info["uid"]
        if uid not in self._users.all:
            raise unknown(status, f"User with uid `{uid}` not known.", "ERR_UNKNOWN_USER_ID")
        return self._users.all[uid]

    def _rid(self, request: web.Request, status: int = 404) -> str:
        rid = resource(request)
        if rid not in self._acls.descriptions:
            raise unknown(status, f"Resource with ID `{rid}` not known.", "ERR_UNKNOWN_RESOURCE_ID")
        return rid

    def _acl_json(self, rid: str) -> Json:
        return {"rid": rid, "url": _url(rid), "description": self._acls.descriptions[rid]}


def superuser(request: web.Request) -> None:
    rights.require(request, SUPERUSER, "full")


def resource(request: web.Request) -> str:
    """The resource in the path, in which a slash is written ``%252F``: Admin Router decodes it once, the IAM again."""
    if "%2F" in request.raw_path.upper():
        raise unknown(404, "Not found.", "ERR_UNKNOWN")
    return unquote(request.match_info["rid"])


def known_action(request: web.Request) -> str:
    """The action in the path. Raises ApiError 400 for an unknown one."""
    action = request.match_info["action"]
    if action not in ACTIONS:
        raise bad_request(f"Action `{action}` not known.", "ERR_INVALID_ACTION")
    return action


def unknown(status: int, description: str, code: str) -> ApiError:
    return ApiError(status, {"title": "Not Found" if status == 404 else "Bad Request", "description": description,
                             "code": code})  # fmt: skip


def conflict(description: str, code: str) -> ApiError:
    return ApiError(409, {"title": "Conflict", "description": description, "code": code})


def _url(rid: str) -> str:
    return f"{API}/acls/{quote(quote(rid, safe=':'), safe=':')}"
