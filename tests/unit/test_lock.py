"""requirements.lock, from which CI systems install and bgci.pyz is built, is what pyproject.toml asks for."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
REMEDY = "run make lock"
WANTED = [Requirement(text) for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]]
LOCKED = dict(re.findall(r"^([a-z0-9-]+)==(\S+).*\\$", (ROOT / "requirements.lock").read_text(), re.MULTILINE))


def test_each_dependency_is_locked_at_a_version_that_pyproject_allows() -> None:
    locked = {str(wanted): LOCKED.get(canonicalize_name(wanted.name), "0") for wanted in WANTED}
    assert [str(wanted) for wanted in WANTED if locked[str(wanted)] not in wanted.specifier] == [], REMEDY


def test_the_lock_has_exactly_the_transitive_dependencies() -> None:
    found: set[str] = set()
    queue = [canonicalize_name(wanted.name) for wanted in WANTED]
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += needs(name)
    assert found == set(LOCKED), REMEDY


def needs(name: str) -> list[str]:
    """The names that a package needs on any system that bgci runs on. One that is not installed here needs nothing."""
    try:
        texts = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        assert name in ("colorama", "tomli"), f"{name} is not installed: run tools/setup"  # Windows; Python 3.10
        return []
    assert metadata.version(name) == LOCKED.get(name), f"{name} is not as locked: run tools/setup"
    wanted = [Requirement(text) for text in texts]
    environments = [
        {"python_version": version, "sys_platform": platform, "platform_system": system, "extra": ""}
        for version in ("3.10", "3.14")
        for platform, system in (("linux", "Linux"), ("win32", "Windows"))
    ]
    return [
        canonicalize_name(one.name)
        for one in wanted
        if one.marker is None or any(one.marker.evaluate(environment) for environment in environments)
    ]


def test_the_build_backend_of_the_wheel_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (wanted,) = map(Requirement, project["build-system"]["requires"])
    (locked,) = re.findall(r"^setuptools==(\S+) ", (ROOT / "requirements-build.lock").read_text(), re.MULTILINE)
    assert (wanted.name, locked in wanted.specifier) == ("setuptools", True), REMEDY


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-build.lock"])
def test_each_locked_package_has_hashes_and_names_no_index(name: str) -> None:
    text = (ROOT / name).read_text()
    packages = re.findall(r"^[a-z0-9-]+==", text, re.MULTILINE)
    assert len(re.findall(r"^[a-z0-9-]+==\S+.*\\\n    --hash=sha256:", text, re.MULTILINE)) == len(packages) > 0
    assert "://" not in text
    assert "--index" not in text
