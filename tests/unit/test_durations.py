"""Durations with their units."""

from __future__ import annotations

import pytest

from bgci.durations import duration_text, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("500ms", 0.5)]
)
def test_a_duration_with_its_unit_is_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "m", "10 m", "-1s", "1s\n", "1e3s", "5d"])
def test_a_duration_without_a_known_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("seconds", [0.5, 90.0, 1785.0, 5_000_000.0])
def test_a_duration_survives_writing_and_reading(seconds: float) -> None:
    assert parse_duration(duration_text(seconds)) == seconds
