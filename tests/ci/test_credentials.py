"""Credentials through each wrapper on a secured DC/OS: they log in, and are in no log and no process argument."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from e2e.secured import SecuredLab

from ci.jenkins_build import build, needs_groovy
from ci.test_gitlab import commit, needs_runner, repository, run

ROOT = Path(__file__).parents[2]
PASSWORD = 'it\'s $HOME, "100%" `so`'


@pytest.fixture
def accounts(secured_lab: SecuredLab, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Accounts with the same permissions for a password, a token and a service account, for this test alone."""
    name = f"ci-{tmp_path.name}".lower().replace("_", "-")[:40]
    secured_lab.user(name, PASSWORD)
    file = tmp_path / "account.json"
    file.write_text(json.dumps(secured_lab.service_account(f"{name}-sa")))
    for uid in (name, f"{name}-sa"):
        secured_lab.grant("dcos:superuser", uid)
    return {"user": name, "token": secured_lab.login({"uid": name, "password": PASSWORD}), "file": file}


@contextmanager
def no_process_argument_contains(*secrets: str) -> Iterator[list[str]]:
    """Asserts that no process of this machine has one of these secrets, or a text of the yielded list, in its
    arguments."""
    seen: set[bytes] = set()
    texts: list[str] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(entry.read_bytes())
                except OSError:
                    continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield texts
    finally:
        over.set()
        thread.join()
    for secret in secrets:
        assert not [line for line in seen if secret.encode() in line]
        assert not [text for text in texts if secret in text]


def private_key(file: Path) -> str:
    key: str = json.loads(file.read_text())["private_key"]
    return key.splitlines()[1]


def written(directory: Path) -> Sequence[str]:
    return [path.read_text(errors="replace") for path in directory.rglob("*") if path.is_file()]


def test_the_action_takes_credentials_from_its_environment(
    secured_lab: SecuredLab, accounts: dict[str, Any], tmp_path: Path
) -> None:
    ways = [
        {"BGCI_USERNAME": accounts["user"], "BGCI_PASSWORD": PASSWORD},
        {"BGCI_TOKEN": accounts["token"]},
        {"BGCI_SERVICE_ACCOUNT": accounts["file"].read_text()},
        {"BGCI_SERVICE_ACCOUNT_FILE": str(accounts["file"])},
    ]
    inputs = {"command": "status", "cluster-url": secured_lab.url, "ca-cert": secured_lab.ca_cert}
    inputs["marathon-lb-url"] = "\n".join(secured_lab.balancers)
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with no_process_argument_contains(PASSWORD, accounts["token"], private_key(accounts["file"])) as texts:
        for number, way in enumerate(ways):
            outputs = tmp_path / f"outputs{number}"
            runner = {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(outputs)}
            done = subprocess.run(
                [sys.executable, "-u", str(ROOT / "action" / "main.py")],
                cwd=tmp_path,
                env={**kept, **way, "BGCI_ACTION_INPUTS": json.dumps(inputs), **runner},
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            log = [line for line in done.stderr.splitlines() if not line.startswith("::add-mask::")]
            texts += [done.stdout, *log, outputs.read_text(), *written(tmp_path / "bgci-artifacts")]


@needs_groovy
def test_the_jenkins_steps_take_credentials_by_id(
    secured_lab: SecuredLab, accounts: dict[str, Any], tmp_path: Path
) -> None:
    executable = tmp_path / "bgci"
    executable.write_text(f'#!/bin/sh\nexec {sys.executable} -m bgci "$@"\n')
    executable.chmod(0o755)
    urls = ", ".join(f"'{url}'" for url in secured_lab.balancers)
    options = f"clusterUrl: '{secured_lab.url}', caCert: '{secured_lab.ca_cert}', marathonLbUrl: [{urls}]"
    kinds = ("credentialsId: 'login'", "tokenCredentialsId: 'token'", "serviceAccountCredentialsId: 'account'")
    credentials = {
        "login": {"username": accounts["user"], "password": PASSWORD},
        "token": {"string": accounts["token"]},
        "account": {"file": str(accounts["file"])},
    }
    with no_process_argument_contains(PASSWORD, accounts["token"], private_key(accounts["file"])) as texts:
        text = "\n".join(f"bgciRun('status', [{options}, {kind}])" for kind in kinds)
        ran = build(tmp_path, text, {"PYTHONPATH": str(ROOT)}, credentials=credentials)
        texts += [ran.log, str(ran.steps("sh")), *written(tmp_path / "bgci-artifacts")]
    assert (ran.result, ran.error) == ("SUCCESS", None), ran.log
    assert ran.commands == [("status", 0)] * 3
    assert secured_lab.logins(f"{accounts['user']}-sa") == (1, 0)


@needs_runner
def test_the_gitlab_jobs_take_credentials_from_project_variables(
    secured_lab: SecuredLab, accounts: dict[str, Any], tmp_path: Path
) -> None:
    directory = tmp_path / "repository"
    directory.mkdir()
    template = (ROOT / "examples" / "testapp.template.json").read_text()
    (directory / "web.template.json").write_text(template.replace("/testapp", "/web"))
    repository(directory)
    file = directory / ".gitlab-ci.yml"
    file.write_text(file.read_text().replace("https://dcos.example.com", secured_lab.url))
    (directory / ".gitlab-ci-local-variables.yml").write_text(
        json.dumps(
            {
                "BGCI_CA_CERT": secured_lab.ca_cert,
                "BGCI_SERVICE_ACCOUNT_FILE": {"type": "file", "values": {"*": accounts["file"].read_text()}},
            }
        )
    )
    commit(directory)
    secured_lab.put_secret("bgci-service-account", accounts["file"].read_text())  # what the jobs log in with
    with no_process_argument_contains(private_key(accounts["file"])) as texts:
        ran = run(directory, "--needs", "bgci-publish")
        texts += [ran.log, *written(directory / ".gitlab-ci-local" / "artifacts")]
    assert ran.jobs == {"bgci-render": True, "bgci-publish": True}, ran.log
    assert secured_lab.logins(f"{accounts['user']}-sa") == (1, 0)
