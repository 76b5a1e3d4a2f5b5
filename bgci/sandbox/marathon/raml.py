"""Reads JSON as Marathon's generated readers do: types as in its RAML, errors by path, defaults filled in
(marathon: type-generator, UnionVisitor.scala, ObjectVisitor.scala, FieldVisitor.scala)."""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Errors = dict[str, list[str]]


def add(errors: Errors, path: str, text: str) -> None:
    """Records one error; the same text only once for a path. An empty path means the whole app: ``/``."""
    texts = errors.setdefault(path or "/", [])
    if text not in texts:
        texts.append(text)


class Type(Protocol):
    """Reads a value: returns it in normal form, or notes errors below ``path``."""

    def read(self, value: Any, path: str, errors: Errors) -> Any: ...


@dataclass(frozen=True)
class Scalar:
    """A value that ``accepts`` takes and ``convert`` brings into normal form."""

    error: str
    accepts: Callable[[Any], bool]
    convert: Callable[[Any], Any] = lambda value: value

    def read(self, value: Any, path: str, errors: Errors) -> Any:
        if self.accepts(value):
            return self.convert(value)
        add(errors, path, self.error)
        return None


@dataclass(frozen=True)
class Integer:
    """A whole number of that many bits; ``2.0`` is one."""

    bits: int = 32

    def read(self, value: Any, path: str, errors: Errors) -> Any:
        if not _is_number(value):
            add(errors, path, "error.expected.jsnumber")
        elif not float(value).is_integer() or not -(2 ** (self.bits - 1)) <= value < 2 ** (self.bits - 1):
            add(errors, path, "error.expected.int" if self.bits == 32 else "error.expected.long")
        else:
            return int(value)
        return None


@dataclass(frozen=True)
class Enum:
    """One of these texts, in any case; stored as written here."""

    values: tuple[str, ...]

    def read(self, value: Any, path: str, errors: Errors) -> Any:
        for known in self.values:
            if isinstance(value, str) and value.lower() == known.lower():
                return known
        add(errors, path, "error.unknown.enum.literal")
        return None


@dataclass(frozen=True)
class Array:
    """A list; ``unique``: equal elements are stored once."""

    items: Type
    unique: bool = False

    def read(self, value: Any, path: str, errors: Errors) -> Any:
        if not isinstance(value, list):
            add(errors, path, "error.expected.jsarray")
            return None
        read = [self.items.read(item, f"{path}({index})", errors) for index, item in enumerate(value)]
        return [item for index, item in enumerate(read) if item not in read[:index]] if self.unique else read


@dataclass(frozen=True)
class Map:
    """An object with any names."""

    values: Type

    def read(self, value: Any, path: str, errors: Errors) -> Any:
        if not isinstance(value, dict):
            add(errors, path, "error.expected.jsobject")
            return None
        return {name: self.values.read(inner, f"{path}/{name}", errors) for name, inner in value.items()}


@dataclass(frozen=True)
class Union:
    """The first type that accepts the value. If none does, the errors of the last one count."""

    types: tuple[Type, ...]

    def read(self, value: Any, path: str, errors: Errors) -> Any:
        found: Errors = {}
        for one in self.types:
            found = {}
            read = one.read(value, path, found)
            if not found:
                return read
        for at, texts in found.items():
            for text in texts:
                add(errors, at, text)
        return None


@dataclass(frozen=True)
class Field:
    """A field of an object. ``omit_empty``: not stored when empty; ``force_optional``: absent is not the same as
    empty. The limits hold for the field's own value, never for the elements of a list."""

    type: Type
    required: bool = False
    default: Any = None
    omit_empty: bool = False
    force_optional: bool = False
    least: int | None = None
    most: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None

    @property
    def empty(self) -> Any:
        """The stored value of an absent field."""
        if self.default is not None:
            return copy.deepcopy(self.default)
        if self.force_optional or self.omit_empty:
            return None
        return [] if isinstance(self.type, Array) else {} if isinstance(self.type, Map) else None

    @property
    def limited(self) -> bool:
        limits = (self.least, self.most, self.min_length, self.max_length, self.pattern)
        return any(limit is not None for limit in limits)

    def check(self, value: Any, path: str, errors: Errors) -> None:
        if self.least is not None and value < self.least:
            add(errors, path, "error.min")
        if self.most is not None and value > self.most:
            add(errors, path, "error.max")
        if self.min_length is not None and len(value) < self.min_length:
            add(errors, path, "error.minLength")
        if self.max_length is not None and len(value) > self.max_length:
            add(errors, path, "error.maxLength")
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            add(errors, path, "error.pattern")


@dataclass(frozen=True)
class Object:
    """An object with these fields; others are ignored."""

    fields: Mapping[str, Field]

    @property
    def strict(self) -> bool:
        """Whether a value other than an object is refused for its type. The readers of types with limits, lists or
        defaults look only at the fields."""
        simple = (not (f.limited or f.default is not None) for f in self.fields.values())
        return all(simple) and not any(isinstance(f.type, (Array, Map)) for f in self.fields.values())

    def partial(self) -> Object:
        """The type of an update: no field is required or has a default."""
        names = ("type", "least", "most", "min_length", "max_length", "pattern")
        chosen = {name: {key: getattr(f, key) for key in names} for name, f in self.fields.items()}
        return Object({name: Field(force_optional=True, **given) for name, given in chosen.items()})

    def read(self, value: Any, path: str, errors: Errors) -> Any:
        if self.strict and not isinstance(value, dict):
            add(errors, path, "error.expected.jsobject")
            return None
        given = value if isinstance(value, dict) else {}
        read = {}
        for name, field in self.fields.items():
            at = f"{path}/{name}"
            if field.required and name not in given:
                add(errors, at, self._missing(name, value))
                continue
            inner = self._inner(field, given.get(name), at, errors)
            if inner is not None and not (field.omit_empty and not inner):
                read[name] = inner
        return read

    def _missing(self, name: str, value: Any) -> str:
        if self.strict:
            return "error.path.missing"
        if isinstance(value, dict):
            return f"'{name}' is undefined on object: {json.dumps(value)}"
        return f"{json.dumps(value)} is not an object"

    def _inner(self, field: Field, value: Any, path: str, errors: Errors) -> Any:
        if value is None and not field.required:
            return field.empty
        before = sum(map(len, errors.values()))
        inner = field.type.read(value, path, errors)
        if sum(map(len, errors.values())) == before:
            field.check(inner, path, errors)
        return inner


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


STRING = Scalar("error.expected.jsstring", lambda value: isinstance(value, str))
BOOLEAN = Scalar("error.expected.jsboolean", lambda value: isinstance(value, bool))
INT, LONG = Integer(32), Integer(64)
DOUBLE = Scalar("error.expected.jsnumber", _is_number, float)
STRINGS = Map(STRING)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:\d\d)")
TIME = Scalar("error.expected.date.isoformat", lambda value: isinstance(value, str) and bool(_TIME.fullmatch(value)))


def required(kind: Type, **limits: Any) -> Field:
    return Field(kind, required=True, **limits)


def optional(kind: Type, default: Any = None, **more: Any) -> Field:
    return Field(kind, default=default, **more)
