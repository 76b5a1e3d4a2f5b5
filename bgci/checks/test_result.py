"""What became of one test, whoever ran it: the suite, an external command, the judge."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    PASSED = "passed"
    FAILED = "failed"  # it was tested, and is not as it should be
    ERROR = "error"  # it could not be tested
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Case:
    """One test case. ``suite``: the target it belongs to; ``place``: the instance, address or command; in seconds."""

    suite: str
    name: str
    place: str = ""
    outcome: Outcome = Outcome.PASSED
    message: str = ""  # one line: why it did not pass
    details: str = ""  # what was expected, and what came
    output: str = ""  # what was seen on the way
    seconds: float = 0.0

    @property
    def bad(self) -> bool:
        return self.outcome in (Outcome.FAILED, Outcome.ERROR)

    @property
    def executed(self) -> bool:
        return self.outcome is not Outcome.SKIPPED

    @property
    def title(self) -> str:
        """For people: ``canary: home page at 10.0.0.5:31000``."""
        return f"{self.suite}: {self.name}" + (f" at {self.place}" if self.place else "")


def require_some(cases: Iterable[Case]) -> list[Case]:
    """The cases, and a failed one beside them when none was executed: nothing tested is no success."""
    found = list(cases)
    if not any(case.executed for case in found):
        why = f"all {len(found)} tests were skipped" if found else "there was no test to execute"
        found.append(Case("bgci", "at least one test is executed", outcome=Outcome.FAILED, message=why))
    return found
