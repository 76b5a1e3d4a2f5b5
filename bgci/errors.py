"""The exit codes: one class each. A message has the event, the reason and the remedy; only the CLI catches it."""

from __future__ import annotations

from typing import ClassVar, TypeVar


def _sentence(text: str) -> str:
    """The text with a full stop, unless it is empty, has several lines, or ends with a mark or a command."""
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


def amended(error: T, *, more: str = "", message: str | None = None, remedy: str | None = None) -> T:
    """A new error of the same class: with another ``message`` or ``remedy``, or ``more`` after its message."""
    changed = type(error).__new__(type(error))
    changed.__dict__.update(error.__dict__)
    if message is not None:
        changed.message = message
    if more:
        changed.message = f"{error.message.rstrip('.')}. {more}"
    if remedy is not None:
        changed.remedy = remedy
    changed.args = (changed.message,)
    return changed


ERRORS: dict[int, type[BgciError]] = {}  # by exit code


class BgciError(_Explained, Exception):
    """An expected failure. Each exit code is one subclass."""

    code: ClassVar[int] = 1
    name: ClassVar[str] = "internal"

    def __init_subclass__(cls, *, code: int = 0, name: str = "") -> None:
        if code:
            cls.code, cls.name = code, name
            ERRORS[code] = cls


class UsageError(BgciError, code=2, name="usage"):
    """Wrong flag, variable or configuration file."""


class InvalidError(BgciError, code=3, name="invalid"):
    """Template, app definition, job definition or test suite is not valid."""


class DeniedError(BgciError, code=4, name="denied"):
    """Not authenticated, or not permitted."""


class UnavailableError(BgciError, code=5, name="unavailable"):
    """Cluster or load balancer unreachable, or failing after retries."""


class ConflictError(BgciError, code=6, name="conflict"):
    """The state of the group, a lock or another app is in conflict with the goal."""


class RejectedError(BgciError, code=7, name="rejected"):
    """The canary's tests or the judge reject the canary."""


class UnhealthyError(BgciError, code=8, name="unhealthy"):
    """The new revision does not become healthy."""


class DeadlineError(BgciError, code=9, name="timeout"):
    """A deadline passed while waiting for something else."""


class RolledBackError(BgciError, code=10, name="rolled-back"):
    """``release`` failed and the earlier revision is back in full."""


class InconclusiveError(BgciError, code=11, name="inconclusive"):
    """Too little traffic or data to judge."""


class AbortedError(_Explained):
    """SIGINT (130) or SIGTERM (143), after ``--on-abort`` was carried out.

    A signal can arrive anywhere, also where code handles failures. Like KeyboardInterrupt it is not an Exception, so
    such code does not catch it.
    """

    name = "aborted"

    def __init__(self, message: str, *, signal_number: int, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.exit_code = 128 + signal_number


ERRORS[BgciError.code] = BgciError
NAMES: dict[int, str] = {0: "ok", 130: "aborted", 143: "aborted"} | {code: error.name for code, error in ERRORS.items()}


Failure = BgciError | AbortedError


def exit_code(error: Failure) -> int:
    """The process's exit code for this error."""
    return error.exit_code if isinstance(error, AbortedError) else error.code
