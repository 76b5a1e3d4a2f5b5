"""The typed result of one command: ``result.json``, the CI outputs, the summary and the page are made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """The result of one command. None: a field that the command does not determine.

    message, remedy: the end of the command, as text. reached: the goal's state, in words. changed: whether it changed
    the cluster. plan: of a dry run, lines of Markdown. advice: on the app definition. balancer_changes: changes of the
    load balancer after the promotion (``appdef.balancer_changes``). url: the app's URL for users. state: the group in
    the last observation (``reporting.rollout_log.summary``). stages: one row for each part of a release. cause: why a
    release was rolled back.
    """

    message: str | None = None
    remedy: str | None = None
    reached: str | None = None
    app: str | None = None
    revision: str | None = None
    insecure: bool | None = None
    changed: bool | None = None
    state: Json | None = None
    timings: Json | None = None
    dry_run: bool | None = None
    plan: tuple[str, ...] | None = None
    next_step: Json | None = None
    advice: tuple[str, ...] | None = None
    balancer_changes: tuple[Json, ...] | None = None
    url: str | None = None
    preview: Json | None = None
    job: str | None = None
    run: str | None = None
    jobs: tuple[Any, ...] | None = None
    removed: tuple[str, ...] | None = None
    tests: Json | None = None
    judge: Json | None = None
    stages: tuple[Json, ...] | None = None
    cause: Json | None = None
    group: str | None = None
    share: Json | None = None
    apps: tuple[Json, ...] | None = None
    strangers: tuple[Json, ...] | None = None
    locks: tuple[Json, ...] | None = None
    summary: str | None = None
    requests: Json | None = None
    checks: tuple[Json, ...] | None = None
    seconds: float | None = None
    options: Json | None = None
    outputs: Json | None = None

    def document(self) -> dict[str, Any]:
        """The determined fields, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def followed_by(self, later: Result) -> Result:
        """``later``, completed by the fields of this result."""
        merged = Result(**{**self.document(), **later.document()})
        return replace(merged, plan=(*(self.plan or ()), *later.plan)) if later.plan else merged
