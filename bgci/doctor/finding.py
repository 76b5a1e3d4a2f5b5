"""One result of `bgci doctor`, and the table of all."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from bgci.errors import BgciError, ConflictError, DeadlineError, DeniedError, InvalidError, UnavailableError, UsageError
from bgci.redaction import redacted

# The precedence of failures for the exit code: without a login the rest cannot be checked.
WORST_FIRST: tuple[type[BgciError], ...] = (
    DeniedError,
    UnavailableError,
    ConflictError,
    DeadlineError,
    InvalidError,
    UsageError,
    BgciError,
)
NARROWEST = 60  # columns; a narrower table is hard to read


class Status(str, Enum):
    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class CheckResult:
    """``found``: the fact; ``remedy``: what to do; ``command``: to paste; ``error``: the class of a failure."""

    name: str
    status: Status
    found: str
    remedy: str = ""
    command: str = ""
    error: type[BgciError] | None = None

    def row(self) -> dict[str, Any]:
        """The row for ``--output json``."""
        code = {"exit_code": self.error.code, "exit_name": self.error.name} if self.error else {}
        row = {"name": self.name, "outcome": self.status.value, "found": self.found}
        return {**row, "remedy": self.remedy, "command": self.command, **code}


def ok(name: str, found: str) -> CheckResult:
    return CheckResult(name, Status.OK, found)


def warning(name: str, found: str, remedy: str, command: str = "") -> CheckResult:
    return CheckResult(name, Status.WARNING, found, remedy, command)


def skipped(name: str, why: str, remedy: str = "") -> CheckResult:
    return CheckResult(name, Status.SKIPPED, why, remedy)


def failure(name: str, error: type[BgciError], found: str, remedy: str, command: str = "") -> CheckResult:
    return CheckResult(name, Status.FAILURE, found, remedy, command, error)


def failed(name: str, error: Exception) -> CheckResult:
    """The failure for an exception."""
    if isinstance(error, BgciError):
        return failure(name, type(error), error.message, error.remedy)
    return failure(name, BgciError, f"a bug in bgci: {type(error).__name__}: {error}", "Please report it.")


def verdict(checks: Sequence[CheckResult]) -> BgciError | None:
    """The error of the command: the worst failure; None without a failure."""
    for error in WORST_FIRST:
        found = [check for check in checks if check.status is Status.FAILURE and _kind(check) is error]
        if found:
            others = sum(check.status is Status.FAILURE for check in checks) - 1
            more = f" (and {others} more failed)" if others else ""
            return error(f"{found[0].name}: {found[0].found}{more}", remedy=found[0].remedy)
    return None


def _kind(check: CheckResult) -> type[BgciError]:
    return next((error for error in WORST_FIRST if check.error and issubclass(check.error, error)), BgciError)


def counted(number: int, what: str) -> str:
    """``1 task``, ``2 tasks``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def counts_text(checks: Iterable[CheckResult]) -> str:
    """``12 ok, 1 warning``: how many of each."""
    counts = Counter(check.status for check in checks)
    return ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Status if counts[outcome])


def table(checks: Sequence[CheckResult], width: int) -> list[str]:
    """The rows as text in so many columns. Commands are never broken, so that they can be copied."""
    first = max((len(check.status.value) for check in checks), default=0) + 2
    second = min(24, max((len(check.name) for check in checks), default=0) + 2)
    lines: list[str] = []
    for check in checks:
        head = f"{check.status.value:<{first}}{check.name:<{second - 1}} "
        lines += _wrapped(check.found, head, " " * (first + second), width)
        inner = " " * (first + second)
        if check.remedy:
            lines += _wrapped(check.remedy, f"{inner}-> ", f"{inner}   ", width)
        if check.command:
            lines.append(f"{inner}$  {check.command}")
    return lines


def _wrapped(text: str, first: str, rest: str, width: int) -> list[str]:
    wide = max(width, NARROWEST)
    wrap = textwrap.TextWrapper(
        width=wide, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    # Secrets are hidden before the lines are wrapped: redaction cannot recognise a wrapped secret. GitHub's runner
    # takes a line that begins with ::, also after blanks, for a command (runner: ActionCommand.TryParseV2).
    shown = re.sub(r"(?<!\S)::", ": :", " ".join(redacted(text).split()))
    return wrap.wrap(shown) or [first.rstrip()]
