"""The GitLab component: the example in gitlab-ci-local against the sandbox, and GitLab's schema for its jobs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from e2e.lab import App, Lab, until

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
    """The result of a pipeline. ``jobs``: the executed ones, and whether each passed."""

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
        text = text.replace("http://marathon-lb.example.com:9090", "', '".join(app.lab.balancers))
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
    """Commits the current files. Returns the revision."""
    git(directory, "add", "--all")
    git(directory, "commit", "--quiet", "--allow-empty", "--message", "a change")
    return git(directory, "rev-parse", "HEAD")[:8]


def run(directory: Path, *words: str, app: App | None = None) -> Pipeline:
    return ended(start(directory, *words, app=app))


def start(directory: Path, *words: str, app: App | None = None) -> subprocess.Popen[str]:
    binaries = directory / "bin"
    binaries.mkdir(exist_ok=True)
    if not (binaries / "bgci").exists():
        program(binaries / "bgci", f'exec {sys.executable} -m bgci "$@"')
    more = app.lab.environment() if app else {}
    variables = [
        word
        for name in ("BGCI_JOB_CLUSTER_URL", "BGCI_JOB_MARATHON_LB_URL", "BGCI_JOB_IMAGE", "BGCI_TIMEOUT")
        if name in more
        for word in ("--variable", f"{name}={more[name]}")
    ]
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    looks = {"--list", "--preview"} & set(words)  # the schema is compared there: it takes seconds
    return subprocess.Popen(
        [
            str(RUNNER),
            "--force-shell-executor",
            *variables,
            *(words if looks else ("--no-json-schema-validation", *words)),
        ],
        cwd=directory,
        env={**kept, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def program(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def stand_in(directory: Path) -> Path:
    """Installs a replacement for ``bgci`` that records its arguments. Returns the file of the record."""
    calls = directory / "bin" / "calls"
    told = f'echo "$1 $BGCI_APP in $(basename "$PWD") wave=${{BGCI_WAVE-none}}" >> {calls}'
    program(directory / "bin" / "bgci", f"{told}\nmkdir -p bgci-artifacts\n: > bgci-artifacts/bgci.env")
    return calls


def pipeline(directory: Path, *releases: str, before: str = "") -> None:
    """The pipeline with these other jobs, and with the component once for each text of inputs."""
    included = "".join(f"  - local: templates/bgci.yml\n    inputs:\n{indented(inputs)}" for inputs in releases)
    (directory / ".gitlab-ci.yml").write_text(f"include:\n{included}\n{before}")


def indented(inputs: str) -> str:
    return "".join(f"      {line.strip()}\n" for line in inputs.strip().splitlines())


def ended(runner: subprocess.Popen[str]) -> Pipeline:
    try:
        text, _ = runner.communicate(timeout=SECONDS)
    finally:
        runner.kill()
    log = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    jobs = {name: sign == "PASS" for sign, name in re.findall(r"^\s*(PASS|FAIL)\s+([\w-]+)", log, re.M)}
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
def test_a_pipeline_without_approval_keeps_the_canary_until_its_environment_is_stopped(
    make_app: Callable[..., App],
) -> None:
    app, directory = released(make_app)
    second = commit(directory)
    waiting = run(directory, "--needs", "bgci-test", app=app)  # gitlab-ci-local cannot wait for an approval
    assert waiting.jobs == dict.fromkeys(STAGES[:-1], True), waiting.log
    assert app.runs() == {"v1": 2, second: 1}
    stopped = run(directory, "bgci-rollback", app=app)  # the job in the environment's on_stop
    assert stopped.jobs == {"bgci-rollback": True}, stopped.log
    assert app.healthy() == {"v1": 2}


@needs_runner
@pytest.mark.timeout(600)
def test_a_cancelled_job_follows_on_abort(make_app: Callable[..., App]) -> None:
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
    assert "olled back (--on-abort rollback)" in cancelled.log
    assert app.healthy() == {"v1": 2}


@needs_runner
@pytest.mark.timeout(600)
def test_a_first_release_and_its_repetition_succeed_and_each_job_can_be_repeated(
    make_app: Callable[..., App],
) -> None:
    app = make_app(2, name="/web", group="web-{}")
    app.write("first")
    (app.directory / "web.first.template.json").rename(app.directory / "web.template.json")
    directory = repository(app.directory, app)
    revision = commit(directory)
    for time in ("first deployment", "the green pipeline again"):
        ran = run(directory, "--manual", "bgci-promote", app=app)
        assert ran.passed, f"{time}: {ran.log}"
        assert ran.jobs == dict.fromkeys(STAGES, True), time
        assert app.healthy() == {revision: 2}
    for job in STAGES[1:]:
        again = run(directory, job, app=app)
        assert again.jobs == {job: True}, again.log
        assert app.healthy() == {revision: 2}


def released(make_app: Callable[..., App], **changes: Any) -> tuple[App, Path]:
    """An app whose v1 runs, and its repository with the template of the next revision."""
    app = make_app(2, name="/web", group="web-{}")
    app.promote("v1")
    app.write("next", **changes)
    (app.directory / "web.next.template.json").rename(app.directory / "web.template.json")
    (app.directory / "web.v1.template.json").unlink()
    return app, repository(app.directory, app)


BUILD = """
stages: [build, deploy, production]
build:
  stage: build
  script: {script}
"""
WEB = """
app: web
revision: v2
image: web:2
"""


@needs_runner
@pytest.mark.parametrize(
    ("branch", "inputs", "script", "released"),
    [
        ("main", "", "exit 0", True),
        ("main", "", "exit 1", False),
        ("feature/wip", "", "exit 0", False),
        ("feature/wip", "", "exit 1", False),
        ("feature/wip", "rules-if: $CI_COMMIT_BRANCH", "exit 0", True),
        ("feature/wip", "rules-if: $CI_COMMIT_BRANCH", "exit 1", False),
    ],
)
def test_only_a_pipeline_of_the_default_branch_whose_build_passed_releases(
    tmp_path: Path, branch: str, inputs: str, script: str, released: bool
) -> None:
    directory = repository(tmp_path)
    git(directory, "checkout", "--quiet", "-b", branch) if branch != "main" else None
    pipeline(directory, f"{WEB}\napproval: false\n{inputs}", before=BUILD.format(script=script))
    calls = stand_in(directory)
    ran = run(directory)
    assert ran.jobs["build"] is (script == "exit 0")
    if released:
        assert [line.split()[0] for line in calls.read_text().splitlines()] == [
            *("render", "publish", "canary", "test", "promote")
        ], ran.log
    else:
        assert not calls.exists(), ran.log
        assert set(ran.jobs) == {"build"}


@needs_runner
def test_two_apps_in_one_pipeline_are_eighteen_jobs(tmp_path: Path) -> None:
    directory = repository(tmp_path)
    shop = "app: shop\nrevision: v2\nimage: shop:2\njob-prefix: shop\nenvironment: shop\nwave: 2"
    pipeline(directory, f"{WEB}\njob-prefix: web\napproval: false", f"{shop}\napproval: false")
    jobs = listed(directory)
    assert len(jobs) == 18
    calls = stand_in(directory)
    ran = run(directory)
    assert ran.passed, ran.log
    lines = calls.read_text().splitlines()
    for app, wave in (("web", "none"), ("shop", "2")):
        assert [line.split()[0] for line in lines if line.split()[1] == app] == [
            *("render", "publish", "canary", "test", "promote")
        ]
        assert {line.split("wave=")[1] for line in lines if line.split()[1] == app} == {wave}


@needs_runner
def test_a_service_of_a_monorepo_is_released_from_its_own_directory(tmp_path: Path) -> None:
    directory = repository(tmp_path)
    for app in ("web", "shop"):
        service = directory / "services" / app
        service.mkdir(parents=True)
        template = (ROOT / "examples" / "testapp.template.json").read_text().replace("testapp", app)
        (service / f"{app}.template.json").write_text(template)
        (service / "bgci.toml").write_text(f'app = "{app}"\n')
    commit(directory)
    pipeline(
        directory,
        *(
            f"app: {app}\nrevision: v2\nimage: {app}:2\njob-prefix: {app}\nenvironment: {app}\n"
            f"working-directory: services/{app}"
            for app in ("web", "shop")
        ),
    )
    ran = run(directory, "web-render", "shop-render")
    assert ran.jobs == {"web-render": True, "shop-render": True}, ran.log
    kept = directory / ".gitlab-ci-local" / "artifacts"
    for app in ("web", "shop"):
        assert list(kept.glob(f"{app}-render/services/{app}/bgci-artifacts/{app}-v2-new-app-definition.json")), ran.log


@needs_runner
def test_a_pyz_in_the_repository_is_the_executable(tmp_path: Path) -> None:
    directory = repository(tmp_path)
    program(
        directory / "tools" / "bgci.pyz",
        "echo the file itself: $1\nmkdir -p bgci-artifacts\n: > bgci-artifacts/bgci.env",
    )
    commit(directory)
    pipeline(directory, f"{WEB}\nexecutable: ./tools/bgci.pyz")
    ran = run(directory, "bgci-render")
    assert "the file itself: render" in ran.log


STAGING = (
    "app: web\nrevision: v2\nimage: web:2\njob-prefix: staging\nenvironment: staging\napproval: false\nvia: direct"
)
PRODUCTION = "app: web\nrevision: v2\njob-prefix: production\nenvironment: production\nstage: production\nvia: direct"
BETWEEN = """
stages: [deploy, between, production]
between:
  stage: between
  script: {script}
  artifacts: {paths: [bgci-artifacts/]}
"""


@needs_runner
@pytest.mark.parametrize(
    ("script", "passes"), [("ls", True), ("sed -i s/web:2/web:3/ bgci-artifacts/web-v2-new-app-definition.json", False)]
)
def test_production_gets_the_app_definition_of_staging_and_no_other(tmp_path: Path, script: str, passes: bool) -> None:
    directory = repository(tmp_path)
    template = (ROOT / "examples" / "testapp.template.json").read_text().replace("testapp", "web")
    (directory / "web.template.json").write_text(template)
    commit(directory)
    pipeline(directory, STAGING, PRODUCTION, before=BETWEEN.replace("{script}", f"['{script}']"))
    assert run(directory, "staging-render", "between").passed
    ran = run(directory, "production-render")
    assert ran.jobs == {"production-render": passes}, ran.log
    assert ("was changed after `bgci render`" in ran.log) is not passes


@needs_runner
@pytest.mark.timeout(600)
def test_production_gets_the_definition_of_staging(make_app: Callable[..., App], production: Lab) -> None:
    app = make_app(2, name="/web", group="web-{}")
    app.write("any")
    (app.directory / "web.any.template.json").rename(app.directory / "web.template.json")
    directory = repository(app.directory, app)
    clusters = [
        f"cluster-url: {lab.where['cluster_url']}\nmarathon-lb-url: {json.dumps(lab.balancers)}\ntest: false"
        for lab in (app.lab, production)
    ]
    staging = STAGING.replace("via: direct", clusters[0])
    pipeline(directory, staging, PRODUCTION.replace("via: direct", clusters[1]), before="stages: [deploy, production]")
    released = run(directory, *(f"staging-{job}" for job in ("render", "publish", "canary", "promote")), app=app)
    assert released.passed, released.log
    assert app.healthy() == {"v2": 2}
    for running in app.apps():  # both clusters are on this machine, and have one service port for both
        app.lab.marathon.delete(running["id"])
    until(lambda: not app.apps())
    (directory / "web.template.json").unlink()

    there = replace(app, lab=production)
    for job in ("render", "publish", "canary", "promote"):
        ran = run(directory, f"production-{job}", app=there)
        assert ran.passed, ran.log
    assert there.healthy() == {"v2": 2}
    assert [running["container"]["docker"]["image"] for running in there.apps()] == ["web:2"]
    for running in there.apps():
        production.marathon.delete(running["id"])


@needs_runner
def test_jobs_wait_for_named_jobs_alone_with_dag(tmp_path: Path) -> None:
    directory = repository(tmp_path)
    pipeline(directory, f"{WEB}\ndag: true\nneeds: [build]", before=BUILD.format(script="ls"))
    log = run(directory, "--list").log
    assert re.search(r"^bgci-render .*\[build\]", log, re.M), log


@needs_runner
def test_promotion_waits_for_an_approval_unless_approval_is_false(tmp_path: Path) -> None:
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
    return {name: (when, may) for name, when, may in re.findall(r"^(\S+-\S+) .*?(\w+) +(true|false) ", log, re.M)}


EXAMPLES = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "gitlab.md").read_text(), re.S)


@needs_runner
@pytest.mark.parametrize(("number", "promotions"), [(0, 1), (1, 1), (2, 2), (3, 2)])
def test_the_documented_examples_are_valid_pipelines(tmp_path: Path, number: int, promotions: int) -> None:
    directory = repository(tmp_path)
    text = re.sub(r"component: .*", "local: templates/bgci.yml", EXAMPLES[number])
    text = re.sub(r"    rules:\n      - changes: .*\n", "", text)  # nothing has changed in this repository
    (directory / ".gitlab-ci.yml").write_text(text)
    jobs = listed(directory)
    assert len([name for name in jobs if name.endswith("-promote")]) == promotions
    assert len(EXAMPLES) == 4


@needs_runner
def test_the_hidden_job_merges_the_users_own_file(tmp_path: Path) -> None:
    directory = repository(tmp_path)
    own = ".bgci:\n  before_script: ['echo \"token for $BGCI_APP\"']\n"
    pipeline(directory, WEB, before=own)
    stand_in(directory)
    ran = run(directory, "bgci-render")
    assert "token for web" in ran.log


@needs_runner
def test_an_input_that_the_component_does_not_know_is_an_error(tmp_path: Path) -> None:
    directory = repository(tmp_path)
    file = directory / ".gitlab-ci.yml"
    file.write_text(f"{file.read_text()}      strategy: sideways\n")
    ran = run(directory, "--list")
    assert not ran.passed
    assert "sideways" in ran.log


@needs_runner
@pytest.mark.skipif(not CHECKER, reason="check-jsonschema is missing: make ci-tools")
@pytest.mark.parametrize(
    "inputs",
    [
        "",
        "tagged: true\ntags: [linux, dcos]\nretry: 2\nid-token: true\nid-token-audience: https://vault.example.com\n"
        "environment-url: https://web.example.com\ndag: true\nneeds: [build]\nwave: 3\nset: [memory=512, 'note=a b']",
    ],
    ids=["defaults", "all-kinds"],
)
def test_the_jobs_match_the_schema_of_gitlab(tmp_path: Path, inputs: str) -> None:
    directory = repository(tmp_path)
    pipeline(directory, f"{WEB}\n{inputs}", before=BUILD.format(script="ls"))
    text = run(directory, "--preview").log.partition("\n---\n")[2]
    jobs = yaml.safe_load(text)
    if inputs:
        render = jobs["bgci-render"]
        assert render["tags"] == ["linux", "dcos"]
        assert render["retry"] == 2
        assert render["id_tokens"] == {"BGCI_ID_TOKEN": {"aud": "https://vault.example.com"}}
        assert jobs["bgci-promote"]["environment"]["url"] == "https://web.example.com"
        assert json.loads(render["variables"]["BGCI_SET"]) == ["memory=512", "note=a b"]
    file = tmp_path / "jobs.yml"
    file.write_text(text)
    words = [str(CHECKER), "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci"]
    ran = subprocess.run(  # the schema's pattern allows a variable as the address, its format does not; GitLab does
        [*words, "--disable-formats", "uri", file],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
