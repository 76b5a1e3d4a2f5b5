"""The exit codes: one class each. A message says what happened, why, and what to do; it is caught once, in the CLI."""

from __future__ import annotations

from typing import ClassVar, TypeVar


def _sentence(text: str) -> str:
    """The text with a full stop, unless it is empty, of several lines, or ends with a mark or a command already."""
    return f"{text}." if text and "\n" not in text and text[-1] not in ".!?:)`" else text


class _Explained(BaseException):
    """Message and remedy. ``reported``: a command has reported the error."""

    reported = False

    def __init__(self, message: str, *, remedy: str = "") -> None:
        self.message, self.remedy = _sentence(message), _sentence(remedy)
        super().__init__(self.message)

    def __str__(self) -> str:
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message


T = TypeVar("T", bound=_Explained)


def amended(error: T, *, more: str = "", remedy: str | None = None) -> T:
    """A new error of the same class: ``more`` is another sentence of its message; ``remedy`` replaces its remedy."""
    changed = type(error).__new__(type(error))
    changed.__dict__.update(error.__dict__)
    if more:
        changed.message = f"{error.message.rstrip('.')}. {more}"
    if remedy is not None:
        changed.remedy = remedy
    changed.args = (changed.message,)
    return changed


class BgciError(_Explained, Exception):
    """An expected failure."""

    code: ClassVar[int] = 1
    name: ClassVar[str] = "internal"


class UsageError(BgciError):
    """Wrong flag, variable or configuration file."""

    code = 2
    name = "usage"


class InvalidError(BgciError):
    """Template, app definition, job definition or test suite is not valid."""

    code = 3
    name = "invalid"


class DeniedError(BgciError):
    """Not authenticated, or not permitted."""

    code = 4
    name = "denied"


class UnavailableError(BgciError):
    """Cluster or load balancer unreachable, or failing after retries."""

    code = 5
    name = "unavailable"


class ConflictError(BgciError):
    """The state of the group, a lock or a collision refuses the goal."""

    code = 6
    name = "conflict"


class RejectedError(BgciError):
    """The canary's tests or the judge reject the canary."""

    code = 7
    name = "rejected"


class UnhealthyError(BgciError):
    """The new revision does not become healthy."""

    code = 8
    name = "unhealthy"


class DeadlineError(BgciError):
    """A deadline passed while waiting for something else."""

    code = 9
    name = "timeout"


class RolledBackError(BgciError):
    """``release`` failed and the earlier revision is back in full."""

    code = 10
    name = "rolled-back"


class InconclusiveError(BgciError):
    """Too little traffic or data to judge."""

    code = 11
    name = "inconclusive"


class AbortedError(_Explained):
    """SIGINT (130) or SIGTERM (143), after ``--on-abort`` was carried out.

    A signal comes anywhere, also where a failure is expected and handled. Like KeyboardInterrupt it is not an
    Exception, so a handler of failures does not catch it.
    """

    name = "aborted"

    def __init__(self, message: str, *, signal_number: int, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.exit_code = 128 + signal_number


ERRORS: tuple[type[BgciError], ...] = (
    BgciError,
    UsageError,
    InvalidError,
    DeniedError,
    UnavailableError,
    ConflictError,
    RejectedError,
    UnhealthyError,
    DeadlineError,
    RolledBackError,
    InconclusiveError,
)

NAMES: dict[int, str] = {0: "ok", 130: "aborted", 143: "aborted"} | {error.code: error.name for error in ERRORS}


Failure = BgciError | AbortedError


def from_code(code: int, message: str, *, remedy: str = "") -> Failure:
    """The error that another bgci process ended with, such as the one inside a DC/OS job."""
    if code in (130, 143):
        return AbortedError(message, signal_number=code - 128, remedy=remedy)
    for error in ERRORS:
        if error.code == code:
            return error(message, remedy=remedy)
    return BgciError(message, remedy=remedy)


def exit_code(error: Failure) -> int:
    """The process's exit code for this error."""
    return error.exit_code if isinstance(error, AbortedError) else error.code
