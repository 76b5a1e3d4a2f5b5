"""A link in the artifacts directory leads no command outside: it writes, removes and copies nothing there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from hostile.cluster import Cluster
from hostile.command import CODES, Ended, impatient, run
from hostile.commands import APP, V2, environment, prepared

ARTIFACTS = "bgci-artifacts"
MARK = "OUTSIDE"
RENDER = ("render", *V2)
TEST = ("test", *V2, "--test-command", "true")
# Each file of the directory, and a command that writes, reads or removes it.
FILES: dict[str, tuple[str, ...]] = {
    "result.json": RENDER,
    "manifest.json": RENDER,
    "web-v2-new-app-definition.json": RENDER,
    "web-v2-deploy-single-canary.json": RENDER,
    "web-v2-deploy-canary-completely.json": RENDER,
    "journal.jsonl": TEST,
    "junit/bgci.xml": TEST,
    "junit/other.xml": TEST,
    "report.html": TEST,
    "plan.md": ("promote", *V2, "--via", "direct", "--dry-run"),
    "bgci.env": RENDER,
    "traceback.txt": RENDER,
}
DEFINITION = ("publish", *APP, "--revision", "v2")  # reads what was rendered before


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as started:
        yield started


@pytest.fixture
def home(tmp_path: Path, cluster: Cluster) -> Path:
    directory = tmp_path / "home"
    directory.mkdir()
    (tmp_path / "outside").mkdir()
    return prepared(directory, cluster)


def ended(home: Path, cluster: Cluster, words: tuple[str, ...], *, bug: bool = False) -> Ended:
    broken = mock.patch("bgci.commands.render.render", side_effect=RuntimeError("a bug")) if bug else impatient()
    with impatient(), broken:
        return run(home, list(words), {**environment(cluster), "GITLAB_CI": "true", "CI_JOB_ID": "1"})


@pytest.mark.parametrize("words", dict.fromkeys(FILES.values()))
def test_the_commands_write_the_listed_files(home: Path, cluster: Cluster, words: tuple[str, ...]) -> None:
    ended(home, cluster, words)
    ended(home, cluster, RENDER, bug=True)
    written = content(home / ARTIFACTS)
    assert not ended(home, cluster, words).err
    expected = {name for name, command in FILES.items() if command == words} - {"junit/other.xml"}
    assert expected <= set(written)


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def shown(home: Path) -> list[str]:
    """The files of bgci that contain the text of a file outside."""
    own = (path for path in home.rglob("*") if path.is_file() and not path.is_symlink())
    return [path.name for path in own if MARK.encode() in path.read_bytes()]


@pytest.mark.parametrize("kind", ["file", "dangling", "directory"])
@pytest.mark.parametrize("name", FILES)
def test_a_link_in_place_of_a_file_is_not_followed(home: Path, cluster: Cluster, name: str, kind: str) -> None:
    outside, place = home.parent / "outside", home / ARTIFACTS / name
    target = outside / "target"
    if kind == "file":
        target.write_text(f'<testsuite name="{MARK}"><testcase name="{MARK}"/></testsuite>')
    if kind == "directory":
        target.mkdir()
        (target / "inner").write_text(MARK)
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(target)
    before = content(outside)
    found = ended(home, cluster, FILES[name], bug=name == "traceback.txt")
    assert found.code == 1 if name == "traceback.txt" else found.within_contract, found.err
    assert content(outside) == before
    assert kind != "dangling" or not target.exists()
    assert not shown(home)


@pytest.mark.parametrize("folder", [ARTIFACTS, f"{ARTIFACTS}/junit"])
@pytest.mark.parametrize("name", FILES)
def test_a_linked_directory_is_not_entered(home: Path, cluster: Cluster, name: str, folder: str) -> None:
    outside = home.parent / "outside"
    target = outside / Path(name).relative_to("junit") if "junit" in folder and "junit" in name else outside / name
    target.parent.mkdir(exist_ok=True)
    target.write_text(MARK)
    linked = home / folder
    if linked.exists():
        linked.rename(home / "before")
    linked.symlink_to(outside)
    before = content(outside)
    found = ended(home, cluster, FILES[name], bug=name == "traceback.txt")
    assert found.code in CODES or name == "traceback.txt", found.err
    if folder == ARTIFACTS or name.startswith("junit/bgci"):
        assert "is a symbolic link" in found.err + found.out
    assert content(outside) == before
    assert not shown(home)


def test_a_definition_behind_a_link_is_not_published(home: Path, cluster: Cluster) -> None:
    place = home / ARTIFACTS / "web-v2-new-app-definition.json"
    place.rename(home.parent / "outside" / "definition.json")
    place.symlink_to(home.parent / "outside" / "definition.json")
    found = ended(home, cluster, DEFINITION)
    assert found.code == 3
    assert f"{place.name} cannot be read" in found.err


@pytest.mark.parametrize("name", ["journal.jsonl", "result.json", "manifest.json", "junit/other.xml"])
def test_a_pipe_in_place_of_a_file_blocks_no_command(home: Path, cluster: Cluster, name: str) -> None:
    import os

    place = home / ARTIFACTS / name
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    assert ended(home, cluster, TEST).within_contract
