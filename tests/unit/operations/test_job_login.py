"""How the jobs of a release log in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgci import redaction
from bgci.appdef.names import job_secret, may_use
from bgci.dcos.credentials import CREDENTIAL_VARIABLES
from bgci.errors import InvalidError, UsageError
from bgci.operations.context import Context
from bgci.operations.job_login import login
from bgci.options import Settings

TOKEN = "a-token-of-the-pipeline"
Maker = Callable[..., Context]


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Maker:
    def make(way: str = "auto", *, token: str = TOKEN, app: str = "/team/web", secret: str = "") -> Context:
        for name in CREDENTIAL_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("BGCI_TOKEN", token)
        given: dict[str, Any] = {"job_service_account": way, "job_secret": secret}
        return Context("render", Settings(app=app, revision="v1", artifacts=str(tmp_path), **given))

    return make


def test_by_default_a_job_with_credentials_takes_its_login_from_a_secret(context: Maker) -> None:
    assert login(context()) == {"secret_env": {"BGCI_SERVICE_ACCOUNT": "team/bgci-service-account"}}
    assert login(context(token="")) == {}
    assert login(context(token="", secret="other")) == {"secret_env": {"BGCI_SERVICE_ACCOUNT": "other"}}


def test_a_job_takes_its_login_from_the_named_secret(context: Maker) -> None:
    assert login(context("secret", secret="/team/bgci")) == {"secret_env": {"BGCI_SERVICE_ACCOUNT": "team/bgci"}}
    assert login(context("none", secret="team/bgci")) == {}


def test_an_embedded_login_is_a_warning(context: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    assert login(context("embed")) == {"env": {"BGCI_TOKEN": TOKEN}}
    assert (
        "warning: --job-service-account embed: every account with read permission for the jobs"
        in capsys.readouterr().out
    )
    with pytest.raises(UsageError, match="needs credentials"):
        login(context("embed", token=""))


@pytest.mark.parametrize(
    ("app", "secret", "usable"),
    [
        ("/team/web", "bgci", True),
        ("/team/web", "team/bgci", True),
        ("/team/sub/web", "team/bgci", True),
        ("/team/web", "team/sub/bgci", False),
        ("/team/web", "other/bgci", False),
        ("/team/web", "te/bgci", False),
        ("/web", "web/bgci", False),
        ("/web", "/bgci", True),
    ],
)
def test_a_secret_is_usable_only_in_its_folder_and_below(context: Maker, app: str, secret: str, usable: bool) -> None:
    assert may_use(app, secret) is usable
    if not usable:
        with pytest.raises(InvalidError, match="cannot use the secret"):
            login(context("secret", app=app, secret=secret))


@pytest.mark.parametrize(
    ("app", "path"),
    [
        ("/web", "bgci-service-account"),
        ("/team/web", "team/bgci-service-account"),
        ("/a.b/web.x", "a/b/bgci-service-account"),
    ],
)
def test_the_default_secret_is_in_the_folder_of_the_jobs(app: str, path: str) -> None:
    assert job_secret(app) == path
    assert may_use(app, path)


def test_a_rendered_job_names_the_secret_and_the_same_each_time(
    context: Maker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jobs = [_rendered(tmp_path / str(time), monkeypatch, "secret") for time in range(2)]
    assert jobs[0] == jobs[1]
    run = json.loads(jobs[0])["run"]
    assert run["env"]["BGCI_SERVICE_ACCOUNT"] == {"secret": "bgci_service_account"}
    assert run["secrets"] == {"bgci_service_account": {"source": "team/bgci-service-account"}}


def test_the_artifact_of_a_job_with_a_login_is_a_redacted_copy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    job = _rendered(tmp_path, monkeypatch, "embed")
    assert TOKEN not in job
    assert json.loads(job)["run"]["env"]["BGCI_TOKEN"] == "***"
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert [name.removeprefix("team.web-v1-") for name in manifest["redacted"]] == [
        "deploy-canary-completely.json",
        "deploy-single-canary.json",
        "rollback-single-canary.json",
    ]


def test_a_definition_with_a_redacted_credential_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from bgci.operations.rendering import load

    redaction.hide(TOKEN)
    _rendered(tmp_path, monkeypatch, "none", {"env": {"LEAK": TOKEN}})
    with pytest.raises(InvalidError, match=r"has \*\*\* in place of"):
        load(Context("canary", Settings(app="/team/web", revision="v1", artifacts=str(tmp_path))))


def _rendered(directory: Path, monkeypatch: pytest.MonkeyPatch, way: str, more: dict[str, Any] | None = None) -> str:
    """The canary's job, as it stands in the artifacts."""
    from bgci.commands.render import run

    directory.mkdir(exist_ok=True)
    monkeypatch.setenv("BGCI_TOKEN", TOKEN)
    template = directory / "template.json"
    app: dict[str, Any] = {
        "id": "/team/web",
        "cpus": 0.1,
        "mem": 32,
        "instances": 1,
        "networks": [{"mode": "container/bridge"}],
        "container": {
            "type": "DOCKER",
            "docker": {"image": "{{ image }}"},
            "portMappings": [{"containerPort": 80, "servicePort": 10001}],
        },
        "healthChecks": [{"protocol": "HTTP", "path": "/", "portIndex": 0}],
        "labels": {
            "HAPROXY_GROUP": "external",
            "HAPROXY_DEPLOYMENT_GROUP": "web",
            "HAPROXY_DEPLOYMENT_ALT_PORT": "10002",
        },
    }
    template.write_text(json.dumps(app | (more or {})))
    given: dict[str, Any] = {"template": str(template), "image": "x:1", "artifacts": str(directory)}
    run(Settings(app="/team/web", revision="v1", job_service_account=way, **given))
    return (directory / "team.web-v1-deploy-single-canary.json").read_text()
