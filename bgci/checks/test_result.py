"""The result of one test: of the suite, of a test program or of the judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


def folded(cases: Sequence[Case], *, most: int = MOST_CASES) -> list[Case]:
    """About ``most`` of the cases in their order, with bad ones preferred. For each outcome one more case counts the
    omitted ones."""
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
