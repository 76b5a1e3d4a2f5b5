#!/usr/bin/env python3
"""Write the JSON Schemas that `bgci.appdef` checks definitions with.

    tools/schemas.py marathon TYPES_DIRECTORY > bgci/appdef/marathon-1.11.schema.json
    tools/schemas.py metronome JOBSPEC_SCHEMA > bgci/appdef/metronome-job.schema.json

TYPES_DIRECTORY is `docs/docs/rest-api/public/api/v2/types` of a checkout of mesosphere/marathon at the wanted version;
JOBSPEC_SCHEMA is `api/src/main/resources/public/api/v1/schema/jobspec.schema.json` of dcos/metronome.

Marathon generates its readers from the RAML types, and the generator (marathon: type-generator) has its own rules.
The schema describes the input that these readers accept. It differs from the RAML in these points:

* A named type's limits (pattern, length, range) hold for a field of that type, not for an array's items.
* A limit of a floating-point number loses its fraction: a minimum of 0.001 is a minimum of 0.
* The items of an array are never required to be unique: `x-set` marks an array that is read as a set.
* An enum is compared without regard to case, but a string inside a union can be any text.
* Unknown fields are ignored. `null` stands for a missing optional field.

`default` is the value of a missing field, `x-omit-empty` marks a field that Marathon leaves out when it is empty.
A pattern is Python's, and matches the whole text.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

INTEGERS = {"int32": 2**31, "int64": 2**63}
TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9:]+)\Z"


class Raml:
    """The RAML libraries of one directory, and the schema definitions that were made from them so far."""

    def __init__(self, directory: Path) -> None:
        self.files = {file.stem: yaml.safe_load(file.read_text()) for file in directory.glob("*.raml")}
        self.definitions: dict[str, Any] = {}

    def find(self, name: str, file: str) -> tuple[str, dict[str, Any], str]:
        """The type's own name, its declaration and the file that declares it."""
        if "." in name:
            library, name = name.split(".")
            file = self.files[file]["uses"][library].removesuffix(".raml")
        declared = self.files[file]["types"][name]
        return name, declared if isinstance(declared, dict) else {"type": declared}, file

    def schema(self, declared: Any, file: str, limits: bool = True) -> dict[str, Any]:
        """The schema of a type expression or declaration. limits: whether scalar limits hold here."""
        declared = declared if isinstance(declared, dict) else {"type": declared}
        kind = str(declared.get("type", "object" if "properties" in declared else "string")).strip("() ")
        if "|" in kind:
            return {"anyOf": [self.branch(part.strip(), file) for part in kind.split("|")]}
        if kind.endswith("[]"):
            return self.array(declared, kind[:-2], file)
        if kind == "array":
            return self.array(declared, declared["items"], file)
        if kind == "object":
            return self.object(declared, file)
        if kind in ("string", "integer", "number", "boolean", "datetime"):
            return scalar(kind, declared, limits)
        return self.named(kind, declared, file, limits)

    def named(self, kind: str, field: dict[str, Any], file: str, limits: bool) -> dict[str, Any]:
        name, declared, home = self.find(kind, file)
        if "enum" in declared:
            return {"type": "string", "enum": declared["enum"]}
        if "properties" not in declared and "|" not in str(declared["type"]):
            return self.schema({**declared, **{key: field[key] for key in field if key != "type"}}, home, limits)
        if name not in self.definitions:
            self.definitions[name] = {}  # a type may contain itself
            self.definitions[name] = self.schema(declared, home)
        return {"$ref": f"#/$defs/{name}"}

    def branch(self, kind: str, file: str) -> dict[str, Any]:
        """One type of a union, where an enum of strings is any string (marathon: UnionVisitor.scala)."""
        _, declared, _ = self.find(kind, file)
        return {"type": "string"} if declared.get("type") == "string" else self.schema(kind, file)

    def array(self, declared: dict[str, Any], items: Any, file: str) -> dict[str, Any]:
        made: dict[str, Any] = {"type": "array", "items": self.schema(items, file, limits=False)}
        for name in ("minItems", "maxItems"):
            made["items"].pop(name, None)
            if name in declared:
                made[name] = declared[name]
        return {**made, **({"x-set": True} if declared.get("uniqueItems") else {})}

    def object(self, declared: dict[str, Any], file: str) -> dict[str, Any]:
        fields = {name: field for name, field in declared.get("properties", {}).items() if field != "nil"}
        if any(name.startswith("/") for name in fields):
            [value] = fields.values()
            return {"type": "object", "additionalProperties": self.schema(value, file, limits=False)}
        made: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
        for written, field in fields.items():
            name = written.removesuffix("?")
            optional = written.endswith("?") or "default" in (field if isinstance(field, dict) else {})
            made["properties"][name] = self.field(field, file, optional)
            if not optional and "additionalProperties" not in self.resolved(made["properties"][name]):
                made["required"].append(name)
        return made

    def field(self, field: Any, file: str, optional: bool) -> dict[str, Any]:
        made = self.schema(field, file)
        pragmas = field if isinstance(field, dict) else {}
        resolved = self.resolved(made)
        if "default" in pragmas:
            made["default"] = pragmas["default"]
        elif "(pragma.forceOptional)" not in pragmas and resolved.get("type") == "array" and optional:
            made["default"] = []
        elif "(pragma.forceOptional)" not in pragmas and "additionalProperties" in resolved:
            made["default"] = {}
        if "(pragma.omitEmpty)" in pragmas:
            made["x-omit-empty"] = True
        return made

    def resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = {
                **self.definitions[schema["$ref"].rpartition("/")[2]],
                **{k: schema[k] for k in schema if k != "$ref"},
            }
        return schema


def scalar(kind: str, declared: dict[str, Any], limits: bool) -> dict[str, Any]:
    if kind == "datetime":
        return {"type": "string", "pattern": TIME}
    size = INTEGERS.get(declared.get("format", ""))
    made: dict[str, Any] = {"type": "integer" if size else kind}
    if size:
        made |= {"minimum": -size, "maximum": size - 1}
    if not limits:
        return made
    for name in ("minimum", "maximum", "minLength", "maxLength"):
        if name in declared:
            made[name] = int(declared[name])
    if "pattern" in declared:
        made["pattern"] = rf"^(?:{declared['pattern']})\Z"
    return made


def marathon(directory: Path) -> dict[str, Any]:
    raml = Raml(directory)
    top = raml.schema("App", "app")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **top,
        "$defs": dict(sorted(raml.definitions.items())),
    }


def metronome(file: Path) -> Any:
    """The published schema without its prose."""

    def bare(value: Any) -> Any:
        if isinstance(value, list):
            return [bare(item) for item in value]
        if not isinstance(value, dict):
            return value
        prose = ("description", "documentation", "example", "examples", "title")
        return {key: bare(item) for key, item in value.items() if not (key in prose and not isinstance(item, dict))}

    schema = bare(json.loads(file.read_text()))
    return {**schema, "$schema": "http://json-schema.org/draft-04/schema#"}


if __name__ == "__main__":
    maker = {"marathon": marathon, "metronome": metronome}[sys.argv[1]]
    text = json.dumps(maker(Path(sys.argv[2])), indent=1)
    # One line for each field keeps the file readable.
    print(re.sub(r"\n {5,}|\n {4}(?=[}\]])", " ", text))
