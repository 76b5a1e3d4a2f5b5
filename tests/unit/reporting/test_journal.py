"""The journal of a rollout."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bgci.engine.decisions import (
    Cause,
    Create,
    Delete,
    Done,
    Fail,
    Goal,
    Kill,
    Kind,
    Policy,
    Scale,
    Wait,
)
from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task
from bgci.errors import UnhealthyError
from bgci.reporting.journal import Journal
from bgci.reporting.journal_reader import served_on
from bgci.reporting.journal_replay import replay, run_lines
from bgci.reporting.rollout_record import (
    decode_goal,
    decode_observation,
    decode_step,
    encode_goal,
    encode_observation,
    encode_step,
)


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


BLUE = App("/web-blue", 2, (Task("t1", True), Task("t2", None, ever_healthy=False)), "v1", started_at=1.5)
LB = Replica("http://lb", {"t1": Server(Serving.UP, 3), "t2": Server(Serving.MAINT, 2)}, (7,))
SEEN = Observation(10.0, (BLUE,), (LB,))
WAIT = Wait(Cause.HEALTH, "1 of 2 instances of /web-blue are healthy.")


def test_only_changes_of_an_observation_or_a_decision_are_written(tmp_path):
    path = tmp_path / "new" / "journal.jsonl"
    healthy = replace(BLUE, tasks=(Task("t1", True), Task("t2", True)))
    more_sessions = replace(LB, servers={**LB.servers, "t1": Server(Serving.UP, 9)})
    with closing(Journal(path)) as journal:
        journal.goal(Goal(Kind.PROMOTE, "v1", 2), Policy())
        journal.observed(SEEN, WAIT)
        journal.observed(replace(SEEN, now=11.0, replicas=(more_sessions,)), WAIT)
        journal.observed(replace(SEEN, now=12.0), replace(WAIT, request_reload=True))
        journal.observed(Observation(13.0, (healthy,), (LB,)), replace(WAIT, request_reload=True))
        journal.observed(Observation(13.0, (healthy,), ()), Scale("/web-blue", 3))
        journal.observed(Observation(14.0, (healthy,), ()), Scale("/web-blue", 3))
        written = lines(path)  # before it is closed: a killed process leaves what it had
    assert [line["event"] for line in written] == ["goal", *["observed"] * 5]
    assert [line["now"] for line in written[1:]] == [10.0, 12.0, 13.0, 13.0, 14.0]
    assert written[3]["changed"] == {"apps": {"/web-blue": {"tasks": {"t2": {"healthy": True, "ever_healthy": None}}}}}
    assert "step" not in written[5]
    assert written[0]["time"].endswith("Z")
    assert 0 <= written[0]["offset"] <= written[2]["offset"]


def test_an_observation_survives_writing_and_reading_except_sessions_in_rotation():
    read = decode_observation(10.0, json.loads(json.dumps(encode_observation(SEEN))))
    assert read == replace(SEEN, replicas=(replace(LB, servers={**LB.servers, "t1": Server(Serving.UP)}),))


@pytest.mark.parametrize(
    "step",
    [
        Create(4, swappable=False),
        Scale("/web-green", 2, placeholder=True),
        Kill(("t1", "t2"), force=True),
        Delete("/web-blue"),
        replace(WAIT, request_reload=True),
        Done("v1 serves alone."),
        Fail("No.", "Run this again.", UnhealthyError),
    ],
)
def test_a_step_survives_writing_and_reading(step):
    assert decode_step(json.loads(json.dumps(encode_step(step)))) == step


def test_a_goal_survives_writing_and_reading():
    goal, policy = Goal(Kind.CANARY, "v2", 4, 2), Policy("rolling", 2, timeout=60.0, force=True)
    assert decode_goal(json.loads(json.dumps(encode_goal(goal, policy)))) == (goal, policy)
    assert decode_goal(json.loads(json.dumps(encode_goal(goal, Policy())))) == (goal, Policy())


def test_a_second_run_appends_also_after_a_truncated_line(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event": "step"}\n{"eve')
    with closing(Journal(path)) as journal:
        journal.result({"n": 2})
    assert json.loads(path.read_text().splitlines()[-1])["n"] == 2
    assert len(path.read_text().splitlines()) == 3


def test_a_journal_that_cannot_be_written_is_one_warning(tmp_path):
    (tmp_path / "file").touch()
    warnings: list[str] = []
    with closing(Journal(tmp_path / "file" / "journal.jsonl", warn=warnings.append)) as journal:
        journal.result({"n": 1})
        journal.sample({"n": 1})
    assert len(warnings) == 1
    assert "keeps no journal" in warnings[0]


def test_a_disk_that_is_full_is_one_warning():
    warnings: list[str] = []
    journal = Journal(Path("/dev/full"), warn=warnings.append)
    journal.result({"n": 1})
    journal.result({"n": 2})
    journal.close()
    assert len(warnings) == 1


def test_without_a_path_there_is_no_journal(tmp_path):
    journal = Journal(None)
    journal.result({"n": 1})
    journal.close()


def test_a_journal_that_is_a_link_is_not_written(tmp_path):
    outside, warnings = tmp_path / "outside", []
    outside.write_text("untouched")
    (tmp_path / "journal.jsonl").symlink_to(outside)
    with closing(Journal(tmp_path / "journal.jsonl", warn=warnings.append)) as journal:
        journal.result({"code": 0})
    assert outside.read_text() == "untouched"
    assert len(warnings) == 1


def test_a_rejected_canary_counts_as_served_until_no_load_balancer_has_it_up(tmp_path):
    path = tmp_path / "journal.jsonl"
    down = replace(LB, servers={"t1": Server(Serving.MAINT), "t2": Server(Serving.MAINT)})
    with closing(Journal(path)) as journal:
        journal.goal(Goal(Kind.CANARY, "v1", 2), Policy())
        journal.observed(replace(SEEN, now=5.0, replicas=(down,)), WAIT)
        journal.goal(Goal(Kind.ROLLBACK, "v1", 2), Policy())
        journal.observed(replace(SEEN, now=20.0), WAIT)
        journal.observed(replace(SEEN, now=21.0), Scale("/web-blue", 1))
        path.write_text(path.read_text() + '{"cut": \n')
        assert served_on(path, "v1", 9.0) is None
        journal.observed(replace(SEEN, now=24.5, replicas=(down,)), WAIT)
        journal.observed(replace(SEEN, now=26.0, apps=()), WAIT)
    assert served_on(path, "v1", 9.0) == 9.0 - 1.5, "on the clock of the verdict"
    assert served_on(path, "v2", 9.0) is None, "it was not in rotation when the rollback began"
    assert served_on(tmp_path / "none", "v1", 9.0) is None


def test_steps_that_were_not_performed_are_marked_in_a_replay(tmp_path):
    path = tmp_path / "journal.jsonl"
    with closing(Journal(path)) as journal:
        journal.goal(Goal(Kind.PROMOTE, "v1", 2), Policy(), kept=BLUE)
        journal.observed(SEEN, Scale("/web-blue", 3))
        journal.refused("unanswered", 10.5, "Marathon does not answer")
        journal.unobserved(11.0, Wait(Cause.UNREACHABLE, "Marathon does not answer"))
        journal.refused("lock", 12.0)
    (run,) = replay(path.read_text().splitlines())
    assert [moment.refused for moment in run.moments] == ["Marathon does not answer", "lock"]
    assert run.moments[1].observation is None
    text = "\n".join(run_lines(run))
    assert "v1 (/web-blue): 1/2 healthy [1 up+1 maint]; 1 older worker" in text
    assert "-> Scale /web-blue to 3 instances. Not performed: Marathon does not answer" in text
    assert "!! today's engine: " in text, "a rollout whose app serves alone would be done"


def event(name, **fields):
    return json.dumps({"time": "2026-01-01T00:00:00Z", "event": name, **fields})


GOAL = {"goal": {"kind": "promote", "revision": "v1", "target": 2}, "policy": {}}
WRONG_APPS = [
    {"/web-blue": {"instances": "2"}},
    {"/web-blue": {"instances": 2, "revision": {}}},
    {"/web-blue": {"instances": True}},
    {"/web-blue": {"instances": 2, "tasks": {"t": {"healthy": "yes"}}}},
    {"/web-blue": {}},
    {"/web-blue": 7},
    [],
]


@pytest.mark.parametrize("apps", WRONG_APPS)
def test_an_observation_of_wrong_types_is_left_out_of_a_replay(apps):
    wrong = event("observed", now=1.0, full={"apps": apps}, step={"do": "delete", "app_id": {}})
    (run,) = replay([event("goal", **GOAL), wrong, event("observed", now=2.0, full={}, step={"done": "yes"})])
    assert [moment.now for moment in run.moments] == [2.0]


@pytest.mark.parametrize("wrong", [{"goal": []}, {"policy": 7}, {"goal": {"kind": "x"}}, {"kept": []}, {"kept": "x"}])
def test_a_run_whose_goal_cannot_be_read_is_left_out_of_a_replay(wrong):
    assert not [*replay([event("goal", **{**GOAL, **wrong}), event("observed", now=2.0, full={})])] or not wrong["kept"]


@pytest.mark.parametrize("fields", [{}, {"now": "nan"}, {"now": []}, {"now": 1.0, "reason": {}}])
def test_a_refusal_that_cannot_be_read_is_left_out_of_a_replay(fields):
    observed = event("observed", now=1.0, full={}, step={"done": "yes"})
    (run,) = replay([event("goal", **GOAL), observed, event("refused", **fields)])
    assert run.moments[0].refused == ""
