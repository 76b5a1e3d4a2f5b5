"""Test programs: their environment without credentials, and the end of all their processes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bgci import redaction
from bgci.checks import test_program
from bgci.checks.test_result import Case, Outcome
from bgci.dcos.credentials import CREDENTIAL_VARIABLES, without_credentials

URLS = {
    "canary": ["http://10.0.0.5:1", "http://10.0.0.6:1"],
    "baseline": ["http://10.0.0.7:1"],
    "load-balancer": ["http://lb:10102"],
}
TOLD = test_program.variables("/web", "v2", URLS)


def run(
    command: str, *, timeout: float = 20.0, grace: float = 0.5, poll: Callable[[], None] = lambda: None, **base: str
) -> tuple[Case, str]:
    lines: list[str] = []
    environment = {"PATH": os.environ["PATH"], **base, **TOLD}
    case = test_program.run(command, environment, timeout=timeout, show=lines.append, grace=grace, poll=poll)
    return case, "".join(lines)


def until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.02)
    raise AssertionError(f"{pid} still lives")


def test_a_program_gets_the_addresses_of_the_canary_and_no_credential() -> None:
    credentials = dict.fromkeys(CREDENTIAL_VARIABLES, "hush")
    case, out = run("env", **without_credentials({"MINE": "kept", **credentials}))
    assert case.outcome is Outcome.PASSED
    told = dict(line.split("=", 1) for line in out.splitlines())
    assert told["MINE"] == "kept"
    assert "hush" not in told.values()
    assert {name: value for name, value in told.items() if name.startswith("BGCI_")} == {
        "BGCI_APP": "/web",
        "BGCI_REVISION": "v2",
        "BGCI_CANARY_URL": "http://10.0.0.5:1",
        "BGCI_CANARY_URLS": "http://10.0.0.5:1 http://10.0.0.6:1",
        "BGCI_BASELINE_URLS": "http://10.0.0.7:1",
        "BGCI_LB_URL": "http://lb:10102",
    }


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("exit 3", "The program ended with exit code 3."),
        ("no-such-program-here", "The program ended with exit code 127 (not found)."),
        ("kill -KILL $$", "The program was ended by signal 9."),
        ("cat; echo out; echo err >&2; test a = a && false", "The program ended with exit code 1."),
    ],
)
def test_every_exit_code_but_0_is_a_failure(command: str, said: str) -> None:
    case, out = run(command)
    assert (case.outcome, case.message) == (Outcome.FAILED, said)
    assert case.suite == "commands"
    if "echo" in command:
        assert out == case.output == "out\nerr\n"


def test_the_end_of_a_long_output_is_kept() -> None:
    case, out = run("seq 1 20000")
    assert len(out) > 100_000
    assert len(case.output) <= test_program.KEPT
    assert case.output.endswith("20000\n")


def test_secret_is_hidden_also_where_a_long_line_is_split() -> None:
    secret = "token-é-of-the-pipeline"
    redaction.hide(secret)
    for before in range(8150, 8200, 7):
        case, out = run(f"printf '%0{before}d' 0; printf '%s' \"$SECRET\"; printf '%09000d' 0", SECRET=secret)
        assert "***" in out
        assert "token-" not in out
        assert "pipeline" not in out
        assert "pipeline" not in case.output


def test_end_of_an_unterminated_line_is_shown() -> None:
    redaction.hide("some-secret")
    assert run("printf 'no newline'")[1] == "no newline"


def test_a_program_that_exceeds_its_timeout_is_ended_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    lives_on = f'trap "" TERM; echo $$ >> {pids}; sleep 600 & echo $! >> {pids}; wait; sleep 600'
    case, _ = run(f"sh -c '{lives_on}'", timeout=1)
    assert case.message == "The program did not end within 1 s (--command-timeout)."
    for pid in pids.read_text().split():
        until_gone(int(pid))


def test_child_processes_of_a_program_are_ended_too(tmp_path: Path) -> None:
    pids = tmp_path / "pid"
    case, _ = run(f"sleep 600 & echo $! > {pids}; echo done")
    assert case.outcome is Outcome.PASSED
    until_gone(int(pids.read_text()))


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "])
def test_a_signal_to_bgci_ends_the_program_first_and_soon(
    tmp_path: Path, trap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_program, "HURRY", 0.1)
    pids = tmp_path / "pid"

    class Aborted(Exception):
        pass

    def poll() -> None:
        if pids.exists() and pids.read_text().strip():
            raise Aborted

    with pytest.raises(Aborted):
        run(f"{trap}echo $$ > {pids}; sleep 60", grace=60, poll=poll)
    until_gone(int(pids.read_text()))
