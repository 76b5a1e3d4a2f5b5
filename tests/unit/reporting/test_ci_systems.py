"""Output for a CI system, and foreign text that must never be a command."""

from __future__ import annotations

import html
import io
import re
from pathlib import Path
from typing import Any

import pytest

from bgci.errors import ConflictError
from bgci.reporting.artifacts import Artifacts
from bgci.reporting.ci_systems import (
    Ci,
    System,
    annotation,
    detect,
    dotenv,
    fenced,
    github_output,
    links,
    outputs,
    summary,
)
from bgci.reporting.console import Console, bare, plain_lines

COMMANDS = (
    "error",
    "warning",
    "notice",
    "debug",
    "group",
    "endgroup",
    "add-mask",
    "stop-commands",
    "set-output",
    "echo",
)


def github(line: str) -> bool:
    """Whether GitHub's runner obeys the line (runner: ActionCommand.TryParseV2, TryParse)."""
    start = line.lstrip()
    end = start.find("::", 2)
    if start.startswith("::") and end > 0 and start[2:end].split(" ")[0] in COMMANDS:
        return True
    old = line.find("##[")
    return old >= 0 and "]" in line[old:] and line[old + 3 : line.index("]", old)].split(" ")[0] in COMMANDS


def gitlab(text: str) -> bool:
    """Whether GitLab sees a section in it (gitlab: Gitlab::Ci::Trace::SectionParser)."""
    return bool(re.search(r"section_(?:start|end):\d+:[a-zA-Z0-9_.-]+\r\x1b\[0K", text))


EVIL = [
    "::error::forged",
    " \t::add-mask::x",
    "\ufeff::error::x",
    "ok\n::stop-commands::t",
    "ok\r::error::x",
    "ok\x0b::error::x",
    "ok\x1c::error::x",
    "ok\x85::error::x",
    "ok\u2028::error::x",
    "x ##[error]forged",
    "x ##[group]forged",
    "#\x00#[error]x",
    "#\u200e#[error]x",
    "section_start:1700000000:evil\r\x1b[0Ktitle",
    "section_\x1b[0mstart:1:evil\r\x1b[0K",
    "\x1b[0Ksection_end:1:bgci_canary\r\x1b[0K",
]


@pytest.mark.parametrize("text", EVIL)
def test_the_hostile_texts_are_or_hide_commands_without_escaping(text: str) -> None:
    lines = re.split(r"[\n\r\v\x1c\x85\u2028]", text)
    bare = re.sub(r"[\x00\u200e\ufeff]|\x1b\[0m", "", text)
    assert gitlab(text) or gitlab(bare) or any(map(github, lines)) or github(bare)


@pytest.mark.parametrize("text", EVIL)
@pytest.mark.parametrize("where", ["foreign", "info", "warn", "error", "field"])
def test_foreign_text_is_never_a_command(text: str, where: str) -> None:
    stream = io.StringIO()
    console = Console(stream)
    if where == "foreign":
        console.foreign("job", text)
    elif where == "field":
        Console(stream, "json").error(ConflictError("fine", remedy=text))
    else:
        getattr(console, where)(text)
    assert not gitlab(stream.getvalue())
    assert not any(github(line) for line in re.split(r"[\n\r]", stream.getvalue()))


@pytest.mark.parametrize("text", EVIL)
def test_a_plain_line_is_never_a_command(text: str) -> None:
    for line in (bare(f"      {one}") for one in plain_lines(text)):
        assert not github(line)
        assert not gitlab(line)


@pytest.mark.parametrize("text", EVIL)
def test_an_annotation_is_one_command_whatever_its_message(text: str) -> None:
    line = annotation(ended(code=8, message=f"why {text}", remedy="what\nto do"))
    assert github(line)
    assert "\n" not in line
    assert "\r" not in line
    assert not gitlab(line)
    assert "##[" not in line


def ended(**more: Any) -> dict[str, Any]:
    return {"command": "canary", "code": 0, "name": "unhealthy", "seconds": 1.0, "outputs": {}, **more}


def hybrid() -> dict[str, Any]:
    lb = "http://lb:9090"
    baseline = {
        "id": "/web-blue",
        "revision": None,
        "colour": "blue",
        "instances": 4,
        "healthy": 4,
        "urls": ["http://a:1"],
    }
    canary = {"id": "/web-green", "revision": "v2", "colour": "green", "instances": 1, "healthy": 1}
    return {
        "apps": [
            {**baseline, "serving": {lb: {"up": 3, "maint": 1}, "http://lb2:9090": {"up": 3}}},
            {**canary, "serving": {lb: {"up": 1}, "http://lb2:9090": {"up": 1}}, "urls": ["http://b:1", "http://c:2"]},
        ]
    }


def test_the_outputs_of_a_hybrid_have_both_revisions(tmp_path: Path) -> None:
    (tmp_path / "junit").mkdir()
    (tmp_path / "junit" / "bgci.xml").touch()
    (tmp_path / "report.html").touch()
    assert outputs({"state": hybrid(), "url": "http://lb:10001"}, 0, tmp_path) == {
        "result": "ok",
        "exit-code": "0",
        "state": "hybrid",
        "active-colour": "blue",
        "preview-url": "",
        "canary-urls": "http://b:1 http://c:2",
        "canary-percent": "25",
        "url": "http://lb:10001",
        "dry-run": "",
        "plan": "",
        "plan-file": "",
        "artifacts": str(tmp_path),
        "junit": f"{tmp_path}/junit/*.xml",
        "report": f"{tmp_path}/report.html",
    }


@pytest.mark.parametrize(
    ("result", "state", "percent"),
    [
        ({}, "", ""),
        ({"state": {"apps": []}}, "none", "0"),
        ({"state": {"apps": hybrid()["apps"][:1]}}, "full", "0"),
    ],
)
def test_an_unknown_output_is_empty(result: dict[str, Any], state: str, percent: str) -> None:
    told = outputs(result, 8, Path("nowhere"))
    assert (told["result"], told["exit-code"], told["state"], told["canary-percent"]) == (
        "unhealthy",
        "8",
        state,
        percent,
    )
    assert (told["canary-urls"], told["junit"], told["report"]) == ("", "", "")


def test_an_output_is_one_line_whatever_text_a_server_sends() -> None:
    state = hybrid()
    state["apps"][1]["urls"] = ["http://b:1\nresult=forged"]
    assert all("\n" not in value for value in outputs({"state": state}, 0, Path("a")).values())


def test_the_summary_has_the_judges_counts_if_no_other_part_has() -> None:
    judge = {"outcome": "pass", "reason": "canary 0 errors in 625 requests, baseline 1 in 1,900"}
    good = summary(ended(code=0, name="ok", message="v2 serves alone", judge=judge), [])
    assert "**Judge:** pass: canary 0 errors in 625 requests, baseline 1 in 1,900" in good
    why = f"v2 is rejected: {judge['reason']}"
    assert "Judge" not in "\n".join(summary(ended(code=7, name="rejected", message=why, judge=judge), []))


def test_the_summary_has_stages_verdict_reason_remedy_and_options() -> None:
    text = "\n".join(
        summary(
            ended(
                command="release",
                code=10,
                name="rolled-back",
                app="web",
                revision="v2",
                message="v2 was rolled back: 0 of 1 healthy: <b>500</b> | [x](http://evil)",
                remedy="correct it",
                cause={"message": "0 of 1 healthy: <b>500</b> | [x](http://evil)"},
                stages=[
                    {"command": "canary", "code": 0, "name": "ok", "step": "1 instance", "seconds": 4.0},
                    {"command": "canary", "code": 8, "name": "unhealthy", "seconds": 25.04},
                ],
                tests={"passed": 3, "failed": 1, "skipped": 0, "failures": [{"test": "home", "why": "404\nnot 200"}]},
                state=hybrid(),
            ),
            [("timeout", "25s", "flag")],
        )
    )
    assert "## bgci release web v2: ❌ rolled-back (exit code 10)" in text
    assert "| canary at 1 instance | ok | 4.0 s |" in text
    assert "| canary | unhealthy | 25.0 s |" in text
    assert "**Remedy:** correct it" in text
    assert "<b>" not in text
    assert "](http" not in text
    assert "\nv2 was rolled back\n" in text
    assert html.unescape(text).count("**Cause:** 0 of 1 healthy: <b>500</b> | [x](http://evil)") == 1
    assert text.count("0 of 1 healthy") == 1
    assert "**Tests:** 3 passed, 1 failed, 0 skipped" in text
    assert "| home | 404 not 200 |" in text
    assert "| /web-blue | unknown | blue | 4 of 4 |" in text
    assert "<details><summary>Options</summary>\n\n| option" in text


def test_outputs_are_appended_for_github(tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    for file in files.values():
        file.write_text("before\n")
    said: list[str] = []
    ci = Ci("github", {name: str(file) for name, file in files.items()}, said.append)
    ci.open("canary")
    ci.close("canary")
    ci.finish(ended(code=8, message="50% off", outputs={"state": "hybrid"}), [], Artifacts(tmp_path / "artifacts"))
    assert said == ["::group::canary", "::endgroup::", "::error title=bgci canary%3A unhealthy::50%25 off"]
    assert files["GITHUB_OUTPUT"].read_text() == "before\nstate=hybrid\n"
    assert files["GITHUB_STEP_SUMMARY"].read_text().startswith("before\n\n## bgci canary")


def test_the_tables_of_a_summary_are_separated_by_blank_lines() -> None:
    tests = {"passed": 3, "failed": 1, "skipped": 0, "failures": [{"test": "home", "why": "404"}]}
    options = [("timeout", "25s", "flag")]
    lines = summary(ended(tests=tests, state=hybrid()), options) + summary(ended(state=hybrid()), options)
    assert lines[0] == lines[-1] == ""
    starts = [number for number, line in enumerate(lines) if line.startswith("| --- |")]
    assert len(starts) == 7
    for number in starts:  # the line before the heads of a table is empty
        assert lines[number - 2] == ""
    assert all(lines[number + 1] == "" for number, line in enumerate(lines) if line == "</details>")


def test_the_summary_links_the_run_and_the_commit_and_names_the_report() -> None:
    environ = {"GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "me/web", "GITHUB_RUN_ID": "17"}
    where = links({**environ, "GITHUB_SHA": "a1" * 20})
    told = summary(ended(outputs={"report": "out/report.html"}), (), where)
    assert told[3] == (
        "[run 17](https://github.example/me/web/actions/runs/17) · "
        f"[commit a1a1a1a1a](https://github.example/me/web/commit/{'a1' * 20}) · "
        "report: out/report.html, in the artifacts"
    )
    assert links({}) == []
    assert links({**environ, "GITHUB_REPOSITORY": "me/web) ![x](http://evil"}) == []


def test_a_dry_run_is_marked_in_annotation_summary_and_outputs() -> None:
    result = ended(dry_run=True, plan=["- create v2"], app="web", revision="v2")
    assert "(dry run%3A nothing was changed)" in annotation(result)
    text = "\n".join(summary(result, ()))
    assert "## bgci canary web v2: ✅ ok (dry run: nothing was changed)" in text
    assert "\n- create v2\n" in text
    told = outputs(result, 0, Path("out"))
    assert (told["dry-run"], told["plan-file"]) == ("true", "out/plan.md")
    assert told["plan"] == "## Dry run of bgci canary web v2: nothing was changed\n\n- create v2"
    assert outputs(ended(plan=["- create v2"]), 0, Path("out"))["plan"] == ""


def test_an_output_of_several_lines_cannot_be_ended_by_its_text() -> None:
    text = list(github_output({"plan": "a\nend\nexit-code=0", "state": "full"}, {}))
    assert text[1] == "state=full"
    name, end = text[0].splitlines()[0].split("<<")
    assert (name, text[0]) == ("plan", f"plan<<{end}\na\nend\nexit-code=0\n{end}")
    assert end not in next(github_output({"plan": "a\nb"}, {}))


def test_paths_are_relative_to_the_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "service").mkdir()
    monkeypatch.chdir(tmp_path / "service")
    environ = {"GITHUB_WORKSPACE": str(tmp_path)}
    values = {"artifacts": "bgci-artifacts", "report": "", "junit": "/elsewhere/*.xml", "state": "a/b"}
    assert list(github_output(values, environ)) == [
        "artifacts=service/bgci-artifacts",
        "report=",
        "junit=/elsewhere/*.xml",
        "state=a/b",
    ]


def test_a_difference_cannot_end_its_block() -> None:
    assert fenced('+ "```": "<b>"\n- x') == ["````diff", '+ "```": "<b>"', "- x", "````"]


def test_a_dotenv_file_is_within_gitlabs_limit_and_the_log_names_the_omitted_part(tmp_path: Path) -> None:
    urls = [f"http://agent-{number}.example.com:31000" for number in range(200)]
    values = outputs({}, 0, tmp_path) | {"canary-urls": " ".join(urls)}
    log: list[str] = []
    Ci("gitlab", {}, log.append).finish({"code": 0, "outputs": values}, (), Artifacts(tmp_path))
    text = (tmp_path / "bgci.env").read_text()
    assert 5000 < len(text.encode()) <= 5120
    (kept,) = re.findall("^BGCI_CANARY_URLS=(.*)$", text, re.M)
    assert urls[: len(kept.split())] == kept.split()
    assert log == [
        f"bgci: BGCI_CANARY_URLS lacks {200 - len(kept.split())} of the canary's URLs: GitLab takes 5 KB of variables "
        "from a job. result.json has them all."
    ]


def test_a_dotenv_file_stays_small_with_long_values(tmp_path: Path) -> None:
    lines, _ = dotenv(outputs({}, 0, tmp_path) | {"report": "r" * 6000})
    assert "BGCI_REPORT=" in lines
    assert "BGCI_RESULT=ok" in lines


def test_gitlab_gets_sections_and_a_dotenv_file(tmp_path: Path) -> None:
    said: list[str] = []
    ci = Ci("gitlab", {}, said.append)
    ci.open("canary")
    ci.close("canary")
    ci.finish(ended(outputs=outputs({"state": hybrid()}, 0, tmp_path)), [], Artifacts(tmp_path))
    assert all(gitlab(line) for line in said)
    assert said[0].endswith("\x1b[0Kcanary")
    lines = (tmp_path / "bgci.env").read_text().splitlines()
    assert "BGCI_CANARY_URLS=http://b:1 http://c:2" in lines
    assert "BGCI_EXIT_CODE=0" in lines
    assert not any(line.startswith("BGCI_ARTIFACTS=") for line in lines)
    assert (lines, 0) == dotenv(outputs({"state": hybrid()}, 0, tmp_path))


@pytest.mark.parametrize("system", ["jenkins", ""])
def test_other_ci_systems_get_no_output(system: System, tmp_path: Path) -> None:
    said: list[str] = []
    ci = Ci(system, {"GITHUB_OUTPUT": str(tmp_path / "output")}, said.append)
    ci.open("canary")
    ci.close("canary")
    ci.finish(ended(code=8, outputs={"state": ""}), [], Artifacts(tmp_path))
    assert (said, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize(
    ("environ", "system"),
    [
        ({}, ""),
        ({"CI": "true"}, ""),
        ({"GITHUB_ACTIONS": "true"}, "github"),
        ({"GITLAB_CI": "true"}, "gitlab"),
        ({"JENKINS_URL": "http://ci"}, "jenkins"),
        ({"GITHUB_ACTIONS": "true", "MESOS_TASK_ID": "a-job-of-the-sandbox"}, ""),
    ],
)
def test_the_ci_system_is_recognised_by_its_variable(environ: dict[str, str], system: System) -> None:
    assert detect(environ) == system
