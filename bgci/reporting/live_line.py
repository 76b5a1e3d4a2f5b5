"""The line on a terminal that changes: the current wait and its duration."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.status import Status

PER_SECOND = 4  # seconds between two updates


def live_line(stream: TextIO, environ: Mapping[str, str]) -> LiveLine | None:
    """The live line; None without a terminal, on a dumb one, and in a CI system (some offer a terminal)."""
    if not stream.isatty() or environ.get("CI") or environ.get("TERM", "dumb") == "dumb":
        return None
    return LiveLine(stream)


class LiveLine:
    """Drawn below the log; removed before each line of the log and at the end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._status: Status | None = None
        self._text = ""
        self._since = 0.0

    def show(self, text: str) -> None:
        """``text``: a plain line."""
        from rich.console import Console
        from rich.status import Status
        from rich.text import Text

        if text != self._text:
            self._text, self._since = text, time.monotonic()
        terminal = self._status.console if self._status else Console(file=self._stream, highlight=False)
        seconds = f" {time.monotonic() - self._since:.0f}s"
        line = Text(text[: max(10, terminal.width - len(seconds) - 4)] + seconds, no_wrap=True)
        if self._status:
            self._status.update(line)
        else:
            self._status = Status(line, console=terminal, refresh_per_second=PER_SECOND)
            self._status.start()

    def clear(self) -> None:
        if self._status:
            self._status.stop()
            self._status = None
