"""Any answer of a cluster, a load balancer or an instance leads to an exit code of the contract, without a traceback.

HYPOTHESIS_PROFILE=explore tries every answer of every endpoint with every command, which takes half an hour.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import termios
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.lab import until
from hostile.answers import HOSTILE, LARGE, altered, body, changed, endless
from hostile.cluster import Answer, Cluster
from hostile.command import impatient, run
from hostile.commands import APP, COMMANDS, PASSWORD, V2, environment, prepared, state_for
from hostile.good_answers import State
from hostile.situations import SITUATIONS

from bgci.interruption import SLACK, left
from bgci.operations import context, job_run
from bgci.operations.run_watch import RunWatch

EVERYTHING = os.environ.get("HYPOTHESIS_PROFILE") == "explore"
PART = 1 if EVERYTHING else 30  # of the answers, another part for each command and endpoint
FAST = ("status", "prune")
MEBIBYTES = 150


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as started:
        yield started


@pytest.fixture
def home(tmp_path: Path, cluster: Cluster) -> Path:
    cluster.state = State()
    cluster.answering("", cluster.answer)
    return prepared(tmp_path, cluster)


def problems(home: Path, cluster: Cluster, name: str, endpoint: str, answers: dict[str, Answer]) -> list[str]:
    """The answers after which the command does not end as it should."""
    found = []
    for label, answer in answers.items():
        cluster.answering(endpoint, answer)
        with impatient():
            ended = run(home, list(COMMANDS[name]), environment(cluster))
        if not ended.within_contract or PASSWORD in ended.out + ended.err:
            found.append(f"{name}, {endpoint} answers {label}: {ended.code} {ended.err[-500:]}")
    return found


@pytest.mark.timeout(3600 if EVERYTHING else 300)
@pytest.mark.parametrize("name", COMMANDS if EVERYTHING else FAST)
def test_no_hostile_answer_of_an_endpoint_breaks_the_contract(home: Path, cluster: Cluster, name: str) -> None:
    cluster.state = state_for(name)
    with impatient():
        run(home, list(COMMANDS[name]), environment(cluster))
    asked = sorted(set(cluster.asked))
    assert len(asked) >= 3
    found = []
    for number, endpoint in enumerate(asked):
        labels = list(HOSTILE)[(number + 5 * len(name)) % PART :: PART]
        found += problems(home, cluster, name, endpoint, {label: HOSTILE[label] for label in labels})
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("name", "endpoint", "label"),
    [
        ("status", "apps", "a negative chunk"),
        ("status", "apps", "redirect to an unresolvable name"),
        ("status", "config", "a configuration of long numbers"),
        ("status", "login", "JSON deep"),
        ("status", "statistics-page", "a page of long numbers"),
    ],
)
def test_known_hostile_answers_no_longer_break_the_contract(
    home: Path, cluster: Cluster, name: str, endpoint: str, label: str
) -> None:
    assert not problems(home, cluster, name, endpoint, {label: HOSTILE[label]})


@pytest.mark.parametrize("endpoint", ["apps", "jobs"])
def test_no_wrong_type_in_an_answer_breaks_the_contract(home: Path, cluster: Cluster, endpoint: str) -> None:
    good = {"apps": {"apps": cluster.apps()}, "jobs": list(cluster.jobs.values())}[endpoint]
    wrong = list(changed(good))
    chosen = wrong if EVERYTHING else wrong[:: len(wrong) // 25]
    answers = {f"{path} = {str(value)[:40]}": altered(lambda _, value=value: value) for path, value in chosen}
    found = problems(home, cluster, "status", endpoint, answers)
    assert not found, "\n".join(found)


def test_doctor_ends_at_its_timeout_with_a_silent_cluster(home: Path, cluster: Cluster) -> None:
    cluster.answering("version", HOSTILE["silence"])
    cluster.asked.clear()
    with impatient(read=0.5):
        ended = run(home, list(COMMANDS["doctor"]), environment(cluster))
    assert ended.code == 5
    assert cluster.asked.count("version") <= 4  # of 20: four looks, five tries each


@pytest.mark.parametrize(("name", "endpoint"), [("status", "apps"), ("prune", "apps"), ("prune", "create-lock")])
def test_a_command_without_timeout_has_a_limit_for_all_its_requests(
    home: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, name: str, endpoint: str
) -> None:
    monkeypatch.setattr(context, "LIMITS", {name: 2.0})
    cluster.answering(endpoint, HOSTILE["a body that trickles"])
    ended = run(home, list(COMMANDS[name]), environment(cluster))
    assert ended.code == 5
    assert cluster.asked.count(endpoint) == 1


def test_no_request_follows_one_that_has_used_up_the_time(home: Path, cluster: Cluster) -> None:
    cluster.answering("app", HOSTILE["a body that trickles"])
    ended = run(home, [*COMMANDS["test"], "--timeout", "0.1s"], environment(cluster))
    assert ended.code == 5
    assert cluster.asked.count("app") == 1


def test_what_follows_a_run_has_no_time_limit_of_its_own(
    home: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds: list[float] = []
    monkeypatch.setattr(RunWatch, "require_own_end", lambda _: seconds.append(left()))
    unread = SITUATIONS["canary job without a log"]
    cluster.state = unread.state
    cluster.answering("state", HOSTILE["a body that trickles"])
    ended = run(home, [*unread.words, "--timeout", "0.3s"], environment(cluster))
    assert ended.code == 5
    assert seconds[0] <= SLACK - job_run.ENDING


def test_synthetic_traffic_that_does_not_end_in_time_is_not_counted(home: Path, cluster: Cluster) -> None:
    cluster.answering("instance", HOSTILE["a body that trickles"])
    ended = run(home, list(COMMANDS["judge"]), environment(cluster))
    assert ended.code == 11
    assert "baseline 0 in 0" in ended.err


# The answers that once took most, and where.
LARGE_AT = {
    "apps of many labels": "apps",
    "a long text": "apps",
    "pids": "pids",
    "statistics of commas": "statistics",
    "a configuration of frontends": "config",
}


@pytest.mark.parametrize("label", LARGE_AT)
def test_no_answer_takes_more_than_150_mebibytes(home: Path, cluster: Cluster, label: str) -> None:
    cluster.answering(LARGE_AT[label], LARGE[label])
    assert mebibytes_of(home, cluster, "status", *APP) <= MEBIBYTES


# Each is a megabyte, and takes many times that while it is compared.
BODIES = {
    "objects": b"[" + b"{}," * 340_000 + b"{}]",
    "accents": '"é'.encode() + "é".encode() * 500_000 + b'"',
    "one wide character": '"\U0001f600'.encode() + b"x" * 1_000_000 + b'"',
}


@pytest.mark.parametrize("label", BODIES)
def test_large_bodies_on_many_connections_take_no_more_than_150_mebibytes(
    home: Path, cluster: Cluster, label: str
) -> None:
    cluster.answering("instance", body(BODIES[label]))
    assert mebibytes_of(home, cluster, *COMMANDS["test at once"], "--timeout", "5s") <= MEBIBYTES


@pytest.mark.parametrize("label", ["a wide line of 16 MiB", "a log of observations"])
def test_a_log_of_a_job_takes_no_more_than_150_mebibytes(home: Path, cluster: Cluster, label: str) -> None:
    cluster.answering("log", LARGE[label])
    assert mebibytes_of(home, cluster, *COMMANDS["canary job"]) <= MEBIBYTES


def mebibytes_of(home: Path, cluster: Cluster, *words: str) -> float:
    """The peak memory of the command, or of one of its processes."""
    # What a process has used at most, its parent's memory at the fork counts: so a small one starts it.
    launcher = "import resource, subprocess, sys; subprocess.run(sys.argv[1:]); " + (
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)"
    )
    command = [sys.executable, "-S", "-c", launcher, sys.executable, "-m", "bgci", *words]
    environ = {**environment(cluster), "PATH": os.environ["PATH"], "HOME": str(home)}
    ended = subprocess.run(command, cwd=home, env=environ, capture_output=True, text=True, check=False)
    assert "Traceback" not in ended.stderr
    return int(ended.stderr.split()[-1]) / 1024


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [("status", "apps"), ("canary", "apps"), ("test", "apps"), ("doctor", "apps"), ("publish", "create-job")],
)
def test_a_signal_ends_a_command_that_reads_an_endless_answer(
    home: Path, cluster: Cluster, name: str, endpoint: str
) -> None:
    asked = threading.Event()
    trickle = endless(b"HTTP/1.1 200 OK\r\n\r\n", b" ", 0.05)

    def answer(send, good, over):
        asked.set()
        trickle(send, good, over)

    cluster.answering(endpoint, answer)
    words = [sys.executable, "-m", "bgci", *COMMANDS[name]]
    environ = {**environment(cluster), "BGCI_TIMEOUT": "30m", "PATH": os.environ["PATH"], "HOME": str(home)}
    with subprocess.Popen(words, cwd=home, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert asked.wait(60)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert b"Aborted by SIGTERM" in errors
    assert b"Traceback" not in errors


def test_an_output_without_a_reader_does_not_delay_the_end(home: Path, cluster: Cluster) -> None:
    reader, writer = os.pipe()
    words = [sys.executable, "-m", "bgci", "test", *V2, "--test-command", "yes " + "x" * 200]
    environ = {**environment(cluster), "PATH": os.environ["PATH"], "HOME": str(home)}
    with subprocess.Popen(words, cwd=home, env=environ, stdout=writer, stderr=subprocess.DEVNULL) as process:
        os.close(writer)
        until(lambda: _nearly_full(reader) or process.poll() is not None)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 143
    os.close(reader)


def _nearly_full(reader: int) -> bool:
    """Whether the next write into the pipe would block."""
    size = array("i", [0])
    fcntl.ioctl(reader, termios.FIONREAD, size)
    return size[0] > 60_000
