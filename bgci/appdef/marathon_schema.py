"""The shape of Marathon's app definitions: checks, reads and writes them by a schema made from Marathon's RAML types.

`tools/schemas.py` makes the schemas and describes them. Marathon's own readers are generated from the same types.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from bgci.appdef.findings import Finding, at
from bgci.appdef.shape import Schema, has_type, resolved, shape_findings

VERSIONS = ("1.7", "1.11")
LATEST = "1.11"


def rules_version(version: str) -> str:
    """The one of `VERSIONS` whose rules a Marathon of this version applies, such as 1.11 for ``1.10.17``."""
    parts = [int(part) for part in re.findall("[0-9]+", version)[:2]]
    return "1.7" if (1, 0) <= tuple(parts) < (1, 8) else LATEST


@functools.cache
def load_schema(name: str) -> dict[str, Any]:
    """A schema of this package, such as ``marathon-1.11``."""
    from importlib.resources import files

    text = files("bgci.appdef").joinpath(f"{name}.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _root(version: str) -> dict[str, Any]:
    return load_schema(f"marathon-{version}")


def check_shape(definition: Mapping[str, Any], version: str = LATEST) -> Iterator[Finding]:
    """Every place where Marathon cannot read the definition. Marathon answers 422 "Invalid JSON" there."""
    return shape_findings(plain(definition, version), _root(version))


def plain(definition: Mapping[str, Any], version: str = LATEST) -> dict[str, Any]:
    """The definition with each enum in Marathon's case, 2.0 as 2 where Marathon reads a whole number, and without null
    where Marathon takes it as missing.

    A map such as `labels` keeps its null, which Marathon refuses.
    """
    return dict(_walk(definition, _root(version), _root(version), complete=False))


def read(definition: Mapping[str, Any], version: str = LATEST) -> dict[str, Any]:
    """The definition as Marathon reads it: known fields only, with each default filled in.

    The definition has no findings of `check_shape`.
    """
    return dict(_walk(definition, _root(version), _root(version), complete=True))


def write(app: Mapping[str, Any], version: str = LATEST) -> dict[str, Any]:
    """A definition that `read` returned, as Marathon writes it: without missing fields and without some empty ones."""
    return dict(_written(app, _root(version), _root(version)))


def misspelt(definition: Mapping[str, Any], version: str = LATEST) -> Iterator[tuple[str, str]]:
    """The path of each unknown field whose name is close to a known one, and that name. Marathon ignores the field."""
    return _misspelt(definition, _root(version), _root(version), "$")


def _walk(value: Any, node: Schema, root: Schema, *, complete: bool) -> Any:
    node = _chosen(value, node, root)
    if isinstance(value, Mapping) and "properties" in node:
        return _walk_fields(value, node["properties"], root, complete=complete)
    if isinstance(value, Mapping) and "additionalProperties" in node:
        return {key: _walk(item, node["additionalProperties"], root, complete=complete) for key, item in value.items()}
    if isinstance(value, list) and node.get("type") == "array":
        items = [_walk(item, node["items"], root, complete=complete) for item in value]
        return distinct(items) if complete and node.get("x-set") else items
    if isinstance(value, str) and "enum" in node:
        return next((name for name in node["enum"] if name.lower() == value.lower()), value)
    if isinstance(value, float) and value.is_integer() and (complete or node.get("type") == "integer"):
        return int(value)
    return value


def _walk_fields(value: Mapping[str, Any], fields: Schema, root: Schema, *, complete: bool) -> dict[str, Any]:
    walked = {
        key: _walk(item, fields.get(key, {}), root, complete=complete)
        for key, item in value.items()
        if (key in fields or not complete) and item is not None
    }
    if not complete:
        return walked
    defaults = {key: json.loads(json.dumps(field["default"])) for key, field in fields.items() if "default" in field}
    return {**defaults, **walked}


def _chosen(value: Any, node: Schema, root: Schema) -> Schema:
    """The type of the value: a reference is resolved, and of a union one type is chosen."""
    node = resolved(node, root)
    return _chosen(value, _branch(value, node["anyOf"], root), root) if "anyOf" in node else node


def _branch(value: Any, branches: list[Schema], root: Schema) -> Schema:
    """The first type of a union that the value fits, as Marathon chooses it (marathon: UnionVisitor.scala)."""
    fitting = [branch for branch in branches if has_type(value, resolved(branch, root).get("type", "object"))]
    for branch in fitting[:-1]:
        if not any(shape_findings(_walk(value, branch, root, complete=False), branch, root=root)):
            return branch
    return fitting[-1] if fitting else {}


def distinct(items: list[Any]) -> list[Any]:
    """The items in a fixed order without repetition: Marathon keeps sets, whose order has no meaning."""
    return [json.loads(text) for text in sorted({json.dumps(item, sort_keys=True) for item in items})]


def _written(value: Any, node: Schema, root: Schema) -> Any:
    node = _chosen(value, node, root)
    if isinstance(value, Mapping) and "properties" in node:
        fields = node["properties"]
        return {
            key: _written(item, fields[key], root)
            for key, item in value.items()
            if item is not None and not (item in ([], {}) and fields[key].get("x-omit-empty"))
        }
    if isinstance(value, list):
        return [_written(item, node.get("items", {}), root) for item in value]
    return value


def _misspelt(value: Any, node: Schema, root: Schema, path: str) -> Iterator[tuple[str, str]]:
    node = _chosen(value, node, root)
    if isinstance(value, Mapping) and "properties" in node:
        for key, item in value.items():
            if key in node["properties"]:
                yield from _misspelt(item, node["properties"][key], root, at(path, key))
                continue
            for name in difflib.get_close_matches(key, node["properties"], n=1, cutoff=0.85):
                yield at(path, key), name
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _misspelt(item, node.get("items", {}), root, at(path, index))
