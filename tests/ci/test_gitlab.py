"""The GitLab component: the example in gitlab-ci-local, against the sandbox; and the schema of what it makes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from e2e.lab import App, until

from ci.processes import pids_with

ROOT = Path(__file__).parents[2]
RUNNER = ROOT / ".tools" / "node_modules" / ".bin" / "gitlab-ci-local"
CHECKER = shutil.which("check-jsonschema", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
SECONDS = 300
STAGES = ["bgci-render", "bgci-publish", "bgci-canary", "bgci-test", "bgci-promote"]

needs_runner = pytest.mark.skipif(
    not (RUNNER.exists() and shutil.which("node") and shutil.which("rsync")),
    reason="gitlab-ci-local, Node or rsync is missing: make ci-tools",
)


@dataclass(frozen=True)
class Pipeline:
    """How a pipeline ended. ``jobs``: those that ran, with whether they passed."""

    passed: bool
    jobs: dict[str, bool]
    log: str


def repository(directory: Path, app: App | None = None) -> Path:
    """A fresh repository with no more than the example, a template and a suite; only the addresses are other ones, and
    the component is a copy, for there is no GitLab to fetch it from."""
    text = (ROOT / "examples" / "gitlab" / ".gitlab-ci.yml").read_text()
    text, count = re.subn(r"component: .*", "local: templates/bgci.yml", text)
    assert count == 1
    if app:
        text = text.replace("https://dcos.example.com", app.lab.where["cluster_url"])
        text = text.replace("http://marathon-lb.example.com:9090", " ".join(app.lab.balancers))
    (directory / ".gitlab-ci.yml").write_text(text)
    (directory / ".gitignore").write_text("/bgci-artifacts\n/.gitlab-ci-local\n/bin\n")
    (directory / "web.canary.yaml").write_text("checks:\n- {name: home, path: /, expect: {status: 200}}\n")
    shutil.copytree(ROOT / "templates", directory / "templates")
    git(directory, "init", "--quiet", "--initial-branch=main")
    git(directory, "remote", "add", "origin", "git@gitlab.example.com:team/web.git")
    commit(directory)
    return directory


def git(directory: Path, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    return subprocess.run(
        ["git", *identity, *words], cwd=directory, check=True, capture_output=True, text=True
    ).stdout.strip()


def commit(directory: Path) -> str:
    """The revision of what now stands there."""
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--allow-empty", "--message", "a change")
    return git(directory, "rev-parse", "HEAD")[:8]


def run(directory: Path, *words: str, app: App | None = None) -> Pipeline:
    return ended(start(directory, *words, app=app))


def start(directory: Path, *words: str, app: App | None = None) -> subprocess.Popen[str]:
    binaries = directory / "bin"
    binaries.mkdir(exist_ok=True)
    (binaries / "bgci").write_text(f'#!/bin/sh\nexec {sys.executable} -m bgci "$@"\n')
    (binaries / "bgci").chmod(0o755)
    more = app.lab.environment() if app else {}
    variables = [
        word
        for name in ("BGCI_JOB_CLUSTER_URL", "BGCI_JOB_MARATHON_LB_URL", "BGCI_TIMEOUT")
        if name in more
        for word in ("--variable", f"{name}={more[name]}")
    ]
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    return subprocess.Popen(
        [str(RUNNER), "--force-shell-executor", *variables, *words],
        cwd=directory,
        env={**kept, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(runner: subprocess.Popen[str]) -> Pipeline:
    try:
        text, _ = runner.communicate(timeout=SECONDS)
    finally:
        runner.kill()
    log = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    jobs = {name: sign == "PASS" for sign, name in re.findall(r"^\s*(PASS|FAIL)\s+(bgci-[\w-]+)", log, re.M)}
    return Pipeline(runner.returncode == 0, jobs, log)


@needs_runner
@pytest.mark.timeout(600)
def test_the_example_releases_to_the_sandbox_and_a_failing_canary_brings_the_old_version_back(
    make_app: Callable[..., App],
) -> None:
    app, directory = released(make_app)
    second = commit(directory)
    good = run(directory, "--manual", "bgci-promote", app=app)
    assert good.passed, good.log
    assert good.jobs == dict.fromkeys(STAGES, True), good.log
    assert app.runs() == {second: 2}

    app.write("bad", env={"SANDBOX_ERROR_SHARE": "1"})
    (directory / "web.bad.template.json").rename(directory / "web.template.json")
    commit(directory)
    failed = run(directory, "--manual", "bgci-promote", app=app)
    assert not failed.passed, failed.log
    assert failed.jobs["bgci-test"] is False, failed.log
    assert failed.jobs["bgci-test-failed"] is True, failed.log
    assert "bgci-promote" not in failed.jobs
    assert app.runs() == {second: 2}, failed.log
    report = next((directory / ".gitlab-ci-local" / "artifacts").glob("bgci-test/**/bgci.xml"))
    assert "expected 200, got 500" in report.read_text()


@needs_runner
@pytest.mark.timeout(600)
def test_without_approval_the_canary_stands_until_its_environment_is_stopped(make_app: Callable[..., App]) -> None:
    app, directory = released(make_app)
    second = commit(directory)
    waiting = run(directory, "--needs", "bgci-test", app=app)  # gitlab-ci-local cannot wait for a person
    assert waiting.jobs == dict.fromkeys(STAGES[:-1], True), waiting.log
    assert app.runs() == {"v1": 2, second: 1}
    stopped = run(directory, "bgci-rollback", app=app)  # the job that the environment's on_stop names
    assert stopped.jobs == {"bgci-rollback": True}, stopped.log
    assert app.healthy() == {"v1": 2}


@needs_runner
@pytest.mark.timeout(600)
def test_a_cancelled_job_does_as_on_abort_says(make_app: Callable[..., App]) -> None:
    app, directory = released(make_app, env={"SANDBOX_START_SECONDS": "5"})
    second = commit(directory)
    runner = start(directory, "--manual", "bgci-promote", app=app)
    try:
        until(lambda: second in app.runs())
        (bgci,) = until(lambda: pids_with(directory, "bgci\0canary"))
        os.kill(bgci, signal.SIGTERM)
    except BaseException:
        runner.kill()
        raise
    cancelled = ended(runner)
    assert cancelled.jobs["bgci-canary"] is False, cancelled.log
    assert "rolled back, as --on-abort says" in cancelled.log
    assert app.healthy() == {"v1": 2}


def released(make_app: Callable[..., App], **changes: Any) -> tuple[App, Path]:
    """An app with v1, and its repository with the template of what comes next."""
    app = make_app(2, name="/web", group="web-{}")
    app.promote("v1")
    app.write("next", **changes)
    (app.directory / "web.next.template.json").rename(app.directory / "web.template.json")
    (app.directory / "web.v1.template.json").unlink()
    return app, repository(app.directory, app)


@needs_runner
def test_promotion_waits_for_somebody_unless_it_is_not_to(tmp_path: Path) -> None:
    directory = repository(tmp_path)
    jobs = listed(directory)
    assert jobs["bgci-promote"] == ("manual", "false")
    assert jobs["bgci-rollback"] == ("manual", "true")
    for stage in ("canary", "test", "promote"):
        assert jobs[f"bgci-{stage}-failed"] == ("on_failure", "false")
    file = directory / ".gitlab-ci.yml"
    file.write_text(f"{file.read_text()}      approval: false\n      test: false\n      via: direct\n")
    jobs = listed(directory)
    assert jobs["bgci-promote"] == ("on_success", "false")
    assert not {"bgci-test", "bgci-test-failed", "bgci-publish"} & set(jobs)


def listed(directory: Path) -> dict[str, tuple[str, str]]:
    """Each job with its ``when`` and ``allow_failure``."""
    log = run(directory, "--list").log
    return {name: (when, may) for name, when, may in re.findall(r"^(bgci-\S+) .*?(\w+) +(true|false) ", log, re.M)}


@needs_runner
def test_the_example_of_the_page_is_a_pipeline(tmp_path: Path) -> None:
    directory = repository(tmp_path)
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "gitlab.md").read_text(), re.S)
    (directory / ".gitlab-ci.yml").write_text(re.sub(r"component: .*", "local: templates/bgci.yml", example))
    assert "bgci-promote" in listed(directory)


@needs_runner
def test_an_input_that_the_component_does_not_know_is_an_error(tmp_path: Path) -> None:
    directory = repository(tmp_path)
    file = directory / ".gitlab-ci.yml"
    file.write_text(f"{file.read_text()}      strategy: sideways\n")
    ran = run(directory, "--list")
    assert not ran.passed
    assert "sideways" in ran.log


@pytest.mark.skipif(not CHECKER, reason="check-jsonschema is missing: make ci-tools")
def test_the_jobs_are_as_the_schema_of_gitlab_says(tmp_path: Path) -> None:
    _, _, body = (ROOT / "templates" / "bgci.yml").read_text().partition("\n---\n")
    jobs = tmp_path / "jobs.yml"
    jobs.write_text(body)
    ran = subprocess.run(
        [str(CHECKER), "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", jobs],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
