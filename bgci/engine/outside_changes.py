"""Outside changes: changes of the two apps by an operator, an autoscaler or another tool during a run.

The run compares each observation with its own requests to Marathon. It reports every difference as an outside change,
and ends if going on would undo the change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from bgci.engine.decisions import Action, Delete, Fail, Goal, Kill, Kind, Restore, Scale
from bgci.engine.observation import App, Observation, Task
from bgci.errors import ConflictError

MOST_RESIZES = 3  # outside changes of one app's size: probably an autoscaler works against the run
SHOWN_AFTER = 1.0  # seconds until Marathon lists an app whose creation it has confirmed

Effect = tuple[str, int | None]  # app id, and its instances after a step; None: deleted


@dataclass(frozen=True)
class Change:
    """One outside change. ``before`` and ``after``: instances; None: deleted."""

    app_id: str
    revision: str | None
    before: int
    after: int | None
    restarted: bool = False

    def __str__(self) -> str:
        if self.restarted:
            return f"{self.app_id} was restarted or changed by somebody else."
        if self.after is None:
            return f"{self.app_id} was deleted by somebody else."
        if self.after == 0:
            return f"{self.app_id} was suspended (0 instances) by somebody else."
        return f"{self.app_id} was scaled from {self.before} to {self.after} instances by somebody else."

    @property
    def shrinks(self) -> bool:
        return not self.restarted and (self.after is None or self.after < self.before)

    @property
    def ends(self) -> bool:
        """Whether no instance of the app is left."""
        return not self.restarted and not self.after

    @property
    def resized(self) -> bool:
        return not self.restarted and self.after is not None


@dataclass(frozen=True)
class OutsideChanges:
    """All outside changes of a run so far.

    ``known``: the expected apps, after all requests of this run. ``created``: confirmed new apps that were not observed
    yet, and when. ``unsure``: possible effects of requests without an answer. ``partly``: possible smaller effects of
    the last kill, because a task had ended before. ``restarted``: ids of tasks that an outside restart replaces.
    """

    known: Mapping[str, App] = field(default_factory=dict)
    created: Mapping[str, tuple[App, float]] = field(default_factory=dict)
    unsure: frozenset[Effect] = frozenset()
    partly: frozenset[Effect] = frozenset()
    changes: tuple[Change, ...] = ()
    restarted: frozenset[str] = frozenset()

    def observed(self, observation: Observation) -> OutsideChanges:
        seen = {app.id: app for app in observation.apps}
        late = {
            app_id: (app, at)
            for app_id, (app, at) in self.created.items()
            if app_id not in seen and observation.now - at < SHOWN_AFTER
        }
        expected = {**{app_id: app for app_id, (app, _) in self.created.items() if app_id not in late}, **self.known}
        restarts = list(_restarted(expected, seen, {app_id for app_id, _ in self.unsure}))
        return replace(
            self,
            known=seen,
            created=late,
            partly=frozenset(),
            changes=(*self.changes, *_resized(expected, seen, self.unsure | self.partly), *restarts),
            restarted=self.restarted | {task.id for one in restarts for task in expected[one.app_id].tasks},
        )

    def asked(
        self, step: Action, observation: Observation | None, *, answered: bool, created: App | None = None
    ) -> OutsideChanges:
        """The next state after a step. ``answered``: Marathon has accepted it; otherwise its effect is unknown.
        ``created``: the confirmed new app."""
        effects = dict(_effects(step, observation))
        if not answered:
            return replace(self, unsure=self.unsure | set(effects.items()))
        known, new, partly = dict(self.known), dict(self.created), set[Effect]()
        if created and observation:
            new[created.id] = created, observation.now
        for app_id, instances in effects.items():
            if instances is None:
                known.pop(app_id, None)
                new.pop(app_id, None)
            elif app_id in known:
                if isinstance(step, Kill):
                    partly |= {(app_id, more) for more in range(instances, known[app_id].instances + 1)}
                known[app_id] = replace(known[app_id], instances=instances, last_scaling_at=0.0)
        return replace(self, known=known, created=new, partly=frozenset(partly))

    def grown(self, app_id: str) -> bool:
        """Whether an outside change has scaled this app up."""
        return any(change.app_id == app_id and (change.after or 0) > change.before for change in self.changes)

    def named(self, message: str) -> str:
        """The message, completed by every change that it does not mention."""
        return completed(message, self.texts())

    def texts(self) -> Iterator[str]:
        """One sentence for each change, and one for all sizes of an app that was resized repeatedly."""
        for app_id in dict.fromkeys(change.app_id for change in self.changes):
            often = self._resized_often(app_id)
            sizes = [one for one in self.changes if one.app_id == app_id and not (often and one.resized)]
            yield from dict.fromkeys([*([often] if often else []), *map(str, sizes)])

    def _resized_often(self, app_id: str) -> str:
        """A sentence about repeated resizes, probably by an autoscaler; empty without them."""
        sizes = [one.after for one in self.changes if one.app_id == app_id and one.resized]
        if len(sizes) < MOST_RESIZES:
            return ""
        return f"{app_id} was resized {len(sizes)} times by somebody else ({', '.join(map(str, sizes))})."

    def refusal(self, goal: Goal) -> Fail | None:
        """The failure that ends the run, because going on would undo a change. A rollback never ends for a change."""
        if goal.kind is Kind.ROLLBACK:
            return None
        for change in self.changes:
            ours = change.revision == goal.revision
            if ours and change.shrinks:
                return _refused(str(change), _after_ours(change, goal), goal)
            if not ours and goal.kind is Kind.CANARY and change.ends:
                canary = any(app.revision == goal.revision for app in self.known.values())
                left = f"Only {goal.revision} is left to serve." if canary else "No other app is left to serve."
                return _refused(f"{change} {left}", _after_the_baseline(change, goal), goal)
            if often := self._resized_often(change.app_id):
                remedy = f"Stop the autoscaler of {change.app_id} until the release has ended, and run the same command"
                return _refused(often, f"{remedy} again.", goal)
        return None


def completed(message: str, texts: Iterable[str]) -> str:
    """The message, completed by every text that it does not have."""
    more = [text for text in texts if text not in message]
    return " ".join([f"{message.rstrip('.')}.", *more]) if more else message


def compared(app: App, revision: str) -> App:
    """Only the facts of an app with which a later observation is compared. ``revision``: of the release, whose tasks
    must not turn bad."""
    tasks = tuple(Task(task.id, None) for task in app.tasks) if app.revision == revision else ()
    return App(
        app.id,
        app.instances,
        tasks,
        app.revision,
        last_scaling_at=app.last_scaling_at,
        configured_at=app.configured_at,
    )


def _refused(what: str, remedy: str, goal: Goal) -> Fail:
    return Fail(
        f"{what} `bgci {goal.kind.value}` of {goal.revision} ends here, because going on would undo that.",
        remedy,
        ConflictError,
    )


def _after_ours(change: Change, goal: Goal) -> str:
    again = f"Run `bgci {goal.kind.value}` of {goal.revision} again"
    if change.after is None:
        return f"{again} to create it again. `bgci status` shows the running apps."
    return f"{again} to scale it up, or `bgci rollback` of {goal.revision} to remove it."


def _after_the_baseline(change: Change, goal: Goal) -> str:
    rest = f"`bgci promote` of {goal.revision} to serve with it alone"
    if change.after is None:
        return f"Run {rest}."
    return f"Run `bgci rollback` of {goal.revision} to scale {change.app_id} up again, or {rest}."


def _resized(known: Mapping[str, App], seen: Mapping[str, App], unsure: frozenset[Effect]) -> Iterator[Change]:
    for app_id, app in known.items():
        after = seen[app_id].instances if app_id in seen else None
        if after != app.instances and (app_id, after) not in unsure:
            yield Change(app_id, app.revision, app.instances, after)


def _restarted(known: Mapping[str, App], seen: Mapping[str, App], unsure: Collection[str]) -> Iterator[Change]:
    """Apps with a new configuration in Marathon: a restart or any change except scaling causes one.

    A restart by Marathon 1.7 looks like a scaling to the same size. ``unsure``: ids of apps that a request without an
    answer may have scaled.
    """
    for app_id, app in seen.items():
        before = known.get(app_id)
        if not before:
            continue
        configured = before.configured_at and before.configured_at != app.configured_at
        scaled = before.last_scaling_at and before.last_scaling_at != app.last_scaling_at and app_id not in unsure
        if configured or (scaled and before.instances == app.instances):
            yield Change(app_id, app.revision, app.instances, app.instances, restarted=True)


def _effects(step: Action, observation: Observation | None) -> Iterator[Effect]:
    match step:
        case Scale(app_id, instances) | Restore(app_id, instances):
            yield app_id, instances
        case Delete(app_id):
            yield app_id, None
        case Kill(task_ids):
            for app in observation.apps if observation else ():
                count = sum(task.id in task_ids for task in app.tasks)
                if count:
                    yield app.id, max(0, app.instances - count)
