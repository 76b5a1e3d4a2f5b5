"""Signals are recorded, and raised where a command waits: none is lost, at any moment (hazard 62)."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from bgci import early_signals, interruption
from bgci.errors import AbortedError, BgciError, DeadlineError, UnavailableError

SIGNALS = 500
MOMENT = 0.02  # seconds in which a signal comes
LONG = 30.0  # seconds; longer than anything here


def send_soon(number: int, seconds: float) -> threading.Timer:
    timer = threading.Timer(seconds, os.kill, (os.getpid(), number))
    timer.start()
    return timer


class Dropped:
    """Code that runs in the callback of a weak reference, where Python drops exceptions."""


def collected() -> None:
    for _ in range(200):
        one = Dropped()
        weakref.finalize(one, sum, range(50))
        del one


WORK: tuple[Callable[[], object], ...] = (
    partial(interruption.pause, 0.001),
    partial(interruption.call, lambda: time.sleep(0.001), LONG),
    partial(interruption.call, lambda: None, LONG),
    partial(interruption.pause, LONG),
    partial(interruption.call, partial(time.sleep, 0.5), LONG),
    collected,
)


def works_until_aborted(chance: random.Random) -> AbortedError | None:
    until = time.monotonic() + LONG
    try:
        while time.monotonic() < until:
            chance.choice(WORK)()
    except AbortedError as error:
        return error
    return None


def test_h62_no_signal_at_a_random_moment_is_lost() -> None:
    chance = random.Random(62)
    for _ in range(SIGNALS):
        number = chance.choice(early_signals.NUMBERS)
        with interruption.noted_signals():
            sender = send_soon(number, chance.uniform(0, MOMENT))
            error = works_until_aborted(chance)
            sender.join()
        assert error is not None
        assert error.exit_code == 128 + number


def test_h62_a_signal_in_a_computation_is_raised_at_the_next_wait() -> None:
    with interruption.noted_signals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        computed = sum(range(1000))
        with pytest.raises(AbortedError, match=r"Aborted by SIGTERM\."):
            signals.check()
    assert computed == 499500


def test_h62_signals_of_several_senders_are_one() -> None:
    with interruption.noted_signals() as signals:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        with pytest.raises(AbortedError):
            signals.check()
        os.kill(os.getpid(), signal.SIGTERM)
        interruption.pause(0)


def test_h62_a_later_signal_counts_as_a_second_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interruption, "REPEATED", 0.0)
    with interruption.noted_signals() as signals:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(AbortedError):
                signals.check()


def test_h62_no_signal_interrupts_the_writing_of_the_result() -> None:
    with interruption.noted_signals() as signals:
        signals.over = True
        os.kill(os.getpid(), signal.SIGTERM)
        interruption.pause(0.01)


def test_call_returns_the_result_or_raises_the_error_of_its_work() -> None:
    assert interruption.call(lambda: 7, LONG) == 7
    with pytest.raises(ValueError, match="invalid literal"):
        interruption.call(lambda: int("x"), LONG)


def test_call_abandons_work_that_takes_too_long() -> None:
    release = threading.Event()
    with pytest.raises(TimeoutError):
        interruption.call(release.wait, 0.05)
    release.set()


def test_no_call_outlives_the_deadline_and_none_begins_after_it() -> None:
    release, begun = threading.Event(), threading.Event()
    with interruption.within(0.05):
        with pytest.raises(TimeoutError):
            interruption.call(release.wait, LONG)
        with pytest.raises(TimeoutError):
            interruption.call(begun.set, LONG)
        with interruption.within(LONG):
            assert interruption.call(lambda: 7, LONG) == 7
    release.set()
    assert not begun.is_set()
    assert interruption.left() > LONG


def test_an_outer_deadline_is_suspended_within_an_inner_one_and_continues_within_at_most() -> None:
    with interruption.within(LONG):
        with interruption.within(LONG):
            interruption.pause(0.2)
        assert interruption.left() > LONG - 0.2
        with interruption.at_most(2 * LONG):
            interruption.pause(0.2)
            assert interruption.left() <= LONG - 0.2
        assert interruption.left() <= LONG - 0.2


@pytest.mark.parametrize(
    ("left", "error", "seconds"),
    [
        (LONG, AbortedError("Aborted.", signal_number=15, remedy=""), interruption.CLEANUP_ABORTED),
        (LONG, DeadlineError("Timed out.", remedy=""), interruption.CLEANUP_LATE),
        (0, UnavailableError("No answer.", remedy=""), interruption.CLEANUP_LATE),
        (LONG, UnavailableError("No answer.", remedy=""), interruption.CLEANUP),
        (LONG, None, interruption.CLEANUP),
        (10, None, 10),
    ],
)
def test_a_cleanup_has_time_after_the_deadline_and_less_after_a_signal(
    left: float, error: Exception | None, seconds: float
) -> None:
    found: list[float] = []

    def work() -> None:
        try:
            if error:
                raise error
        finally:
            with interruption.cleanup():
                found.append(interruption.left())

    with interruption.within(left), suppress(AbortedError, BgciError):
        work()
    assert seconds - 1 < found[0] <= seconds


def test_work_before_a_cleanup_leaves_time_for_it() -> None:
    with interruption.within(LONG), interruption.before_cleanup():
        assert interruption.left() <= LONG - interruption.CLEANUP_LATE


def test_a_deadline_holds_only_in_its_thread() -> None:
    with interruption.within(0):
        found: list[float] = []
        other = threading.Thread(target=lambda: found.append(interruption.left()))
        other.start()
        other.join()
    assert found == [math.inf]


def test_h62_work_that_changes_the_cluster_may_finish_after_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    still_waits = threading.Event()

    def work() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        if still_waits.wait(LONG):
            done.append(1)

    with interruption.noted_signals() as signals:
        wait = signals._wait

        def watched(seconds: float, reader: int | None = None) -> None:
            if signals._taken:
                still_waits.set()
            wait(seconds, reader)

        monkeypatch.setattr(signals, "_wait", watched)
        with pytest.raises(AbortedError):
            interruption.call(work, LONG, settle=LONG)
    assert done == [1]


@pytest.mark.parametrize("number", early_signals.NUMBERS)
def test_h62_a_signal_that_the_launcher_has_blocked_ends_the_command_at_its_first_instruction(number: int) -> None:
    """It comes before Python's own start, which would lose a SIGINT at some moments."""

    def launcher() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, early_signals.NUMBERS)
        os.kill(os.getpid(), number)

    done = subprocess.run(
        [sys.executable, "-m", "bgci", "status"],
        preexec_fn=launcher,
        capture_output=True,
        text=True,
        check=False,
    )
    name = signal.Signals(number).name
    assert (done.returncode, done.stderr) == (128 + number, f"bgci: aborted: Aborted by {name}.\n")


@pytest.mark.parametrize("given", [{}, {"pyz": __file__}], ids=["own version", "pyz"])
def test_h62_the_action_starts_its_own_version_with_blocked_signals(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str]
) -> None:
    spec = importlib.util.spec_from_file_location("main", Path(__file__).parents[2] / "action/main.py")
    assert spec
    assert spec.loader
    action = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(action)
    monkeypatch.setenv("BGCI_ACTION_INPUTS", json.dumps({"command": "status", **given}))
    monkeypatch.setattr(action, "installed", lambda: Path("/bgci"))
    monkeypatch.setattr(os, "execve", lambda *_: None)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        action.main()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    # A pyz can be of a version that does not take them.
    assert blocked == (before if given else before | set(early_signals.NUMBERS))


def test_h62_the_process_ends_although_a_thread_is_blocked_at_exit() -> None:
    """A thread that never ends, and an exit function that waits for ever."""
    code = (
        "import atexit, threading; from bgci import interruption\n"
        "never = threading.Event(); atexit.register(never.wait); threading.Thread(target=never.wait).start()\n"
        "interruption.at_end(lambda: print('cleaned')); print('said', end=' '); interruption.end(143)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (143, "said cleaned\n")
