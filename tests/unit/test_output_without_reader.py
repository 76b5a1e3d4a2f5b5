"""The reader of bgci's output is gone (`bgci ... | head`, a CI runner that was killed): the exit code stays, and the
process ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hostile.answers import HOSTILE
from hostile.cluster import Cluster
from hostile.commands import V2, environment, prepared

SUITE = "checks:\n- {path: /a, repeat: 64, concurrency: 32, timeout: 10m, expect: {status: 200}}\n"
EARLY = "import os, signal; from bgci import early_signals; early_signals.begin(); os.kill(os.getpid(), signal.SIGTERM)"


def code_of(words: list[str], directory: Path, output: int, **more: str) -> int:
    environ = {"PATH": os.environ["PATH"], "HOME": str(directory), **more}
    return subprocess.run(
        [sys.executable, *words], cwd=directory, env=environ, stdout=output, stderr=output, timeout=120, check=False
    ).returncode


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["-m", "bgci", "slug", ""], 2),  # an error of a command
        (["-m", "bgci", "nonsense"], 2),  # one of the command line
        (["-m", "bgci", "status", "--app", "web", "--cluster-url", "http://127.0.0.1:1"], 5),  # one of a stage
        (["-c", EARLY], 143),
    ],
)
def test_h62_an_error_without_a_reader_keeps_its_exit_code(tmp_path: Path, words: list[str], code: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert code_of(words, tmp_path, subprocess.DEVNULL) == code
    assert code_of(words, tmp_path, writer) == code
    os.close(writer)


def test_h62_a_command_without_answers_ends_also_without_a_reader(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with Cluster() as cluster:
        prepared(tmp_path, cluster)
        cluster.answering("instance", HOSTILE["silence"])
        (tmp_path / "slow.yaml").write_text(SUITE)
        words = ["-m", "bgci", "test", *V2, "--suite", "slow.yaml", "--timeout", "1s"]
        assert code_of(words, tmp_path, writer, **environment(cluster)) == 7
    os.close(writer)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_closed_streams_change_no_exit_code_and_no_file(tmp_path: Path, closed: str) -> None:
    with Cluster() as cluster:
        prepared(tmp_path, cluster)
        words = [*("sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "bgci", "render"), *V2]
        done = subprocess.run(
            words, cwd=tmp_path, env=environment(cluster), capture_output=True, text=True, timeout=120, check=False
        )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert (tmp_path / "bgci-artifacts/manifest.json").read_text().startswith("{")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["slug", "a"], ["status", "--app", "web"]])
def test_an_answer_to_a_full_disk_is_a_usage_error(tmp_path: Path, words: list[str]) -> None:
    with Cluster() as cluster, open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bgci", *words],
            cwd=tmp_path,
            env=environment(cluster),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 2
    assert "bgci: usage: The answer cannot be written to stdout: No space left on device." in done.stderr
    assert "Traceback" not in done.stderr
