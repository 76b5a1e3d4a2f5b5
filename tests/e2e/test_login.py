"""Every kind of login at a secured cluster, and the messages of refused logins."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bgci.sandbox import control
from e2e.conftest import app_maker
from e2e.lab import App, Json
from e2e.secured import SecuredLab

PASSWORD = """a:b "c" 'd' $e \\f {{ g }} é€"""
TOKEN_LIFE = 3  # seconds
MARATHON = "dcos:adminrouter:service:marathon"
SERVICES = "dcos:service:marathon:marathon:services:/"


class BriefLab(SecuredLab):
    """Its tokens live for seconds: the administrator's too."""

    @property
    def token(self) -> str:  # type: ignore[override]
        return self.login(self.superuser)


@pytest.fixture(scope="module")
def brief_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BriefLab]:
    home = tmp_path_factory.mktemp("brief")
    options = ["--offer-delay", "0.1", "--token-life", str(TOKEN_LIFE)]
    yield BriefLab(home, control.up(home, secured=True, server_options=options))
    control.down(home)


@pytest.fixture
def brief_app(brief_lab: BriefLab, tmp_path: Path) -> Iterator[App]:
    for make in app_maker(brief_lab, tmp_path):
        yield make()


@pytest.fixture
def app(make_secured_app: Callable[..., App]) -> App:
    return make_secured_app()


def by_password(lab: SecuredLab, uid: str, directory: Path) -> Json:
    lab.user(uid, PASSWORD)
    return {"BGCI_USERNAME": uid, "BGCI_PASSWORD": PASSWORD}


def by_service_account(lab: SecuredLab, uid: str, directory: Path) -> Json:
    """As DC/OS writes it: with an endpoint that is unknown outside of the cluster."""
    credential = {**lab.service_account(uid), "login_endpoint": "https://leader.mesos/acs/api/v1/auth/login"}
    return {"DCOS_SERVICE_ACCOUNT_CREDENTIAL": json.dumps(credential)}


def by_token(lab: SecuredLab, uid: str, directory: Path) -> Json:
    return {"DCOS_ACS_TOKEN": lab.login(lab.user(uid, PASSWORD))}


@pytest.mark.parametrize("way", [by_password, by_service_account, by_token])
def test_each_kind_of_login_can_release(
    app: App, secured_lab: SecuredLab, tmp_path: Path, way: Callable[..., Json]
) -> None:
    uid = f"{way.__name__}-{app.group}"
    given = way(secured_lab, uid, tmp_path)
    secured_lab.grant("dcos:superuser", uid)
    before = secured_lab.logins(uid)
    app.promote("v1", **given)
    app.canary("v2", **given)
    assert app.healthy() == {"v1": 2, "v2": 1}
    succeeded, failed = secured_lab.logins(uid)
    assert (succeeded - before[0], failed) == (0 if way is by_token else 2, 0)  # one for each command


def test_a_token_that_expires_during_a_rollout_is_renewed(brief_app: App, brief_lab: BriefLab, tmp_path: Path) -> None:
    uid = f"ci-{brief_app.group}"
    given = by_service_account(brief_lab, uid, tmp_path)
    brief_lab.grant("dcos:superuser", uid)
    brief_app.promote("v1", **given)
    before = brief_lab.logins(uid)[0]
    with brief_app.load(slow=1.0, slow_seconds=4.0):  # sessions that are waited for
        done = brief_app.promote("v2", **given)
    assert done.seconds > TOKEN_LIFE
    assert brief_lab.logins(uid)[0] - before >= 2
    assert brief_app.healthy() == {"v2": 2}


def test_a_job_logs_in_by_itself_and_is_followed_with_tokens_that_expire(
    brief_app: App, brief_lab: BriefLab, tmp_path: Path
) -> None:
    """The stage and its job know the CA only by its fingerprint."""
    uid = f"ci-{brief_app.group}"
    given = by_service_account(brief_lab, uid, tmp_path)
    brief_lab.grant("dcos:superuser", uid)
    brief_lab.put_secret("bgci-service-account", json.dumps(brief_lab.accounts[uid]))
    given |= {"BGCI_VIA": "job", "BGCI_CA_CERT": "", "BGCI_CA_SHA256": fingerprint(brief_lab.ca_cert)}
    brief_app.publish("v1", **given)
    before = brief_lab.logins(uid)[0]
    done = brief_app.promote("v1", **given)
    assert brief_app.healthy() == {"v1": 2}
    assert brief_lab.logins(uid)[0] - before >= 2  # the job's own, and ours
    assert "Create v1 with 2 instances" in done.text  # its log


def test_an_expired_token_without_a_login_is_reported_as_expired(
    brief_app: App, brief_lab: BriefLab, tmp_path: Path
) -> None:
    superuser = {"BGCI_USERNAME": brief_lab.superuser["uid"], "BGCI_PASSWORD": brief_lab.superuser["password"]}
    brief_app.promote("v1", **superuser)
    with brief_app.load(slow=1.0, slow_seconds=4.0):
        done = brief_app.promote("v2", expect=4, BGCI_TOKEN=brief_lab.token)
    assert "The token of BGCI_TOKEN is refused: it ended at" in done.text
    brief_app.promote("v2", **superuser)
    assert brief_app.healthy() == {"v2": 2}


@pytest.mark.parametrize("command", ["status", "canary", "release"])
def test_a_wrong_password_is_tried_once(app: App, secured_lab: SecuredLab, command: str) -> None:
    uid = f"{command}-{app.group}"
    secured_lab.user(uid, PASSWORD)
    given = {"BGCI_USERNAME": uid, "BGCI_PASSWORD": "not-the-password"}
    done = app.run(command, "" if command == "status" else "v1", expect=4, **given)
    assert f"The cluster refuses the login of user {uid}: Invalid credentials." in done.text
    assert "not-the-password" not in done.text + json.dumps(done.result)
    assert done.result["name"] == "denied"
    assert secured_lab.logins(uid) == (0, 1)
    assert app.apps() == []


def test_github_gets_masks_also_when_no_line_follows(app: App, secured_lab: SecuredLab, tmp_path: Path) -> None:
    superuser, file = secured_lab.superuser, tmp_path / "password"
    file.write_text(superuser["password"])
    given = {"BGCI_USERNAME": superuser["uid"], "BGCI_PASSWORD_FILE": str(file), "GITHUB_ACTIONS": "true"}
    lines = app.run("status", "", expect=6, **given).text.splitlines()
    assert f"::add-mask::{superuser['password']}" in lines
    assert sum(line.startswith("::add-mask::eyJ") for line in lines) == 1  # the token that it logged in for


def test_without_credentials_the_cluster_asks_for_a_login(app: App, secured_lab: SecuredLab) -> None:
    done = app.promote("v1", expect=4, DCOS_ACS_TOKEN="")
    assert "asks for a login" in done.text
    assert "BGCI_SERVICE_ACCOUNT" in done.text


def test_a_missing_permission_is_named(make_secured_app: Callable[..., App], secured_lab: SecuredLab) -> None:
    app = make_secured_app(name="/team-{}/web")
    folder = app.id.strip("/").partition("/")[0]
    uid = f"team-{app.group}"
    given = {"BGCI_SERVICE_ACCOUNT": json.dumps(secured_lab.service_account(uid))}
    assert f"Missing: {MARATHON} full." in app.promote("v1", expect=4, **given).text
    secured_lab.grant(MARATHON, uid)
    secured_lab.grant(f"{SERVICES}{folder}", uid, "read")
    denied = app.promote("v1", expect=4, **given)
    assert f"Missing: {SERVICES}{folder} " in denied.text
    assert denied.result["name"] == "denied"
    for action in ("create", "update", "delete"):
        secured_lab.grant(f"{SERVICES}{folder}", uid, action)
    app.promote("v1", **given)
    assert app.healthy() == {"v1": 2}


def test_a_plain_marathon_with_basic_authentication(app: App, secured_lab: SecuredLab) -> None:
    cluster = json.loads((secured_lab.home / "cluster.json").read_text())
    known = json.loads(Path(cluster["marathon_credentials"]).read_text())
    plain = {"BGCI_CLUSTER_URL": "", "BGCI_CA_CERT": "", "BGCI_MARATHON_URL": cluster["marathon_url"]}
    refused = app.promote("v1", expect=4, **plain, BGCI_USERNAME=known["uid"], BGCI_PASSWORD="wrong")
    assert "Marathon asks for a login" in refused.text
    given = {**plain, "BGCI_USERNAME": known["uid"], "BGCI_PASSWORD": known["password"]}
    app.promote("v1", **given)
    assert app.healthy() == {"v1": 2}


# -- whom we trust -----------------------------------------------------------------------------------------------------


def fingerprint(path: str) -> str:
    words = ["openssl", "x509", "-in", path, "-noout", "-fingerprint", "-sha256"]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def status(app: App, *options: str, expect: int = 6, **environment: Any) -> Json:
    """The exit code and the output of `bgci status`. A successful login ends with the conflict of a missing app."""
    done = app.run("status", "", *options, expect=expect, **environment)
    return {**done.result, "said": done.text}


def test_h24_the_clusters_certificate_is_verified_always(app: App) -> None:
    assert "is not trusted" in status(app, expect=5, BGCI_CA_CERT="")["said"]
    status(app, BGCI_CA_CERT="", SSL_CERT_FILE=app.lab.where["ca_cert"])
    status(app, BGCI_CA_CERT=Path(app.lab.where["ca_cert"]).read_text())


def test_a_pinned_ca_is_fetched_and_trusted(app: App) -> None:
    right = fingerprint(app.lab.where["ca_cert"])
    status(app, "--ca-sha256", right, BGCI_CA_CERT="")
    wrong = status(app, "--ca-sha256", "00" * 32, expect=5, BGCI_CA_CERT="")
    assert right.partition("=")[2] in wrong["said"]
    assert "00:00:00" in wrong["said"]
    both = status(app, "--ca-sha256", right, expect=2)
    assert "are both given" in both["said"]


def test_insecure_logs_a_warning(app: App) -> None:
    done = status(app, "--insecure", BGCI_CA_CERT="")
    assert "warning: --insecure" in done["said"]
    assert done["insecure"] is True


def test_no_secret_is_sent_unencrypted(app: App) -> None:
    done = status(app, "--cluster-url", "http://dcos.example.com", expect=2)
    assert "unencrypted to dcos.example.com" in done["said"]
