"""Watches the health of the canary while it is tested."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bgci.checks.canary_health import CanaryHealth
from bgci.checks.model import CANARY
from bgci.checks.test_result import Case, Outcome
from bgci.dcos.marathon import Marathon
from bgci.engine.observation import App
from bgci.errors import BgciError, UnavailableError
from bgci.interruption import SLACK, pause, within
from bgci.operations.context import Context
from bgci.operations.topology import RunningPair, places_of

PAUSE = 1.0  # seconds between two observations
QUICK = 3.0  # seconds; limits of connecting and reading in one observation, because the tests wait for it
UNANSWERED_PAUSE = 10.0  # seconds until the next observation after Marathon did not answer
OUTAGE = 60.0  # seconds; limit of the wait for Marathon after the tests, for example during a leader change


class CanaryLostError(Exception):
    """No tested task of the canary is left, so the tests end early."""


class CanaryWatch:
    """Observes the tested tasks of the canary. The tests call ``poll`` repeatedly; it observes at most once a second.
    It runs in the thread of the tests, so a signal interrupts both."""

    def __init__(self, context: Context, hybrid: RunningPair) -> None:
        self._context = context
        self._places = places_of(hybrid.canary)
        self._app_id = hybrid.canary.id
        self._quick = Marathon(context.cluster.marathon.http.with_limit(QUICK))
        self._epoch = time.time() - time.monotonic()
        self._next = time.monotonic() + PAUSE
        self.health = CanaryHealth(hybrid.canary.app)

    def poll(self) -> None:
        """Observe the canary if the last observation is old enough. Raises CanaryLostError when no tested task is left.

        Without an answer from Marathon the state of the canary is unknown, and the tests go on.
        """
        if time.monotonic() >= self._next and self.is_lost():
            raise CanaryLostError

    def is_lost(self) -> bool:
        """Observe the canary. Returns whether no tested task is left."""
        try:
            app = _app(self._quick, self._app_id)
        except BgciError:
            self._next = time.monotonic() + UNANSWERED_PAUSE
        else:
            self._next = time.monotonic() + PAUSE
            self._note(self.health.see(app, self._now()))
        return self.health.all_lost

    def cases(self) -> Iterator[Case]:
        """One test case for each tested task, after the tests have ended: whether it stayed healthy all the time."""
        with within(self._context.settings.timeout + SLACK):
            last = self._last()
        self._note(self.health.ended(last, self._now()))
        for task_id, place in self._places.items():
            why = self.health.trouble(task_id)
            outcome = Outcome.FAILED if why else Outcome.PASSED
            yield Case(CANARY, "stays healthy", place.name, outcome, why, why, address=place.address)

    def _last(self) -> App | None:
        """The canary, once Marathon has a health result of each tested task. Raises UnavailableError."""
        until, patient = time.monotonic() + self._context.settings.timeout, time.monotonic() + OUTAGE
        while True:
            try:
                app = _app(self._context.cluster.marathon, self._app_id)
            except UnavailableError as error:
                if time.monotonic() > patient:
                    raise
                self._context.console.wait(f"The canary's health is not known: {error.message}")
            else:
                if not self.health.without_result(app) or time.monotonic() > until:
                    return app
                self._context.console.wait(f"Marathon has no health result of every task of {self._app_id} yet.")
            pause(PAUSE)

    def _note(self, health: CanaryHealth) -> None:
        """Keep the new state, and warn about each task that was lost since the earlier one."""
        for task_id in sorted(health.lost.keys() - self.health.lost.keys()):
            place = self._places[task_id]
            self._context.console.warn(f"Canary: {place.name} ({place.address}): {health.trouble(task_id)}.")
        self.health = health

    def _now(self) -> float:
        """Seconds since the epoch, on a clock that never jumps."""
        return self._epoch + time.monotonic()


def _app(marathon: Marathon, app_id: str) -> App | None:
    found = marathon.app(app_id)
    return found.app if found else None
