"""The action's own scripts: their checks, and their installation of bgci."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BASE = getattr(sys, "_base_executable", sys.executable)  # a Python without this bgci


def act_on(
    inputs: dict[str, str], python: str = sys.executable, where: Path = ROOT, **environment: str
) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in os.environ if name in ("PATH", "HOME") or name.startswith("PIP_")}
    return subprocess.run(
        [python, "-I", "-u", str(ROOT / "action" / "main.py")],
        env={**kept, "BGCI_ACTION_INPUTS": json.dumps(inputs), **environment},
        cwd=where,
        capture_output=True,
        text=True,
        check=False,
    )


def checked(
    tmp_path: Path, shell: str = "sh", path: str = os.environ["PATH"], **environment: str
) -> tuple[int, str, dict[str, str]]:
    """Exit code, log and outputs of the action's first step."""
    told = tmp_path / "outputs"
    told.write_text("")
    done = subprocess.run(
        [shutil.which(shell) or shell, str(ROOT / "action" / "check.sh")],
        env={"PATH": path, "GITHUB_OUTPUT": str(told), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return (
        done.returncode,
        done.stdout + done.stderr,
        dict(line.split("=", 1) for line in told.read_text().splitlines()),
    )


@pytest.mark.parametrize(
    ("command", "shown"),
    [("", "empty"), ("\n", "empty"), ("deploy", "deploy"), ("--help", "--help"), ("a\n::stop", "astop")],
)
def test_an_unknown_command_is_refused_before_anything_is_installed(command: str, shown: str, tmp_path: Path) -> None:
    code, log, told = checked(tmp_path, BGCI_ACTION_COMMAND=command)
    assert (code, told) == (2, {"result": "usage", "exit-code": "2"})
    assert log.startswith(
        f"::error title=bgci action::the input command is {shown}. Remedy: give one of render publish"
    )
    assert log.count("\n") == 1


def test_the_check_is_the_first_step_and_installs_nothing() -> None:
    steps = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
    names = [step.get("id") for step in steps]
    assert names.index("check") < names.index("python") < names.index("bgci")
    assert "pip install" not in (ROOT / "action" / "check.sh").read_text()


def test_operating_systems_other_than_linux_are_refused_with_the_reason() -> None:
    steps = yaml.safe_load((ROOT / "action.yml").read_text())["runs"]["steps"]
    step = steps[0]
    assert (step["if"], step["shell"]) == ("runner.os != 'Linux'", "bash")
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        env={"GITHUB_OUTPUT": os.devnull},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "On Windows a cancelled run gets no signal" in done.stdout
    assert "on macOS nothing of bgci is tested" in done.stdout


@pytest.mark.parametrize("command", ["release", "release\n", "release\r\n"])
def test_a_newline_after_a_command_is_ignored(command: str, tmp_path: Path) -> None:
    assert checked(tmp_path, BGCI_ACTION_COMMAND=command)[0] == 0


def test_the_runners_own_python_is_used_where_it_can_run_bgci(tmp_path: Path) -> None:
    code, _, told = checked(tmp_path, path=f"{Path(BASE).parent}:/usr/bin:/bin", BGCI_ACTION_COMMAND="release")
    assert (code, told["python"]) == (0, str(Path(BASE).parent / "python3"))
    empty = tmp_path / "bin"
    empty.mkdir()
    for name in ("tr", "cut", "sh"):
        (empty / name).symlink_to(shutil.which(name) or name)
    code, _, told = checked(tmp_path, path=str(empty), BGCI_ACTION_COMMAND="release")
    assert (code, told["python"]) == (0, "")  # then actions/setup-python provides one
    code, log, _ = checked(tmp_path, BGCI_ACTION_COMMAND="release", BGCI_ACTION_PYTHON="/nowhere/python3")
    assert code == 2
    assert "python-path does not name a Python 3.10 or later" in log


def test_an_unknown_input_is_refused_by_name(tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    done = act_on({"command": "render", "draintimeout": "5s"}, GITHUB_OUTPUT=str(outputs))
    assert done.returncode == 2
    assert outputs.read_text() == "result=usage\nexit-code=2\n"
    assert done.stdout.startswith("::error title=bgci action::the action has no input draintimeout; it has ")


def test_an_input_that_is_empty_leaves_the_environment_as_it_is(tmp_path: Path) -> None:
    inputs = {"command": "render", "app": "", "revision": "v1\n", "image": "x", "template-dir": str(tmp_path)}
    done = act_on(inputs, BGCI_APP="from-environment", BGCI_REVISION="v0", BGCI_ARTIFACTS=str(tmp_path))
    assert done.returncode == 2
    assert "No template for /from-environment" in done.stderr
    assert "from-environment.v1.template.json" in done.stderr


def test_a_monorepo_names_the_directory_and_the_settings_of_a_service(tmp_path: Path) -> None:
    service = tmp_path / "services" / "testapp"
    service.mkdir(parents=True)
    shutil.copy(ROOT / "examples" / "testapp.template.json", service)
    (service / "other.toml").write_text("app = 'testapp'\nimage = 'testapp:v2'\nartifacts = 'out'\n")
    told = tmp_path / "told"
    inputs = {
        "command": "render",
        "revision": "v2",
        "working-directory": "services/testapp\n",
        "config": "other.toml\n",
    }
    environment = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(tmp_path), "GITHUB_OUTPUT": str(told)}
    done = act_on(inputs, where=tmp_path, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (service / "out" / "testapp-v2-deploy-single-canary.json").exists()
    assert "artifacts=services/testapp/out\n" in told.read_text()
    missing = act_on({**inputs, "working-directory": "services/none"}, where=tmp_path, **environment)
    assert missing.returncode == 2
    assert "the input working-directory is not a directory of the workspace" in missing.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("wheels")
    words = ["download", "-q", "--require-hashes", "--only-binary", ":all:", "--dest", str(found)]
    pip = [BASE, "-m", "pip", "--disable-pip-version-check", *words, "-r", str(ROOT / "requirements.lock")]
    done = subprocess.run(pip, check=False, capture_output=True, text=True)
    if "No matching distribution" in done.stderr:
        pytest.skip("the packages cannot be had without a package registry")
    assert done.returncode == 0, done.stderr
    return found


RENDER = {"command": "render", "app": "testapp", "revision": "v2", "image": "testapp:v2"}


def test_the_action_installs_bgci_without_a_network_from_a_directory_of_wheels(wheels: Path, tmp_path: Path) -> None:
    inputs = {**RENDER, "wheels": str(wheels), "template-dir": str(ROOT / "examples")}
    done = act_on(inputs, BASE, tmp_path, RUNNER_TEMP=str(tmp_path), PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("::group::Install bgci ")
    assert (tmp_path / "bgci-artifacts" / "manifest.json").exists()
    again = act_on(inputs, BASE, tmp_path, RUNNER_TEMP=str(tmp_path), PIP_NO_INDEX="1")
    assert again.returncode == 0
    assert "Install" not in again.stdout


def test_a_package_with_other_bytes_is_not_installed(wheels: Path, tmp_path: Path) -> None:
    others = tmp_path / "wheels"
    shutil.copytree(wheels, others)
    (one,) = others.glob("six-*.whl")
    one.write_bytes(one.read_bytes() + b"\0")
    inputs = {**RENDER, "wheels": str(others)}
    done = act_on(inputs, BASE, tmp_path, RUNNER_TEMP=str(tmp_path), PIP_NO_INDEX="1")
    assert done.returncode == 5
    assert "bgci could not be installed; pip's output has the reason" in done.stdout
    assert not list(tmp_path.glob("bgci-*/bgci"))


def test_the_installation_gets_no_credential_except_those_of_the_package_index(wheels: Path, tmp_path: Path) -> None:
    """The Python that runs the action notes the environment of the Python that it starts for pip."""
    spy = tmp_path / "spy"
    spy.mkdir()
    (spy / "sitecustomize.py").write_text(
        "import os, pathlib, sys\n"
        f"if 'pip' in sys.orig_argv: pathlib.Path({str(tmp_path / 'seen')!r}).write_text(repr(dict(os.environ)))\n"
    )
    home = tmp_path / "python"
    subprocess.run([BASE, "-m", "venv", str(home)], check=True)
    (site,) = home.glob("lib/python3*/site-packages")
    (site / "spy.pth").write_text(f"import sys; sys.path.insert(0, {str(spy)!r}); import sitecustomize\n")
    secrets = {
        "BGCI_USERNAME": "me",
        "BGCI_PASSWORD": "hush-1",
        "DCOS_CLUSTER_TOKEN": "hush-2",
        "MY_KEY": "hush-3",
    }
    way = {
        "PIP_NO_INDEX": "1",
        "HTTPS_PROXY": "http://proxy.invalid:1",
        "no_proxy": "127.0.0.1",
        "SSL_CERT_FILE": "/ca",
    }
    inputs = {**RENDER, "wheels": str(wheels), "template-dir": str(ROOT / "examples")}
    done = act_on(inputs, str(home / "bin" / "python"), tmp_path, RUNNER_TEMP=str(tmp_path), **way, **secrets)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = (tmp_path / "seen").read_text()
    assert "hush" not in seen
    assert "BGCI_" not in seen
    assert all(f"{name!r}: {value!r}" in seen for name, value in way.items())


def test_a_zipapp_runs_without_any_installation(wheels: Path, tmp_path: Path) -> None:
    pyz = tmp_path / "bgci.pyz"
    subprocess.run(
        [sys.executable, str(ROOT / "tools" / "zipapp"), "--output", str(pyz)], check=True, capture_output=True
    )
    inputs = {**RENDER, "pyz": "bgci.pyz\n", "template-dir": str(ROOT / "examples")}
    done = act_on(inputs, BASE, tmp_path, RUNNER_TEMP=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Install" not in done.stdout
    missing = act_on({**inputs, "pyz": "none.pyz"}, BASE, tmp_path, RUNNER_TEMP=str(tmp_path))
    assert (missing.returncode, "the input pyz does not name a file" in missing.stdout) == (2, True)
