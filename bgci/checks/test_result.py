"""The result of one test: of the suite, of a test program or of the judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    PASSED = "passed"
    FAILED = "failed"  # it was tested, and is not as it should be
    ERROR = "error"  # it could not be tested
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Case:
    """One test case. ``suite``: the target it belongs to; ``place``: ``instance 2``, or the command; in seconds.

    ``place`` stands in the name that CI systems compare from one run to the next, so that it holds no address; that is
    ``address``. ``began``: the UTC time in ISO 8601 at which its suite began.
    """

    suite: str
    name: str
    place: str = ""
    outcome: Outcome = Outcome.PASSED
    message: str = ""  # one line: why it did not pass
    details: str = ""  # what was expected, and what came
    output: str = ""  # what was seen on the way
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
        """For people: ``canary: home page at instance 2 (10.0.0.5:31000)``."""
        where = f" at {self.place}" if self.place else ""
        return f"{self.suite}: {self.name}{where}" + (f" ({self.address})" if self.address else "")


def require_some(cases: Iterable[Case]) -> list[Case]:
    """The cases, and a failed one beside them when none was executed: a run without a test must not pass."""
    found = list(cases)
    if not any(case.executed for case in found):
        why = f"all {len(found)} tests were skipped" if found else "there was no test to execute"
        found.append(Case("bgci", "at least one test is executed", outcome=Outcome.FAILED, message=why))
    return found


MOST_CASES = 2_000  # of one test program that a report lists: no CI system shows more, and each costs time and memory


def folded(cases: Sequence[Case], *, most: int = MOST_CASES) -> list[Case]:
    """The cases in their order, at most about ``most`` of them: bad ones first, then others; those that are left out
    become one case for each outcome that says how many they are."""
    if len(cases) <= most:
        return list(cases)
    ranked = sorted(range(len(cases)), key=lambda index: (not cases[index].bad, index))
    listed = set(ranked[:most])
    left = Counter(cases[index].outcome for index in ranked[most:])
    rest = [
        Case(cases[0].suite, f"{count} more tests: {outcome.value}", outcome=outcome, message=TOO_MANY)
        for outcome, count in left.items()
    ]
    return [cases[index] for index in sorted(listed)] + rest


TOO_MANY = f"Only {MOST_CASES} tests of one program are listed; its own JUnit file has them all."
