"""The artifacts directory."""

from __future__ import annotations

import hashlib
import json
import os

import pytest

from bgci import __version__
from bgci.errors import UsageError
from bgci.reporting.artifacts import Artifacts, ci_run


@pytest.fixture
def artifacts(tmp_path):
    return Artifacts(tmp_path / "new" / "bgci-artifacts")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_same_value_gives_the_same_bytes(artifacts):
    first = artifacts.write_json("a.json", {"b": 1, "a": "grün"}).read_bytes()
    second = artifacts.write_json("a.json", {"a": "grün", "b": 1}).read_bytes()
    assert first == second == '{\n  "a": "grün",\n  "b": 1\n}\n'.encode()
    assert os.listdir(artifacts.directory) == ["a.json"]


def test_a_failed_write_leaves_the_old_file(artifacts):
    path = artifacts.write_json("a.json", 1)
    with pytest.raises(ValueError, match="JSON"):
        artifacts.write_json("a.json", float("nan"))
    assert read(path) == 1


def test_a_file_is_replaced_atomically(artifacts, tmp_path):
    path = artifacts.write_json("a.json", 1)
    os.link(path, tmp_path / "reader")
    artifacts.write_json("a.json", 2)
    assert (read(path), read(tmp_path / "reader")) == (2, 1)


def test_a_directory_that_cannot_be_made_names_the_flag(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError) as caught:
        Artifacts(tmp_path / "file").write_json("a.json", 1)
    assert "--artifacts" in caught.value.remedy


def test_a_name_outside_of_the_directory_is_refused(artifacts):
    with pytest.raises(ValueError, match="outside"):
        artifacts.write_json("../a.json", 1)


@pytest.mark.parametrize("name", ["result.json", "manifest.json"])
def test_a_link_in_place_of_a_file_is_replaced_and_not_followed(artifacts, tmp_path, name):
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    artifacts.directory.mkdir(parents=True)
    (artifacts.directory / name).symlink_to(outside)
    path = artifacts.write_json(name, {"a": 1})
    assert outside.read_text() == "untouched"
    assert json.loads(path.read_text()) == {"a": 1}
    assert not path.is_symlink()


def test_the_target_of_a_link_is_not_read(artifacts, tmp_path):
    (tmp_path / "outside").write_text('{"secret": 1}')
    artifacts.directory.mkdir(parents=True)
    (artifacts.directory / "manifest.json").symlink_to(tmp_path / "outside")
    assert artifacts.read_json("manifest.json") is None


def test_a_directory_that_is_a_link_is_refused(artifacts, tmp_path):
    (tmp_path / "outside").mkdir()
    artifacts.directory.mkdir(parents=True)
    (artifacts.directory / "junit").symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="is a symbolic link"):
        artifacts.write_bytes("junit/bgci.xml", b"")
    (tmp_path / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(UsageError, match="is a symbolic link"):
        Artifacts(tmp_path / "link").write_bytes("result.json", b"")
    assert not list((tmp_path / "outside").iterdir())


def manifest(artifacts, **more):
    values = {"app": "/web", "revision": "r1", "image": "web:1", "environ": {}, **more}
    return read(artifacts.manifest(**values))


def test_the_manifest_hashes_the_written_files(artifacts):
    path = artifacts.write_json("web-r1-new-app-definition.json", {"id": "/web"})
    value = manifest(artifacts, files=[path], template=("app.json.j2", b"{}"))
    assert value == {
        "app": "/web",
        "revision": "r1",
        "image": "web:1",
        "bgci": __version__,
        "ci": None,
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest()},
        "redacted": [],
        "template": {"name": "app.json.j2", "sha256": hashlib.sha256(b"{}").hexdigest()},
    }


def test_a_later_stage_adds_to_the_manifest(artifacts):
    kept, gone = artifacts.write_json("kept.json", 1), artifacts.write_json("gone.json", 1)
    manifest(artifacts, files=[kept, gone], template=("t", b""))
    gone.unlink()
    report = artifacts.write_bytes("junit/canary.xml", b"<testsuites/>")
    value = manifest(artifacts, files=[report])
    assert list(value["files"]) == ["junit/canary.xml", "kept.json"]
    assert value["template"]["name"] == "t"


@pytest.mark.parametrize("other", [{"revision": "r2"}, {"app": "/other"}])
def test_another_revision_starts_a_new_manifest(artifacts, other):
    manifest(artifacts, files=[artifacts.write_json("a.json", 1)])
    assert manifest(artifacts, **other)["files"] == {}


def test_a_broken_manifest_is_replaced(artifacts):
    artifacts.write_bytes("manifest.json", b"{")
    assert manifest(artifacts)["files"] == {}


def test_the_result_names_its_exit_code(artifacts):
    value = read(artifacts.result(command="promote", code=6, state="hybrid", timings={"total": 1.5}))
    assert (value["command"], value["code"], value["name"], value["state"]) == ("promote", 6, "conflict", "hybrid")


@pytest.mark.parametrize(
    ("environ", "system", "key"),
    [
        ({"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "7", "GITHUB_TOKEN": "s3cret"}, "github", "GITHUB_RUN_ID"),
        ({"GITLAB_CI": "true", "CI_PIPELINE_ID": "7", "CI_JOB_TOKEN": "s3cret"}, "gitlab", "CI_PIPELINE_ID"),
        ({"JENKINS_URL": "http://j/", "BUILD_NUMBER": "7", "GIT_URL": "http://a:s3cret@g/"}, "jenkins", "BUILD_NUMBER"),
    ],
)
def test_the_ci_run_is_named_without_secrets(environ, system, key):
    run = ci_run(environ)
    assert run == {"system": system, key: "7"}


def test_the_url_of_the_ci_run_has_no_login_and_no_query():
    run = ci_run({"JENKINS_URL": "x", "BUILD_URL": "https://joe:s3cret@ci.example.com/job/7/?token=s3cret"})
    assert run == {"system": "jenkins", "BUILD_URL": "https://ci.example.com/job/7/"}


def test_without_a_ci_system_there_is_no_run():
    assert ci_run({"HOME": "/root"}) is None
