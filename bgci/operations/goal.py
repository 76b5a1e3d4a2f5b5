"""Stages ``canary``, ``promote`` and ``rollback``: one goal, in this process or as a DC/OS Job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bgci.appdef.app_definition import instances
from bgci.engine.decisions import Create, Done, Fail, Goal, Kind, Policy, Release, Wait
from bgci.engine.rollout import Rollout
from bgci.errors import AbortedError, BgciError, ConflictError, UsageError
from bgci.operations.context import Context, stage
from bgci.operations.job_run import follow
from bgci.operations.observer import Observer
from bgci.operations.rendering import canary_size, load
from bgci.operations.rollout_driver import Driver, Outcome
from bgci.options import OnDrainTimeout, OnFailure, Settings, Via
from bgci.reporting.diff import difference
from bgci.reporting.rollout_log import described, summary, told


def run_goal(kind: Kind, settings: Settings) -> None:
    """Reach the goal. Raises the error whose exit code says why not."""
    with stage(kind.value, settings) as context:
        if kind is Kind.ROLLBACK:
            reach(context, kind)
            return
        with heeding_on_abort(context):
            reach(context, kind)


@contextmanager
def heeding_on_abort(context: Context) -> Iterator[None]:
    """On a signal: go back if --on-abort says so, then raise it.

    CI systems send a second signal some seconds after the first: it ends the way back in this process, which the same
    rollback run again finishes; a rollback's job goes on by itself.
    """
    try:
        yield
    except AbortedError as aborted:
        if context.settings.on_abort is OnFailure.ROLLBACK:
            context.console.warn("aborted: rolling back, as --on-abort says")
            _go_back(context, aborted)
        raise


def _go_back(context: Context, aborted: AbortedError) -> None:
    try:
        with context.part("rollback"):
            reach(context, Kind.ROLLBACK)
        aborted.message += "; rolled back, as --on-abort says"
        aborted.remedy = ""
    except (BgciError, AbortedError) as error:
        context.console.warn(f"the way back has not ended: {error.message}")


def reach(context: Context, kind: Kind) -> None:
    """The goal by whichever way is asked for."""
    if as_job(context) and not context.settings.dry_run:
        follow(context, kind)
    else:
        directly(context, kind)


def as_job(context: Context) -> bool:
    """Whether goals run as DC/OS Jobs here. Raises UsageError where they are asked for and cannot."""
    via = context.settings.via
    if via is Via.DIRECT or context.settings.app_definition:
        return False
    there = context.cluster.metronome is not None and context.cluster.metronome.available()
    if via is Via.JOB and not there:
        raise UsageError("--via job needs Metronome, which does not answer here", remedy="use --via direct")
    return there


def directly(context: Context, kind: Kind) -> None:
    """Run the engine in this process."""
    release, goal = asked(context, kind)
    context.cluster.marathon.colours(context.app_id)  # a baseline that one may not read would be taken for none
    if context.settings.dry_run:
        plan(context, observer_of(context), release, goal)
        return
    driver = engine(context)
    context.console.info(
        f"goal: {kind.value} {release.revision} of {context.app_id} ({context.settings.strategy.value})"
    )
    try:
        outcome = driver.run(release, goal, policy(context.settings))
    except (BgciError, AbortedError):
        if driver.last:
            context.result["state"] = summary(driver.last)
        raise
    tell(context, outcome)


def engine(context: Context) -> Driver:
    return Driver(
        context.cluster.marathon,
        observer_of(context),
        journal=context.journal,
        reporter=context.console,
    )


def observer_of(context: Context) -> Observer:
    from bgci.dcos.idle_probe import answers_ok

    return Observer(context.cluster.marathon, context.balancers, idle=answers_ok)


def asked(context: Context, kind: Kind) -> tuple[Release, Goal]:
    """The release and its goal."""
    release = load(context)
    target = instances(release.definition or {})
    size = canary_size(context.settings, release) if kind is Kind.CANARY else 1
    return release, Goal(kind, release.revision, target=target, instances=size)


def policy(settings: Settings) -> Policy:
    return Policy(
        strategy=settings.strategy.value,
        wave=settings.wave,
        timeout=settings.timeout,
        drain_timeout=settings.drain_timeout,
        force=settings.on_drain_timeout is OnDrainTimeout.FORCE,
        allow_no_health_check=settings.allow_no_health_check,
    )


def plan(context: Context, observer: Observer, release: Release, goal: Goal) -> None:
    """--dry-run: what runs, and what would be done next; raises what the goal would raise at once."""
    seen = observer.observe(release.group)
    step = Rollout(goal, policy(context.settings)).decide(seen)
    for app in seen.apps:
        context.console.info(f"runs: {app.id} revision {app.revision or 'unknown'}, {app.instances} instances")
    difference_of = ""
    if isinstance(step, Create):
        difference_of = difference(observer.serving_definition(), observer.new_app(step, seen, release))
    match step:
        case Done(message):
            context.plan(message)
        case Fail(message, remedy):
            raise ConflictError(message, remedy=remedy)
        case Wait():
            context.plan(f"Wait. {step.reason}")
        case _:
            context.plan(f"{told(step, release)} Then go on to {goal.kind.value} {goal.revision}.", difference_of)
            context.result["next_step"] = described(step)


def tell(context: Context, outcome: Outcome) -> None:
    """The outcome for people and for ``result.json``."""
    times = outcome.times
    message = outcome.message if outcome.actions else f"Nothing to do. {outcome.message}"
    context.result |= {
        "message": message,
        "changed": outcome.actions > 0,
        "state": summary(outcome.observation),
        "timings": {
            "total_seconds": round(times.total, 3),
            "limit_seconds": round(times.limit, 3),
            "overhead": round(times.overhead, 3),
            "waited_seconds": {cause.value: round(spent, 3) for cause, spent in times.waited.items()},
        },
    }
    context.console.result(
        f"{message} ({times.total:.1f}s, physical limit {times.limit:.1f}s, overhead {times.overhead:.0%})"
    )
