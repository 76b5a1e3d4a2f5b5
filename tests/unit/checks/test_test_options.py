"""The options of ``bgci test``, and the sources of the settings of test programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bgci import cli
from bgci.commands import test as command
from bgci.options import Settings

COMMAND = ["test", "--app", "web", "--revision", "v2"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Settings]:
    """The settings of the stage, in a directory and an environment without settings."""
    found: list[Settings] = []
    monkeypatch.setattr(command, "run", found.append)
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("BGCI_"):
            monkeypatch.delenv(name)
    return found


def run(*words: str, environment: dict[str, str] | None = None) -> None:
    ran = CliRunner().invoke(cli.app, [*COMMAND, *words], env=environment)
    assert ran.exit_code == 0, ran.output


def test_a_command_line_keeps_its_blanks_from_every_source(asked: list[Settings]) -> None:
    Path("bgci.toml").write_text('test_command = ["from the file"]\n')
    run()
    run(environment={"BGCI_TEST_COMMAND": "pytest tests/smoke\n\n sh b.sh --x \n"})
    run("--test-command", "make smoke", "--command", "a b", environment={"BGCI_TEST_COMMAND": "from the environment"})
    assert [settings.test_command for settings in asked] == [
        ["from the file"],
        ["pytest tests/smoke", "sh b.sh --x"],
        ["make smoke", "a b"],
    ]


def test_the_timeout_of_a_program_has_a_unit(asked: list[Settings]) -> None:
    run("--command-timeout", "90s")
    assert asked[0].command_timeout == 90.0
    assert CliRunner().invoke(cli.app, [*COMMAND, "--command-timeout", "90"]).exit_code == 2
