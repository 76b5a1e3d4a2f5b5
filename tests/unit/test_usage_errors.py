"""A misplaced secret is refused and not shown: on the console, in the artifacts, in the output for CI systems."""

from __future__ import annotations

from pathlib import Path

import pytest
from hostile import command

SECRET = 'Tr0ub4dor&3 "x'
APP = ["--app", "/web", "--revision", "v2"]


@pytest.mark.parametrize("source", ["BGCI_PASSWORD", "BGCI_PASSWORD_FILE"])
@pytest.mark.parametrize(
    ("words", "toml", "variables"),
    [
        (["release", *APP, "--timeout", SECRET], "", {}),
        (["release", *APP, "--strategy", SECRET], "", {}),
        (["status", SECRET], "", {}),
        ([SECRET], "", {}),
        (["status", f"--{SECRET}"], "", {}),
        (["--config", SECRET, "status"], "", {}),
        (["status", "--app", SECRET], "", {}),
        (["status", "--app", "/web", "--cluster-url", f"http://{SECRET}"], "", {}),
        (["render", "--app", "/web", "--image", "x", "--revision", SECRET], "", {}),
        (["render", *APP, "--image", "x", "--set", SECRET], "", {}),
        (["status"], "", {"BGCI_PASSWRD": SECRET}),
        (["release"], "", {"BGCI_WAVE": SECRET}),
        (["release"], f"timeout = '{SECRET}'", {}),
        (["release"], f"'{SECRET}' = 1", {}),
        (["release"], f"timeout = {SECRET}", {}),
        (["release"], f"set = [['{SECRET}']]", {}),
    ],
)
def test_a_misplaced_secret_is_not_shown(
    tmp_path: Path, source: str, words: list[str], toml: str, variables: dict[str, str]
) -> None:
    (tmp_path / "bgci.toml").write_text(toml)
    (tmp_path / "secret").write_text(SECRET)
    login = {"BGCI_USERNAME": "me", source: str(tmp_path / "secret") if source.endswith("_FILE") else SECRET}
    github = {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": "output", "GITHUB_STEP_SUMMARY": "summary"}
    ended = command.run(tmp_path, words, {**login, **github, **variables})
    assert ended.code in (2, 3)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name not in ("bgci.toml", "secret")]
    shown = [line for line in (ended.out + ended.err).splitlines() if not line.startswith("::add-mask::")]
    text = "\n".join([*shown, *(path.read_text() for path in files)]).lower()
    assert "error title=bgci" in text
    assert "tr0ub4" not in text
    assert "dor&" not in text


@pytest.mark.parametrize(
    ("url", "option", "source"),
    [
        ("http://[", "cluster-url", "file"),
        ("http://[::1", "marathon-url", "file"),
        ("https://a:99999", "job-cluster-url", "file"),
        ("http://a\u2100b", "service-url", "file"),
        ("http://[", "cluster-url", "variable"),
        ("a:b:c", "metronome-url", "variable"),
        ("https://a:x", "marathon-url", "flag"),
    ],
)
def test_an_address_that_cannot_be_read_is_a_usage_error_also_beside_a_login(
    tmp_path: Path, url: str, option: str, source: str
) -> None:
    (tmp_path / "bgci.toml").write_text(f'{option} = ["{url}"]' if option == "service-url" else f'{option} = "{url}"')
    if source != "file":
        (tmp_path / "bgci.toml").unlink()
    words = ["release", *APP, "--image", "x", *([f"--{option}", url] if source == "flag" else ())]
    variables = {f"BGCI_{option.upper().replace('-', '_')}": url} if source == "variable" else {}
    ended = command.run(tmp_path, words, {"BGCI_TOKEN": "a-token-of-ours", **variables})
    assert (ended.code, ended.within_contract) == (2, True)
    assert f"--{option} is not a usable URL." in ended.err


def test_the_password_in_an_address_that_cannot_be_read_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "bgci.toml").write_text('timeout = "hunter2222"')
    ended = command.run(tmp_path, ["status"], {"HTTP_PROXY": "http://me:hunter2222@["})
    assert ended.code == 2
    assert "hunter2222" not in ended.err + ended.out


@pytest.mark.parametrize(
    "line", ['test_command = ["a\\u0000b"]', 'service_url = ["http://a\\u0000"]', 'image = "\\u0000"']
)
def test_a_nul_character_in_the_file_is_a_usage_error(tmp_path: Path, line: str) -> None:
    (tmp_path / "bgci.toml").write_text(line)
    ended = command.run(tmp_path, ["test", *APP, "--marathon-url", "http://127.0.0.1:9"], {})
    assert ended.code == 2
    assert "has a NUL character." in ended.err
