"""The time in the forms of Marathon and Metronome."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

_last = datetime.min.replace(tzinfo=timezone.utc)


def marathon_time(moment: datetime) -> str:
    """``2024-05-01T10:00:00.000Z``: UTC, always three decimals (marathon: S/state/Timestamp.scala)."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def metronome_time(moment: datetime) -> str:
    """``2024-05-01T10:00:00.000+0000`` (metronome: v1/models/package.scala)."""
    return marathon_time(moment).removesuffix("Z") + "+0000"


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


def now() -> str:
    """This moment in Marathon's form."""
    return marathon_time(utc_now())


def next_version() -> str:
    """This moment in Marathon's form, but later than every earlier version, because versions are keys."""
    global _last
    _last = max(utc_now(), _last + timedelta(milliseconds=1))
    return marathon_time(_last)
