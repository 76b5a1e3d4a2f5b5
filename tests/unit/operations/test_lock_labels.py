"""The labels of a lock, which everybody with read permission for the app can see."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgci import redaction
from bgci.dcos.lock_apps import lock_app
from bgci.engine.lock import Way
from bgci.operations.context import Context
from bgci.operations.exclusion import _me
from bgci.options import Settings

ADDRESS = "https://joe:ci-login-pw@ci.example.com:8443/shop/7/?token=ci-query-token#ci-fragment"


@pytest.mark.parametrize(
    "environ",
    [
        {"JENKINS_URL": "x", "BUILD_URL": ADDRESS, "BUILD_NUMBER": "7", "JOB_NAME": "shop"},
        {"GITLAB_CI": "true", "CI_JOB_URL": ADDRESS, "CI_PIPELINE_ID": "7", "CI_PROJECT_PATH": "shop"},
        {"GITLAB_CI": "true", "CI_PIPELINE_URL": ADDRESS, "CI_PIPELINE_ID": "7", "CI_PROJECT_PATH": "shop"},
        {"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": ADDRESS, "GITHUB_REPOSITORY": "shop/web"},
    ],
    ids=["jenkins", "gitlab job", "gitlab pipeline", "github"],
)
def test_the_url_of_the_ci_run_in_a_lock_has_no_login_and_no_query(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("MESOS_TASK_ID", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**environ, "HOSTNAME": "runner"}.items():
        monkeypatch.setenv(name, value)
    context = Context("promote", Settings(app="/web", revision="v2", artifacts=str(tmp_path)))
    labels = lock_app("/web", "/web-lock-1", _me(context, Way.PROCESS))["labels"]
    assert labels["BGCI_LOCK_URL"].startswith("https://ci.example.com:8443/shop/7/")
    assert not [text for text in labels.values() if "joe" in text or "ci-" in text]


def test_the_labels_of_a_lock_contain_no_secret_of_this_process(tmp_path: Path) -> None:
    redaction.hide("v2-is-the-password")
    context = Context("promote", Settings(app="/web", revision="v2-is-the-password", artifacts=str(tmp_path)))
    assert "v2-is-the-password" not in str(lock_app("/web", "/web-lock-1", _me(context, Way.PROCESS)))
