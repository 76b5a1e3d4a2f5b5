"""Whether each task of the canary exists and is healthy during the tests. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from bgci.engine.observation import App

UNHEALTHY_LIMIT = 5.0  # seconds; limit of the time that a task is unhealthy: one missed check takes less


@dataclass(frozen=True)
class CanaryHealth:
    """The tested tasks, and which of them were lost since the tests began. Times in seconds since the epoch.

    ``before``: the canary at the beginning. ``lost``: by task id, since when the task is lost, and why: it disappeared,
    or was unhealthy for longer than ``UNHEALTHY_LIMIT``. A lost task stays lost, even if it returns.
    ``unhealthy_since``: by task id, of tasks that are unhealthy now.
    """

    before: App
    lost: Mapping[str, tuple[float, str]] = field(default_factory=dict)
    unhealthy_since: Mapping[str, float] = field(default_factory=dict)

    def see(self, app: App | None, now: float, *, limit: float = UNHEALTHY_LIMIT) -> CanaryHealth:
        """The next state after an observation of the canary; None: the app no longer exists."""
        tasks = {task.id: task for task in (app.tasks if app else ())}
        lost = dict(self.lost)
        # A new leader of Marathon has no health results for a while (None): the health is unknown then.
        sick = [task.id for task in tasks.values() if task.healthy is False]
        since = {task_id: self.unhealthy_since.get(task_id, now) for task_id in sick}
        for task in self.before.healthy:
            seen = tasks.get(task.id)
            if seen is None or seen.dying:
                lost[task.id] = (lost.get(task.id, (now, ""))[0], self._gone(app, dying=seen is not None))
            elif task.id in since and now - since[task.id] >= limit:
                lost.setdefault(task.id, (since[task.id], f"was unhealthy{_because(app.complaint if app else '')}"))
        return replace(self, lost=lost, unhealthy_since=since)

    def without_result(self, app: App | None) -> bool:
        """Whether Marathon has no health result of a tested task at present."""
        tested = {task.id for task in self.before.healthy} - self.lost.keys()
        return any(task.healthy is None and task.id in tested for task in (app.tasks if app else ()))

    def ended(self, app: App | None, now: float) -> CanaryHealth:
        """The state after the last observation: at the end every tested task must be healthy."""
        seen = self.see(app, now, limit=0.0)
        healthy = {task.id for task in (app.healthy if app else ())}
        rest = {task.id for task in self.before.healthy} - healthy - seen.lost.keys()
        return replace(seen, lost={**seen.lost, **dict.fromkeys(rest, (now, "has no health result"))})

    @property
    def all_lost(self) -> bool:
        return all(task.id in self.lost for task in self.before.healthy)

    def trouble(self, task_id: str) -> str:
        """Why and when a tested task was lost; empty if it stayed healthy."""
        if task_id not in self.lost:
            return ""
        since, what = self.lost[task_id]
        return f"task {task_id} {what}, noticed at {datetime.fromtimestamp(since, timezone.utc):%H:%M:%S} UTC"

    def _gone(self, app: App | None, *, dying: bool) -> str:
        before = self.before
        if app is None:
            return f"disappeared: {before.id} was deleted"
        if dying:
            what = "is being killed"
        elif {task.id for task in app.tasks} - {task.id for task in before.tasks}:
            what = "was replaced by another one"
        else:
            what = "disappeared"
        if app.instances < before.instances:
            return f"{what}: {app.id} was scaled from {before.instances} to {app.instances} instances"
        if app.failure != before.failure:
            return f"{what}{_because(app.failure)}"
        return what


def _because(why: str) -> str:
    return f" ({why})" if why else ""
