"""A release of this project: its files, its tags, and the workflows that publish it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TOOLS = Path(sys.executable).parent
NAMED = sorted({line.split("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line})


def run(home: Path, *words: str, expect: int = 0) -> str:
    identity = {f"GIT_{role}_{key}": "a@example.com" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environment = {**os.environ, **identity, "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(words, cwd=home, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """This work tree as the only commit of a repository, with this environment."""
    home = tmp_path / "clone"
    for name in run(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).is_file():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, home / name)
    run(home, "git", "init", "-q", "-b", "main")
    run(home, "git", "add", "-A")
    run(home, "git", "commit", "-q", "-m", "all")
    (home / ".venv").symlink_to(ROOT / ".venv")
    return home


@pytest.mark.skipif(not (TOOLS / "uv").exists(), reason="uv is missing: make ci-tools")
@pytest.mark.timeout(600)
def test_a_release_has_its_tags_its_changelog_and_files_with_checksums(clone: Path) -> None:
    told = run(clone, "tools/release", "7.8.9")
    assert "git push" in told.splitlines()[-1]
    assert run(clone, "git", "tag").split() == ["v7.8", "v7.8.9"]
    assert run(clone, "git", "rev-parse", "v7.8^{commit}") == run(clone, "git", "rev-parse", "HEAD")
    assert re.search(r"^## 7\.8\.9 \(\d{4}-\d\d-\d\d\)$", (clone / "CHANGELOG.md").read_text(), re.M)
    assert "your-org/bgci@v7.8\n" in (clone / "docs" / "github.md").read_text()
    assert run(clone, "git", "status", "--porcelain", "--untracked-files=no") == ""
    files = {path.name for path in (clone / "dist").iterdir()}
    assert files == {"SHA256SUMS", "bgci-7.8.9-py3-none-any.whl", "bgci-7.8.9.tar.gz", "bgci.pyz", "bgci.cdx.json"}
    assert run(clone / "dist", "sha256sum", "--check", "SHA256SUMS").count(": OK") == 4
    assert run(clone / "dist", sys.executable, "-I", "-S", "bgci.pyz", "--version") == "bgci 7.8.9\n"
    bill = json.loads((clone / "dist" / "bgci.cdx.json").read_text())
    assert bill["metadata"]["component"]["version"] == "7.8.9"
    listed = {re.sub("[-_.]+", "-", component["name"]).lower() for component in bill["components"]}
    assert listed >= set(NAMED) - {"colorama", "tomli"}  # Windows; Python 3.10
    assert all(component.get("licenses") for component in bill["components"])
    sums = (clone / "dist" / "SHA256SUMS").read_text()
    os.utime(clone / "README.md", (1, 1))
    run(clone, "tools/dist")
    assert (clone / "dist" / "SHA256SUMS").read_text() == sums, "the same commit gives the same bytes"


def test_a_release_that_differs_from_its_commit_is_refused(clone: Path) -> None:
    assert "Which version?" in run(clone, "tools/release", "next", expect=2)
    (clone / "README.md").write_text("changed")
    assert "The work tree has changes" in run(clone, "tools/release", "7.8.9", expect=2)
    run(clone, "git", "checkout", "-q", "README.md")
    run(clone, "git", "tag", "v7.8.9")
    assert "The tag v7.8.9 exists" in run(clone, "tools/release", "7.8.9", expect=2)


# -- the project's own workflows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda path: path.stem)
def test_each_workflow_is_pinned_and_has_the_least_permissions(file: Path) -> None:
    text = file.read_text()
    uses = re.findall(r"uses: (\S+)(.*)", text)
    assert uses
    for name, comment in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", name)
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment)
    found = yaml.safe_load(text)
    assert found["permissions"] == {}
    for job in found["jobs"].values():
        writes = {scope for scope, access in job.get("permissions", {}).items() if access == "write"}
        assert not writes or file.stem != "test"
        assert job["timeout-minutes"] <= 60


def test_the_test_workflow_calls_the_same_command_as_ci() -> None:
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())["jobs"]["all"]["steps"]
    assert steps[-1]["run"].endswith("bash .ci/run")
    assert "exec make test" in (ROOT / ".ci" / "run").read_text()
    assert "make test " in (ROOT / "README.md").read_text()


@pytest.mark.skipif(not (TOOLS / "zizmor").exists(), reason="zizmor is missing: make ci-tools")
def test_an_auditor_has_no_findings_in_the_workflows() -> None:
    words = [str(TOOLS / "zizmor"), "--offline", "--pedantic", *map(str, WORKFLOWS), str(ROOT / "action.yml")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not (TOOLS / "check-jsonschema").exists(), reason="check-jsonschema is missing: make ci-tools")
def test_the_workflows_match_the_schema_of_github() -> None:
    words = [str(TOOLS / "check-jsonschema"), "--builtin-schema", "vendor.github-workflows", *map(str, WORKFLOWS)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
