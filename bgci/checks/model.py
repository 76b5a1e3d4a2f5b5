"""A canary's test suite as frozen values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bgci.redaction import Redactor

CANARY, BASELINE, BOTH, LOAD_BALANCER, PREVIEW = "canary", "baseline", "both", "load-balancer", "preview"

MAX_CONCURRENCY = 32
MAX_TIMEOUT = 600.0  # seconds
MIN_SHARE_REPEAT = 10  # fewer answers are not enough to test a share
DEFAULT_TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class Share:
    """The canary's part of the answers, 0..1. A header or a text in the body identifies its answers."""

    at_least: float = 0.0
    at_most: float = 1.0
    header: tuple[str, str] | None = None  # name and value
    body: str | None = None


@dataclass(frozen=True)
class Expect:
    """The expected answer; ``latency``, ``success_rate`` and ``share`` are about all answers of a check."""

    status: tuple[str, ...] = ("2xx", "3xx")  # one of them
    headers: Mapping[str, str] = field(default_factory=dict)  # equal
    header_regex: Mapping[str, str] = field(default_factory=dict)  # found in it
    body: tuple[str, ...] = ()  # all are in it
    body_regex: tuple[str, ...] = ()  # all are found in it
    json: Mapping[str, Any] = field(
        default_factory=dict
    )  # by JSONPath: equal to every selected value, of which there is at least one
    json_has: tuple[str, ...] = ()  # JSONPaths that select at least one value
    latency: tuple[tuple[float, float], ...] = ()  # (percentile, seconds)
    success_rate: float = 1.0
    share: Share | None = None


@dataclass(frozen=True)
class Check:
    """One request, sent ``repeat`` times to each instance of its target, at most ``concurrency`` at a time."""

    name: str
    path: str
    expect: Expect
    target: str = CANARY
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    timeout: float = DEFAULT_TIMEOUT  # seconds, for one request from connecting to the last byte
    repeat: int = 1
    concurrency: int = 1
    port: int = 0  # index of the app's port
    scheme: str = ""  # http or https; empty: the place's
    verify: bool = True  # the certificate, with https


@dataclass(frozen=True)
class Suite:
    """``secrets``: texts in requests that reports must not show."""

    file: str
    checks: tuple[Check, ...]
    secrets: tuple[str, ...] = ()

    @cached_property
    def redact(self) -> Callable[[str], str]:
        """Removes the secrets from a text."""
        return Redactor(*self.secrets).redacted
