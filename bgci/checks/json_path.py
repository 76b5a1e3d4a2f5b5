"""JSONPath by RFC 9535, by python-jsonpath, which has no dependencies and supports the standard's filters."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

LONGEST = 1000  # characters of a path


@cache
def _compiled(path: str) -> Any:
    from jsonpath import JSONPathEnvironment

    return JSONPathEnvironment(strict=True).compile(path)


def problem(path: str) -> str:
    """Why this is not a valid JSONPath; empty if it is valid."""
    if len(path) > LONGEST:
        return f"it has more than {LONGEST} characters"
    try:
        _compiled(path)
    except Exception as error:  # the parser also raises Python's own errors, such as OverflowError
        return _text(error) or type(error).__name__
    return ""


def _text(error: Exception) -> str:
    """The first line of its message; empty without one, or if it raises ValueError (for an empty path)."""
    try:
        return next(iter(str(error).splitlines()), "")
    except ValueError:
        return ""


def iterate(path: str, document: Any) -> Iterator[Any]:
    """Every value that the path selects; none for a path that does not match the document."""
    from jsonpath.exceptions import JSONPathError

    try:
        for match in _compiled(path).finditer(document):
            yield match.obj
    except (JSONPathError, RecursionError, OverflowError):
        return
