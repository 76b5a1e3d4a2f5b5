"""What needs a permission in Marathon (docs: deploying-services/service-groups, security/ent/perms-reference)."""

from __future__ import annotations

from aiohttp import web

from bgci.sandbox import rights

SERVICES = "dcos:service:marathon:marathon:services"
ADMIN = "dcos:service:marathon:marathon:admin"


def may(request: web.Request, app_id: str, action: str = "read") -> bool:
    return rights.may(request, f"{SERVICES}:{app_id}", action)


def require(request: web.Request, app_id: str, action: str) -> None:
    """Raises ApiError 403."""
    rights.require(request, f"{SERVICES}:{app_id}", action)


def require_admin(request: web.Request, what: str, action: str = "read") -> None:
    """``what``: events, config or leader. Raises ApiError 403."""
    rights.require(request, f"{ADMIN}:{what}", action)
