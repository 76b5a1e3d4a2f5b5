"""The journal: every observation and decision of a rollout, samples of the judge, and results, one JSON object a line.

The events of a rollout, in this order:

``goal``
    A run begins: ``goal``, ``policy``, ``kept`` (the baseline of an earlier command) and ``known`` (the apps as the
    same command has left them), as ``rollout_record`` writes them.
``observed``
    ``now`` (seconds since the epoch), the observation (``full``, or ``changed``: its merge patch) and ``step``, the
    decision after it. Omitted without a change; a performed step is always written.
``unobserved``
    Marathon did not answer: ``now``, ``step``.
``refused``
    The last step was not performed: ``reason`` is "changed" (a kill or delete was not confirmed), "lock" or
    "unanswered". A step without this event was performed.
``created``
    Marathon has confirmed the ``app`` of the last step: ``now``, ``app``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from bgci.engine.decisions import Action, Goal, Policy, Step
from bgci.engine.observation import App, Observation
from bgci.redaction import redacted_json
from bgci.reporting.artifacts import no_link, refuse_links
from bgci.reporting.console import write_error
from bgci.reporting.rollout_record import encode_goal, encode_observation, encode_step, encoded, merge_patch

FULL_AFTER = 50  # lines with changes before the next whole observation, which limits the damage of an incomplete line


def _to_stderr(text: str) -> None:
    write_error(f"{text}\n")


class Journal:
    """Appends to ``path`` (None: keeps no journal). A line is on the disk when the call returns.

    Each line: ``time`` (UTC, ISO 8601, milliseconds), ``offset`` (monotonic seconds since this journal was opened),
    ``event`` and the value's own fields. A file that cannot be written is one warning only.
    ``echo`` gets each line too, because the file inside a DC/OS job cannot be read from outside.
    """

    def __init__(
        self,
        path: Path | None,
        *,
        warn: Callable[[str], None] = _to_stderr,
        echo: Callable[[str], None] = lambda line: None,
    ) -> None:
        self._path = path
        self._echo = echo
        self._warn = warn
        self._file: TextIO | None = None
        self._started = time.monotonic()
        self._observation: dict[str, Any] | None = None  # the last one of this run, as recorded
        self._step: dict[str, Any] = {}
        self._changes = 0
        if path:
            self._guarded(lambda: self._open(path))

    def goal(self, goal: Goal, policy: Policy, kept: App | None = None, known: tuple[App, ...] = ()) -> None:
        """Append the beginning of a run of the engine. ``kept``: the baseline that an earlier command has kept.
        ``known``: the apps as the same command has left them."""
        self._observation, self._step = None, {}
        found = {name: encoded(value) for name, value in (("kept", kept), ("known", known)) if value}
        self._append("goal", {**encode_goal(goal, policy), **found})

    def observed(self, observation: Observation, step: Step) -> None:
        """Append the changes of the observation, and the decision after it."""
        value, decision = encode_observation(observation), encode_step(step)
        full = self._observation is None or self._changes >= FULL_AFTER
        changed = value if full else merge_patch(self._observation or {}, value)
        if not full and not changed and decision == self._step and not isinstance(step, Action):
            return
        self._changes = 0 if full else self._changes + 1
        recorded = {"full" if full else "changed": changed} if changed else {}
        decided = {"step": decision} if full or decision != self._step else {}
        self._observation, self._step = value, decision
        self._append("observed", {"now": round(observation.now, 3), **recorded, **decided})

    def unobserved(self, now: float, step: Step) -> None:
        """Append that Marathon did not answer."""
        if (decision := encode_step(step)) != self._step:
            self._step = decision
            self._append("unobserved", {"now": round(now, 3), "step": decision})

    def refused(self, reason: str, now: float, problem: str = "") -> None:
        """Append that the last step was not performed."""
        self._append("refused", {"now": round(now, 3), "reason": reason, "problem": problem})

    def created(self, app: App, now: float) -> None:
        """Append that Marathon has confirmed a new app."""
        self._append("created", {"now": round(now, 3), "app": encoded(replace(app, tasks=()))})

    def sample(self, sample: Mapping[str, Any]) -> None:
        """Append a sample of the judge: ``reporting.timeline`` has its fields."""
        self._append("sample", sample)

    def result(self, result: Mapping[str, Any]) -> None:
        """Append the end of a stage."""
        self._append("result", result)

    def close(self) -> None:
        if self._file:
            self._guarded(self._file.close)
            self._file = None

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        refuse_links(path.parent, path.parent)
        # A killed process may have left an incomplete line.
        with open(path, "ab+", opener=no_link) as end:
            if end.seek(0, 2) and (end.seek(-1, 2), end.read(1))[1] != b"\n":
                end.write(b"\n")
        self._file = open(path, "a", encoding="utf-8", opener=no_link)  # noqa: SIM115 - it stays open

    def copy(self, line: str) -> None:
        """Append a line of another journal, without its secrets."""
        self._guarded(lambda: self._write(redacted_json(line) + "\n"))

    def _append(self, event: str, value: Mapping[str, Any]) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        head = {"time": now, "offset": round(time.monotonic() - self._started, 3), "event": event}
        line = redacted_json(json.dumps({**head, **value, **head}, default=str))
        self._echo(line)
        self.copy(line)

    def _write(self, line: str) -> None:
        if self._file:
            self._file.write(line)
            self._file.flush()

    def _guarded(self, action: Callable[[], None]) -> None:
        """Perform the action; on failure warn once and keep no journal. The rollout goes on."""
        try:
            action()
        except OSError as error:
            broken, self._file = self._file, None
            if broken:
                with suppress(OSError):  # its buffer cannot be written either
                    broken.close()
            self._warn(f"bgci keeps no journal: {self._path} cannot be written ({error.strerror or error}).")
