"""``bgci remove`` asks for a confirmation on a terminal, before it asks the cluster for anything."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WORDS = [sys.executable, "-m", "bgci", "remove", "--app", "web", "--marathon-url", "http://127.0.0.1:1"]


@contextmanager
def on_a_terminal(directory: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The command with a terminal of its own, and the other end of the terminal."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "PYTHONPATH")}
    process = subprocess.Popen(
        WORDS, cwd=directory, env={**kept, **environment}, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    try:
        yield process, ours
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def read_until(terminal: int, text: str) -> str:
    """What the command writes until this text; to its end if it never comes."""
    found = b""
    while text.encode() not in found:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the command has ended
            break
        found += part
    return found.decode()


def test_an_answer_other_than_the_apps_id_removes_nothing(tmp_path: Path) -> None:
    with on_a_terminal(tmp_path) as (process, terminal):
        assert "Type /web to confirm" in read_until(terminal, "confirm: ")
        os.write(terminal, b"yes\n")
        assert "nothing was removed" in read_until(terminal, "nothing was removed")
        assert process.wait(30) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_prompt(tmp_path: Path, number: signal.Signals) -> None:
    with on_a_terminal(tmp_path) as (process, terminal):
        read_until(terminal, "confirm: ")
        process.send_signal(number)
        assert process.wait(30) == 128 + number


def test_a_ci_system_with_a_terminal_gets_no_prompt(tmp_path: Path) -> None:
    with on_a_terminal(tmp_path, CI="true") as (process, terminal):
        text = read_until(terminal, "--app /web --yes.")
        assert "Give --yes" in text
        assert "confirm: " not in text
        assert process.wait(30) == 2
