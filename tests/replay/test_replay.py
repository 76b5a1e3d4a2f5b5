"""Recorded rollouts through today's engine. A difference is a change of a rule: intended, or a defect."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bgci.engine.decisions import Done, Kind, Scale
from bgci.reporting.journal_replay import Run, replay, run_lines
from bgci.reporting.timeline import timeline

JOURNALS = sorted((Path(__file__).parent / "journals").glob("*.jsonl.gz"))


def lines(journal: Path) -> list[str]:
    return gzip.decompress(journal.read_bytes()).decode().splitlines()


def runs(name: str) -> list[Run]:
    return list(replay(lines(next(journal for journal in JOURNALS if journal.name.startswith(name)))))


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda journal: journal.name.removesuffix(".jsonl.gz"))
def test_a_recorded_rollout_is_decided_the_same_today(journal: Path) -> None:
    found = list(replay(lines(journal)))
    assert found
    for run in found:
        assert run.moments
        assert not run.differences, "\n".join(run_lines(run))


def test_a_run_that_was_killed_and_the_one_that_finished_it_are_two_runs() -> None:
    *_, killed, finished = runs("resumed")
    assert killed.goal == finished.goal
    assert killed.goal.kind is Kind.PROMOTE
    assert not isinstance(killed.moments[-1].recorded, Done)
    assert isinstance(finished.moments[-1].recorded, Done)


def test_another_decision_is_shown_beside_the_recorded_one() -> None:
    text = lines(next(journal for journal in JOURNALS if journal.name.startswith("bluegreen")))
    events = [json.loads(line) for line in text]
    changed = next(event for event in events if event.get("step", {}).get("do") == "scale")
    changed["step"]["instances"] += 1
    run = next(run for run in replay(json.dumps(event) for event in events) if run.differences)
    assert isinstance(run.differences[0].recorded, Scale)
    assert any("today's engine: scale" in line for line in run_lines(run))


def test_the_page_reads_the_observations_and_steps_of_a_recorded_journal() -> None:
    found = timeline(lines(next(journal for journal in JOURNALS if journal.name.startswith("bluegreen"))))
    kinds = Counter(note.kind for note in found.notes)
    assert {"step", "wait", "result"} <= kinds.keys()
    assert max(len(snapshot.apps) for snapshot in found.snapshots) == 2
    assert {app.in_rotation for snapshot in found.snapshots for app in snapshot.apps} >= {0, 2}


def test_the_command_shows_each_decision_of_a_journal(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_text("\n".join(lines(JOURNALS[0])))
    command = [sys.executable, "-m", "bgci", "replay", str(journal)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "-> create" in shown
    assert "-> done: " in shown
    assert "Today's engine decides the same." in shown


def test_a_file_without_a_rollout_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bgci", "replay", str(tmp_path / "none.jsonl")]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 2
    assert "cannot be read" in refused.stderr
