"""bgci's own check of a shape agrees with the library jsonschema on every schema of this package."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
from hypothesis import given
from hypothesis import strategies as st

from bgci.appdef.marathon_schema import load_schema
from bgci.appdef.shape import shape_findings

SCALARS = (
    *(None, True, 0, 1, -1, 1.0, 1.5, 70_000, 2**31, 2**63, "", "a", "A_b", "/x", "disabled", "HTTP", "host"),
    *("DOCKER", "RO", "2024-05-01T10:00:00Z", "x" * 2000, "5s", "50%", "$.a", "GET"),
)


def near(schema: dict[str, Any], root: dict[str, Any], depth: int = 4) -> st.SearchStrategy[Any]:
    """Values that match the schema here and there, so that each of its parts is reached."""
    if "$ref" in schema:
        target: Any = root
        for key in schema["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        return near(target, root, depth)
    other: st.SearchStrategy[Any] = st.sampled_from([*SCALARS, [], {}])
    if depth == 0:
        return other
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return st.one_of(other, *(near(branch, root, depth - 1) for branch in schema[union]))
    if "properties" in schema:
        fields = {name: near(field, root, depth - 1) for name, field in schema["properties"].items()}
        few = st.sets(st.sampled_from(sorted(fields)), max_size=4).map(
            lambda names: names | set(schema.get("required", ()))
        )
        return st.one_of(
            other, few.flatmap(lambda names: st.fixed_dictionaries({name: fields[name] for name in names}))
        )
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties", schema.get("patternProperties", {}).get(".*", {}))
        return st.one_of(other, st.dictionaries(st.sampled_from(["a", ""]), near(inner, root, depth - 1), max_size=2))
    if schema.get("type") == "array":
        return st.one_of(other, st.lists(near(schema["items"], root, depth - 1), max_size=3))
    return other


def load(name: str) -> dict[str, Any]:
    """A schema, without the conditions between fields, which the suite's reader checks."""
    if name != "suite":
        return load_schema(name)
    schema: dict[str, Any] = json.loads((files("bgci.checks") / "suite.schema.json").read_text(encoding="utf-8"))
    for condition in ("not", "if", "then"):
        del schema["$defs"]["check"][condition]
    del schema["$defs"]["expect"]["properties"]["share"]["allOf"]
    return schema


@given(data=st.data(), name=st.sampled_from(["marathon-1.7", "marathon-1.11", "metronome-job", "suite"]))
def test_a_value_has_findings_exactly_where_jsonschema_has_errors(data: st.DataObject, name: str) -> None:
    schema = load(name)
    value = data.draw(near(schema, schema))
    validator = jsonschema.validators.validator_for(schema)(schema)
    assert bool(list(shape_findings(value, schema))) == (not validator.is_valid(value))
