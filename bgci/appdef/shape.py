"""Findings of a JSON Schema, with remedies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bgci.appdef.findings import Finding, at

if TYPE_CHECKING:
    from jsonschema import ValidationError

_TYPES = {
    "integer": ("a whole number", "Write the number without quotes; in a template, {{ name | int }}"),
    "number": ("a number", "Write the number without quotes; in a template, {{ name | float }}"),
    "string": ("text", "Put the value in quotes"),
    "boolean": ("true or false", "Write true or false without quotes"),
    "object": ("an object", "Write { … }"),
    "array": ("a list", "Write [ … ]"),
}


def shape_findings(value: Any, schema: Mapping[str, Any]) -> Iterator[Finding]:
    """Every place where the value does not match the schema. No value of a wrong type is shown: it may be a secret."""
    from jsonschema import validators

    validator = validators.validator_for(schema)(schema)
    for error in validator.iter_errors(value):
        for cause in _causes(error):
            yield from _findings(cause)


def _causes(error: ValidationError) -> list[ValidationError]:
    """The errors of one branch of a union: of the one that lacks no field, else of the last, as Marathon answers."""
    if error.validator not in ("anyOf", "oneOf") or not error.context:
        return [error]
    branches: dict[int, list[ValidationError]] = {}
    for each in error.context:
        branches.setdefault(int(each.relative_schema_path[0]), []).extend(_causes(each))
    near = [found for found in branches.values() if not any(each.validator in ("required", "type") for each in found)]
    return (near or list(branches.values()))[-1]


def _findings(error: ValidationError) -> Iterator[Finding]:
    path = "$"
    for key in error.absolute_path:
        path = at(path, key)
    kind, limit, schema = error.validator, error.validator_value, error.schema
    if kind == "required":
        for name in limit:
            if f"'{name}'" in error.message.split(" is a required")[0]:
                yield Finding(at(path, name), "is missing", "Add it")
        return
    if kind == "additionalProperties":
        known = list(schema.get("properties", ()))
        for name in error.instance:
            if name not in known:
                yield Finding(at(path, name), "is an unknown field", f"Remove it; known are {', '.join(known)}")
        return
    yield Finding(path, *_words(str(kind), limit, schema, error.instance))


def _words(kind: str, limit: Any, schema: Any, value: Any) -> tuple[str, str]:
    choices = schema.get("x-enum") or schema.get("enum")
    if kind == "type":
        wanted, remedy = _TYPES[limit]
        return f"has to be {wanted}, but is {_called(value)}", remedy
    if choices:
        return f"is {value!r}", f"Use one of {', '.join(choices)}"
    if kind == "pattern":
        return f"is {value!r}", f"Write text that matches {limit.removeprefix('^(?:').removesuffix(chr(92) + 'Z')[:-1]}"
    words = {
        "minimum": ("is {value}", "Write {limit} or more"),
        "maximum": ("is {value}", "Write {limit} or less"),
        "minLength": ("is too short", "Write {limit} characters or more"),
        "maxLength": ("is too long", "Write {limit} characters or fewer"),
        "minItems": ("has too few items", "Write {limit} items or more"),
    }
    message, remedy = words.get(kind, ("is not valid", "Correct it"))
    return message.format(value=value), remedy.format(limit=limit)


def _called(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), "an object")
