"""The permissions that Marathon requires (docs: deploying-services/service-groups, security/ent/perms-reference)."""

from __future__ import annotations

from aiohttp import web

from bgci.sandbox import rights

SERVICES = "dcos:service:marathon:marathon:services"
ADMIN = "dcos:service:marathon:marathon:admin"


def may(request: web.Request, app_id: str, action: str = "read") -> bool:
    return rights.may(request, f"{SERVICES}:{app_id}", action)


def require(request: web.Request, app_id: str, action: str) -> None:
    """Checks a permission for an app. Raises ApiError 403."""
    rights.require(request, f"{SERVICES}:{app_id}", action)


def require_admin(request: web.Request, what: str, action: str = "read") -> None:
    """Checks an administrative permission. ``what``: events, config or leader. Raises ApiError 403."""
    rights.require(request, f"{ADMIN}:{what}", action)
