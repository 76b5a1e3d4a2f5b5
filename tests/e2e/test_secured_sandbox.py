"""``bgci sandbox up --secured``: its start, its output, and its load balancers."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from shutil import which

import pytest

from bgci.sandbox import control
from e2e.conftest import web
from e2e.lab import App, claim_port, until
from e2e.secured import SecuredLab


def test_up_prints_how_to_log_in_but_not_the_password(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bgci", "sandbox", "up", "--secured", "--state-dir", str(tmp_path / "state")]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        where = control.status(tmp_path / "state")
        exports = dict(line.removeprefix("export ").replace('"', "").split("=", 1) for line in ran.stdout.splitlines())
        superuser = json.loads(Path(where["iam"]).read_text())
        assert exports["BGCI_CLUSTER_URL"].startswith("https://")
        assert exports["BGCI_CA_CERT"] == where["ca_cert"]
        assert exports["BGCI_USERNAME"] == superuser["uid"]
        assert Path(exports["BGCI_PASSWORD_FILE"]).read_text() == superuser["password"]
        assert superuser["password"] not in ran.stdout + ran.stderr
    finally:
        control.down(tmp_path / "state")
    assert not (tmp_path / "state").exists()


@pytest.mark.skipif(
    not (which("curl") and which("openssl")), reason="curl or openssl is missing: apt-get install curl openssl"
)
def test_the_documented_commands_give_a_team_its_folder(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text()
    [block] = re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    claims = [claim_port() for _ in range(4)]
    ports = [port for port, _ in claims]
    for name in ("team", "other"):
        definition = web(f"/{name}/web", f"{name}-web", 1, [ports.pop()], [ports.pop()])
        (tmp_path / f"{name}.web.template.json").write_text(json.dumps(definition))
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    try:
        command = ["bash", "-euo", "pipefail", "-c", block]
        environment = {"PATH": tools, "HOME": str(tmp_path), "BGCI_TIMEOUT": "60s"}
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    finally:
        control.down(tmp_path / ".bgci-sandbox")
        for _, claim in claims:
            claim.close()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1] == "ended with 4", ran.stdout + ran.stderr


def test_the_load_balancers_of_a_secured_sandbox_serve(make_secured_app: Callable[..., App]) -> None:
    app = make_secured_app()
    app.lab.marathon.create(app.definition)
    until(lambda: app.least_up() == 2)
    assert sum(app.answers(4).values()) == 4


def test_marathons_own_credentials_are_never_process_arguments(secured_lab: SecuredLab) -> None:
    [file] = secured_lab.home.glob("iam/marathon.json")
    password = json.loads(file.read_text())["password"]
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in secured_lab.where["pids"]]
    assert len(lines) == 3
    assert not any(password.encode() in line for line in lines)
    environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in secured_lab.where["pids"]]
    assert not any(password.encode() in environment for environment in environments)
