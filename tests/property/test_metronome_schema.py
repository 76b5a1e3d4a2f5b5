"""The sandbox's Metronome accepts exactly the shapes that Metronome's published JSON schema accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
from hypothesis import given
from hypothesis import strategies as st

from bgci.sandbox.metronome.spec import JOB, RUN, SCHEDULE, check_shape
from bgci.sandbox.web import ApiError

DATA = Path(__file__).parent.parent / "data" / "metronome"
WRONG = st.sampled_from([None, True, 0, 1, -1, 0.5, "", "x", "NEVER", [], ["x"], [{}], {}, {"a": "b"}, {"a": 1}])
BASE = {
    "id": "web",
    "run": {"cmd": "true", "cpus": 1, "mem": 32, "disk": 0},
    "description": "d",
    "labels": {"a": "b"},
    "dependencies": [{"id": "a"}],
    "schedules": [{"id": "a", "cron": "* * * * *"}],
}


@given(st.sampled_from(sorted([*BASE, "history"])), WRONG)
def test_field_of_a_job_is_refused_as_by_the_published_schema(field: str, value: Any) -> None:
    agree_on({**BASE, field: value}, "jobspec", JOB)


INNER = st.sampled_from([
    "id", "image", "uri", "executable", "mode", "name", "labels", "kind", "parameters", "attribute", "operator",
    "value", "containerPath", "hostPath", "secret", "source", "policy", "activeDeadlineSeconds", "constraints", "foo",
])  # fmt: skip
NESTED = st.dictionaries(INNER, WRONG | st.dictionaries(INNER, WRONG, max_size=2), max_size=3)


@given(st.sampled_from([*RUN, "foo"]), WRONG | NESTED | st.lists(NESTED, max_size=2) | st.dictionaries(INNER, NESTED))
def test_field_of_a_run_is_refused_as_by_the_published_schema(field: str, value: Any) -> None:
    run = {"cmd": "true", "cpus": 1, "mem": 32, "disk": 0, field: value}
    agree_on({"id": "web", "run": run}, "jobspec", JOB)


@given(st.sampled_from(["id", "cron", "timezone", "startingDeadlineSeconds", "concurrencyPolicy", "foo"]), WRONG)
def test_field_of_a_schedule_is_refused_as_by_the_published_schema(field: str, value: Any) -> None:
    agree_on({"id": "daily", "cron": "* * * * *", field: value}, "schedulespec", SCHEDULE)


def agree_on(body: Any, schema: str, shape: Any) -> None:
    published = json.loads((DATA / f"{schema}.schema.json").read_text())
    expected = jsonschema.Draft4Validator(published).is_valid(body)
    try:
        check_shape(body, shape)
    except ApiError:
        assert not expected
    else:
        assert expected
