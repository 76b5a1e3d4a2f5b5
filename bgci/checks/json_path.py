"""JSONPath as RFC 9535 has it, by python-jsonpath: it has no dependencies and knows the standard's filters."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def _compiled(path: str) -> Any:
    from jsonpath import JSONPathEnvironment

    return JSONPathEnvironment(strict=True).compile(path)


def problem(path: str) -> str:
    """Why this is no JSONPath; empty when it is one."""
    from jsonpath.exceptions import JSONPathError

    try:
        _compiled(path)
    except (JSONPathError, RecursionError, ValueError) as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return ""


def values(path: str, document: Any) -> list[Any]:
    """Every value that the path finds."""
    from jsonpath.exceptions import JSONPathError

    try:
        return list(_compiled(path).findall(document))
    except (JSONPathError, RecursionError):
        return []
