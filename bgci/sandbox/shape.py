"""The shape of a JSON value, checked. Metronome has its own messages for each mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float), "object": (dict,),
    "array": (list,), "string or object": (str, dict), "any": (object,),
}  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """The type of a value, and what that type needs. ``items``: of every element, or of every field not in ``fields``;
    ``closed``: no other fields than these."""

    kind: str
    fields: Mapping[str, Shape] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    items: Shape | None = None
    closed: bool = False
    least: float | None = None
    choices: tuple[str, ...] = ()
    pattern: re.Pattern[str] | None = None


@dataclass(frozen=True)
class Problem:
    """One mistake: ``type``, ``missing``, ``unknown``, ``least``, ``choice`` or ``pattern``. ``path`` is
    that of the value, or of the object that lacks the field ``name`` or has it without leave."""

    path: tuple[str | int, ...]
    kind: str
    shape: Shape
    value: Any = None
    name: str = ""


def problems(value: Any, shape: Shape, path: tuple[str | int, ...] = ()) -> Iterator[Problem]:
    """All mistakes of a value, outermost first."""
    wrong_type = not isinstance(value, _TYPES[shape.kind])
    if wrong_type or (isinstance(value, bool) and shape.kind not in ("boolean", "any")):
        yield Problem(path, "type", shape, value)
    elif isinstance(value, dict):
        yield from _object_problems(value, shape, path)
    elif isinstance(value, list) and shape.items is not None:
        for index, item in enumerate(value):
            yield from problems(item, shape.items, (*path, index))
    elif shape.least is not None and value < shape.least:
        yield Problem(path, "least", shape, value)
    elif shape.choices and value not in shape.choices:
        yield Problem(path, "choice", shape, value)
    elif shape.pattern is not None and not shape.pattern.fullmatch(value):
        yield Problem(path, "pattern", shape, value)


def _object_problems(value: Mapping[str, Any], shape: Shape, path: tuple[str | int, ...]) -> Iterator[Problem]:
    for name in shape.required:
        if name not in value:
            yield Problem(path, "missing", shape, name=name)
    for name, inner in value.items():
        expected = shape.fields.get(name, shape.items)
        if expected is not None:
            yield from problems(inner, expected, (*path, name))
        elif shape.closed:
            yield Problem(path, "unknown", shape, inner, name)


TEXT = Shape("string")
SOME_TEXT = Shape("string", pattern=re.compile(r"(?s).+"))
FLAG = Shape("boolean")
INTEGER = Shape("integer")
NUMBER = Shape("number")
STRINGS = Shape("object", items=TEXT)


def array(items: Shape) -> Shape:
    return Shape("array", items=items)


def choice(*choices: str) -> Shape:
    return Shape("string", choices=choices)
