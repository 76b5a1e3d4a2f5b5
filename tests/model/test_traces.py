"""Recorded runs are runs of the model: on the sandbox, and on a real marathon-lb."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
from pathlib import Path

import pytest
from cluster import Rules
from follower import Follower, look

from bgci.engine.decisions import Action
from bgci.engine.observation import App, Observation
from bgci.reporting.journal_replay import Run, replay

# What the model leaves out (docs/proof.md): another hand, lost answers, a load balancer that is away; a third app's id.
OUTSIDE = (
    "surplus",
    "hand_adds_to_the_baseline",
    "hand_stops_the_canary",
    "deaf",
    "kill_without_effect",
    "lost_answer",
    "replica_lost",
)
JOURNALS = [
    journal
    for journal in sorted((Path(__file__).parents[1] / "replay" / "journals").glob("*.jsonl.gz"))
    if not journal.name.startswith(OUTSIDE)
]


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda journal: journal.name.removesuffix(".jsonl.gz"))
def test_each_observation_of_a_recorded_run_is_explained_by_the_model(journal: Path) -> None:
    runs = list(replay(gzip.decompress(journal.read_bytes()).decode().splitlines()))
    assert runs
    for run in runs:
        assert followed(run) >= min(2, len(run.moments))


def test_a_run_in_which_another_task_is_drained_is_not_explained_by_the_model() -> None:
    """marathon-lb drains the lowest ids: with the highest ones in MAINT the run is none of the model."""
    journal = next(journal for journal in JOURNALS if journal.name.startswith("back"))
    runs = list(replay(gzip.decompress(journal.read_bytes()).decode().splitlines()))
    for run in runs:
        for place, moment in enumerate(run.moments):
            if moment.observation:
                run.moments[place] = dataclasses.replace(moment, observation=mirrored(moment.observation))
    with pytest.raises(AssertionError):
        print([followed(run) for run in runs])


def mirrored(seen: Observation) -> Observation:
    """With the servers of each app's tasks in the reverse order of their ids."""
    names = {
        task.id: other.id
        for app in seen.apps
        for task, other in zip(
            sorted(app.tasks, key=lambda one: one.id), sorted(app.tasks, key=lambda one: one.id)[::-1], strict=True
        )
    }
    replicas = tuple(
        dataclasses.replace(one, servers={names[task_id]: server for task_id, server in one.servers.items()})
        for one in seen.replicas
    )
    return dataclasses.replace(seen, replicas=replicas)


def followed(run: Run) -> int:
    """How many observations of the run were followed."""
    moments = [moment for moment in run.moments if moment.observation]
    apps = {app.id: app for moment in moments for app in moment.observation.apps}
    follower = Follower(rules_of(run, list(apps.values())))
    follower.names = names_of(run, list(apps.values()))
    last = look(moments[0].observation, run.goal)
    follower.begin(last, follower.rules.before)
    for before, moment in itertools.pairwise(moments):
        now = look(moment.observation, run.goal)
        step = before.recorded if isinstance(before.recorded, Action) and not before.refused else None
        assert follower.follow(step, last, now), f"after {step}:\n{last}\n{now}"
        last = now
    return len(moments)


def rules_of(run: Run, apps: list[App]) -> Rules:
    baseline = next((app for app in apps if app.revision != run.goal.revision), None)
    replicas = max(len(moment.observation.replicas) for moment in run.moments if moment.observation)
    label = baseline.target if baseline else run.goal.target
    before = baseline.instances if baseline else run.goal.target
    return Rules(before, run.goal.target, replicas, label, label is not None)


def names_of(run: Run, apps: list[App]) -> tuple[str, str]:
    by_role = {app.revision == run.goal.revision: app.id for app in apps}
    return by_role.get(False, ""), by_role.get(True, "")
