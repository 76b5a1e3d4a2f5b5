"""The content of the wheel and of the image. The wheel itself is built and run by tests/ci/test_image.py."""

from __future__ import annotations

import re
import sys
from fnmatch import fnmatch
from pathlib import Path

import bgci

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_data_file_is_in_the_wheel() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["*"]
    files = [path for path in (ROOT / "bgci").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    others = [path.name for path in files if path.suffix != ".py"]
    assert {"job.template.json", "page.html.j2", "suite.schema.json", "py.typed"} <= set(others)
    assert [name for name in others if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "bgci").rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_the_licence_file_is_the_declared_licence() -> None:
    assert (PROJECT["project"]["license"], PROJECT["project"]["license-files"]) == ("Apache-2.0", ["LICENSE"])
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()


def test_the_dockerfile_has_the_version_of_the_package() -> None:
    (version,) = re.findall(r"^ARG VERSION=(.+)$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert version == bgci.__version__


def test_the_image_is_built_only_from_a_base_with_a_digest() -> None:
    text = (ROOT / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE)
    assert set(bases) == {"${BASE_IMAGE}${BASE_DIGEST:+@}${BASE_DIGEST}"}
    assert 'test -n "$BASE_DIGEST" || refuse' in text
