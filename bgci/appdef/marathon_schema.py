"""The shape of Marathon's app definitions: checks, reads and writes them by a schema made from Marathon's RAML types.

`tools/schemas.py` makes the schemas and describes them. Marathon's own readers are generated from the same types.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from bgci.appdef.findings import Finding
from bgci.appdef.shape import shape_findings

VERSIONS = ("1.7", "1.11")
LATEST = "1.11"
_PYTHON_TYPES: dict[str, Any] = {"string": str, "number": (int, float), "object": Mapping}


@functools.cache
def schema(version: str = LATEST) -> dict[str, Any]:
    """The schema of an app definition for this version of Marathon."""
    from importlib.resources import files

    text = files("bgci.appdef").joinpath(f"marathon-{version}.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def known_fields(version: str = LATEST) -> tuple[str, ...]:
    """The names of an app definition's top-level fields."""
    return tuple(schema(version)["$defs"]["App"]["properties"])


def check_shape(definition: Mapping[str, Any], version: str = LATEST) -> Iterator[Finding]:
    """Every place where Marathon cannot read the definition: it answers 422 "Invalid JSON" there."""
    return shape_findings(without_nulls(definition, version), _caseless(version))


@functools.cache
def _caseless(version: str) -> dict[str, Any]:
    """The schema with each enum as a pattern without regard to case (marathon: EnumVisitor.scala)."""

    def changed(node: Any) -> Any:
        if isinstance(node, list):
            return [changed(item) for item in node]
        if not isinstance(node, dict):
            return node
        made = {key: changed(item) for key, item in node.items()}
        if isinstance(node.get("enum"), list):
            made["x-enum"] = made.pop("enum")
            made["pattern"] = rf"^(?i:{'|'.join(made['x-enum'])})\Z"
        return made

    loaded: dict[str, Any] = changed(schema(version))
    return loaded


def without_nulls(definition: Mapping[str, Any], version: str = LATEST) -> dict[str, Any]:
    """The definition without null in fields where Marathon takes null as missing. Maps such as `labels` keep it."""
    walked: dict[str, Any] = _walk(definition, schema(version), version, complete=False)
    return walked


def read(definition: Mapping[str, Any], version: str = LATEST) -> dict[str, Any]:
    """The definition as Marathon reads it: known fields only, each default filled in, enums in Marathon's case.

    The definition has no findings of `check_shape`.
    """
    walked: dict[str, Any] = _walk(definition, schema(version), version, complete=True)
    return walked


def write(app: Mapping[str, Any], version: str = LATEST) -> dict[str, Any]:
    """A definition that `read` returned, as Marathon writes it: without missing fields and some empty ones."""
    written: dict[str, Any] = _written(app, schema(version), version)
    return written


def _resolved(node: Mapping[str, Any], version: str) -> Mapping[str, Any]:
    if "$ref" not in node:
        return node
    return {**schema(version)["$defs"][node["$ref"].rpartition("/")[2]], **node, "$ref": None}


def _walk(value: Any, node: Mapping[str, Any], version: str, *, complete: bool) -> Any:
    node = _resolved(node, version)
    if "anyOf" in node:
        return _walk(value, _branch(value, node["anyOf"], version), version, complete=complete)
    if isinstance(value, Mapping) and "properties" in node:
        return _walk_fields(value, node, version, complete=complete)
    if isinstance(value, Mapping) and "additionalProperties" in node:
        inner = node["additionalProperties"]
        return {key: _walk(item, inner, version, complete=complete) for key, item in value.items()}
    if isinstance(value, list) and node.get("type") == "array":
        items = [_walk(item, node["items"], version, complete=complete) for item in value]
        return _distinct(items) if complete and node.get("x-set") else items
    if complete and isinstance(value, str) and "enum" in node:
        return next((name for name in node["enum"] if name.lower() == value.lower()), value)
    if complete and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _walk_fields(
    value: Mapping[str, Any], node: Mapping[str, Any], version: str, *, complete: bool
) -> dict[str, Any]:
    properties = node["properties"]
    walked = {
        key: _walk(item, properties.get(key, {}), version, complete=complete)
        for key, item in value.items()
        if (key in properties or not complete) and item is not None
    }
    if complete:
        missing = {key: field["default"] for key, field in properties.items() if "default" in field}
        walked = {**json.loads(json.dumps(missing)), **walked}
    return walked


def _branch(value: Any, branches: list[dict[str, Any]], version: str) -> Mapping[str, Any]:
    """The first type of a union that the value fits, as Marathon chooses it (marathon: UnionVisitor.scala)."""
    fitting = [
        branch
        for branch in branches
        if isinstance(value, _PYTHON_TYPES[_resolved(branch, version).get("type", "object")])
    ]
    for branch in fitting[:-1]:
        pruned = _walk(value, branch, version, complete=False)
        if not any(shape_findings(pruned, {**_caseless(version), **branch})):
            return branch
    return fitting[-1] if fitting else {}


def _distinct(items: list[Any]) -> list[Any]:
    """The items in a fixed order without repetition: Marathon keeps sets, whose order says nothing."""
    return [json.loads(text) for text in sorted({json.dumps(item, sort_keys=True) for item in items})]


def _written(value: Any, node: Mapping[str, Any], version: str) -> Any:
    node = _resolved(node, version)
    if "anyOf" in node:
        return _written(value, _branch(value, node["anyOf"], version), version)
    if isinstance(value, Mapping) and "properties" in node:
        fields = node["properties"]
        return {
            key: _written(item, fields[key], version)
            for key, item in value.items()
            if item is not None and not (item in ([], {}) and fields[key].get("x-omit-empty"))
        }
    if isinstance(value, list):
        return [_written(item, node.get("items", {}), version) for item in value]
    return value
