"""Cron expressions as Metronome reads them, and their next due time (metronome: CronSpec.scala).

Minute, hour, day of month, month, day of week, and perhaps a year. Both days have to match, unlike in Unix."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

_RANGES = {
    "minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7), "year": (1970, 2099)
}  # fmt: skip
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_NAMES = {
    "month": {name: number for number, name in enumerate(_MONTHS, start=1)},
    "weekday": {name: number for number, name in enumerate(_DAYS)},
}
_HORIZON_DAYS = 366 * 9

DayRule = Callable[[date], bool]


@dataclass(frozen=True)
class Cron:
    """A valid expression."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    years: frozenset[int] | None
    days: tuple[DayRule, ...]
    weekdays: tuple[DayRule, ...]

    def next_after(self, moment: datetime, zone: tzinfo) -> datetime | None:
        """The first due time after this moment; None without one in the next nine years."""
        local = moment.astimezone(zone)
        for day in self._dates(local.date()):
            for hour in sorted(self.hours):
                for minute in sorted(self.minutes):
                    found = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                    if found > local:
                        return found
        return None

    def _dates(self, first: date) -> Iterator[date]:
        for offset in range(_HORIZON_DAYS):
            day = first + timedelta(days=offset)
            right = day.month in self.months and (self.years is None or day.year in self.years)
            if right and any(rule(day) for rule in self.days) and any(rule(day) for rule in self.weekdays):
                yield day


def parse(text: str) -> Cron:
    """The expression. Raises ValueError if Metronome cannot read it."""
    parts = text.split()
    if len(parts) not in (5, 6):
        raise ValueError(f"{len(parts)} fields")
    minute, hour, day, month, weekday = parts[:5]
    months = _numbers("month", month)
    if not re.search(r"[*LW#]", f"{day}{month}"):
        lengths = [calendar.monthrange(2024, number)[1] for number in months]
        if min(_numbers("day", day)) > max(lengths):
            raise ValueError("no month has such a day")
    return Cron(
        " ".join(parts),
        _numbers("minute", minute),
        _numbers("hour", hour),
        months,
        _numbers("year", parts[5]) if len(parts) == 6 else None,
        tuple(_day_rule(part) for part in day.split(",")),
        tuple(_weekday_rule(part) for part in weekday.split(",")),
    )


def _numbers(field: str, text: str) -> frozenset[int]:
    """The numbers that match a field."""
    low, high = _RANGES[field]
    found: set[int] = set()
    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = int(step_text) if re.fullmatch(r"\d+", step_text) else 0 if slash else 1
        if not 1 <= step <= high - low:
            raise ValueError(f"not a step: {part}")
        first_text, dash, last_text = span.partition("-")
        if span == "*":
            first, last = low, high
        else:
            first = _number(field, first_text, low, high)
            last = _number(field, last_text, low, high) if dash else high if slash else first
        numbers = range(first, last + 1) if first <= last else [*range(first, high + 1), *range(low, last + 1)]
        found.update(list(numbers)[::step])
    return frozenset(found)


def _number(field: str, text: str, low: int, high: int) -> int:
    number = _NAMES.get(field, {}).get(text.upper())
    if number is None:
        if not re.fullmatch(r"\d+", text):
            raise ValueError(f"not a number: {text!r}")
        number = int(text)
    if not low <= number <= high:
        raise ValueError(f"not from {low} to {high}: {text}")
    return number


def _last_day(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _day_rule(text: str) -> DayRule:
    if text == "L":
        return lambda day: day.day == _last_day(day)
    if text == "LW":
        return lambda day: day.day == _nearest_weekday(day, _last_day(day))
    if nearest := re.fullmatch(r"(\d+)W", text):
        wanted = _number("day", nearest[1], 1, 31)
        return lambda day: wanted <= _last_day(day) and day.day == _nearest_weekday(day, wanted)
    numbers = _numbers("day", text)
    return lambda day: day.day in numbers


def _nearest_weekday(day: date, wanted: int) -> int:
    """The day from Monday to Friday that is nearest to that day, in the same month."""
    shift = {5: -1 if wanted > 1 else 2, 6: 1 if wanted < _last_day(day) else -2}
    return wanted + shift.get(day.replace(day=wanted).weekday(), 0)


def _weekday_rule(text: str) -> DayRule:
    if text == "L":
        return lambda day: day.isoweekday() == 7
    if last := re.fullmatch(r"(\w+)L", text):
        only = _number("weekday", last[1], 0, 7) % 7
        return lambda day: day.isoweekday() % 7 == only and day.day + 7 > _last_day(day)
    if nth := re.fullmatch(r"(\w+)#([1-5])", text):
        only, count = _number("weekday", nth[1], 0, 7) % 7, int(nth[2])
        return lambda day: day.isoweekday() % 7 == only and (day.day - 1) // 7 + 1 == count
    numbers = {number % 7 for number in _numbers("weekday", text)}
    return lambda day: day.isoweekday() % 7 in numbers
