"""Builds the engine's goal and the rollout driver from the settings of a command."""

from __future__ import annotations

from dataclasses import dataclass

from bgci.appdef.app_definition import instances
from bgci.engine.decisions import Goal, Kind, Policy, Release, Step
from bgci.engine.observation import Observation
from bgci.engine.rollout import Rollout
from bgci.operations.canary_size import CanarySize
from bgci.operations.context import Context
from bgci.operations.kept_baseline import KeptBaseline
from bgci.operations.observer import Observer
from bgci.operations.owned_apps import claim_of
from bgci.operations.rollout_driver import Driver
from bgci.operations.topology import group_of
from bgci.options import Settings


@dataclass(frozen=True)
class GoalRequest:
    """One goal of one release."""

    release: Release
    goal: Goal
    policy: Policy


def goal_request(context: Context, kind: Kind, release: Release, size: CanarySize) -> GoalRequest:
    """Raises UsageError for a canary that is larger than the target."""
    target = instances(release.definition or {})
    goal = Goal(kind, release.revision, target=target, instances=size.of(target) if kind is Kind.CANARY else 1)
    return GoalRequest(release, goal, policy_of(context.settings))


def release_to_undo(context: Context) -> Release:
    """The release of a rollback: the revision in its running group, without a definition."""
    return Release(group_of(context) or context.app_id.strip("/"), context.revision)


def policy_of(settings: Settings) -> Policy:
    return Policy(
        strategy=settings.strategy,
        wave=settings.wave,
        timeout=settings.timeout,
        drain_timeout=settings.drain_timeout,
        force=settings.on_drain_timeout == "force",
        allow_no_health_check=settings.allow_no_health_check,
        cut=settings.cut,
        leave_degraded=settings.on_degraded == "leave",
        progress_timeout=settings.progress_timeout,
    )


def observer_of(context: Context, *, refuse: bool = True) -> Observer:
    """The observer of the group. ``refuse``: another app in the group ends the command."""
    return Observer(context.cluster.marathon, context.balancers, claim=claim_of(context), refuse=refuse)


def driver_of(context: Context) -> Driver:
    observer = observer_of(context)
    return Driver(
        context.cluster.marathon,
        observer,
        journal=context.journal,
        console=context.console,
        baseline=KeptBaseline(context, observer),
    )


def next_step(observer: Observer, request: GoalRequest) -> tuple[Observation, Step]:
    """The current observation, and the next step towards the goal."""
    observation = observer.observe(request.release.group)
    return observation, Rollout(request.goal, request.policy).decide(observation)
