"""A repository with an example workflow, which ``act`` runs like GitHub, against the sandbox."""

from __future__ import annotations

import html
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from e2e.lab import App

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "github" / ".github" / "workflows"
TOOLS = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
SECONDS = 250


def tool(name: str) -> str:
    return shutil.which(name, path=TOOLS) or ""


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not tool(name), reason=f"{name} is not installed: make ci-tools")


# Replacements for the actions that are only available on GitHub's network. The Python that runs the tests has this bgci
# installed.
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
DOWNLOAD = """\
name: download-artifact
description: a stand-in
inputs: {name: {description: ""}, path: {description: ""}}
runs:
  using: composite
  steps:
    - env: {TO: "${{ inputs.path }}"}
      run: cp -r "$UPLOADED" "$TO"
      shell: bash
"""
# After the steps of the example: writes their outputs to a file for the test.
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
    variables: Mapping[str, str] = field(default_factory=dict)  # of the repository, beside those of the app's lab

    def prepare(self, workflow: str) -> None:
        """Creates the repository with this workflow."""
        workflows = self.home / ".github" / "workflows"
        workflows.mkdir(parents=True)
        (workflows / "release.yml").write_text(workflow)
        work = self.home.parent
        for name, text in (
            ("setup-python", SETUP_PYTHON),
            ("upload-artifact", UPLOAD),
            ("download-artifact", DOWNLOAD),
        ):
            (work / name).mkdir()
            (work / name / "action.yml").write_text(text)
        copied(work / "action")
        subprocess.run(["git", "init", "-q", "-b", "main"], cwd=self.home, check=True)

    def commit(self, settings: str = "", **changes: Any) -> str:
        """Commits the template with these changes. Returns the commit's hash, which is the revision."""
        where = self.app.lab.where
        definition = {**self.app.definition, **changes}
        (self.home / "web.template.json").write_text(json.dumps(definition))
        (self.home / "bgci.toml").write_text(
            f'job_cluster_url = "{where["cluster_url"]}"\njob_marathon_lb_url = {json.dumps(self.app.lab.balancers)}\n'
            f"drain_timeout = '60s'\n{settings}\n"
        )
        return self.commit_all()

    def commit_all(self) -> str:
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

    def push(self, event: str = "push") -> subprocess.Popen[str]:
        """Runs the workflow in act for a push or another event."""
        work = self.home.parent
        instead = {
            "your-org/bgci@v0.1": work / "action",
            "actions/setup-python@a26af69be951a213d495a4c3e4e4022e16d87065": work / "setup-python",
            "actions/upload-artifact@v4": work / "upload-artifact",
            "actions/download-artifact@v4": work / "download-artifact",
        }
        where = {"DCOS_URL": self.app.lab.where["cluster_url"], "MARATHON_LB_URL": "\n".join(self.app.lab.balancers)}
        where |= self.variables
        words = [tool("act"), event, "-P", "ubuntu-latest=-self-hosted", "--no-cache-server", "--env", f"TOLD={work}"]
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


def copied(target: Path) -> Path:
    """The files of this repository that GitHub would download and the action needs."""
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
