"""What somebody else does to the app while no engine watches: during the tests, or between two stages of a release."""

from __future__ import annotations

import time

from bgci.engine.decisions import Goal
from bgci.engine.foreign_hand import ForeignHand
from bgci.engine.observation import Observation
from bgci.errors import ConflictError, DeniedError, UnavailableError
from bgci.operations.context import Context
from bgci.operations.owned_apps import require_owned


class OtherHands:
    """Compares the app with what it was at the last look. What cannot be read is compared at the next look."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._hand = ForeignHand()

    def remember(self) -> None:
        """This command has changed the app itself: the present state is as it should be."""
        if seen := self._seen():
            self._hand = ForeignHand(changes=self._hand.changes).observed(seen)

    def look(self) -> None:
        """Warn of each change since the last look."""
        if not (seen := self._seen()):
            return
        known = len(self._hand.changes)
        self._hand = self._hand.observed(seen)
        for change in self._hand.changes[known:]:
            self._context.console.warn(str(change))

    def require_goal(self, goal: Goal) -> None:
        """Before the next stage. Raises ConflictError where its goal would undo what somebody else has done."""
        self.look()
        if refused := self._hand.refusal(goal):
            raise ConflictError(self._hand.named(refused.message), remedy=refused.remedy)

    def named(self, message: str) -> str:
        """The message, with every change that it does not name."""
        return self._hand.named(message)

    def _seen(self) -> Observation | None:
        try:
            apps = require_owned(self._context).apps
        except (ConflictError, DeniedError, UnavailableError):
            return None  # the next stage says so
        return Observation(time.time(), tuple(one.app for one in apps), ())
