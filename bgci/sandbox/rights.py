"""The permissions of the sender of a request. Without a gate, as on open DC/OS, every sender has all permissions."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from bgci.sandbox.web import ApiError

Rights = Callable[[str, str], bool]  # resource and action
_KEY = "bgci.rights"


def give(request: web.Request, rights: Rights) -> None:
    """Called once for each request, by the gate."""
    request[_KEY] = rights


def may(request: web.Request, rid: str, action: str) -> bool:
    """Whether the sender has that permission."""
    rights: Rights | None = request.get(_KEY)
    return rights is None or rights(rid, action)


def require(request: web.Request, rid: str, action: str) -> None:
    """Raises ApiError 403, with the message of Marathon's and Metronome's plugin."""
    if not may(request, rid, action):
        raise ApiError(403, {"message": "Not Authorized to perform this action!"})
