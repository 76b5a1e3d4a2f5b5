"""Checks a JSON value against a JSON Schema and returns findings with remedies.

It implements the part of JSON Schema that the schemas of this package use. bgci does not use the library `jsonschema`:
it needs a compiled module, which `bgci.pyz` cannot contain, and takes 80 ms to import. A test compares the two.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from bgci.appdef.findings import Finding, at

Schema = Mapping[str, Any]
Formats = Mapping[str, Callable[[str], str]]
_TYPES: dict[str, tuple[Any, str, str]] = {
    "integer": (int, "a whole number", "Write the number without quotes; in a template, {{ name | int }}."),
    "number": ((int, float), "a number", "Write the number without quotes; in a template, {{ name | float }}."),
    "string": (str, "text", "Put the value in quotes."),
    "boolean": (bool, "true or false", "Write true or false without quotes."),
    "object": (Mapping, "an object", "Write { … }."),
    "array": (list, "a list", "Write [ … ]."),
}


def shape_findings(
    value: Any, schema: Schema, path: str = "$", root: Schema | None = None, formats: Formats | None = None
) -> Iterator[Finding]:
    """Every place where the value does not match the schema. Shows no value of a wrong type, which can be a secret.

    root: the schema with the definitions that ``$ref`` names; default: the schema itself. formats: for each ``format``,
    the function that returns the problem of a text, or an empty text. The schema's ``errorMessage``, which editors show
    too, replaces the remedy for a wrong value.
    """
    return _Checker(schema if root is None else root, formats or {}).findings(value, schema, path)


class _Checker:
    def __init__(self, root: Schema, formats: Formats) -> None:
        self._root = root
        self._formats = formats

    def findings(self, value: Any, schema: Schema, path: str) -> Iterator[Finding]:
        schema = resolved(schema, self._root)
        for finding in self._all(value, schema, path):
            own = finding.path == path and "errorMessage" in schema
            yield replace(finding, remedy=schema["errorMessage"]) if own else finding

    def _all(self, value: Any, schema: Schema, path: str) -> Iterator[Finding]:
        branches = schema.get("anyOf") or schema.get("oneOf")
        if branches:
            yield from self._union(value, branches, path)
        elif "type" in schema and not has_type(value, schema["type"]):
            _, wanted, remedy = _TYPES[schema["type"]]
            yield Finding(path, f"must be {wanted}, but is {_called(value)}", remedy)
        elif isinstance(value, Mapping):
            yield from _limits(path, len(value), schema, "Properties")
            yield from self._members(value, schema, path)
        elif isinstance(value, list):
            yield from _limits(path, len(value), schema, "Items")
            for index, item in enumerate(value):
                yield from self.findings(item, schema.get("items", {}), at(path, index))
        elif isinstance(value, str):
            yield from self._text(value, schema, path)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield from _limits(path, value, schema, "")

    def _union(self, value: Any, branches: list[Schema], path: str) -> Iterator[Finding]:
        """The findings of the branch without a missing field, else of the last one, like Marathon's answer."""
        found = [list(self.findings(value, branch, path)) for branch in branches]
        if all(found):
            near = [each for each in found if not any(finding.message == "is missing" for finding in each)]
            near = [each for each in near if not any(finding.path == path for finding in each)]
            of_its_type = [each for each in found if not any(_has_wrong_type(finding, path) for finding in each)]
            yield from (near or of_its_type or found)[-1]

    def _members(self, value: Mapping[str, Any], schema: Schema, path: str) -> Iterator[Finding]:
        for name in schema.get("required", ()):
            if name not in value:
                yield Finding(at(path, name), "is missing", "Add it.")
        fields = schema.get("properties", {})
        others = schema.get("additionalProperties", schema.get("patternProperties", {}).get(".*", True))
        for name, item in value.items():
            yield from self.findings(name, schema.get("propertyNames", {}), at(path, name))
            if name in fields or isinstance(others, Mapping):
                yield from self.findings(item, fields.get(name, others), at(path, name))
            elif others is False:
                close = difflib.get_close_matches(name, fields, 1)
                remedy = f"Write {close[0]}" if close else "Remove it"
                yield Finding(at(path, name), "is an unknown field", f"{remedy}; known are {', '.join(fields)}.")

    def _text(self, value: str, schema: Schema, path: str) -> Iterator[Finding]:
        check = self._formats.get(schema.get("format", ""))
        if "enum" in schema and value not in schema["enum"]:
            yield Finding(path, f"is {value!r}", f"Use one of {', '.join(schema['enum'])}.")
        # JSON Schema's $ matches at the very end only, Python's also before a last line break.
        if "pattern" in schema and not re.search(re.sub(r"(?<!\\)\$$", r"\\Z", schema["pattern"]), value):
            plain = schema["pattern"].removeprefix("^(?:").removesuffix(r")\Z")
            yield Finding(path, f"is {value!r}", f"Write text that matches {plain}.")
        elif check and (problem := check(value)):
            yield Finding(path, problem, "Correct it.")
        else:
            yield from _limits(path, len(value), schema, "Length")


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


def _has_wrong_type(finding: Finding, path: str) -> bool:
    return finding.path == path and finding.message.startswith("must be ")


def _limits(path: str, size: float, schema: Schema, of: str) -> Iterator[Finding]:
    """The limits of a number, or of a length: ``minimum``, ``minLength``, and so on."""
    low, high = schema.get(f"min{of or 'imum'}"), schema.get(f"max{of or 'imum'}")
    kinds = {"": "", "Length": "characters", "Items": "items", "Properties": "fields"}
    what = f"has {size} {kinds[of]}" if of else f"is {size}"
    if low is not None and size < low:
        yield Finding(path, what, f"Write {low} or more.")
    if high is not None and size > high:
        yield Finding(path, what, f"Write {high} or less.")


def _called(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list"}
    return next((name for kind, name in kinds.items() if isinstance(value, kind)), "an object")
