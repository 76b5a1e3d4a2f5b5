"""Ids of apps and groups (marathon: S/state/PathId.scala)."""

from __future__ import annotations

import re

_SEGMENT = re.compile(r"(([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9\-]*[a-z0-9])|(\.|\.\.)")
_RESERVED = ("restart", "tasks", "versions", ".", "..")


def absolute(app_id: str) -> str:
    """``web`` means ``/web``, and ``/a/../b`` means ``/b``."""
    segments: list[str] = []
    for segment in app_id.split("/"):
        if segment == "..":
            segments = segments[:-1]
        elif segment not in ("", "."):
            segments.append(segment)
    return "/" + "/".join(segments)


def errors_of(app_id: str) -> list[str]:
    """The errors of an absolute id; the root is not an error here."""
    segments = [segment for segment in app_id.split("/") if segment]
    errors = []
    if not all(_SEGMENT.fullmatch(segment) for segment in segments):
        errors.append(f"must fully match regular expression '^{_SEGMENT.pattern}$'")
    if segments and segments[-1] in _RESERVED:
        errors.append(f"must not end with any of the following reserved keywords: {', '.join(_RESERVED)}")
    return errors


def top_group(app_id: str) -> str | None:
    """The name of the top-level group that an app is in; None for one in the root group."""
    first, *rest = app_id.strip("/").split("/")
    return first if rest else None
