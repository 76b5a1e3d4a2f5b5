"""Writes every line of the log.

A CI system executes commands in a log (``::error::``, ``##[``, ``section_start:``). No text of an app, a job or a
server can become one: every line starts with bgci's own prefix, and a command inside of a line is broken up. No line
contains a secret.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Literal, TextIO

from bgci.errors import BgciError, UsageError
from bgci.redaction import INVISIBLE, redacted, redacted_json
from bgci.reporting.live_line import LiveLine

PIPE_CLOSED = 128 + 13  # a shell's exit code for a program that SIGPIPE ended
REPEAT_AFTER = 10.0  # seconds until an unchanged wait is reported again
MARKS = {"info": " ", "step": ">", "wait": ".", "warn": "!", "error": "x", "result": "="}

# ECMA-48 and ECMA-35: CSI sequences, OSC and other strings, and the other escapes, such as ESC ( B of `tput sgr0`.
ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])|\x9b[0-?]*[ -/]*[@-~]")
CONTROL = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f]|{INVISIBLE.pattern}")
# GitHub's runner finds the old form of a command in the middle of a line too (runner: ActionCommand.TryParse).
COMMAND = re.compile(r"##(?=[a-z]*\[)")


class Console:
    """Writes lines with the seconds since it was made; ``json`` writes one object a line instead.

    Output to a closed pipe is discarded: reporting never stops a release. ``masks``: called before each line for the
    lines before it, such as GitHub's commands that hide secrets (``ci_systems.Masks``). They are not redacted.
    """

    def __init__(
        self,
        stream: TextIO,
        log_format: Literal["text", "json"] = "text",
        *,
        clock: Callable[[], float] = time.monotonic,
        live: LiveLine | None = None,
        masks: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._stream = stream
        self._json = log_format == "json"
        self._clock = clock
        self._live = None if self._json else live
        self._masks = masks
        self._started = clock()
        self._waits: dict[str, float] = {}  # when each was reported last; empty after a step

    def info(self, text: str) -> None:
        self._report("info", text)

    def step(self, text: str) -> None:
        """Report one change to the cluster."""
        self._waits.clear()
        self._report("step", text)

    def wait(self, text: str) -> None:
        """Report the current wait: an unchanged text once in 10 seconds; on a terminal as the live line."""
        if self._live:
            self.live(text)
            return
        now = self._clock()
        if now - self._waits.get(text, now - REPEAT_AFTER) >= REPEAT_AFTER:
            self._waits[text] = now
            self._report("wait", text)

    def live(self, text: str) -> None:
        """Show the current activity on a terminal; write nothing to a log."""
        if self._live:
            self._live.show(plain_lines(text)[0])

    def close(self) -> None:
        """Restore the terminal."""
        if self._live:
            self._live.clear()

    def warn(self, text: str) -> None:
        self._report("warn", text)

    def error(self, error: BgciError | str) -> None:
        """Report an expected failure: message and remedy."""
        if isinstance(error, BgciError) and self._json:
            self._write_json("error", error.message, name=error.name, remedy=error.remedy)
        else:
            self._report("error", str(error))

    def result(self, text: str) -> None:
        """Report the end of the command."""
        self._report("result", text)

    def foreign(self, prefix: str, text: str) -> None:
        """Write foreign text, such as a job's log, with ``prefix`` before each line."""
        for line in plain_lines(text):
            if self._json:
                self._write_json("log", line, source=prefix)
            else:
                self._write(f"{plain(prefix)} | {line}")

    def mask(self) -> None:
        """Write the masks now, even without a following line."""
        self._write_redacted()

    def command(self, line: str) -> None:
        """Write a raw line for the CI system itself (``ci_systems``)."""
        self._write(line)

    def _report(self, kind: str, text: str) -> None:
        if self._json:
            self._write_json(kind, text)
            return
        mark = f"[{self._elapsed():7.1f}s] {MARKS[kind]} "
        label = {"warn": "warning: ", "error": "error: "}.get(kind, "")
        first, *rest = plain_lines(text) or [""]
        self._write(f"{mark}{label}{first}")
        for line in rest:
            self._write(" " * (len(mark) - 2) + f"| {line.strip()}")

    def _write_json(self, kind: str, text: str, **fields: str) -> None:
        message = "\n".join(plain_lines(text))
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = {"time": now, "elapsed": round(self._elapsed(), 3), "kind": kind, "message": message, **fields}
        self._write_redacted(COMMAND.sub("# # ", redacted_json(json.dumps(entry, default=str))))

    def _elapsed(self) -> float:
        return self._clock() - self._started

    def _write(self, line: str) -> None:
        self._write_redacted(redacted(line))

    def _write_redacted(self, *lines: str) -> None:
        try:
            self.close()
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            text = "".join(f"{line}\n" for line in (*self._masks(), *lines))
            self._stream.write(text.encode(encoding, "replace").decode(encoding))
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            abandon(self._stream)


def write_error(text: str) -> None:
    """Write to stderr. Without a reader it is discarded, so the exit code stays that of the command."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):  # ValueError: the stream is closed
        abandon(sys.stderr)


def unwritable(error: OSError) -> UsageError:
    """The error for an answer that stdout does not take."""
    return UsageError(
        f"The answer cannot be written to stdout: {error.strerror or error}.",
        remedy="Redirect it to a disk that has room.",
    )


def abandon(stream: TextIO) -> None:
    """Discard further output to a closed pipe: Python would print an error about it when it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def plain(text: str) -> str:
    """The text without secrets, escape sequences, control characters, direction overrides and CI commands.

    Removed characters can have been within a secret or part of it, so the text is redacted before and afterwards.
    """
    return redacted(COMMAND.sub("# # ", CONTROL.sub("", ANSI.sub("", redacted(text).replace("\t", "    ")))))


def bare(line: str) -> str:
    """A plain line without bgci's prefix, in which GitHub would find a command at the start."""
    return re.sub(r"^(\s*):(?=:)", r"\1: ", plain(line))


def plain_lines(text: str) -> list[str]:
    """The plain lines of a text; a carriage return ends one too, so that nothing can be overwritten."""
    lines = re.split(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", redacted(text).rstrip("\r\n"))
    return [plain(line) for line in lines]
