"""The Jenkins steps and the GitLab component offer what bgci has. test_agreement.py has the rest of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bgci.errors import NAMES
from bgci.option import Option
from bgci.options import EXPOSED, shared_options

ROOT = Path(__file__).parents[2]
COMPONENT_ONLY = {
    *("stage", "job-prefix", "rules-if", "dag", "needs", "runner-image", "executable", "tagged", "tags"),
    "retry",
    *("working-directory", "config", "environment", "environment-url", "id-token", "id-token-audience"),
    *("approval", "test", "job-timeout"),
}
OWN_VARIABLES = {f"BGCI_{name}" for name in ("CONFIG", "EXECUTABLE", "WORKING_DIRECTORY")}
JENKINS_ONLY = {"executable", "config", "credentials-id", "token-credentials-id", "service-account-credentials-id"}
PIPELINE_ONLY = {
    *("label", "working-directory", "keep", "test", "approval", "submitter", "approval-minutes", "milestone"),
    *("name", "from"),
}
OPTIONS = {option.name: option for option in shared_options()}


def documents() -> list[Any]:
    return list(yaml.safe_load_all((ROOT / "templates" / "bgci.yml").read_text()))


def groovy(name: str) -> str:
    return (ROOT / "vars" / f"{name}.groovy").read_text()


def block(text: str, field: str) -> str:
    """What stands in the brackets of one field of a script."""
    found = re.search(rf"^@Field final .*\b{field} = \[\n(.*?)^\]", text, re.S | re.M)
    assert found
    return found[1]


def kebab(name: str) -> str:
    return re.sub("([A-Z])", lambda big: "-" + big[1].lower(), name)


def quoted(text: str) -> list[str]:
    return [kebab(name) for name in re.findall(r"'(\w+)'", text)]


def test_the_jenkins_steps_accept_the_options_and_credentials() -> None:
    assert quoted(block(groovy("bgciRun"), "OPTIONS")) == list(OPTIONS)
    assert set(quoted(block(groovy("bgciRun"), "OWN"))) == JENKINS_ONLY


def test_the_keys_of_the_jenkins_pipeline_are_not_options() -> None:
    keys = {kebab(key) for key in re.findall(r"^    (\w+):", block(groovy("bgciPipeline"), "DEFAULTS"), re.M)}
    assert keys == PIPELINE_ONLY
    assert not keys & (set(OPTIONS) | JENKINS_ONLY)


def test_jenkins_names_the_exit_codes_as_bgci_does() -> None:
    found = re.findall(r"(\d+): '([\w-]+)'", block(groovy("bgciRun"), "NAMES"))
    assert {int(code): name for code, name in found} == NAMES


@pytest.mark.parametrize("command", [name for name in EXPOSED if name not in ("status", "doctor")])
def test_each_command_is_a_jenkins_step_with_its_help(command: str) -> None:
    step = f"bgci{command.capitalize()}"
    assert f"bgciRun('{command}', args)" in groovy(step)
    help_text = (ROOT / "vars" / f"{step}.txt").read_text()
    assert f"<code>bgci {command}</code>" in help_text


def test_every_key_in_a_help_text_exists() -> None:
    known = set(OPTIONS) | JENKINS_ONLY | PIPELINE_ONLY
    for file in (ROOT / "vars").glob("*.txt"):
        named = {
            kebab(key)
            for key in re.findall(r"\b(\w+): ", " ".join(re.findall(r"<pre>(.*?)</pre>", file.read_text(), re.S)))
        }
        assert named <= known, file


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS)
def test_the_component_has_an_input_for_each_option(option: Option) -> None:
    given = documents()[0]["spec"]["inputs"][option.name]
    kind = "array" if option.repeatable else "number" if option.number else "string"
    assert given["type"] == kind
    assert given["description"] == option.description.replace(" One per line.", "")
    not_given = {"array": [], "number": -1, "string": ""}[kind]
    assert given["default"] == (option.default if option.name == "artifacts" else not_given)
    choices = ("true", "false") if option.flag else option.choices
    assert given.get("options", []) == (["", *choices] if choices else [])


def test_the_component_passes_each_input_on_and_has_no_other() -> None:
    spec, jobs = documents()
    inputs = set(spec["spec"]["inputs"])
    assert inputs == set(OPTIONS) | COMPONENT_ONLY
    variables = jobs[".$[[ inputs.job-prefix ]]"]["variables"]
    passed = {name: value.strip() for name, value in variables.items() if name not in OWN_VARIABLES}
    assert passed == {f"BGCI_{name.upper().replace('-', '_')}": f"$[[ inputs.{name} ]]" for name in OPTIONS}
    used = set(re.findall(r"\$\[\[ inputs\.([\w-]+) \]\]", (ROOT / "templates" / "bgci.yml").read_text()))
    assert used == inputs


def test_every_top_level_key_of_the_component_has_the_job_prefix() -> None:
    assert all(name.lstrip(".").startswith("$[[ inputs.job-prefix ]]") for name in documents()[1])


def test_the_component_accepts_any_text_that_gitlab_inserts() -> None:
    """GitLab replaces an input in the text of the file, before it is YAML: lists and numbers as JSON."""
    values = {
        "test-command": ["pytest -k \"smoke\" 'a b'", "C:\\tests"],
        "set": ["memory=512", "note=it's"],
        "wave": 2,
        "judge-path": '/a?b="c"',
        "rules-if": '"$CI_PIPELINE_SOURCE" == "push"',
        "config": "",
        "tags": ["linux"],
    }
    _, _, text = (ROOT / "templates" / "bgci.yml").read_text().partition("\n---\n")
    inputs = {name: one.get("default") for name, one in documents()[0]["spec"]["inputs"].items()} | values
    for name, value in inputs.items():
        shown = value if isinstance(value, str) else json.dumps(value)
        text = text.replace(f"$[[ inputs.{name} ]]", shown)
    jobs = yaml.safe_load(text)
    base = jobs[".bgci"]
    variables = base["variables"]
    assert all(isinstance(value, str) for value in variables.values())
    assert json.loads(variables["BGCI_TEST_COMMAND"]) == values["test-command"]
    assert json.loads(variables["BGCI_SET"]) == values["set"]
    assert variables["BGCI_JUDGE_PATH"] == values["judge-path"]
    assert (variables["BGCI_WAVE"], variables["BGCI_INSTANCES"], variables["BGCI_CONFIG"]) == ("2", "-1", "")
    assert base["rules"] == [{"if": values["rules-if"]}]
    assert jobs[".bgci-tagged-true"]["tags"] == ["linux"]


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_an_input_that_no_program_can_be_given_is_a_usage_error_of_the_action(text: str, tmp_path: Path) -> None:
    given = {"command": "status", "app": text}
    environment = {"PATH": os.environ["PATH"], "BGCI_ACTION_INPUTS": json.dumps(given)}
    environment["GITHUB_OUTPUT"] = str(tmp_path / "outputs")
    words = [sys.executable, "-I", str(ROOT / "action" / "main.py")]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("::error title=bgci action::the input app has a NUL character")
    assert (tmp_path / "outputs").read_text() == "result=usage\nexit-code=2\n"
