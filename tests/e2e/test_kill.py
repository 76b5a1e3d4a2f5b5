"""``kill -9`` at any moment, then the same command again: the goal is reached and no request is lost."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from e2e.lab import COMMAND_SECONDS, App, Ran, until

# Seconds until a task is healthy, as containers need them: more than bgci does to be started again. What a killed run
# has created as a placeholder is then still a placeholder for the next one.
SLOW = {"SANDBOX_HEALTH_AFTER": "6"}


def lines(app: App) -> int:
    """The progress of the command: lines of its journal."""
    file = app.directory / "bgci-artifacts" / "journal.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def killed_again_and_again(app: App, random: Random, *words: str) -> Ran:
    """Starts the command and kills it a few lines of its journal later, until one run ends by itself. Returns its
    result."""
    for _ in range(12):
        running = app.start(*words)
        end = lines(app) + random.randint(1, 5)
        until(lambda end=end, running=running: lines(app) >= end or running.process.poll() is not None, COMMAND_SECONDS)
        time.sleep(random.uniform(0, 0.15))
        if running.process.poll() is not None:
            return running.end()
        running.kill()
    return app.run(*words)


@pytest.mark.parametrize(("strategy", "seed"), [("bluegreen", 1), ("rolling", 2)])
def test_each_stage_reaches_its_goal_after_repeated_kills(
    make_app: Callable[..., App], strategy: str, seed: int
) -> None:
    random = Random(seed)
    app = make_app(3, env=SLOW)
    app.promote("v1")
    with app.load():
        for command, revision, expected in (
            ("canary", "v2", {"v1", "v2"}),
            ("rollback", "v2", {"v1"}),
            ("promote", "v2", {"v2"}),
        ):
            ended = killed_again_and_again(app, random, command, revision, "--strategy", strategy)
            assert ended.code == 0, ended.text
            assert set(app.runs()) == expected
    assert app.healthy() == {"v2": 3}


def test_a_rollback_of_a_canary_as_large_as_the_baseline_ends_after_repeated_kills(
    make_app: Callable[..., App],
) -> None:
    app = make_app(2, env=SLOW)
    app.promote("v1")
    with app.load():
        app.canary("v2", "--instances", "2")
        ended = killed_again_and_again(app, Random(3), "rollback", "v2")
    assert ended.code == 0, ended.text
    assert app.healthy() == {"v1": 2}


def test_a_killed_first_deployment_is_finished_by_the_same_command(app: App) -> None:
    running = app.start("promote", "v1")
    until(lambda: app.apps())
    running.kill()
    app.promote("v1")
    assert app.healthy() == {"v1": 2}


def process_of_the_job(app: App) -> int | None:
    """The bgci that runs inside the job of this app."""
    for entry in Path("/proc").iterdir():
        try:
            environment = (entry / "environ").read_bytes().split(b"\0")
            command = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        ours = f'"app":"{app.id}"'.encode()
        inside = any(one.startswith(b"BGCI_JOB=") and ours in one for one in environment) and any(
            one.startswith(b"MESOS_TASK") for one in environment
        )
        if inside and b"python" in command[0]:
            return int(entry.name)
    return None


def test_a_killed_job_ends_the_stage_with_5_and_the_same_command_finishes(app: App) -> None:
    app.promote("v1")
    app.publish("v2")
    with app.load():
        running = app.start("promote", "v2", "--via", "job")
        until(lambda: len(app.apps()) == 2)
        os.kill(until(lambda: process_of_the_job(app)), signal.SIGKILL)
        ended = running.end()
        assert ended.code == 5, ended.text
        assert "Mesos reports TASK_FAILED: Command terminated with signal Killed." in ended.err
        assert "run the same command again" in ended.err.lower()
        app.promote("v2", "--via", "job")
    assert app.healthy() == {"v2": 2}


def test_a_stage_whose_follower_was_killed_joins_the_active_run(app: App) -> None:
    app.promote("v1")
    app.publish("v2")
    with app.load():
        running = app.start("promote", "v2", "--via", "job")
        until(lambda: len(app.apps()) == 2)
        running.kill()
        joined = app.promote("v2", "--via", "job")
    assert "Joining run" in joined.out
    assert app.healthy() == {"v2": 2}
    history = app.lab.job(joined.result["job"], "history")["history"]
    assert [run["id"] for run in history["successfulFinishedRuns"]] == [joined.result["run"]]
