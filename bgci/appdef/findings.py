"""What validation says, and how a document's shape is checked: all findings at once, never a traceback."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bgci.errors import InvalidError


@dataclass(frozen=True)
class Finding:
    """One mistake: its JSON path (``$.labels.X``), what is wrong there, and what to do."""

    path: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path} {self.message}\n    {self.remedy}"


def require_valid(findings: Sequence[Finding], *, what: str) -> None:
    """Raises InvalidError that lists all findings, if there are any. ``what``: such as "The definition of /web"."""
    if not findings:
        return
    number = "1 finding" if len(findings) == 1 else f"{len(findings)} findings"
    listed = "\n".join(f"  - {finding}" for finding in findings)
    raise InvalidError(f"{what} is not valid ({number}); nothing was sent.\n{listed}", remedy="mend the template")


def at(path: str, key: str | int) -> str:
    """The JSON path of a member."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f"{path}[{key!r}]"


@dataclass(frozen=True)
class Shape:
    """What a value has to look like: a small part of JSON Schema whose findings have remedies.

    kind: one of the keys of the table below. fields: known members, ``members``: all the others, or a list's items.
    closed: whether a member that is not in ``fields`` is refused.
    """

    kind: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    pattern: str = ""
    fields: Mapping[str, Shape] = field(default_factory=dict)
    members: Shape | None = None
    required: tuple[str, ...] = ()
    closed: bool = False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text_or_secret(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, Mapping) and isinstance(value.get("secret"), str))


_KINDS: dict[str, tuple[Callable[[Any], bool], str, str]] = {
    "integer": (
        lambda value: isinstance(value, int) and not isinstance(value, bool),
        "a whole number",
        "write the number without quotes; in a template, {{ name | int }}",
    ),
    "number": (_is_number, "a number", "write the number without quotes; in a template, {{ name | float }}"),
    "text": (lambda value: isinstance(value, str), "text", "put the value in quotes"),
    "flag": (lambda value: isinstance(value, bool), "true or false", "write true or false without quotes"),
    "object": (lambda value: isinstance(value, Mapping), "an object", "write { … }"),
    "list": (lambda value: isinstance(value, list), "a list", "write [ … ]"),
    "text or secret": (_is_text_or_secret, 'text or {"secret": "name"}', "put the value in quotes"),
}


def check_shape(value: Any, shape: Shape, path: str = "$") -> Iterator[Finding]:
    """Every place where ``value`` does not look like ``shape``. Values are not shown: one may be a secret."""
    fits, wanted, remedy = _KINDS[shape.kind]
    if not fits(value):
        yield Finding(path, f"has to be {wanted}, but is {_called(value)}", remedy)
    elif isinstance(value, Mapping):
        yield from _check_members(value, shape, path)
    elif isinstance(value, list):
        if shape.members:
            for index, item in enumerate(value):
                yield from check_shape(item, shape.members, at(path, index))
    elif isinstance(value, str):
        yield from _check_text(value, shape, path)
    elif shape.low is not None and value < shape.low:
        yield Finding(path, f"is {value}", f"it has to be at least {shape.low:g}")
    elif shape.high is not None and value > shape.high:
        yield Finding(path, f"is {value}", f"it may be {shape.high:g} at most")


def _check_members(value: Mapping[str, Any], shape: Shape, path: str) -> Iterator[Finding]:
    for name in shape.required:
        if name not in value:
            yield Finding(at(path, name), "is missing", "add it")
    for name, item in value.items():
        inner = shape.fields.get(name, shape.members)
        if inner:
            yield from check_shape(item, inner, at(path, name))
        elif shape.closed:
            yield Finding(at(path, name), "is unknown here", f"remove it; known are {', '.join(shape.fields)}")


def _check_text(value: str, shape: Shape, path: str) -> Iterator[Finding]:
    if shape.choices and value not in shape.choices:
        yield Finding(path, f"is {value!r}", f"use one of {', '.join(shape.choices)}")
    if shape.pattern and not re.fullmatch(shape.pattern, value):
        yield Finding(path, f"is {value!r}", f"it has to match {shape.pattern}")


def _called(value: Any) -> str:
    if value is None:
        return "null"
    kinds: Iterable[tuple[type, str]] = ((bool, "true or false"), (int, "a number"), (float, "a number"), (str, "text"))
    return next(
        (name for kind, name in kinds if isinstance(value, kind)), "a list" if isinstance(value, list) else "an object"
    )
