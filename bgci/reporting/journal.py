"""The journal of a rollout: every observation that changed and every step, one JSON object a line."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from bgci.redaction import redacted_json


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr)


class Journal:
    """Appends to ``path`` (None: keeps no journal). A line is on the disk when the call returns.

    Each line: ``time`` (UTC, ISO 8601, milliseconds), ``offset`` (monotonic seconds since this journal was opened),
    ``event`` ("observed", "step", "sample" or "result") and the value's own fields. A file that cannot be written is
    one warning only.
    ``echo`` is given each line too: inside a DC/OS job nobody ever sees the file.
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
        self._last: str | None = None
        if path:
            self._guarded(lambda: self._open(path))

    def observed(self, summary: Mapping[str, Any]) -> None:
        """What was seen. Written only when it differs from what was seen last."""
        text = json.dumps(summary, sort_keys=True, default=str)
        if text != self._last:
            self._last = text
            self._append("observed", summary)

    def step(self, step: Mapping[str, Any]) -> None:
        """What was done, or is waited for."""
        self._append("step", step)

    def sample(self, sample: Mapping[str, Any]) -> None:
        """What the judge counted: see ``report.story`` for its fields."""
        self._append("sample", sample)

    def result(self, result: Mapping[str, Any]) -> None:
        """How a stage ended."""
        self._append("result", result)

    def close(self) -> None:
        if self._file:
            self._guarded(self._file.close)
            self._file = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _open(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as end:  # a line that a killed process left half-written must not spoil ours
            if end.seek(0, 2) and (end.seek(-1, 2), end.read(1))[1] != b"\n":
                end.write(b"\n")
        self._file = path.open("a", encoding="utf-8")

    def copy(self, line: str) -> None:
        """A line of another journal, as it is but for secrets."""
        self._guarded(lambda: self._write(redacted_json(line) + "\n"))

    def _append(self, event: str, value: Mapping[str, Any]) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        offset = round(time.monotonic() - self._started, 3)
        head = {"time": now, "offset": offset, "event": event}
        line = redacted_json(json.dumps({**head, **value, **head}, default=str))
        self._echo(line)
        self.copy(line)

    def _write(self, line: str) -> None:
        if self._file:
            self._file.write(line)
            self._file.flush()

    def _guarded(self, action: Callable[[], None]) -> None:
        """One warning, then silence: the journal is gone, the rollout is not."""
        try:
            action()
        except OSError as error:
            broken, self._file = self._file, None
            if broken:
                with suppress(OSError):  # what it still buffers cannot be written either
                    broken.close()
            self._warn(f"No journal is kept: {self._path} cannot be written ({error.strerror or error}).")
