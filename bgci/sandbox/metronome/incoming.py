"""Reads requests to Metronome, and refuses unreadable ones as Metronome does (metronome: Binders.scala)."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from aiohttp import web

from bgci.sandbox.metronome import rights
from bgci.sandbox.metronome.core import Metronome, no_job
from bgci.sandbox.web import ApiError

Json = dict[str, Any]
EMBEDS = ("activeRuns", "schedules", "history", "historySummary")
BODY_BYTES = 102_400
ID_PART = re.compile(r"[a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9]")


def route_path(request: web.Request) -> str:
    """The path as Metronome sees and shows it: without the prefix that Admin Router strips, safe in HTML."""
    return html.escape(request.path.removeprefix("/service/metronome"))


def readable(metronome: Metronome, request: web.Request) -> Json:
    """The job in the path. Raises ApiError 404, also without the permission."""
    name = job_id(request)
    if not rights.may(request, name):
        raise no_job(name)
    return metronome.job(name)


def permitted(metronome: Metronome, request: web.Request, action: str) -> str:
    """The id of the job in the path. Raises ApiError 404, 403."""
    name = str(metronome.job(job_id(request))["id"])
    rights.require(request, name, action)
    return name


def job_id(request: web.Request) -> str:
    """The id in the path. Raises ApiError 400 for an invalid job id."""
    name = request.match_info["job"]
    parts = [part for part in name.split(".") if part]
    if not all(ID_PART.fullmatch(part) for part in parts):
        raise bad_request(request, f"Not a valid id: {name}")
    return ".".join(parts)


def embeds(request: web.Request) -> set[str]:
    """Repeated or joined by commas. Raises ApiError 400 for an unknown one, also for an empty one."""
    values = [part for value in request.query.getall("embed", []) for part in value.rstrip(",").split(",")]
    if any(value not in EMBEDS for value in values):
        raise bad_request(request, f"Unknown embed options. Valid options are: {', '.join(EMBEDS)}")
    return set(values)


def boolean(request: web.Request, name: str) -> bool:
    """A boolean of the query, False without it. Raises ApiError 400 for another text."""
    value = request.query.get(name, "false")
    if value not in ("true", "false", "1", "0"):
        text = f"Cannot parse parameter {name} as Boolean: should be true, false, 0 or 1"
        raise bad_request(request, text)
    return value in ("true", "1")


def bad_request(request: web.Request, text: str, status: int = 400) -> ApiError:
    return ApiError(status, {"message": html.escape(text), "requestPath": route_path(request)})


async def json_body(request: web.Request) -> Any:
    """The body. Raises ApiError 415 for another content type, 413 for more than 102,400 bytes, 400 for invalid JSON."""
    if request.content_type not in ("application/json", "text/json"):
        raise bad_request(request, "Expecting text/json or application/json body", 415)
    body = await request.read()
    if len(body) > BODY_BYTES:
        raise bad_request(request, "Request Entity Too Large", 413)
    try:
        return json.loads(body, parse_constant=_no_constant, parse_float=_number)
    except (ValueError, RecursionError) as error:
        raise bad_request(request, f"Invalid Json: {error}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"Unexpected character: {name}")


class Whole(int):
    """A whole number that was written with a fraction or an exponent. Metronome takes it for an integer."""

    written = ""

    def __str__(self) -> str:
        return self.written


def _number(text: str) -> float:
    number = float(text)
    if not number.is_integer():
        return number
    whole = Whole(number)
    whole.written = text
    return whole
