"""A release to another cluster from the artifacts of an earlier one: it uses the tested app definition."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bgci.commands import render
from bgci.errors import InvalidError, UsageError
from bgci.options import Settings

ROOT = Path(__file__).parents[3]
DEFINITION = "testapp-v2-new-app-definition.json"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("MESOS_TASK_ID", "GITHUB_ACTIONS", "GITLAB_CI", "JENKINS_URL"):
        monkeypatch.delenv(name, raising=False)
    directory = str(ROOT / "examples")
    return replace(Settings(), app="testapp", revision="v2", artifacts=str(tmp_path), template_dir=directory)


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], str]:
    return lambda name: (tmp_path / name).read_text()


def test_render_without_an_image_renders_the_jobs_again_for_another_cluster(
    settings: Settings, read: Callable[[str], str]
) -> None:
    render.run(replace(settings, image="web:2"))
    definition, job = read(DEFINITION), read("testapp-v2-deploy-single-canary.json")
    manifest = json.loads(read("manifest.json"))
    render.run(replace(settings, job_cluster_url="https://other.mesos", template_dir="/nowhere"))
    assert read(DEFINITION) == definition
    assert read("testapp-v2-deploy-single-canary.json") == job.replace("master.mesos", "other.mesos") != job
    again = json.loads(read("manifest.json"))
    assert (again["image"], again["template"]) == ("web:2", manifest["template"])
    assert again["files"][DEFINITION] == manifest["files"][DEFINITION]


@pytest.mark.parametrize("lost", ["definition", "manifest"])
def test_an_app_definition_that_differs_from_the_rendered_one_is_refused(
    settings: Settings, tmp_path: Path, lost: str
) -> None:
    render.run(replace(settings, image="web:2"))
    if lost == "manifest":
        (tmp_path / "manifest.json").unlink()
    else:
        (tmp_path / DEFINITION).write_text((tmp_path / DEFINITION).read_text().replace("web:2", "web:3"))
    with pytest.raises(InvalidError, match=r"was changed after `bgci render`: manifest\.json has another SHA-256"):
        render.run(settings)


def test_render_without_an_image_and_without_artifacts_is_a_usage_error(settings: Settings) -> None:
    with pytest.raises(UsageError, match="--image is missing"):
        render.run(settings)
