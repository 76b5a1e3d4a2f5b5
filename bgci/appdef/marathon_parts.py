"""The rules of Marathon over several fields, and the parts of an app that several of them read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bgci.appdef.findings import Finding

App = Mapping[str, Any]
Check = Callable[[App], Iterator[Finding]]


@dataclass(frozen=True)
class Rule:
    """A rule over several fields. source: where Marathon has it. versions: the Marathon versions that apply it."""

    source: str
    check: Check
    versions: tuple[str, ...]


DEPRECATED: list[Rule] = []  # of an app as `marathon_schema.read` returns it
CANONICAL: list[Rule] = []


def rule(source: str, *versions: str, table: list[Rule] = CANONICAL) -> Callable[[Check], Check]:
    """Register the function as a rule. versions: default: all."""

    def register(check: Check) -> Check:
        table.append(Rule(source, check, versions or ("1.7", "1.11")))
        return check

    return register


deprecated_rule = partial(rule, table=DEPRECATED)


def docker_of(app: App) -> App:
    docker: App = container_of(app).get("docker") or {}
    return docker


def container_of(app: App) -> App:
    return app.get("container") or {}


def engine_of(app: App) -> str:
    """The container's type, empty without a container."""
    return str(container_of(app).get("type", ""))


def refused(path: str, message: str, remedy: str, marathon: str = "") -> Finding:
    return Finding(path, message, remedy, marathon=marathon)
