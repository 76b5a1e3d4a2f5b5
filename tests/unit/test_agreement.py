"""The wrappers offer the options of the command line: the same names, defaults and help, from one source."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml
from typer.main import get_command

from bgci import cli, options
from bgci.option import Option, duration
from bgci.options import EXPOSED, shared_options
from bgci.reporting.ci_systems import dotenv, outputs

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
ACTION_ONLY = {"command", "python-path", "pyz", "wheels", "working-directory", "deployment", "comment"}
OPTIONS = {option.name: option for option in shared_options()}


def taken() -> dict[str, typer.core.TyperOption]:
    """The options of the exposed commands as the command line has them, by name."""
    commands = get_command(cli.app).commands  # type: ignore[attr-defined]
    found = [parameter for name in EXPOSED if name in commands for parameter in commands[name].params]
    return {parameter.opts[0].removeprefix("--"): parameter for parameter in found if not parameter.hidden}


def test_the_shared_options_are_those_of_the_exposed_commands() -> None:
    assert set(OPTIONS) == set(taken()) - {"help"}


def test_every_command_except_the_local_ones_is_exposed() -> None:
    commands = set(get_command(cli.app).commands)  # type: ignore[attr-defined]
    assert commands - set(EXPOSED) <= {"prune", "sandbox", "demo", "slug", "replay"}


@pytest.mark.parametrize("option", shared_options(), ids=lambda option: option.name)
def test_an_option_is_shown_in_the_form_of_the_command_line(option: Option) -> None:
    parameter = taken()[option.name]
    assert parameter.help == option.help
    assert (parameter.multiple, parameter.is_flag) == (option.repeatable, option.flag)
    assert parameter.envvar == f"BGCI_{option.name.upper().replace('-', '_')}"
    default = parameter.default
    if isinstance(default, float):
        assert duration(option.default) == default
    elif option.repeatable:
        assert option.default.split() == list(default or ())
    else:
        assert option.default == str(getattr(default, "value", default)).replace("False", "false")


def test_the_inputs_of_the_action_are_the_options_and_its_own() -> None:
    inputs = ACTION["inputs"]
    assert set(inputs) == set(OPTIONS) | ACTION_ONLY | {"config"}
    (own,) = re.findall(r"^OWN = \((.*)\)$", (ROOT / "action" / "main.py").read_text(), re.M)
    assert set(re.findall('"(.+?)"', own)) == ACTION_ONLY  # config is not an option of a command, but bgci reads it
    for name, option in OPTIONS.items():
        assert inputs[name] == {"description": option.description, "default": ""}
    assert [name for name, entry in inputs.items() if entry.get("required")] == ["command"]


def test_the_command_input_of_the_action_lists_every_exposed_command() -> None:
    words = ACTION["inputs"]["command"]["description"].partition(": ")[2].replace(" or ", ", ")
    assert tuple(words.split(", ")) == EXPOSED


def test_the_outputs_of_the_action_are_those_that_bgci_writes() -> None:
    told = outputs({}, 0, Path("somewhere"))
    assert set(ACTION["outputs"]) == set(told)
    for name in told:
        steps = ("bgci", "check", "system") if name in ("result", "exit-code") else ("bgci",)
        value = " || ".join(f"steps.{step}.outputs.{name}" for step in steps)
        assert ACTION["outputs"][name]["value"] == f"${{{{ {value} }}}}"


def test_no_script_of_the_action_contains_an_expression() -> None:
    for step in ACTION["runs"]["steps"]:
        assert "${{" not in step.get("run", "")


def test_no_variable_for_later_jobs_is_read_as_an_option() -> None:
    environment = {f"BGCI_{name.upper().replace('-', '_')}" for name in OPTIONS}
    assert not environment & {line.partition("=")[0] for line in dotenv(outputs({}, 0, Path("a")))[0]}


def test_generated_files_are_up_to_date() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools" / "options"), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run tools/options"


def test_a_possible_secret_is_not_shown_among_the_options() -> None:
    settings = options.Settings(
        set=["password=hush"],
        cluster_url="https://me:hush@dcos",
        timeout=90.0,
        taken=("set", "cluster_url", "timeout", "image"),
        origins={"timeout": "DEFAULT_MAP", "set": "COMMANDLINE"},
    )
    assert options.effective(settings) == [
        ("set", "password=...", "flag"),
        ("cluster-url", "https://...@dcos", "default"),
        ("timeout", "90s", "bgci.toml"),
    ]
