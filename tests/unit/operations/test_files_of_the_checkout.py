"""A suite or template that is a link to nowhere is an error: no other file is used in its place, and no test is left
out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bgci.errors import UsageError
from bgci.operations.context import Context
from bgci.operations.rendering import read_template
from bgci.operations.suites import suite_file, suite_text
from bgci.options import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(Settings(), app="web", revision="1", template_dir=str(tmp_path), artifacts=str(tmp_path / "a"))


def test_a_suite_that_is_a_link_to_nowhere_is_not_left_out(settings: Settings, tmp_path: Path) -> None:
    context = Context("test", settings)
    assert suite_file(context) is None
    (tmp_path / "web.canary.yaml").symlink_to("nowhere")
    file = suite_file(context)
    assert file
    with pytest.raises(UsageError, match="cannot be read"):
        suite_text(file)


def test_a_template_of_the_revision_that_is_a_link_to_nowhere_is_not_replaced_by_the_common_one(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "web.template.json").write_text("{}")
    assert read_template(settings)[1] == b"{}"
    (tmp_path / "web.1.template.json").symlink_to("nowhere")
    with pytest.raises(UsageError, match="cannot be read"):
        read_template(settings)
