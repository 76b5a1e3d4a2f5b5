"""Helpers over aiohttp for the three APIs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web


class ApiError(Exception):
    """A refusal with the status, the body and further headers that the real service sends."""

    def __init__(self, status: int, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(str(body.get("message", status)))
        self.status = status
        self.body = dict(body)
        self.headers = dict(headers or {})


def reply(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON response."""
    text = json.dumps(body, separators=(",", ":"))
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")


def plain(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="text/plain")


def flag(request: web.Request, name: str, default: bool = False) -> bool:
    """A boolean query parameter; anything but ``true`` is false, as in Jersey."""
    return request.query.get(name, str(default)).lower() == "true"


def accepts(request: web.Request, kind: str) -> bool:
    """Whether the client accepts a reply of that content type."""
    wanted = [part.partition(";")[0].strip().lower() for part in request.headers.get("Accept", "*/*").split(",")]
    return bool({kind, f"{kind.partition('/')[0]}/*", "*/*"} & set(wanted))
