"""bgci.pyz: its build is reproducible, and it runs on every Python without installed packages."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from e2e import lab
from e2e.lab import App
from e2e.secured import SecuredLab

import bgci

ROOT = Path(__file__).parents[2]
ALONE = ("-I", "-S", "-W", "error")  # neither the environment nor any installed package counts


def build(source: Path, target: Path, **environment: str) -> Path:
    words = [sys.executable, str(source / "tools" / "zipapp"), "--output", str(target)]
    done = subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    if "No matching distribution" in done.stderr or "Could not find a version" in done.stderr:
        pytest.skip("the wheels cannot be had without a package registry")
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("zipapp") / "bgci.pyz")


def pythons() -> list[str]:
    """Each Python of this machine, from 3.10 on, the one that runs the tests among them."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [sys.executable, *(str(path) for path in sorted(pyenv.glob("versions/3.1*/bin/python")))]
    for folder in os.environ["PATH"].split(os.pathsep):
        candidates += [str(path) for path in sorted(Path(folder).glob("python3.1?")) if os.access(path, os.X_OK)]
    found: dict[str, str] = {}
    for candidate in candidates:
        words = [candidate, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            found.setdefault(done.stdout.strip(), candidate)
    return list(found.values())


def run(python: str, pyz: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"], **environment}
    command = [python, *ALONE, str(pyz), *words]
    return subprocess.run(command, env=kept, cwd=pyz.parent, capture_output=True, text=True, check=False)


def test_two_builds_are_equal_byte_for_byte(pyz: Path, tmp_path: Path) -> None:
    for name in ("bgci", "tools"):
        shutil.copytree(ROOT / name, tmp_path / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("requirements.lock", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / "copy" / name)
    for path in (tmp_path / "copy").rglob("*"):
        os.utime(path, (1, 1))
    again = build(tmp_path / "copy", tmp_path / "again.pyz", TZ="Asia/Kathmandu", PYTHONHASHSEED="7")
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(pyz.read_bytes()).digest()
    dated = build(ROOT, tmp_path / "dated.pyz", SOURCE_DATE_EPOCH="1700000000")
    with zipfile.ZipFile(dated) as file:
        assert {info.date_time for info in file.infolist()} == {(2023, 11, 14, 22, 13, 20)}


def test_the_zipapp_has_no_compiled_code_and_has_the_licences(pyz: Path) -> None:
    with zipfile.ZipFile(pyz) as file:
        names = file.namelist()
    assert [name for name in names if Path(name).suffix in (".so", ".pyd", ".pyc")] == []
    packages = {name.split("/")[0] for name in names if ".dist-info/" in name}
    licensed = {name.split("/")[0] for name in names if ".dist-info/" in name and "LICEN" in name.upper()}
    assert {package.rsplit("-", 1)[0] for package in packages - licensed} <= {"junit_xml", "annotated_doc"}


@pytest.mark.parametrize("python", pythons())
def test_each_python_runs_the_zipapp_without_other_packages(python: str, pyz: Path, tmp_path: Path) -> None:
    version = run(python, pyz, "--version")
    assert (version.stdout, version.stderr, version.returncode) == (f"bgci {bgci.__version__}\n", "", 0)
    what = ("--app", "testapp", "--revision", "v2", "--image", "testapp:v2")
    rendered = run(
        python, pyz, "render", *what, "--template-dir", str(ROOT / "examples"), "--artifacts", str(tmp_path / "out")
    )
    assert rendered.returncode == 0, rendered.stderr
    assert (tmp_path / "out" / "testapp-v2-rollback-single-canary.json").exists()


def test_a_service_account_releases_with_the_zipapp(
    pyz: Path, secured_lab: SecuredLab, make_secured_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_secured_app()
    account = {"BGCI_SERVICE_ACCOUNT": json.dumps(secured_lab.service_account("bgci-zipapp"))}
    secured_lab.grant("dcos:superuser", "bgci-zipapp")
    monkeypatch.setattr(lab, "BGCI", [sys.executable, *ALONE, str(pyz)])
    checked = app.run("doctor", "v1", **account)
    assert re.search(r"certificate until 20\d\d-", checked.out)
    assert "service account bgci-zipapp (BGCI_SERVICE_ACCOUNT), until " in checked.out
    released = app.run("release", "v1", **account)
    assert app.healthy() == {"v1": 2}
    assert "</html>" in (released.artifacts / "report.html").read_text()
