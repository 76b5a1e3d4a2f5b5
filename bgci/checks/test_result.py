"""The result of one test: of the suite, of a test program or of the judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum


class Outcome(Enum):
    PASSED = "passed"
    FAILED = "failed"  # the test was run and failed
    ERROR = "error"  # the test could not be run
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Case:
    """One test case. ``suite``: the target it belongs to; ``place``: ``instance 2``, or the command; in seconds.

    CI systems compare a test's name from one run to the next. ``place`` is a part of that name, so it contains no
    address; ``address`` has it. ``began``: the UTC time in ISO 8601 at which its suite began.
    """

    suite: str
    name: str
    place: str = ""
    outcome: Outcome = Outcome.PASSED
    message: str = ""  # one line: why it did not pass
    details: str = ""  # expected and actual
    output: str = ""  # its output
    seconds: float = 0.0
    address: str = ""
    began: str = ""

    @property
    def bad(self) -> bool:
        return self.outcome in (Outcome.FAILED, Outcome.ERROR)

    @property
    def executed(self) -> bool:
        return self.outcome is not Outcome.SKIPPED

    @property
    def title(self) -> str:
        """Such as ``canary: home page at instance 2 (10.0.0.5:31000)``."""
        where = f" at {self.place}" if self.place else ""
        return f"{self.suite}: {self.name}{where}" + (f" ({self.address})" if self.address else "")


def require_some(cases: Iterable[Case]) -> list[Case]:
    """The cases; with a failed one if none was executed, because a run without a test must not pass."""
    found = list(cases)
    if not any(case.executed for case in found):
        why = f"All {len(found)} tests were skipped." if found else "The suite has no test."
        found.append(Case("bgci", "at least one test is executed", outcome=Outcome.FAILED, message=why))
    return found


MOST_CASES = 2_000  # limit of the cases of one test program: CI systems show no more, and each takes time and memory
MOST_TEXT = 2_000_000  # characters; limit of all their details and output together
TOO_MANY = f"Only {MOST_CASES} tests of one program are listed; its own JUnit file has them all."
LEFT_OUT = "(left out: the test program's own JUnit file has it)"


class Folding:
    """Keeps about ``most`` of many cases in their order: all that fit, bad ones before others. For each outcome, one
    more case counts those that are left out."""

    def __init__(self, most: int = MOST_CASES) -> None:
        self._most = most
        self._kept: list[Case] = []
        self._left: Counter[Outcome] = Counter()
        self._text = 0
        self.count = 0
        self.executed = False

    def add(self, case: Case) -> None:
        self.count += 1
        self.executed = self.executed or case.executed
        self._text += len(case.details) + len(case.output)
        if self._text > MOST_TEXT and (case.details or case.output):
            case = replace(case, details=case.details and LEFT_OUT, output=case.output and LEFT_OUT)
        self._kept.append(case)
        if len(self._kept) > 2 * self._most:  # not each time, because it takes a while
            self._fold()

    def _fold(self) -> None:
        ranked = sorted(range(len(self._kept)), key=lambda index: (not self._kept[index].bad, index))
        self._left.update(self._kept[index].outcome for index in ranked[self._most :])
        self._kept = [self._kept[index] for index in sorted(ranked[: self._most])]

    def cases(self) -> list[Case]:
        self._fold()
        rest = [
            Case(self._kept[0].suite, f"{count} more tests: {outcome.value}", outcome=outcome, message=TOO_MANY)
            for outcome, count in self._left.items()
        ]
        return [*self._kept, *rest]
