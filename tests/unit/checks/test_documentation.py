"""The statements of docs/testing.md are true."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

import jsonschema
import yaml

from bgci.checks import runner
from bgci.checks.model import MAX_CONCURRENCY, MIN_SHARE_REPEAT
from bgci.checks.suite import parse

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")
EXAMPLE = (ROOT / "examples" / "testapp.canary.yaml").read_text(encoding="utf-8")
SCHEMA = json.loads((files("bgci.checks") / "suite.schema.json").read_text(encoding="utf-8"))


def section(title: str) -> set[str]:
    """The keys in the first column of a section's table."""
    text = PAGE.split(f"### {title}\n")[1].split("\n### ")[0]
    rows = re.findall(r"^\| (`[^|]*) \|", text, re.MULTILINE)
    return {key for row in rows for key in re.findall(r"`(\w+)`", row)}


def test_the_example_is_the_one_in_examples_and_it_is_valid() -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert shown == EXAMPLE
    suite = parse(EXAMPLE, file="testapp.canary.yaml", variables={"revision": "v2"})
    assert len(suite.checks) == 4
    jsonschema.Draft202012Validator(SCHEMA).validate(yaml.safe_load(EXAMPLE))
    assert (ROOT / "examples" / EXAMPLE.split("$schema=")[1].splitlines()[0]).is_file()


def test_every_key_is_documented() -> None:
    assert section("A check") == set(SCHEMA["$defs"]["check"]["properties"])
    assert section("Expectations") == set(SCHEMA["$defs"]["expect"]["properties"])


def test_the_documented_limits_are_those_of_the_code() -> None:
    assert f"at most {runner.MAX_CONNECTIONS} connections in all and {MAX_CONCURRENCY} to one instance" in PAGE
    assert f"`repeat: {MIN_SHARE_REPEAT}` or more" in PAGE
    assert runner.MAX_BODY == 2**20
    assert runner.GIVE_UP_AFTER == 3
