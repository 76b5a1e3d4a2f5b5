"""Rollouts of a journal through today's engine: each observation, the recorded decision, and today's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from bgci.engine.decisions import Action, Done, Fail, Goal, Policy, Step, Wait
from bgci.engine.memory import starting_memory
from bgci.engine.observation import App, Observation
from bgci.engine.rollout import Rollout
from bgci.reporting.journal_reader import Entry, entries
from bgci.reporting.rollout_log import counted, step_text
from bgci.reporting.rollout_record import Json, decode_goal, decode_step, decoded


@dataclass(frozen=True)
class Moment:
    """One observation. ``recorded`` is None for an unknown step, of another version. ``refused``: why the recorded step
    was not performed."""

    now: float
    observation: Observation | None
    recorded: Step | None
    today: Step
    refused: str = ""

    @property
    def differs(self) -> bool:
        return self.recorded is None or _essence(self.recorded) != _essence(self.today)


@dataclass
class Run:
    """One run of the engine. ``command``: its stage, if the result of the stage is in the journal."""

    goal: Goal
    policy: Policy
    moments: list[Moment] = field(default_factory=list)

    @property
    def differences(self) -> list[Moment]:
        return [moment for moment in self.moments if moment.differs]


def replay(lines: Iterable[str]) -> Iterator[Run]:
    """The runs of a journal, without events before the first goal."""
    run: list[Entry] = []
    for entry in entries(lines):
        if entry.kind == "goal" and run:
            yield from _played(run)
            run = []
        if run or entry.kind == "goal":
            run.append(entry)
    if run:
        yield from _played(run)


def _played(recorded: list[Entry]) -> Iterator[Run]:
    """The run; none where its goal cannot be read, such as one of another version."""
    first = recorded[0].event
    try:
        run = Run(*decode_goal(first))
        kept = decoded(App, first["kept"]) if first.get("kept") else None
        known = decoded(tuple[App, ...], first.get("known") or {})
    except (AttributeError, KeyError, TypeError, ValueError):
        return
    rollout = Rollout(run.goal, run.policy, starting_memory(kept, known))
    pending: Step | None = None  # a recorded action: performed, unless the next event says otherwise
    created: App | None = None  # by that action, as Marathon has confirmed
    for entry in recorded[1:]:
        event, observation = entry.event, entry.observation
        if observation:
            if isinstance(pending, Action):
                rollout.performed(pending, created)
            created, before = None, rollout.memory
            today = rollout.decide(observation)
            pending = _known(entry.step)
            run.moments.append(moment := Moment(observation.now, observation, pending, today))
            if moment.differs and pending:  # continue from the recorded decision
                rollout.memory = before.observed(observation, run.goal).decided(pending, observation.now)
        elif entry.kind == "unobserved":
            pending = _known(entry.step)
            today = rollout.unreachable(float(event["now"]), pending.reason if isinstance(pending, Wait) else "")
            run.moments.append(Moment(float(event["now"]), None, pending, today))
        elif entry.kind == "created":
            created = _created(event)
        elif entry.kind == "refused" and run.moments:
            lost, pending = pending, None
            now, problem = float(event["now"]), str(event.get("problem") or "")
            run.moments[-1] = replace(run.moments[-1], refused=problem or event["reason"])
            if event["reason"] == "unanswered" and isinstance(lost, Action):
                rollout.unanswered(now, problem, lost)
            if event["reason"] == "lock":
                rollout.locked(now, problem)
    yield run


def _created(event: Json) -> App | None:
    try:
        return decoded(App, event["app"])  # type: ignore[no-any-return]
    except (AttributeError, KeyError, ValueError, TypeError):
        return None


def _known(step: Json) -> Step | None:
    try:
        return decode_step(step)
    except (KeyError, ValueError, TypeError):
        return None


def _essence(step: Step) -> object:
    """The decision without its texts."""
    match step:
        case Wait(cause):
            return ("wait", cause)
        case Done():
            return "done"
        case Fail(_, _, ending):
            return ("fail", ending)
        case _:
            return step


# -- as text ----------------------------------------------------------------------------------------------------------


def run_lines(run: Run) -> Iterator[str]:
    """The run as text: seconds since its first observation, each new observation, each decision and its reason."""
    goal, start = run.goal, run.moments[0].now if run.moments else 0.0
    yield f"{goal.kind.value} {goal.revision} to {counted(goal.wanted, 'instance')} ({run.policy.strategy})"
    last = ""
    for moment in run.moments:
        text = observation_text(moment.observation) if moment.observation else "Marathon does not answer"
        if text != last:
            yield f"{moment.now - start:8.1f}s   {text}"
            last = text
        refused = f" Not performed: {moment.refused}" if moment.refused else ""
        # A journal of an earlier version has no reason of an action.
        recorded = moment.recorded if moment.differs or not moment.recorded else _with_reason(moment)
        yield f"{'':9}   -> {decision_text(recorded, goal.revision)}{refused}"
        if moment.differs:
            yield f"{'':9}   !! today's engine: {decision_text(moment.today, goal.revision)}"
    times = [f"{moment.now - start:.1f}s" for moment in run.differences]
    end = f"Today's engine decides differently at {', '.join(times)}." if times else "Today's engine decides the same."
    yield f"{counted(len(run.moments), 'observation')}. {end}"


def _with_reason(moment: Moment) -> Step | None:
    recorded, today = moment.recorded, moment.today
    if isinstance(recorded, Action) and isinstance(today, Action) and not recorded.because:
        return replace(recorded, because=today.because)
    return recorded


def observation_text(observation: Observation) -> str:
    """An observation in one line: per app its instances, healthy tasks, and the servers of each load balancer."""
    apps = []
    for app in observation.apps:
        servers = [
            "+".join(
                f"{count} {name}"
                for name in ("up", "down", "maint")
                if (count := sum(replica.server(task.id).serving.value == name for task in app.tasks))
            )
            or "none"
            for replica in observation.replicas
        ]
        apps.append(f"{app.name}: {len(app.healthy)}/{app.instances} healthy [{' | '.join(servers)}]")
    old = sum(len(replica.older_workers) for replica in observation.replicas)
    unread = [replica.url for replica in observation.replicas if replica.problem]
    parts = [*apps, *([counted(old, "older worker")] if old else []), *(f"{url} not readable" for url in unread)]
    return "; ".join(parts) or "no app runs"


def decision_text(step: Step | None, revision: str) -> str:
    match step:
        case None:
            return "an unknown step, of another version of bgci"
        case Wait(cause, reason):
            return f"wait ({cause.value}): {reason}"
        case Done(message):
            return f"done: {message}"
        case Fail(message, remedy, ending):
            return f"fail ({ending.name}): {message} {remedy}"
        case _:
            return step_text(step, revision)
