"""Outside changes of the app while no engine runs: during the tests, or between two stages of a release."""

from __future__ import annotations

import time

from bgci.engine.decisions import Goal
from bgci.engine.observation import App, Observation
from bgci.engine.outside_changes import Change, OutsideChanges, completed
from bgci.errors import ConflictError, DeniedError, UnavailableError
from bgci.interruption import left
from bgci.operations.context import Context
from bgci.operations.owned_apps import group_apps, require_owned


class OutsideWatch:
    """Compares the apps with ``Context.known``. Skips a poll that fails."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._found: tuple[Change, ...] = ()

    def remember(self) -> None:
        """Accept the current state, unless the engine has just observed it."""
        if not self._context.known:
            self._context.known = seen_apps(self._context) or ()

    def poll(self) -> None:
        """Warn of each change since the last observation."""
        apps = seen_apps(self._context)
        if apps is None:
            return
        known = len(self._found)
        self._found = self._changes().observed(Observation(time.time(), apps, ())).changes
        self._context.known = apps
        for change in self._found[known:]:
            self._context.console.warn(str(change))
        self._context.notice(map(str, self._found[known:]))

    def require_goal(self, goal: Goal) -> None:
        """Check before the next stage. Raises ConflictError if its goal would undo an outside change."""
        self.poll()
        if refused := self._changes().refusal(goal):
            raise ConflictError(self.named(refused.message), remedy=refused.remedy)

    def named(self, message: str) -> str:
        """The message, completed by every change that it does not mention."""
        return completed(message, self._context.noticed)

    def _changes(self) -> OutsideChanges:
        return OutsideChanges(known={app.id: app for app in self._context.known}, changes=self._found)


def seen_apps(context: Context) -> tuple[App, ...] | None:
    """The apps as they are now; None where that cannot be read."""
    try:
        return group_apps(require_owned(context))
    except (ConflictError, DeniedError, UnavailableError):
        if left() <= 0:
            raise
        return None  # the next stage reports the error
