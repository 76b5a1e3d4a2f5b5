"""The journal of a rollout."""

from __future__ import annotations

import json
from pathlib import Path

from bgci.reporting.journal import Journal


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_observation_is_written_only_when_it_changed(tmp_path):
    path = tmp_path / "new" / "journal.jsonl"
    with Journal(path) as journal:
        journal.observed({"blue": 4, "green": 0})
        journal.observed({"green": 0, "blue": 4})
        journal.step({"step": "scale", "event": "ours wins"})
        journal.observed({"blue": 4, "green": 0})
        journal.observed({"blue": 4, "green": 1})
        written = lines(path)  # before it is closed: a killed process leaves what it had
    assert [line["event"] for line in written] == ["observed", "step", "observed"]
    assert written[1]["step"] == "scale"
    assert written[0]["time"].endswith("Z")
    assert 0 <= written[0]["offset"] <= written[2]["offset"]


def test_a_second_run_appends_even_behind_a_line_that_was_cut(tmp_path):
    path = tmp_path / "journal.jsonl"
    path.write_text('{"event": "step"}\n{"eve')
    with Journal(path) as journal:
        journal.step({"n": 2})
    assert json.loads(path.read_text().splitlines()[-1])["n"] == 2
    assert len(path.read_text().splitlines()) == 3


def test_a_journal_that_cannot_be_written_is_one_warning(tmp_path):
    (tmp_path / "file").touch()
    warnings: list[str] = []
    with Journal(tmp_path / "file" / "journal.jsonl", warn=warnings.append) as journal:
        journal.step({"n": 1})
        journal.observed({"n": 1})
    assert len(warnings) == 1
    assert "No journal is kept" in warnings[0]


def test_a_disk_that_is_full_is_one_warning():
    warnings: list[str] = []
    journal = Journal(Path("/dev/full"), warn=warnings.append)
    journal.step({"n": 1})
    journal.step({"n": 2})
    journal.close()
    assert len(warnings) == 1


def test_no_path_no_journal(tmp_path):
    journal = Journal(None)
    journal.step({"n": 1})
    journal.close()
