"""The log for users, in which a CI system must not find foreign commands."""

from __future__ import annotations

import io
import json

import pytest

from bgci.errors import ConflictError
from bgci.reporting.console import Console, plain
from bgci.reporting.live_line import live_line


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def stream():
    return io.StringIO()


@pytest.fixture
def console(stream, clock):
    return Console(stream, clock=clock)


def test_lines_carry_the_seconds_since_the_start(console, stream, clock):
    console.info("hello")
    clock.now += 12.34
    console.step("scale /web-green to 2")
    console.result("promoted")
    assert stream.getvalue().splitlines() == [
        "[    0.0s]   hello",
        "[   12.3s] > scale /web-green to 2",
        "[   12.3s] = promoted",
    ]


def test_an_error_is_followed_by_its_remedy(console, stream):
    console.error(ConflictError("Two canaries.", remedy="Roll one back."))
    assert stream.getvalue().splitlines() == ["[    0.0s] x error: Two canaries.", "           | Roll one back."]


def test_the_same_wait_is_reported_once_in_ten_seconds(console, stream, clock):
    for _ in range(25):
        console.wait("for 2 tasks to be healthy")
        console.wait("for the load balancer")
        clock.now += 1
    assert stream.getvalue().count("for 2 tasks") == 3
    assert stream.getvalue().count("for the load balancer") == 3


def test_a_wait_after_a_step_is_reported_at_once(console, stream):
    console.wait("for health")
    console.step("scale")
    console.wait("for health")
    assert stream.getvalue().count("for health") == 2


EVIL = [
    "::error::forged",
    "  ::add-mask::x",
    "ok\n::stop-commands::t",
    "ok\r::error::x",
    "ok\x85::error::x",
    "ok\u2028::error::x",
    "x ##[error]forged",
    "x #\x1b[0m#[error]forged",
    "##vso[task.setvariable]x",
    "section_start:1700000000:evil\r\x1b[0Ktitle",
    "\x1b[8mha:////note\x1b[0m",
    "\x1b]0;title\x07x",
    "\x9b31mred",
    "a\x00b\x08c\u202e",
]


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("method", ["foreign", "info", "error"])
def test_foreign_text_is_never_a_command(stream, clock, text, log_format, method):
    console = Console(stream, log_format, clock=clock)
    if method == "foreign":
        console.foreign("job", text)
    else:
        getattr(console, method)(text)
    for line in stream.getvalue().split("\n")[:-1]:
        assert line.startswith(("job | ", "[ ", "           | ", "{"))
        assert not line.lstrip().startswith("::")
        assert "##[" not in line
        assert "##vso[" not in line
        assert all(sign.isprintable() for sign in line)


def test_each_foreign_line_is_prefixed(console, stream):
    console.foreign("team.web-canary", "one\n\ttwo\n\nthree\n")
    assert stream.getvalue().splitlines() == [
        "team.web-canary | one",
        "team.web-canary |     two",
        "team.web-canary | ",
        "team.web-canary | three",
    ]


def test_terminal_colours_are_removed_and_text_is_kept():
    assert plain("\x1b[1;32mgrün\x1b[0m — fine") == "grün — fine"


def test_json_lines_are_objects_with_the_fields(stream, clock):
    console = Console(stream, "json", clock=clock)
    clock.now += 1.5
    console.step("scale")
    console.foreign("job", "a\nb")
    console.error(ConflictError("Two.", remedy="Roll back."))
    step, first, second, error = map(json.loads, stream.getvalue().splitlines())
    assert (step["kind"], step["message"], step["elapsed"]) == ("step", "scale", 1.5)
    assert step["time"].endswith("Z")
    assert [(line["source"], line["message"]) for line in (first, second)] == [("job", "a"), ("job", "b")]
    assert (error["message"], error["name"], error["remedy"]) == ("Two.", "conflict", "Roll back.")


def test_a_character_that_a_terminal_lacks_is_a_question_mark(clock):
    raw = io.BytesIO()
    ascii_only = io.TextIOWrapper(raw, encoding="ascii")  # kept: once collected it would close ``raw``
    Console(ascii_only, clock=clock).info("grün")
    assert raw.getvalue().decode().endswith("gr?n\n")


def test_a_closed_stream_never_stops_a_release(stream, console):
    stream.close()
    console.info("nobody hears this")


def test_each_line_is_flushed(clock):
    class Counting(io.StringIO):
        flushes = 0

        def flush(self) -> None:
            self.flushes += 1

    stream = Counting()
    console = Console(stream, clock=clock)
    console.foreign("job", "a\nb")
    console.info("c")
    assert stream.flushes == 3


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("environ", [{"TERM": "xterm", "CI": "true"}, {"TERM": "dumb"}, {}])
def test_in_a_ci_system_and_on_a_dumb_terminal_there_is_no_live_line(environ):
    assert live_line(Terminal(), environ) is None
    assert live_line(io.StringIO(), {"TERM": "xterm"}) is None


def test_on_a_terminal_a_wait_is_one_live_line_that_the_next_line_replaces(clock, monkeypatch):
    for name, value in {"TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    console = Console(stream, clock=clock, live=live_line(stream, {"TERM": "xterm"}))
    for _ in range(3):
        console.wait("for 2 tasks\x1b]0;title\x07 to be [bold]healthy " + "x" * 200)
    console.step("scale")
    text = stream.getvalue()
    assert "for 2 tasks to be [bold]healthy xx" in text
    assert "title" not in text
    assert "x" * 80 not in text
    assert text.count("\n") == 1 + text.count("\n\x1b")
    assert text.endswith("\x1b[2K[    0.0s] > scale\n")
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
