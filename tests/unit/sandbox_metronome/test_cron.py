"""Cron expressions of schedules: the valid ones, and their due times."""

from __future__ import annotations

from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest

from bgci.sandbox.metronome import cron

NOON = datetime(2024, 5, 1, 12, 0, tzinfo=timezone.utc)  # a Wednesday


@pytest.mark.parametrize(
    "text",
    ["* * * * *", "*/5 1-3 1,15 JAN-MAR mon", "0 0 L * *", "0 0 LW * *", "0 0 15W * *", "0 0 * * 5L", "0 0 * * MON#2",
     "0 0 29 2 *", "0 0 1 1 * 2099", "0 22-2 * * 7"],
)  # fmt: skip
def test_cron_expression_is_read(text: str) -> None:
    assert cron.parse(text).text == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "0 0 31 2 *",
        "*/0 * * * *",
    ],
)
def test_cron_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        cron.parse(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", "2024-05-01T12:01"),
        ("*/20 8-10 * * *", "2024-05-02T08:00"),
        ("0 0 L * *", "2024-05-31T00:00"),
        ("0 0 LW 6 *", "2024-06-28T00:00"),
        ("0 0 1W 6 *", "2024-06-03T00:00"),
        ("0 0 * * MON#2", "2024-05-13T00:00"),
        ("0 0 * * 5L", "2024-05-31T00:00"),
        ("0 0 13 * 5", "2024-09-13T00:00"),
        ("0 0 29 2 *", "2028-02-29T00:00"),
        ("30 1 * * 7", "2024-05-05T01:30"),
        ("0 22-2/2 * * *", "2024-05-01T22:00"),
    ],
)
def test_next_time_is_the_first_at_which_all_fields_match(text: str, expected: str) -> None:
    due = cron.parse(text).next_after(NOON, timezone.utc)
    assert due is not None
    assert due.isoformat(timespec="minutes") == f"{expected}+00:00"


def test_fields_are_interpreted_in_the_time_zone_of_the_schedule() -> None:
    due = cron.parse("0 3 * * *").next_after(NOON, ZoneInfo("Europe/Berlin"))
    assert due is not None
    assert due.astimezone(timezone.utc) == datetime(2024, 5, 2, 1, 0, tzinfo=timezone.utc)


def test_a_past_year_has_no_next_time() -> None:
    assert cron.parse("0 0 1 1 * 2020").next_after(NOON, timezone.utc) is None
