"""Runs a user's test program against the canary, and ends all of its child processes."""

from __future__ import annotations

import codecs
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from bgci import redaction
from bgci.checks.model import BASELINE, CANARY, LOAD_BALANCER
from bgci.checks.test_result import Case, Outcome
from bgci.interruption import pause

SUITE = "commands"
KEPT = 16_384  # characters; limit of the end of the output in a report
LINE = 8192  # bytes; limit of a part of a line
GRACE = 5.0  # seconds between SIGTERM and SIGKILL
HURRY = 2.0  # the same when bgci itself is stopped: a cancelled CI job has little time for the rollback
LOOK = 0.02  # seconds between two polls of the program
DRAIN = 2.0  # seconds for the last output of ended processes


def variables(app: str, revision: str, urls: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The variables of a test program. urls: by target; several are separated by blanks."""
    return {
        "BGCI_APP": app,
        "BGCI_REVISION": revision,
        "BGCI_CANARY_URL": next(iter(urls[CANARY]), ""),
        "BGCI_CANARY_URLS": " ".join(urls[CANARY]),
        "BGCI_BASELINE_URLS": " ".join(urls[BASELINE]),
        "BGCI_LB_URL": next(iter(urls[LOAD_BALANCER]), ""),
    }


def run(
    command: str,
    environment: Mapping[str, str],
    *,
    timeout: float,
    show: Callable[[str], None],
    grace: float = GRACE,
    poll: Callable[[], None] = lambda: None,
) -> Case:
    """Run a shell command line to its end; exit code 0 passes. ``timeout`` and ``grace`` in seconds.

    ``environment``: of the program, without bgci's credentials. ``show`` gets each line of the output at once. Ends
    every process of its process group too, also when an exception (of a signal) interrupts this function. ``poll`` is
    called several times a second; its exception ends the program.
    """
    began = time.monotonic()
    kept: deque[str] = deque()
    process = _started(command, environment)
    reader = threading.Thread(target=_follow, args=(process, kept, show), daemon=True)
    try:
        reader.start()
        code = _ended(process, began + timeout, poll)
    except BaseException:
        grace = min(grace, HURRY)
        raise
    finally:
        _end_group(process, grace)
    reader.join(DRAIN)
    message = _message(code, timeout)
    return Case(
        SUITE,
        command,
        outcome=Outcome.FAILED if message else Outcome.PASSED,
        message=message,
        details=message and f"command: {command}\n{message}",
        output="".join(list(kept)),
        seconds=time.monotonic() - began,
    )


def _started(command: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/sh", "-c", command],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _ended(process: subprocess.Popen[bytes], until: float, poll: Callable[[], None]) -> int | None:
    """The exit code; None without one in time."""
    while process.poll() is None and time.monotonic() < until:
        poll()
        pause(LOOK)
    return process.poll()


def _message(code: int | None, timeout: float) -> str:
    if code is None:
        return f"The program did not end within {timeout:g} s (--command-timeout)."
    if code < 0:
        return f"The program was ended by signal {-code}."
    meaning = {126: " (not executable)", 127: " (not found)"}.get(code, "")
    return f"The program ended with exit code {code}{meaning}." if code else ""


def _follow(process: subprocess.Popen[bytes], kept: deque[str], show: Callable[[str], None]) -> None:
    size = 0
    assert process.stdout is not None  # noqa: S101 - a pipe
    with process.stdout as stream, contextlib.suppress(OSError, ValueError):
        for text in _without_secrets(iter(lambda: stream.readline(LINE), b"")):
            show(text)
            kept.append(text)
            size += len(text)
            while size > KEPT:
                size -= len(kept.popleft())


def _without_secrets(parts: Iterator[bytes]) -> Iterator[str]:
    """The output without secrets, line by line. A long line comes in parts, and their border can split a secret: the
    end of a part is held back until the next one arrives."""
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    held = ""
    for part in parts:
        text = held + decode(part)
        whole = text.endswith("\n")
        shown, held = (redaction.redacted(text), "") if whole else redaction.redacted_beginning(text)
        if shown:
            yield shown
    if held:
        yield redaction.redacted(held + decode(b"", final=True))


def _end_group(process: subprocess.Popen[bytes], grace: float) -> None:
    """Send SIGTERM to the whole group, and SIGKILL to the rest after ``grace``."""
    try:
        if _signal(process, signal.SIGTERM):
            until = time.monotonic() + grace
            while time.monotonic() < until and _alive(process):
                pause(LOOK)
    finally:  # also after a second signal to bgci
        _signal(process, signal.SIGKILL)
    process.wait()


def _alive(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # a zombie leader would count as alive
    return _signal(process, 0)


def _signal(process: subprocess.Popen[bytes], number: int) -> bool:
    """False when the group has no process left. While one lives, no other group can have its id."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS raises the latter for a group of zombies
        return False
    return True
