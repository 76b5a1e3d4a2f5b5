"""Times of one rollout: its waits by cause, and the pause before the next observation."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from bgci import interruption
from bgci.engine.decisions import Cause, Step, Wait

QUICK_POLL = 0.01  # seconds: while a placeholder is launched
FASTEST_POLL = 0.1  # right after a change
SLOWEST_POLL = 0.5


@dataclass
class Stopwatch:
    """Seconds. ``waited``: by cause, without the last pause of each wait, which is not the platform's time."""

    total: float = 0.0
    waited: dict[Cause, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)
    _cause: Cause | None = None
    _since: float = 0.0
    _pause: float = FASTEST_POLL

    @property
    def limit(self) -> float:
        """The physical limit: start-up and health, load balancers, drains, ends of tasks."""
        return sum(self.waited.values())

    @property
    def overhead(self) -> float:
        """Overhead over the limit, as a share of it; 0 without any wait."""
        return (self.total - self.limit) / self.limit if self.limit else 0.0

    @property
    def launches(self) -> bool:
        """Whether the wait is for an instance whose launch must be observed at once."""
        return self._cause is Cause.ROOM

    def note(self, step: Step) -> None:
        """Add the wait that this step ends."""
        cause = step.cause if isinstance(step, Wait) else None
        if cause is not self._cause:
            self._book()
            self._cause, self._since = cause, time.monotonic()
            self._pause = QUICK_POLL if self.launches else FASTEST_POLL

    def sleep(self) -> None:
        """Seconds until the next observation; they grow during a wait."""
        self._pause = min(SLOWEST_POLL, self._pause * 1.4)
        interruption.pause(self._pause)

    def stop(self) -> None:
        self._book()
        self.total = time.monotonic() - self._began

    def _book(self) -> None:
        if self._cause is not None:
            ended = max(0.0, time.monotonic() - self._since - self._pause)
            self.waited[self._cause] = self.waited.get(self._cause, 0.0) + ended
            self._cause = None
