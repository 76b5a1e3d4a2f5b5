"""Durations with their unit: ``90s``, ``10m``, ``1h30m``, ``500ms``; shares in percent: ``25``, ``25%``."""

from __future__ import annotations

import re

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_LONGEST = 366 * 86400  # seconds: a longer duration is a mistake
_DURATION = re.compile(f"(?:{_PART.pattern})+")


def parse_duration(text: str) -> float:
    """Seconds. Raises ValueError for anything else, also for a number without its unit."""
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is not a duration; write it with its unit, such as 90s or 10m")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > _LONGEST:
        raise ValueError(f"{text[:40]!r} is longer than a year")
    return seconds


def duration_text(seconds: float) -> str:
    """The inverse of ``parse_duration``."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def parse_share(text: str) -> int:
    """Percent, 0 to 100. Raises ValueError for anything else."""
    number = text.strip().removesuffix("%")
    if not re.fullmatch("[0-9]{1,3}", number) or int(number) > 100:
        raise ValueError(f"{text[:40]!r} is not a share; write it as 25 or 25%, at most 100")
    return int(number)
