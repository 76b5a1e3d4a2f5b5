"""Changes of the two apps by somebody else during a run: an operator, an autoscaler, another tool.

The run knows what it asked Marathon for. What differs from that was changed by another hand: it is named, and where to
go on would undo it, the run ends instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from bgci.engine.decisions import Action, Delete, Fail, Goal, Kill, Kind, Restore, Scale
from bgci.engine.observation import App, Observation
from bgci.errors import ConflictError

MOST_RESIZES = 3  # of one app by somebody else: an autoscaler that a run works against

Effect = tuple[str, int | None]  # app id, and its instances after a step; None: it is gone


@dataclass(frozen=True)
class Change:
    """One change by another hand. ``before`` and ``after``: instances, None for an app that is gone."""

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


@dataclass(frozen=True)
class ForeignHand:
    """``known``: the apps as they must be, after all that this run asked for. ``unsure``: what requests without an
    answer may have done. ``partly``: what the last step may have done instead, because a task to kill had ended."""

    known: Mapping[str, App] = field(default_factory=dict)
    unsure: frozenset[Effect] = frozenset()
    partly: frozenset[Effect] = frozenset()
    changes: tuple[Change, ...] = ()

    def observed(self, observation: Observation) -> ForeignHand:
        seen = {app.id: app for app in observation.apps}
        found = [*_resized(self.known, seen, self.unsure | self.partly), *_restarted(self.known, seen)]
        return replace(self, known=seen, partly=frozenset(), changes=(*self.changes, *found))

    def asked(self, step: Action, observation: Observation | None, *, answered: bool) -> ForeignHand:
        """After a step. ``answered``: Marathon has accepted it; otherwise nobody knows."""
        effects = dict(_effects(step, observation))
        if not answered:
            return replace(self, unsure=self.unsure | set(effects.items()))
        known, partly = dict(self.known), set[Effect]()
        for app_id, instances in effects.items():
            if instances is None:
                known.pop(app_id, None)
            elif app_id in known:
                if isinstance(step, Kill):
                    partly |= {(app_id, more) for more in range(instances, known[app_id].instances + 1)}
                known[app_id] = replace(known[app_id], instances=instances)
        return replace(self, known=known, partly=frozenset(partly))

    def grown(self, app_id: str) -> bool:
        """Whether somebody else has scaled this app up."""
        return any(change.app_id == app_id and (change.after or 0) > change.before for change in self.changes)

    def named(self, message: str) -> str:
        """The message, with every change that it does not name."""
        return " ".join([message, *(str(change) for change in self.changes if str(change) not in message)])

    def refusal(self, goal: Goal) -> Fail | None:
        """Why the run ends where it is: to go on would undo the change. A rollback goes on, for it goes that way."""
        if goal.kind is Kind.ROLLBACK:
            return None
        for change in self.changes:
            ours = change.revision == goal.revision
            resized = [one for one in self.changes if one.app_id == change.app_id and not one.restarted]
            if ours and change.shrinks:
                return _refused(str(change), goal)
            if not ours and goal.kind is Kind.CANARY and (change.after == 0 or change.after is None):
                return _refused(f"{change} Nothing but {goal.revision} is left to serve.", goal)
            if len(resized) >= MOST_RESIZES:
                sizes = ", ".join(str(one.after) for one in resized)
                return _refused(f"{change.app_id} was resized {len(resized)} times by somebody else ({sizes}).", goal)
        return None


def _refused(what: str, goal: Goal) -> Fail:
    return Fail(
        f"{what} {goal.kind.value} of {goal.revision} ends here, for to go on would undo that.",
        f"Run `bgci {goal.kind.value}` again to go on from what runs now, or `bgci rollback` of {goal.revision} to go "
        "back. Stop an autoscaler of the app for the time of a release.",
        ConflictError,
    )


def _resized(known: Mapping[str, App], seen: Mapping[str, App], unsure: frozenset[Effect]) -> Iterator[Change]:
    for app_id, app in known.items():
        after = seen[app_id].instances if app_id in seen else None
        if after != app.instances and (app_id, after) not in unsure:
            yield Change(app_id, app.revision, app.instances, after)


def _restarted(known: Mapping[str, App], seen: Mapping[str, App]) -> Iterator[Change]:
    """Apps of which Marathon has another configuration: scaling makes none, a restart and any other change do."""
    for app_id, app in seen.items():
        before = known.get(app_id)
        if before and before.configured_at and before.configured_at != app.configured_at:
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
