"""A canary's test suite: HTTP checks in a YAML file, read and checked in full before anything is sent.

Texts may hold ``${revision}``, ``${app}``, ``${image}`` and other variables; ``$${`` stands for a literal ``${``. In a
regular expression a variable's value is taken literally.

A table of readers for each mapping: a reader takes a value and its path, notes what is wrong, and gives back what the
value means (or a harmless stand-in, so that reading goes on and all findings come at once).
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bgci.appdef.findings import at
from bgci.checks.model import (
    CANARY,
    DEFAULT_TIMEOUT,
    LOAD_BALANCER,
    MAX_CONCURRENCY,
    MAX_REPEAT,
    MAX_TIMEOUT,
    METHODS,
    MIN_SHARE_REPEAT,
    SCHEMES,
    TARGETS,
    Check,
    Expect,
    Share,
    Suite,
)
from bgci.checks.yaml_lines import read_yaml
from bgci.durations import parse_duration
from bgci.errors import InvalidError

Read = Callable[[Any, str], Any]

PERCENT = re.compile(r"(100(?:\.0+)?|[0-9]{1,2}(?:\.[0-9]+)?)%")
PERCENTILE = re.compile(r"p(100|[1-9]?[0-9](?:\.[0-9]+)?)")
STATUS = re.compile(r"[1-5](?:[0-9][0-9]|xx)")
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110: a header's name
PATH = re.compile(r"/[^\s#]*")
VARIABLE = re.compile(r"(\$?)\$\{([A-Za-z_][A-Za-z0-9_.]*)\}")


def parse(text: str, *, file: str, variables: Mapping[str, str], secret: Mapping[str, str] | None = None) -> Suite:
    """The suite in a file's text. ``secret``: variables whose values are kept out of reports.

    Raises InvalidError that lists every finding with file, line and remedy.
    """
    return Reader(text, file, variables, secret or {}).suite()


class Reader:
    """Reads one file."""

    def __init__(self, text: str, file: str, variables: Mapping[str, str], secret: Mapping[str, str]) -> None:
        self.file = file
        self.variables = {**variables, **secret}
        self.secret = secret
        self.used: set[str] = set()
        self.findings: list[tuple[int, str, str]] = []
        self.document, self.lines, doubled = read_yaml(text, file)
        for path in doubled:
            self.wrong(path, "stands there twice", "keep one of them")

    def suite(self) -> Suite:
        known: dict[str, Read] = {"defaults": self.defaults, "checks": self.every(lambda value, path: (value, path))}
        found = self.members(self.document, "$", known, required=("checks",))
        defaults = found.get("defaults") or {}
        checks = [self.check(value, path, defaults) for value, path in found.get("checks") or ()]
        self.require_distinct(checks)
        self.require_valid()
        secrets = {self.secret[name] for name in self.used & set(self.secret)} - {""}
        return Suite(self.file, tuple(check for check in checks if check), tuple(sorted(secrets)))

    # -- what a suite consists of -----------------------------------------------------------------------------------

    def defaults(self, value: Any, path: str) -> dict[str, Any]:
        known: dict[str, Read] = {"headers": self.headers, "timeout": self.timeout, **self.connection()}
        return self.members(value, path, known)

    def connection(self) -> dict[str, Read]:
        """How instances are spoken to."""
        return {"scheme": self.one_of(SCHEMES), "verify": self.yes_or_no}

    def check(self, value: Any, path: str, defaults: Mapping[str, Any]) -> Check | None:
        known: dict[str, Read] = {
            "name": self.text,
            "target": self.one_of(TARGETS),
            "method": self.one_of(METHODS),
            "path": self.matching(PATH, "begin with / and hold no blank and no #", "write it as /path?query"),
            "headers": self.headers,
            "body": self.text,
            "json": self.json_value,
            "timeout": self.timeout,
            "repeat": self.whole(1, MAX_REPEAT),
            "concurrency": self.whole(1, MAX_CONCURRENCY),
            "port": self.whole(0, 99),
            "expect": self.expect,
            **self.connection(),
        }
        found = self.members(value, path, known, required=("path", "expect"))
        if not isinstance(found.get("expect"), Expect) or not isinstance(found.get("path"), str):
            return None
        if "body" in found and "json" in found:
            self.wrong(at(path, "json"), "stands beside body", "keep one of them")
        self.require_sound_share(found, path)
        headers = {**defaults.get("headers", {}), **found.get("headers", {})}
        body = str(found.get("body", ""))
        if "json" in found:
            body = json.dumps(found["json"], ensure_ascii=False)
            if "content-type" not in {name.lower() for name in headers}:
                headers["Content-Type"] = "application/json"
        method = found.get("method", "GET")
        plain = ("target", "repeat", "concurrency", "port", "expect", "path")
        connection = {name: {**defaults, **found}[name] for name in self.connection() if name in {**defaults, **found}}
        return Check(
            name=found.get("name") or f"{method} {found['path']}",
            method=method,
            headers=headers,
            body=body.encode(),
            timeout=found.get("timeout", defaults.get("timeout", DEFAULT_TIMEOUT)),
            **connection,
            **{name: found[name] for name in plain if name in found},
        )

    def expect(self, value: Any, path: str) -> Expect | None:
        known: dict[str, Read] = {
            "status": self.one_or_more(self.status),
            "headers": self.headers,
            "header_regex": self.mapping(self.header_name, self.regex),
            "body": self.one_or_more(self.text),
            "body_regex": self.one_or_more(self.regex),
            "json": self.mapping(self.jsonpath, self.json_value),
            "json_has": self.one_or_more(self.jsonpath),
            "latency": self.latency,
            "success_rate": self.percent,
            "share": self.share,
        }
        found = self.members(value, path, known)
        if isinstance(value, Mapping) and not value:
            self.wrong(path, "expects nothing", "say what the answer has to be, such as status: 200")
        return Expect(**found)

    def share(self, value: Any, path: str) -> Share:
        header = self.mapping(self.header_name, self.text, most=1)
        known: dict[str, Read] = {
            "header": lambda item, where: next(iter(header(item, where).items()), None),
            "body": self.text,
            "at_least": self.percent,
            "at_most": self.percent,
        }
        found = self.members(value, path, known)
        if isinstance(value, Mapping):
            if len({"header", "body"} & set(value)) != 1:
                self.wrong(path, "does not say how the canary's answers are known", "give either header or body")
            if not {"at_least", "at_most"} & set(value):
                self.wrong(path, "has no limit", "give at_least, at_most, or both")
        if found.get("at_least", 0.0) > found.get("at_most", 1.0):
            self.wrong(path, "wants at least more than at most", "exchange the two")
        return Share(**found)

    def latency(self, value: Any, path: str) -> tuple[tuple[float, float], ...]:
        name = self.matching(PERCENTILE, "be a percentile", "write p50, p95, p99.9, or p100 for the slowest")
        found = self.mapping(name, self.seconds)(value, path)
        return tuple(sorted((float(key[1:]), limit) for key, limit in found.items() if PERCENTILE.fullmatch(key)))

    def require_sound_share(self, found: Mapping[str, Any], path: str) -> None:
        share = at(at(path, "expect"), "share")
        if found["expect"].share is None:
            return
        if found.get("target", CANARY) != LOAD_BALANCER:
            self.wrong(share, "is for the load balancer's answers alone", f"add target: {LOAD_BALANCER}")
        if found.get("repeat", 1) < MIN_SHARE_REPEAT:
            self.wrong(share, f"needs {MIN_SHARE_REPEAT} answers or more", "add repeat: 100")

    def require_distinct(self, checks: Sequence[Check | None]) -> None:
        seen: set[tuple[str, str]] = set()
        for index, check in enumerate(checks):
            if check and (check.target, check.name) in seen:
                self.wrong(at("$.checks", index), f"is called {check.name!r}, as another one is", "give it a name")
            elif check:
                seen.add((check.target, check.name))

    # -- readers for values -------------------------------------------------------------------------------------------

    def members(self, value: Any, path: str, known: Mapping[str, Read], required: Sequence[str] = ()) -> dict[str, Any]:
        """The known members of a mapping, read."""
        if not isinstance(value, Mapping):
            self.wrong(path, "has to be a mapping", f"known are {', '.join(known)}")
            return {}
        for name in required:
            if name not in value:
                self.wrong(path, f"has no {name}", f"add {name}")
        for name in value:
            if name not in known:
                close = difflib.get_close_matches(str(name), known, 1)
                guess = f"did you mean {close[0]}? " if close else ""
                self.wrong(at(path, name), "is unknown here", f"{guess}known are {', '.join(known)}")
        return {name: known[name](item, at(path, name)) for name, item in value.items() if name in known}

    def mapping(self, name: Read, item: Read, most: int | None = None) -> Read:
        def read(value: Any, path: str) -> dict[str, Any]:
            if not isinstance(value, Mapping) or not value or (most and len(value) > most):
                self.wrong(path, f"has to be a mapping of {most or 'one or more'}", "write it as name: value")
                return {}
            return {name(key, at(path, key)): item(inner, at(path, key)) for key, inner in value.items()}

        return read

    def every(self, item: Read) -> Read:
        def read(value: Any, path: str) -> tuple[Any, ...]:
            if not isinstance(value, list) or not value:
                self.wrong(path, "has to be a list of one or more", "begin each with a dash")
                return ()
            return tuple(item(inner, at(path, index)) for index, inner in enumerate(value))

        return read

    def one_or_more(self, item: Read) -> Read:
        several = self.every(item)
        return lambda value, path: several(value, path) if isinstance(value, list) else (item(value, path),)

    def text(self, value: Any, path: str) -> str:
        if isinstance(value, str) and value:
            return self.filled(value, path)
        self.wrong(path, "is empty" if value == "" else "has to be text", "write the text, in quotes")
        return "?"

    def matching(self, pattern: re.Pattern[str], wanted: str, remedy: str) -> Read:
        def read(value: Any, path: str) -> str:
            text = self.text(value, path)
            if not pattern.fullmatch(text) and isinstance(value, str):
                self.wrong(path, f"has to {wanted}", remedy)
            return text

        return read

    def one_of(self, choices: Sequence[str]) -> Read:
        def read(value: Any, path: str) -> str:
            if value not in choices:
                self.wrong(path, f"is {value!r}", f"use one of {', '.join(choices)}")
                return choices[0]
            return str(value)

        return read

    def yes_or_no(self, value: Any, path: str) -> bool:
        if not isinstance(value, bool):
            self.wrong(path, f"is {value!r}", "write true or false")
        return bool(value)

    def whole(self, low: int, high: int) -> Read:
        def read(value: Any, path: str) -> int:
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                self.wrong(path, f"is {value!r}", f"write a whole number from {low} to {high}")
                return low
            return value

        return read

    def status(self, value: Any, path: str) -> str:
        text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
        if not STATUS.fullmatch(text):
            self.wrong(path, f"is {value!r}", "write a status such as 200, or 2xx for all of its kind")
        return text

    def seconds(self, value: Any, path: str) -> float:
        try:
            seconds = parse_duration(value) if isinstance(value, str) else 0.0
        except ValueError:
            seconds = 0.0
        if not seconds:
            self.wrong(path, f"is {value!r}", "write a duration with its unit, such as 300ms or 5s")
        return seconds or 1.0

    def timeout(self, value: Any, path: str) -> float:
        limit = self.seconds(value, path)
        if limit > MAX_TIMEOUT:
            self.wrong(path, f"is {value!r}", f"it may be {MAX_TIMEOUT:g}s at most")
        return limit

    def percent(self, value: Any, path: str) -> float:
        found = PERCENT.fullmatch(value) if isinstance(value, str) else None
        if not found:
            self.wrong(path, f"is {value!r}", "write a percentage such as 99.5%, from 0% to 100%")
            return 0.5
        return float(found[1]) / 100

    def headers(self, value: Any, path: str) -> dict[str, str]:
        line = self.matching(re.compile(r"[\x20-\x7e]+"), "be printable ASCII on one line", "encode it")
        return dict(self.mapping(self.header_name, line)(value, path))

    def header_name(self, value: Any, path: str) -> str:
        if not TOKEN.fullmatch(str(value)):
            self.wrong(path, f"{value!r} is not a header name", "write it as Content-Type: value")
        return str(value)

    def regex(self, value: Any, path: str) -> str:
        if not isinstance(value, str) or not value:
            self.wrong(path, "has to be a regular expression", "write the text, in quotes")
            return ""
        pattern = self.filled(value, path, re.escape)
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            self.wrong(
                path, f"is not a regular expression: {error}", "correct it; single quotes keep backslashes as they are"
            )
        return pattern

    def jsonpath(self, value: Any, path: str) -> str:
        from bgci.checks.json_path import problem

        wrong = problem(value) if isinstance(value, str) else "it is not text"
        if wrong:
            self.wrong(path, f"is not a JSONPath: {wrong}", "write it as RFC 9535 has it, such as $.items[0].name")
        return str(value)

    def json_value(self, value: Any, path: str) -> Any:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            self.wrong(path, f"is nothing that JSON can say: {error}", "put it in quotes")
            return None
        return self.filled_in(value, path)

    def filled_in(self, value: Any, path: str) -> Any:
        if isinstance(value, str):
            return self.filled(value, path)
        if isinstance(value, list):
            return [self.filled_in(item, at(path, index)) for index, item in enumerate(value)]
        if isinstance(value, dict):
            return {key: self.filled_in(item, at(path, key)) for key, item in value.items()}
        return value

    def filled(self, text: str, path: str, written: Callable[[str], str] = str) -> str:
        """The text with its variables' values."""

        def value(found: re.Match[str]) -> str:
            literal, name = found[1], found[2]
            if literal:
                return f"${{{name}}}"
            if name not in self.variables:
                known = ", ".join(sorted(self.variables))
                self.wrong(
                    path,
                    f"has the variable {name}, which is not given",
                    f"known are {known}; --set and --template-env give more; for a literal ${{ write $${{",
                )
            self.used.add(name)
            return written(self.variables.get(name, ""))

        return VARIABLE.sub(value, text)

    # -- findings -----------------------------------------------------------------------------------------------------

    def wrong(self, path: str, message: str, remedy: str) -> None:
        where = "the suite" if path == "$" else path.removeprefix("$.")
        self.findings.append((self.lines.get(path, 1), f"{where} {message}", remedy))

    def require_valid(self) -> None:
        if not self.findings:
            return
        count = len(self.findings)
        listed = "\n".join(
            f"  - {self.file}, line {line}: {text}\n      {remedy}" for line, text, remedy in sorted(self.findings)
        )
        raise InvalidError(
            f"{self.file} is not a valid test suite ({count} finding{'s' * (count > 1)}); nothing was sent.\n{listed}",
            remedy="Correct the suite; docs/testing.md has its grammar.",
        )
