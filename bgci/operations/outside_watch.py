"""Outside changes of the app while no engine runs: during the tests, or between two stages of a release."""

from __future__ import annotations

import time

from bgci.engine.decisions import Goal
from bgci.engine.observation import Observation
from bgci.engine.outside_changes import OutsideChanges
from bgci.errors import ConflictError, DeniedError, UnavailableError
from bgci.operations.context import Context
from bgci.operations.owned_apps import require_owned


class OutsideWatch:
    """Compares the app with its state at the last poll. Skips a poll that fails."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._changes = OutsideChanges()

    def remember(self) -> None:
        """Accept the current state, after a change by this command itself."""
        if seen := self._seen():
            self._changes = OutsideChanges(changes=self._changes.changes).observed(seen)

    def poll(self) -> None:
        """Warn of each change since the last poll."""
        if not (seen := self._seen()):
            return
        known = len(self._changes.changes)
        self._changes = self._changes.observed(seen)
        for change in self._changes.changes[known:]:
            self._context.console.warn(str(change))

    def require_goal(self, goal: Goal) -> None:
        """Check before the next stage. Raises ConflictError if its goal would undo an outside change."""
        self.poll()
        if refused := self._changes.refusal(goal):
            raise ConflictError(self._changes.named(refused.message), remedy=refused.remedy)

    def named(self, message: str) -> str:
        """The message, completed by every change that it does not mention."""
        return self._changes.named(message)

    def _seen(self) -> Observation | None:
        try:
            apps = require_owned(self._context).apps
        except (ConflictError, DeniedError, UnavailableError):
            return None  # the next stage reports the error
        return Observation(time.time(), tuple(one.app for one in apps), ())
