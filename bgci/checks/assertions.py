"""Compares responses with the expectations of a check, and sums them up. Keeps only one response."""

from __future__ import annotations

import codecs
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from bgci import redaction
from bgci.bounded import UnusableJsonError
from bgci.checks.confined import Confined, TooCostly
from bgci.checks.model import Check, Expect, Share
from bgci.checks.test_result import Case, Outcome

T = TypeVar("T")

EXCERPT = 2048  # characters of a body that a report shows
PRIVATE_HEADER = re.compile(r"(?i)auth|cookie|token|secret|passw|api-?key|credential|session|signature")
LONGEST_SECRET = 1 << 16  # characters
KINDS = 20  # different failures that are counted separately


@dataclass(frozen=True)
class Response:
    """The response to one request. ``problem``: why it is missing; ``cut``: the body is longer than the part read."""

    status: int = 0
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)  # names are case-insensitive
    body: bytes = b""
    seconds: float = 0.0
    problem: str = ""
    cut: bool = False

    @property
    def text(self) -> str:
        """The body, decoded by the charset in its header, else as UTF-8."""
        named = re.search(r"(?i)charset=\"?([\w-]+)", self.headers.get("Content-Type", ""))
        try:
            charset = codecs.lookup(named[1]).name if named else "utf-8"
            return self.body.decode(charset, "replace")
        except (LookupError, ValueError):
            return self.body.decode("utf-8", "replace")


def mismatches(expect: Expect, response: Response, matcher: Confined) -> Iterator[str]:
    """Each difference from the expectation: expected and actual, one line each."""
    if response.problem:
        yield response.problem
        return
    if not any(_status_is(wanted, response.status) for wanted in expect.status):
        yield f"status: expected {' or '.join(expect.status)}, got {response.status}"
    for name, text in expect.headers.items():
        if response.headers.get(name) != text:
            yield f"header {name}: expected {text!r}, got {_header(response, name)}"
    for name, pattern in expect.header_regex.items():
        found, problem = _evaluated(matcher.search, pattern, response.headers.get(name, ""))
        if not found:
            yield f"header {name}: expected a match of {pattern!r}, got {problem or _header(response, name)}"
    if expect.body or expect.body_regex:
        yield from _body_mismatches(expect, response, matcher)
    if expect.json or expect.json_has:
        yield from _json_mismatches(expect, response, matcher)


def _evaluated(evaluate: Callable[..., T], *arguments: Any) -> tuple[T | None, str]:
    """The result, or the reason without one."""
    try:
        return evaluate(*arguments), ""
    except TooCostly as error:
        return None, f"no result: {error}"


def _status_is(wanted: str, status: int) -> bool:
    text = str(status)
    return text == wanted or (wanted.endswith("xx") and text[:1] == wanted[0] and len(text) == 3)


def _header(response: Response, name: str) -> str:
    found = response.headers.get(name)
    return "none" if found is None else redaction.MASK if PRIVATE_HEADER.search(name) else repr(found)


def _body_mismatches(expect: Expect, response: Response, matcher: Confined) -> Iterator[str]:
    text = response.text
    begins = f", got {_short(text)}" + (
        f" (only the first {len(response.body)} bytes were read)" if response.cut else ""
    )
    for wanted in expect.body:
        if wanted not in text:
            yield f"body: expected {wanted!r} in it{begins}"
    for pattern in expect.body_regex:
        found, problem = _evaluated(matcher.search, pattern, text, re.MULTILINE)
        if not found:
            yield f"body: expected a match of {pattern!r}" + (f", got {problem}" if problem else begins)


def _json_mismatches(expect: Expect, response: Response, matcher: Confined) -> Iterator[str]:
    try:
        yield from _path_mismatches(expect, response.body, matcher)
    except UnusableJsonError as error:
        yield f"body: expected JSON that can be used, got {_short(response.text)}: {error}"
    except ValueError:
        yield f"body: expected JSON, got {_short(response.text)}"


def _path_mismatches(expect: Expect, body: bytes, matcher: Confined) -> Iterator[str]:
    for path, wanted in expect.json.items():
        found, problem = _evaluated(matcher.values, path, body)
        if problem or not found or not all(same(wanted, value) for value in found):
            got = (
                ", ".join(_short(json.dumps(value, ensure_ascii=False)) for value in (found or ())[:3])
                or "nothing there"
            )
            yield f"{path}: expected {json.dumps(wanted, ensure_ascii=False)}, got {problem or got}"
    for path in expect.json_has:
        found, problem = _evaluated(matcher.values, path, body)
        if not found:
            yield f"{path}: expected a value, got {problem or 'nothing'}"


def same(one: Any, other: Any) -> bool:
    """Equality of JSON values: 1 is 1.0, but true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _short(text: str, limit: int = 80) -> str:
    text = redaction.redacted(text[:LONGEST_SECRET])  # before shortening: redaction does not recognise a part
    return repr(text if len(text) <= limit else text[:limit] + "…")


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of some values: the smallest one that at least ``percent`` % do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass
class ResponseSums:
    """The sums over all answers of one check at one place."""

    check: Check
    sent: int = 0
    good: int = 0
    marked: int = 0  # of the good ones: those that the canary gave
    seconds: list[float] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)
    unsent: Counter[str] = field(default_factory=Counter)
    shown: Response | None = None  # the first bad response, else the first

    def add(self, response: Response, wrong: Sequence[str]) -> None:
        """``wrong``: its mismatches."""
        self.sent += 1
        self.good += not wrong
        if not response.problem:
            self.seconds.append(response.seconds)
        share = self.check.expect.share
        self.marked += bool(share and not wrong and is_canary(share, response))
        if self.shown is None or (wrong and self.good == self.sent - 1):
            self.shown = replace(response, body=response.body[: 4 * EXCERPT])
        for line in wrong:
            if line in self.wrong or len(self.wrong) < KINDS:
                self.wrong[line] += 1

    def skip(self, count: int, why: str) -> None:
        """Count requests that were not sent as failed."""
        if count > 0:
            self.sent += count
            self.unsent[why] += count

    def findings(self) -> list[str]:
        """Why the check has failed at this place; empty when it has not."""
        return [*self._rate(), *self._latency(), *self._share()]

    def _rate(self) -> Iterator[str]:
        wanted = self.check.expect.success_rate
        if self.sent == 0:
            yield "no request was sent"
        elif self.good < wanted * self.sent - 1e-9:
            worst = (self.wrong or self.unsent).most_common(1)[0][0]
            if self.sent == 1:
                yield worst
            else:
                bad = self.sent - self.good
                yield (
                    f"{bad} of {self.sent} requests failed: {self.good / self.sent:.1%} succeeded, "
                    f"expected {wanted:.1%}; {worst}"
                )

    def _latency(self) -> Iterator[str]:
        for percent, limit in self.check.expect.latency:
            if not self.seconds:
                yield f"latency p{percent:g}: expected {_ms(limit)} at most, got no answer"
            elif percentile(self.seconds, percent) > limit:
                found = percentile(self.seconds, percent)
                yield f"latency p{percent:g}: expected {_ms(limit)} at most, got {_ms(found)}"

    def _share(self) -> Iterator[str]:
        share = self.check.expect.share
        if share is None:
            return
        if not self.good:
            yield "the canary's share: no good answer to count"
        elif not share.at_least <= self.marked / self.good <= share.at_most:
            yield (
                f"the canary's share: expected {share.at_least:.0%} to {share.at_most:.0%}, "
                f"got {self.marked / self.good:.1%} ({self.marked} of {self.good} answers)"
            )

    def case(self, suite: str, place: str, url: str, redact: Callable[[str], str] = redaction.redacted) -> Case:
        """The test case. ``url``: where the requests went; ``redact``: removes the suite's secrets."""
        findings = self.findings()
        counts = [f"{count} x {line}" for line, count in (*self.wrong.most_common(), *self.unsent.items())]
        summary = f"{self.good} of {self.sent} requests succeeded"
        if self.seconds:
            ranks = (50.0, 95.0, 100.0)
            summary += "; " + ", ".join(f"p{rank:g} {_ms(percentile(self.seconds, rank))}" for rank in ranks)
        if self.check.expect.share:
            summary += f"; {self.marked} answers by the canary"
        excerpt = exchange(self.check, url, self.shown, brief=not findings) if self.shown else ""
        return Case(
            suite,
            redact(self.check.name),
            place,
            Outcome.FAILED if findings else Outcome.PASSED,
            redact(findings[0] if findings else ""),
            redact("\n".join([*findings, *counts]) if findings else ""),
            redact(f"{summary}\n\n{excerpt}".strip()),
            sum(self.seconds),
        )


def is_canary(share: Share, response: Response) -> bool:
    if share.header:
        return response.headers.get(share.header[0]) == share.header[1]
    return bool(share.body) and str(share.body) in response.text


def exchange(check: Check, url: str, response: Response, *, brief: bool = False) -> str:
    """A request and its response for a report: without credentials, and shortened."""
    limit = EXCERPT // 8 if brief else EXCERPT
    lines = [f"> {check.method} {url}", *(f"> {line}" for line in _headers(check.headers))]
    if check.body:
        lines += [">", *(f"> {line}" for line in _cut(check.body.decode("utf-8", "replace"), limit).splitlines())]
    if response.problem:
        return "\n".join([*lines, f"! {response.problem}"])
    lines += [
        f"< {response.status} {response.reason}".rstrip(),
        *(f"< {line}" for line in _headers(response.headers)),
        "<",
    ]
    return "\n".join([*lines, *(f"< {line}" for line in _cut(response.text, limit).splitlines())])


def _headers(headers: Mapping[str, str]) -> list[str]:
    private = {name: redaction.MASK for name in headers if PRIVATE_HEADER.search(name)}
    return [f"{name}: {private.get(name) or _cut(text, 200)}" for name, text in headers.items()][:40]


def _cut(text: str, limit: int) -> str:
    text = redaction.redacted(text)
    return text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more characters)"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
