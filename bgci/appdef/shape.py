"""Checks a JSON value against a JSON Schema and returns findings with remedies.

This is the part of JSON Schema that the schemas of this package use. The library `jsonschema` is not used at run time:
it needs a compiled module, which `bgci.pyz` cannot have, and it takes 80 ms to import. A test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bgci.appdef.findings import Finding, at

Schema = Mapping[str, Any]
_TYPES: dict[str, tuple[Any, str, str]] = {
    "integer": (int, "a whole number", "Write the number without quotes; in a template, {{ name | int }}."),
    "number": ((int, float), "a number", "Write the number without quotes; in a template, {{ name | float }}."),
    "string": (str, "text", "Put the value in quotes."),
    "boolean": (bool, "true or false", "Write true or false without quotes."),
    "object": (Mapping, "an object", "Write { … }."),
    "array": (list, "a list", "Write [ … ]."),
}


def shape_findings(value: Any, schema: Schema, path: str = "$", root: Schema | None = None) -> Iterator[Finding]:
    """Every place where the value does not match the schema. No value of a wrong type is shown: it may be a secret.

    root: the schema with the definitions that ``$ref`` names; default: the schema itself.
    """
    root = schema if root is None else root
    schema = resolved(schema, root)
    branches = schema.get("anyOf") or schema.get("oneOf")
    if branches:
        yield from _union(value, branches, path, root)
    elif "type" in schema and not has_type(value, schema["type"]):
        _, wanted, remedy = _TYPES[schema["type"]]
        yield Finding(path, f"has to be {wanted}, but is {_called(value)}", remedy)
    elif isinstance(value, Mapping):
        yield from _members(value, schema, path, root)
    elif isinstance(value, list):
        yield from _limits(path, len(value), schema, "Items")
        for index, item in enumerate(value):
            yield from shape_findings(item, schema.get("items", {}), at(path, index), root)
    elif isinstance(value, str):
        yield from _text(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _limits(path, value, schema, "")


def resolved(schema: Schema, root: Schema) -> Schema:
    """The schema with its ``$ref`` replaced by the definition; its own keys remain."""
    while "$ref" in schema:
        target: Any = root
        for key in schema["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        schema = {**target, **{key: schema[key] for key in schema if key not in ("$ref", "$defs", "definitions")}}
    return schema


def has_type(value: Any, name: str) -> bool:
    """Whether the value has this type of JSON: true is not a number, and 1.0 is a whole number."""
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, _TYPES[name][0]) or (name == "integer" and isinstance(value, float) and value.is_integer())


def _union(value: Any, branches: list[Schema], path: str, root: Schema) -> Iterator[Finding]:
    """The findings of the branch that lacks no field, else of the last one, as Marathon answers."""
    found = [list(shape_findings(value, branch, path, root)) for branch in branches]
    if all(found):
        near = [each for each in found if not any(finding.message == "is missing" for finding in each)]
        near = [each for each in near if not any(finding.path == path for finding in each)]
        yield from (near or found)[-1]


def _members(value: Mapping[str, Any], schema: Schema, path: str, root: Schema) -> Iterator[Finding]:
    for name in schema.get("required", ()):
        if name not in value:
            yield Finding(at(path, name), "is missing", "Add it.")
    fields = schema.get("properties", {})
    others = schema.get("additionalProperties", schema.get("patternProperties", {}).get(".*", True))
    for name, item in value.items():
        if name in fields or isinstance(others, Mapping):
            yield from shape_findings(item, fields.get(name, others), at(path, name), root)
        elif others is False:
            yield Finding(at(path, name), "is an unknown field", f"Remove it; known are {', '.join(fields)}.")


def _text(value: str, schema: Schema, path: str) -> Iterator[Finding]:
    if "enum" in schema and value not in schema["enum"]:
        yield Finding(path, f"is {value!r}", f"Use one of {', '.join(schema['enum'])}.")
    if "pattern" in schema and not re.search(schema["pattern"], value):
        plain = schema["pattern"].removeprefix("^(?:").removesuffix(r")\Z")
        yield Finding(path, f"is {value!r}", f"Write text that matches {plain}.")
    else:
        yield from _limits(path, len(value), schema, "Length")


def _limits(path: str, size: float, schema: Schema, of: str) -> Iterator[Finding]:
    """The limits of a number, or of a length: ``minimum``, ``minLength``, ``minItems`` and their opposites."""
    low, high = schema.get(f"min{of or 'imum'}"), schema.get(f"max{of or 'imum'}")
    what = {"": f"is {size}", "Length": f"has {size} characters", "Items": f"has {size} items"}[of]
    if low is not None and size < low:
        yield Finding(path, what, f"Write {low} or more.")
    if high is not None and size > high:
        yield Finding(path, what, f"Write {high} or less.")


def _called(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), "an object")
