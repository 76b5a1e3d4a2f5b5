"""Recorded rollouts through today's engine. A difference is a change of a rule: intended, or a defect."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bgci.engine.decisions import Action, Cause, Done, Fail, Kill, Kind, Scale, Wait
from bgci.reporting.journal_replay import Moment, Run, replay, run_lines
from bgci.reporting.timeline import timeline

JOURNALS = sorted((Path(__file__).parent / "journals").glob("*.jsonl.gz"))


def lines(journal: Path) -> list[str]:
    return gzip.decompress(journal.read_bytes()).decode().splitlines()


def events(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(next(one for one in JOURNALS if one.name.startswith(name)))]


def differences(changed: list[dict[str, Any]]) -> list[Moment]:
    return [moment for run in replay(map(json.dumps, changed)) for moment in run.differences]


def runs(name: str) -> list[Run]:
    return list(replay(lines(next(journal for journal in JOURNALS if journal.name.startswith(name)))))


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda journal: journal.name.removesuffix(".jsonl.gz"))
def test_a_recorded_rollout_is_decided_the_same_today(journal: Path) -> None:
    found = list(replay(lines(journal)))
    assert found
    for run in found:
        assert run.moments
        assert not run.differences, "\n".join(run_lines(run))


def test_a_killed_run_and_the_run_that_finished_it_are_two_runs() -> None:
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
    assert any("today's engine: Scale" in line for line in run_lines(run))


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
    assert "-> Create" in shown
    assert "-> done: " in shown
    assert "Today's engine decides the same." in shown


def test_a_file_without_a_rollout_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bgci", "replay", str(tmp_path / "none.jsonl")]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == 2
    assert "cannot be read" in refused.stderr


# What is in each recording of a defect: without it the replay of that file would prove nothing.
HOLDS = {
    "bad_in_waves": "the next change comes when it has served for",
    "deaf": "Marathon has accepted the last step and does not show it yet",
    "fell_out": "nothing of it is in rotation any more",
    "hand_adds_to_the_baseline": "was scaled from 2 to 4 instances by somebody else",
    "hand_stops_the_canary": "was suspended (0 instances) by somebody else",
    "left_not_serving": "its own load balancer settings do not serve it",
    "locked": "Not performed",
    "lost_answer": "Not performed",
    "old_look": "Not performed",
    "new_leader": "Not performed",
    "replica_lost": "A load balancer cannot be read",
    "restored": "Restore /web-",
    "surplus": "stand-in",
    "turned_bad": "turned bad after they were healthy",
    "unhealthy": "fail (unhealthy)",
}


@pytest.mark.parametrize("name", HOLDS)
def test_a_recording_of_a_defect_contains_that_defect(name: str) -> None:
    text = "\n".join(line for run in runs(name) for line in run_lines(run))
    assert HOLDS[name] in text


# In each of these the event after which it is named decides: a replay without it, or with another one, differs.


@pytest.mark.parametrize("reason", ["lock", "changed", "unanswered"])
def test_a_step_that_was_refused_is_decided_again_and_one_that_was_performed_is_not(reason: str) -> None:
    recorded = events("bluegreen")
    at = next(n for n, event in enumerate(recorded) if event.get("step", {}).get("do") == "scale")
    scaled = recorded[at]
    now = {"now": scaled["now"] + 0.001, "time": scaled["time"], "offset": scaled["offset"]}
    refused, again = {**now, "event": "refused", "reason": reason, "problem": ""}, {**now, "event": "observed"}
    before, after = recorded[: at + 1], recorded[at + 1 :]
    assert differences([*before, refused, again, *after]) == []
    different = differences([*before, again, *after])
    assert isinstance(different[0].recorded, Scale)
    assert isinstance(different[0].today, Fail), "performed: somebody else has scaled the app back"


def test_a_lock_that_is_left_out_of_its_recording_is_another_decision() -> None:
    assert differences(events("locked")) == []
    assert differences([event for event in events("locked") if event["event"] != "refused"])


def test_the_effect_of_a_request_without_an_answer_is_nobody_elses_change() -> None:
    changed = events("lost_answer")
    (lost,) = [event for event in changed if event["event"] == "refused"]
    assert lost["reason"] == "unanswered"
    lost["reason"] = "changed"  # not sent: then somebody else has scaled the app
    assert isinstance(differences(changed)[0].today, Fail)


def test_a_kill_that_a_new_leader_refuses_is_decided_again_only_after_a_drain() -> None:
    moments = runs("new_leader")[0].moments
    (refused,) = [n for n, moment in enumerate(moments) if moment.refused]
    assert isinstance(moments[refused].recorded, Kill)
    later = [moment.recorded for moment in moments[refused + 1 :]]
    again = next(n for n, step in enumerate(later) if isinstance(step, Kill))
    assert any(isinstance(step, Wait) and step.cause is Cause.DRAIN for step in later[:again])


def test_a_look_of_half_a_minute_decides_nothing_before_the_next_one() -> None:
    moments = runs("old_look")[0].moments
    late = next(n for n, moment in enumerate(moments[1:], 1) if moment.now - moments[n - 1].now > 20)
    assert isinstance(moments[late - 1].recorded, Wait)
    after = moments[late].recorded
    assert isinstance(after, Wait)
    assert after.cause is Cause.DRAIN
    assert not any(isinstance(moment.recorded, Kill) for moment in moments[:late])


def test_a_canary_that_is_unhealthy_at_another_deadline_is_another_decision() -> None:
    changed = events("unhealthy")
    (canary,) = [event for event in changed if event.get("goal", {}).get("kind") == "canary"]
    canary["policy"]["timeout"] += 600.0
    (different,) = differences(changed)
    assert isinstance(different.recorded, Fail)
    assert isinstance(different.today, Wait)


def test_each_action_has_its_reason() -> None:
    for journal in JOURNALS:
        for run in replay(lines(journal)):
            for moment in run.moments:
                assert not isinstance(moment.today, Action) or moment.today.because, moment.today


def test_the_lines_are_folded_to_the_width_of_a_terminal(tmp_path: Path) -> None:
    journal = tmp_path / "journal.jsonl"
    journal.write_text("\n".join(lines(next(one for one in JOURNALS if one.name.startswith("rolling")))))
    command = f"stty cols 90; {sys.executable} -m bgci replay {journal}"
    shown = subprocess.run(["script", "-qec", command, "/dev/null"], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0
    words = shown.stdout.replace("\r", "").splitlines()
    assert max(len(line) for line in words if "instance-" not in line) <= 90
    assert any(line.startswith(" " * 17) for line in words), "the rest of a decision stands under its beginning"
