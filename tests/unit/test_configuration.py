"""bgci.toml: natural TOML, and a wrong type is refused with its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgci import command_options, option, options
from bgci.errors import UsageError
from bgci.reporting.ci_systems import dotenv, outputs


def written(directory: Path, text: str) -> str:
    file = directory / "own.toml"
    file.write_text(f"# settings\n\n{text}\n")
    return str(file)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ('set = {memory = 512, name = "x", on = true}', {"set": ["memory=512", "name=x", "on=true"]}),
        ('set = ["memory=512"]', {"set": ["memory=512"]}),
        ("[set]\nmemory = 512", {"set": ["memory=512"]}),
        ('steps = [1, "25%"]', {"steps": "1,25%"}),
        ('steps = "1,25%"', {"steps": "1,25%"}),
        ('percent = "25%"', {"percent": "25%"}),
        ("percent = 25", {"percent": 25}),
        ('marathon-lb-url = "http://lb:9090"', {"marathon_lb_url": ["http://lb:9090"]}),
        ('timeout = "90s"\ninsecure = true\nwave = 2', {"timeout": "90s", "insecure": True, "wave": 2}),
        ('marathon_version = "1.11"', {"marathon_version": "1.11"}),
        ("marathon_version = 1.11", {"marathon_version": "1.11"}),
    ],
)
def test_toml_with_native_types_is_read(tmp_path: Path, text: str, values: dict[str, object]) -> None:
    assert command_options.read_file(written(tmp_path, text)) == values


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("timeout = 5", "timeout is 5, not a duration"),
        ("drain-timeout = 300", "drain-timeout is 300, not a duration"),
        ('timeout = "5"', 'timeout is "5", not a duration'),
        ('wave = "2"', 'wave is "2", not a whole number'),
        ("wave = 1.5", "wave is 1.5, not a whole number"),
        ("wave = true", "wave is true, not a whole number"),
        ('insecure = "yes"', 'insecure is "yes", not true or false'),
        ("image = 7", "image is 7, not a text in quotes"),
        ('strategy = "zigzag"', "not one of bluegreen, rolling"),
        ("set = [[1]]", "has the item [1]"),
        ('percent = "101%"', 'percent is "101%", not a share'),
        (f"wave = {'9' * 400}", "wave is a number of more digits"),
        (f"wave = {'9' * 5000}", "a number has thousands of digits"),
        ('image = {name = "x"}', "not a text in quotes"),
        ("waves = 2", "bgci does not know: waves. Did you mean wave?"),
    ],
)
def test_a_wrong_type_is_refused_with_file_and_line(tmp_path: Path, text: str, why: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(UsageError) as error:
        command_options.read_file(file)
    assert f"{file}:3: " in error.value.message
    assert why in error.value.message


@pytest.mark.parametrize("text", ["x = " + "[" * 3000 + "]" * 3000, "x = " + "{a = " * 2000 + "1" + "}" * 2000])
def test_a_deeply_nested_file_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="nested too deeply"):
        command_options.read_file(written(tmp_path, text))


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text("\ufeffwave = 2", encoding="utf-8")
    assert command_options.read_file(str(tmp_path / "own.toml")) == {"wave": 2}


@pytest.mark.parametrize("target", ["nowhere", "bgci.toml"])
def test_a_link_to_nowhere_in_place_of_the_file_is_an_error_and_not_a_missing_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command_options.read_file("") == {}
    (tmp_path / "bgci.toml").symlink_to(target)
    with pytest.raises(UsageError, match="cannot be read"):
        command_options.read_file("")


@pytest.mark.parametrize("text", ["25", "25%", " 25% ", 25, "0", "100%"])
def test_a_percentage_is_accepted_with_or_without_its_sign(text: str | int) -> None:
    assert option.share(text) == int(str(text).strip(" %"))


def test_every_option_and_own_variable_is_known() -> None:
    names = {option.variable: "x" for option in options.OPTIONS.values()}
    told = {line.partition("=")[0]: "x" for line in dotenv(outputs({}, 0, Path()))[0]}
    command_options.require_known_variables({**names, **told, "BGCI_X_MINE": "1", "BGCI_EMPTY": "", "OTHER": "1"})


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("BGCI_REVSION", "BGCI_REVISION"), ("BGCI_MARATHON_URLS", "BGCI_MARATHON_URL"), ("BGCI_PASSWRD", "BGCI_PASSWORD")],
)
def test_an_unknown_variable_is_refused_with_the_nearest_known_one(name: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is not a variable of bgci. Did you mean {nearest}?"):
        command_options.require_known_variables({name: "secret"})
