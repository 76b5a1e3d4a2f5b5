"""A canary's test suite: HTTP checks in a YAML file, checked in full before any request is sent.

``suite.schema.json`` has the grammar, for editors too. This module replaces variables, checks the rules that the schema
cannot express, and builds the values. Texts can contain ``${revision}``, ``${app}``, ``${image}`` and other
variables; ``$${`` is a literal ``${``. In a regular expression a variable's value is taken literally.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any

from bgci.appdef.findings import MOST_LISTED, Finding, at, require_valid
from bgci.appdef.shape import shape_findings
from bgci.checks.json_path import problem
from bgci.checks.model import LOAD_BALANCER, MAX_TIMEOUT, MIN_SHARE_REPEAT, Check, Expect, Share, Suite
from bgci.checks.yaml_lines import read_yaml
from bgci.durations import parse_duration
from bgci.redaction import Redactor

VARIABLE = re.compile(r"(\$?)\$\{([A-Za-z_][A-Za-z0-9_.]*)\}")
HALF = re.compile("[\ud800-\udfff]")
REGEX = re.compile(r"\$\.checks\[[0-9]+\]\.expect\.(?:body|header)_regex\b")  # the path of a regular expression


def parse(text: str, *, file: str, variables: Mapping[str, str], secret: Mapping[str, str] | None = None) -> Suite:
    """The suite in a file's text. ``secret``: variables whose values are kept out of reports.

    Raises InvalidError with all findings, each with file, line and remedy.
    """
    secret = secret or {}
    document, lines, duplicates = read_yaml(text, file)
    texts = _Variables({**variables, **secret})
    document = texts.filled(document, "$")
    findings = [Finding(path, "is given twice", "Keep one of them.") for path in duplicates]
    findings += [*texts.findings, *shape_findings(document, _schema(), formats=FORMATS)]
    secrets = tuple(sorted({secret[name] for name in texts.used & set(secret)} - {""}))
    checks: tuple[Check, ...] = ()
    if not findings:
        checks = tuple(_check(check, document.get("defaults", {})) for check in document["checks"])
        findings += _conflicts(document["checks"], checks)
    redactor = Redactor(*secrets)
    placed = [_placed(finding, file, lines, redactor) for finding in findings[:MOST_LISTED]] + findings[MOST_LISTED:]
    require_valid(placed, what=f"The test suite {file}", remedy="Correct the suite; docs/testing.md has its grammar.")
    return Suite(file, checks, secrets)


@cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((files("bgci.checks") / "suite.schema.json").read_text(encoding="utf-8"))
    return schema


class _Variables:
    """Fills in variables. ``used``: their names; ``findings``: unknown ones, and values that JSON does not have."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.used: set[str] = set()
        self.findings: list[Finding] = []

    def filled(self, value: Any, path: str) -> Any:
        """The document with its variables' values, as JSON."""
        if isinstance(value, str):
            return self._whole(VARIABLE.sub(lambda found: self._value(found[1], found[2], path), value), path)
        if isinstance(value, list):
            return [self.filled(item, at(path, index)) for index, item in enumerate(value)]
        if isinstance(value, dict):
            return {self._whole(key, path): self.filled(item, at(path, key)) for key, item in value.items()}
        if not (value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))):
            self.findings.append(Finding(path, "is not a JSON value", "Put it in quotes."))
            return ""
        return value

    def _whole(self, value: Any, path: str) -> Any:
        """The value. A finding for half of a character, such as a byte of a variable that is not UTF-8."""
        if isinstance(value, str) and HALF.search(value):
            self.findings.append(Finding(path, "contains half of a character", "Write text in UTF-8."))
        return value

    def _value(self, literal: str, name: str, path: str) -> str:
        if literal:
            return f"${{{name}}}"
        if name not in self._values:
            known = ", ".join(sorted(self._values))
            remedy = f"Known are {known}; --set and --template-env add more; for a literal ${{ write $${{."
            self.findings.append(Finding(path, f"has the unknown variable {name}", remedy))
        self.used.add(name)
        value = self._values.get(name, "")
        return re.escape(value) if REGEX.match(path) else value


# -- formats of the schema: the problem of a text ---------------------------------------------------------------------


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        return f"is not a regular expression: {error}"
    return ""


def _json_path(text: str) -> str:
    wrong = problem(text)
    return f"is not a JSONPath: {wrong}" if wrong else ""


def _duration(text: str) -> str:
    try:
        parse_duration(text)
    except ValueError as error:
        return f"is wrong: {error}"
    return ""


def _timeout(text: str) -> str:
    return _duration(text) or (f"is {text!r}" if parse_duration(text) > MAX_TIMEOUT else "")


FORMATS: Mapping[str, Callable[[str], str]] = {
    "regex": _regex,
    "json-path": _json_path,
    "duration-with-unit": _duration,
    "timeout": _timeout,
}

# -- values: the document has no findings of the schema ---------------------------------------------------------------


def _check(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Check:
    headers = {**defaults.get("headers", {}), **given.get("headers", {})}
    body = str(given.get("body", ""))
    if "json" in given:
        body = json.dumps(given["json"], ensure_ascii=False)
        if "content-type" not in {name.lower() for name in headers}:
            headers["Content-Type"] = "application/json"
    found = {name: value for name, value in {**defaults, **given}.items() if name != "json"}
    if "timeout" in found:
        found["timeout"] = parse_duration(found["timeout"])
    found.update({name: int(found[name]) for name in ("repeat", "concurrency", "port") if name in found})
    found.setdefault("name", f"{found.get('method', 'GET')} {found['path']}")
    return Check(**{**found, "headers": headers, "body": body.encode(), "expect": _expect(given["expect"])})


def _expect(given: Mapping[str, Any]) -> Expect:
    found = dict(given)
    for name in ("status", "body", "body_regex", "json_has"):
        if name in found:
            found[name] = tuple(found[name] if isinstance(found[name], list) else [found[name]])
    if "status" in found:
        found["status"] = tuple(one if isinstance(one, str) else f"{one:.0f}" for one in found["status"])
    limits = found.get("latency", {})
    found["latency"] = tuple(sorted((float(name[1:]), parse_duration(limit)) for name, limit in limits.items()))
    if "success_rate" in found:
        found["success_rate"] = _part(found["success_rate"])
    if "share" in found:
        share = found["share"]
        header = next(iter(share.get("header", {}).items()), None)
        rates = {name: _part(share[name]) for name in ("at_least", "at_most") if name in share}
        found["share"] = Share(**rates, header=header, body=share.get("body"))
    return Expect(**found)


def _part(percentage: str) -> float:
    return float(percentage.removesuffix("%")) / 100


def _conflicts(given: list[Mapping[str, Any]], checks: tuple[Check, ...]) -> Iterator[Finding]:
    """Findings for contradictory values. The schema has these rules too, but only for editors."""
    names: set[tuple[str, str]] = set()
    for index, (raw, check) in enumerate(zip(given, checks, strict=True)):
        path = at("$.checks", index)
        if "body" in raw and "json" in raw:
            yield Finding(at(path, "json"), "is given beside body", "Keep one of them.")
        if (check.target, check.name) in names:
            yield Finding(path, f"has the name of another check: {check.name!r}", "Give it a unique name.")
        names.add((check.target, check.name))
        if check.expect.share:
            yield from _share_conflicts(raw, check, check.expect.share, f"{path}.expect.share")


def _share_conflicts(raw: Mapping[str, Any], check: Check, share: Share, path: str) -> Iterator[Finding]:
    if (share.header is None) == (share.body is None):
        yield Finding(path, "does not identify the canary's answers", "Give either header or body.")
    if not {"at_least", "at_most"} & set(raw["expect"]["share"]):
        yield Finding(path, "has no limit", "Give at_least, at_most, or both.")
    if share.at_least > share.at_most:
        yield Finding(path, "has a larger at_least than at_most", "Exchange the two.")
    if check.target != LOAD_BALANCER:
        yield Finding(path, f"is not possible with target: {check.target}", f"Write target: {LOAD_BALANCER}.")
    if check.repeat < MIN_SHARE_REPEAT:
        yield Finding(path, f"needs {MIN_SHARE_REPEAT} answers or more", "Add repeat: 100.")


def _placed(finding: Finding, file: str, lines: Mapping[str, int], redactor: Redactor) -> Finding:
    """The finding with its file and line. A missing field has the line of its mapping."""
    known = max((path for path in lines if finding.path.startswith(path)), key=len, default="$")
    where = "the suite" if finding.path == "$" else finding.path.removeprefix("$.")
    place = f"{file}, line {lines.get(known, 1)}: {where}"
    return replace(finding, path=place, message=redactor.redacted(finding.message))
