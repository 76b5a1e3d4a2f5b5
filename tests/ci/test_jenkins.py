"""The Jenkins library, in pipelines that Jenkins saves and loads again at every step. See jenkins/run.groovy."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from e2e.lab import App, Lab, until
from e2e.secured import SecuredLab

from ci.jenkins_build import HARNESS, ROOT, Build, build, environment_of, files_of, needs_groovy, stand_in

pytestmark = needs_groovy
LINTER = ROOT / ".tools" / "node_modules" / ".bin" / "npm-groovy-lint"
RELEASE = "app: 'web', revision: 'v2', image: 'web:2'"
SECRETS = {
    "login": {"username": "ci", "password": "hush-hush"},
    "token": {"string": "t0k3n"},
    "account": {"file": "/run/account.json"},
}


def test_values_go_through_the_environment_and_credentials_through_bindings(tmp_path: Path) -> None:
    stand_in(tmp_path)
    text = f"""
    def result = bgciCanary({RELEASE}, marathonLbUrl: ['http://a', 'http://b'], set: [colour: 'red', size: 3],
        dryRun: true, wave: 2, timeout: '90s', caCert: null, template: '$(touch owned) "; touch owned',
        credentialsId: 'login', tokenCredentialsId: 'token', serviceAccountCredentialsId: 'account')
    echo(result.message)
    """
    ran = build(tmp_path, text, credentials=SECRETS)
    assert (ran.result, ran.commands) == ("SUCCESS", [("canary", 0)])
    assert ran.steps("echo")[0]["details"] == {"value": "told by canary"}
    given = environment_of(tmp_path, "canary")
    assert given["BGCI_REVISION"] == "v2"
    assert (given["BGCI_DRY_RUN"], given["BGCI_WAVE"], given["BGCI_TIMEOUT"]) == ("true", "2", "90s")
    assert (given["BGCI_USERNAME"], given["BGCI_PASSWORD"], given["BGCI_TOKEN"]) == ("ci", "hush-hush", "t0k3n")
    assert given["BGCI_SERVICE_ACCOUNT_FILE"] == "/run/account.json"
    assert "BGCI_CA_CERT" not in given
    whole = (tmp_path / "env.canary").read_text()
    assert "BGCI_MARATHON_LB_URL=http://a\nhttp://b\n" in whole
    assert "BGCI_SET=colour=red\nsize=3\n" in whole
    assert not (tmp_path / "owned").exists()
    assert "hush-hush" not in ran.log
    assert "t0k3n" not in str(ran.steps("sh"))


def test_a_pipeline_asks_for_approval_outside_of_the_agent_and_promotes(tmp_path: Path) -> None:
    stand_in(tmp_path)
    ran = build(tmp_path, f"bgciPipeline({RELEASE}, label: 'linux', approval: true, submitter: 'ops')")
    assert (ran.result, ran.error) == ("SUCCESS", None)
    assert ran.stages == ["Publish", "Canary", "Test", "Approval", "Promote"]
    (question,) = ran.steps("input")
    assert question["node"] is False
    assert question["details"]["submitter"] == "ops"
    assert ran.steps("lock")[0]["details"]["resource"] == "bgci web"
    assert "BGCI_IMAGE" not in environment_of(tmp_path, "promote"), "it promotes what was published"
    assert len(ran.steps("archiveArtifacts")) == 4
    assert len(ran.steps("junit")) == 1


def assert_rolled_back(ran: Build, failed: str, code: int) -> None:
    assert ran.commands[-2:] == [(failed, code), ("rollback", 0)]
    assert ran.stages[-1] == "Rollback"
    assert len(ran.steps("archiveArtifacts")) == len(ran.commands)


@pytest.mark.parametrize(
    ("stage", "code", "name"), [("canary", 8, "unhealthy"), ("test", 7, "rejected"), ("promote", 9, "timeout")]
)
def test_a_failed_stage_is_an_error_with_its_name_and_the_pipeline_rolls_back(
    tmp_path: Path, stage: str, code: int, name: str
) -> None:
    stand_in(tmp_path, **{stage: code})
    ran = build(tmp_path, f"bgciPipeline({RELEASE})")
    assert ran.result == "FAILURE"
    assert ran.error == f"bgci {stage}: {name} (exit code {code}): told by {stage}"
    assert_rolled_back(ran, stage, code)


def test_a_failed_rollback_keeps_the_first_failure_as_the_error(tmp_path: Path) -> None:
    stand_in(tmp_path, test=7, rollback=6)
    ran = build(tmp_path, f"bgciPipeline({RELEASE})")
    assert ran.result == "FAILURE"
    assert str(ran.error).startswith("bgci test: rejected")
    assert "bgci rollback: conflict" in ran.steps("caught")[0]["details"]


def test_a_failed_pipeline_does_not_roll_back_before_the_canary_or_with_on_failure_leave(tmp_path: Path) -> None:
    stand_in(tmp_path, publish=4)
    assert build(tmp_path, f"bgciPipeline({RELEASE})").commands == [("publish", 4)]
    stand_in(tmp_path, canary=8)
    ran = build(tmp_path, f"bgciPipeline({RELEASE}, onFailure: 'leave', via: 'direct')")
    assert ran.commands == [("render", 0), ("canary", 8)]


@pytest.mark.parametrize("answer", ["refuse", "timeout"])
def test_a_pipeline_without_approval_rolls_back_and_is_aborted(tmp_path: Path, answer: str) -> None:
    stand_in(tmp_path)
    ran = build(tmp_path, f"bgciPipeline({RELEASE}, approval: true)", input=answer)
    assert ran.result == "ABORTED"
    assert_rolled_back(ran, "test", 0)


def test_an_abort_reaches_bgci_which_rolls_back_by_itself(tmp_path: Path) -> None:
    stand_in(tmp_path, canary="abort")
    ran = build(tmp_path, f"bgciPipeline({RELEASE}, onAbort: 'rollback')", abort="waiting")
    assert ran.result == "ABORTED"
    assert ran.commands == [("publish", 0), ("canary", 143)]
    assert len(ran.steps("archiveArtifacts")) == 2


def test_a_rollback_that_bgci_did_not_finish_when_aborted_is_done_on_another_agent(tmp_path: Path) -> None:
    stand_in(tmp_path, canary="unfinished")
    ran = build(tmp_path, f"bgciPipeline({RELEASE}, onAbort: 'rollback')", abort="waiting")
    assert ran.result == "ABORTED"
    assert ran.commands == [("publish", 0), ("canary", 143), ("rollback", 0)]


@pytest.mark.parametrize("stage", ["canary", "test", "promote"])
def test_an_agent_that_is_lost_in_a_stage_is_rolled_back_from_another_one(tmp_path: Path, stage: str) -> None:
    stand_in(tmp_path, **{stage: "abort"})
    ran = build(tmp_path, f"bgciPipeline({RELEASE}, onAbort: 'rollback')", lose="waiting")
    assert (ran.result, ran.error) == ("ABORTED", "the agent was removed")
    assert ran.commands[-2:] == [(stage, None), ("rollback", 0)]
    assert len(ran.steps("node")) == (3 if stage == "promote" else 2)
    assert environment_of(tmp_path, "rollback")["BGCI_REVISION"] == "v2"


def test_a_lost_agent_changes_nothing_with_on_abort_leave(tmp_path: Path) -> None:
    stand_in(tmp_path, canary="abort")
    ran = build(tmp_path, f"bgciPipeline({RELEASE})", lose="waiting")
    assert ran.commands == [("publish", 0), ("canary", None)]
    assert ran.result == "ABORTED"


def test_a_killed_bgci_is_a_named_failure_and_rolls_back(tmp_path: Path) -> None:
    stand_in(tmp_path, canary=137)
    ran = build(tmp_path, f"bgciPipeline({RELEASE})")
    assert str(ran.error).startswith("bgci canary: it was killed, as when an agent has no memory left (exit code 137)")
    assert_rolled_back(ran, "canary", 137)


def test_on_abort_from_the_environment_is_honoured(tmp_path: Path) -> None:
    stand_in(tmp_path, canary="abort")
    ran = build(tmp_path, f"withEnv(['BGCI_ON_ABORT=rollback']) {{ bgciPipeline({RELEASE}) }}", lose="waiting")
    assert ran.commands[-1] == ("rollback", 0)


def test_other_agents_have_the_files_for_promote_and_rollback(tmp_path: Path) -> None:
    scm = tmp_path / "scm"
    (scm / "shop" / "certificates").mkdir(parents=True)
    (scm / "shop" / "bgci.toml").write_text('ca_cert = "certificates/ca.pem"  # ours\n')
    for name in ("certificates/ca.pem", "more.txt", "other.txt"):
        (scm / "shop" / name).write_text(name)
    stand_in(tmp_path, promote=9)
    ran = build(tmp_path, f"bgciPipeline({RELEASE}, workingDirectory: 'shop', keep: 'more.txt')")
    assert ran.commands[-2:] == [("promote", 9), ("rollback", 0)]
    for stage in ("promote", "rollback"):
        assert files_of(tmp_path, stage) == {"bgci-artifacts", "bgci.toml", "certificates", "more.txt"}
    assert len(ran.steps("checkout")) == 1


def test_a_pyz_in_the_repository_runs_every_stage_on_every_agent(tmp_path: Path) -> None:
    stand_in(tmp_path)
    (tmp_path / "scm" / "tools").mkdir(parents=True)
    (tmp_path / "bgci").rename(tmp_path / "scm" / "tools" / "bgci.pyz")
    ran = build(tmp_path, f"bgciPipeline({RELEASE}, executable: './tools/bgci.pyz')")
    assert (ran.result, ran.error) == ("SUCCESS", None)
    assert files_of(tmp_path, "promote") == {"bgci-artifacts", "tools"}


def test_the_tested_artifacts_are_promoted(tmp_path: Path) -> None:
    stand_in(tmp_path)
    ran = build(tmp_path, f"bgciPipeline({RELEASE}, approval: true)", input="swap")
    assert ran.result == "FAILURE"
    assert "manifest.json" in str(ran.error)
    assert ran.commands[-2:] == [("test", 0), ("rollback", 0)]


@pytest.mark.parametrize("approval", ["'ops,alice'", "['ops', 'alice']", "true, submitter: 'ops,alice'"])
def test_approval_can_name_its_users_and_groups(tmp_path: Path, approval: str) -> None:
    stand_in(tmp_path)
    ran = build(tmp_path, f"bgciPipeline({RELEASE}, approval: {approval})")
    assert ran.steps("input")[0]["details"]["submitter"] == "ops,alice"


def test_a_global_library_is_trusted_and_does_the_same(tmp_path: Path) -> None:
    stand_in(tmp_path, test=7)
    ran = build(tmp_path, f"bgciPipeline({RELEASE})", sandbox=False)
    assert str(ran.error).startswith("bgci test: rejected")
    assert_rolled_back(ran, "test", 7)


def test_the_sandbox_refuses_methods_that_are_not_listed(tmp_path: Path) -> None:
    stand_in(tmp_path)
    ran = build(tmp_path, "new groovy.json.JsonSlurperClassic().parseText('{}')")
    assert ran.error == "Scripts not permitted to use new groovy.json.JsonSlurperClassic"
    ran = build(tmp_path, "'ls'.execute()")
    assert str(ran.error).endswith("GroovyMethods execute java.lang.String")


# -- several apps and clusters ----------------------------------------------------------------------------------------

MATRIX = """
def releaseOf(String app) {
    return { bgciPipeline(app: app, revision: 'v2', image: app + ':2', workingDirectory: app, name: app,
        milestone: false) }
}
parallel(web: releaseOf('web'), shop: releaseOf('shop'))
"""


def test_a_matrix_of_apps_has_a_lock_for_each_and_no_milestone_that_another_app_would_pass(tmp_path: Path) -> None:
    for app in ("web", "shop"):
        (tmp_path / "scm" / app).mkdir(parents=True)
        (tmp_path / "scm" / app / "bgci.toml").write_text(f"# {app}\n")
    stand_in(tmp_path)
    ran = build(tmp_path, MATRIX)
    assert (ran.result, ran.error) == ("SUCCESS", None)
    assert [lock["details"]["resource"] for lock in ran.steps("lock")] == ["bgci web", "bgci shop"]
    assert not ran.steps("milestone")
    assert ran.steps("lock")[0]["details"]["inversePrecedence"] is False, "the newest is the last"
    assert ran.stages[:4] == ["web: Publish", "web: Canary", "web: Test", "web: Promote"]
    assert len(ran.commands) == 8
    failed = build(tmp_path, MATRIX.replace("image: app + ':2'", "image: app + ':2', executable: './' + app"))
    assert failed.commands == [("publish", 127)] * 2, "what fails in one does not end the other"


STAGING = """
bgciPipeline(app: 'web', revision: 'v2', image: 'web:2', clusterUrl: 'https://staging', name: 'staging')
bgciPipeline(app: 'web', revision: 'v2', from: 'staging', clusterUrl: 'https://production', name: 'production',
    approval: true)
"""


def test_production_gets_the_definition_of_staging(tmp_path: Path) -> None:
    stand_in(tmp_path)
    ran = build(tmp_path, STAGING)
    assert (ran.result, ran.error) == ("SUCCESS", None)
    assert [command for command, _ in ran.commands] == ["publish", "canary", "test", "promote"] * 2
    last = environment_of(tmp_path, "publish")
    assert last["BGCI_CLUSTER_URL"] == "https://production"
    assert "BGCI_IMAGE" not in last
    assert "bgci-artifacts" in files_of(tmp_path, "publish"), "the app definition of staging"
    assert [lock["details"]["resource"] for lock in ran.steps("lock")] == [
        "bgci web at https://staging",
        "bgci web at https://production",
    ]
    stand_in(tmp_path, test=7)
    failed = build(tmp_path, STAGING)
    assert failed.stages[-1] == "staging: Rollback", "production is not reached"


def test_an_abort_during_the_wait_for_an_agent_rolls_back_with_on_abort_rollback(tmp_path: Path) -> None:
    stand_in(tmp_path)
    ran = build(tmp_path, f"bgciPipeline({RELEASE}, onAbort: 'rollback')", abortAtNode=2)
    assert ran.result == "ABORTED"
    assert_rolled_back(ran, "test", 0)
    left = build(tmp_path, f"bgciPipeline({RELEASE})", abortAtNode=2)
    assert left.commands[-1] == ("test", 0)


def test_unknown_keys_are_an_error_before_anything_is_done(tmp_path: Path) -> None:
    stand_in(tmp_path)
    ran = build(tmp_path, f"bgciPromote({RELEASE}, imagee: 'x', drain_timeout: '3s')")
    assert ran.result == "FAILURE"
    assert str(ran.error).startswith("bgci: unknown: imagee, drain_timeout; known are: app, revision, ")
    assert ran.trace == []
    assert build(tmp_path, f"bgciPipeline({RELEASE}, aproval: true)").trace == []


def test_artifacts_that_cannot_be_kept_do_not_fail_a_release(tmp_path: Path) -> None:
    stand_in(tmp_path)
    ran = build(tmp_path, f"bgciRelease({RELEASE})", archive="broken")
    assert (ran.result, ran.commands) == ("SUCCESS", [("release", 0)])
    assert "could not be archived" in ran.steps("caught")[0]["details"]


def test_the_result_of_an_earlier_run_is_not_used_for_a_run_that_did_not_start(tmp_path: Path) -> None:
    stand_in(tmp_path)
    ran = build(tmp_path, f"bgciRender({RELEASE}); bgciCanary({RELEASE}, executable: 'no-such-bgci')")
    assert ran.error == "bgci canary: it could not be run; is it installed on this agent? (exit code 127)"


@pytest.mark.parametrize("text", ["", "[", "[]", '"ok"'])
def test_a_result_that_cannot_be_read_does_not_hide_how_the_command_ended(tmp_path: Path, text: str) -> None:
    (tmp_path / "bgci-artifacts").mkdir()
    (tmp_path / "bgci-artifacts" / "result.json").write_text(text)
    ran = build(tmp_path, f"bgciCanary({RELEASE}, executable: 'no-such-bgci')")
    assert ran.error == "bgci canary: it could not be run; is it installed on this agent? (exit code 127)"


def test_the_declarative_example_promotes_and_rolls_back(tmp_path: Path) -> None:
    stand_in(tmp_path)
    example = ROOT / "Jenkinsfile.example"
    wanted: dict[str, Any] = {"params": {"REVISION": "v2", "IMAGE": "web:2"}, "credentials": {"dcos": SECRETS["login"]}}
    ran = build(tmp_path, example, **wanted)
    assert (ran.result, ran.error) == ("SUCCESS", None)
    assert [command for command, _ in ran.commands] == ["publish", "canary", "test", "promote"]
    assert environment_of(tmp_path, "promote")["BGCI_CLUSTER_URL"] == "https://dcos.example.com"
    assert ran.steps("input")[0]["node"] is False
    refused = build(tmp_path, example, input="refuse", **wanted)
    assert refused.result == "ABORTED"
    assert refused.commands[-1] == ("rollback", 0)
    stand_in(tmp_path, canary="abort")
    lost = build(tmp_path, example, lose="waiting", **wanted)
    assert lost.commands == [("publish", 0), ("canary", None), ("rollback", 0)]


def test_the_documented_examples_run(tmp_path: Path) -> None:
    stand_in(tmp_path)
    examples = re.findall(
        r"```groovy\n@Library\('bgci'\) _\n(.*?)```", (ROOT / "docs" / "jenkins.md").read_text(), re.S
    )
    wanted: dict[str, Any] = {"params": {"REVISION": "v2"}, "credentials": {"dcos": SECRETS["login"]}}
    for app in ("web", "shop"):
        (tmp_path / "scm" / "services" / app).mkdir(parents=True)
    ended = [build(tmp_path, text, **wanted) for text in examples]
    assert [(ran.result, ran.error) for ran in ended] == [("SUCCESS", None)] * 4
    assert ended[1].steps("echo")[0]["details"] == {"value": "told by release"}


@pytest.mark.skipif(not (LINTER.exists() and shutil.which("node")), reason="npm-groovy-lint is missing: make ci-tools")
def test_the_linter_has_no_findings() -> None:
    java = Path(shutil.which("java") or "").resolve().parents[1]
    ran = subprocess.run(
        [LINTER, "--path", ROOT / "vars", "--config", HARNESS, "--noserver", "--no-insight", "--failon", "info"],
        env={**os.environ, "JAVA_HOME": str(java)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def real(app: App, revision: str, text: str = "", **wanted: Any) -> Build:
    """Runs the example of examples/, or another text, against the sandbox. Only the addresses are replaced."""
    home = app.directory.with_name(f"{app.directory.name}-jenkins")
    home.mkdir(exist_ok=True)
    file = home / "bgci"
    file.write_text(f'#!/bin/sh\nexec {sys.executable} -m bgci "$@"\n')
    file.chmod(0o755)
    text = text or (ROOT / "examples" / "jenkins" / "Jenkinsfile").read_text()
    urls = ", ".join(f"'{url}'" for url in app.lab.balancers)
    text = text.replace("https://dcos.example.com", app.lab.where["cluster_url"])
    text = text.replace("'http://marathon-lb.example.com:9090'", urls).replace("@Library('bgci') _\n", "")
    environment = app.lab.environment(PYTHONPATH=str(ROOT), BGCI_VIA="auto", BGCI_TIMEOUT="60s")
    kept = {name: value for name, value in environment.items() if name.startswith("BGCI_") or name == "PYTHONPATH"}
    there = ("BGCI_CLUSTER_URL", "BGCI_MARATHON_LB_URL", "BGCI_TOKEN")
    return build(
        home,
        text,
        {name: value for name, value in kept.items() if name not in there},
        scm=app.directory,
        params={"REVISION": revision},
        credentials={"dcos": login(app.lab)},
        **wanted,
    )


def report(app: App) -> str:
    """The JUnit report of the last build's first agent, which tested."""
    home = app.directory.with_name(f"{app.directory.name}-jenkins")
    return (home / "agent-1" / "bgci-artifacts" / "junit" / "bgci.xml").read_text()


def login(lab: Lab) -> dict[str, str]:
    """The example's login on a secured cluster, and the login of its jobs."""
    assert isinstance(lab, SecuredLab)
    if "ci" not in lab.accounts:
        lab.user("ci", SECRETS["login"]["password"])
        lab.put_secret("bgci-service-account", json.dumps(lab.service_account("ci-jobs")))
        for uid in ("ci", "ci-jobs"):
            lab.grant("dcos:superuser", uid)
    return SECRETS["login"]


@pytest.mark.timeout(600)
def test_the_example_releases_to_the_sandbox_and_a_failing_canary_brings_the_old_version_back(
    make_secured_app: Callable[..., App],
) -> None:
    app = begun(make_secured_app)
    app.promote("v1")
    app.write("v2")
    released = real(app, "v2")
    assert (released.result, released.error) == ("SUCCESS", None), released.log
    assert app.runs() == {"v2": 2}
    app.write("v3", env={"SANDBOX_ERROR_SHARE": "1"})
    failed = real(app, "v3")
    assert failed.result == "FAILURE", failed.log
    assert str(failed.error).startswith("bgci test: rejected (exit code 7)")
    assert failed.commands[-1] == ("rollback", 0)
    assert app.runs() == {"v2": 2}
    assert "<failure" in report(app)


@pytest.mark.timeout(600)
def test_an_abort_during_the_canary_rolls_back_as_the_example_says(make_secured_app: Callable[..., App]) -> None:
    app = begun(make_secured_app)
    app.promote("v1")
    app.write("v2", env={"SANDBOX_START_SECONDS": "3"})
    aborted = real(app, "v2", abort="Create v2")
    assert aborted.result == "ABORTED", aborted.log
    assert aborted.commands == [("publish", 0), ("canary", 143)], aborted.log
    until(lambda: app.healthy() == {"v1": 2})


@pytest.mark.timeout(600)
def test_an_agent_lost_during_the_canary_is_rolled_back_from_another_one(make_secured_app: Callable[..., App]) -> None:
    app = begun(make_secured_app)
    app.promote("v1")
    app.write("v2", env={"SANDBOX_START_SECONDS": "3"})
    lost = real(app, "v2", lose="Create v2")
    assert lost.result == "ABORTED", lost.log
    assert lost.commands == [("publish", 0), ("canary", None), ("rollback", 0)], lost.log
    assert app.healthy() == {"v1": 2}


@pytest.mark.timeout(600)
def test_a_first_release_and_its_repetition_succeed_and_each_stage_can_be_repeated(
    make_secured_app: Callable[..., App],
) -> None:
    app = begun(make_secured_app)
    app.write("v1")
    stages = ["publish", "canary", "test", "promote"]
    for time in ("first deployment", "the green build again"):
        ran = real(app, "v1")
        assert (ran.result, ran.error) == ("SUCCESS", None), f"{time}: {ran.log}"
        assert ran.commands == [(stage, 0) for stage in stages], time
        assert app.healthy() == {"v1": 2}
    for stage in stages:
        again = real(app, "v1", text=single(stage))
        assert (again.result, again.error) == ("SUCCESS", None), f"{stage}: {again.log}"
        assert app.healthy() == {"v1": 2}


def begun(make_secured_app: Callable[..., App]) -> App:
    app = make_secured_app(2, name="/web", group="web-{}")
    (app.directory / "web.canary.yaml").write_text("checks:\n- {name: home, path: /, expect: {status: 200}}\n")
    app.write("v1")
    return app


def single(stage: str) -> str:
    """Runs one stage alone, as after a restart on an agent that has only a checkout."""
    return f"""node('linux') {{
        checkout(scm)
        bgci{stage.capitalize()}(app: 'web', revision: params.REVISION,
            image: 'registry.example.com/web:' + params.REVISION, clusterUrl: 'https://dcos.example.com',
            marathonLbUrl: ['http://marathon-lb.example.com:9090'], credentialsId: 'dcos')
    }}"""
