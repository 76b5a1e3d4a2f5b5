"""The contract holds for any content of a file that bgci reads, of an option and of a variable."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from hostile.commands import APP, COMMANDS, V2
from hypothesis import given
from hypothesis import strategies as st

from bgci import options
from bgci.appdef.job_document import VARIABLE
from bgci.dcos.credentials import CREDENTIAL_VARIABLES
from fuzz.documents import (
    FULL,
    IN_JSON_PATHS,
    IN_PATTERNS,
    JUNIT,
    MANIFEST,
    PIECES,
    RECORDED,
    SAMPLE,
    SUITE,
    VARIABLES,
    XML,
)
from fuzz.inputs import (
    Change,
    changed,
    changed_text,
    changes,
    encoded,
    few,
    json_values,
    odd_texts,
    text_changes,
    written,
)
from fuzz.workplace import carried_out, cluster, home

ROOT = Path(__file__).parent.parent.parent
RENDER = ("render", *V2)
TEST = ("test", *V2, "--suite", "fuzzed.yaml")
pieces = st.lists(st.builds(Change, st.integers(0, 2000), st.sampled_from(PIECES) | odd_texts), max_size=4)


@few
@given(done=pieces, name=st.sampled_from(["fuzzed.template.json", "fuzzed.template.yaml", "fuzzed.yml", "fuzzed"]))
def test_a_template_with_wrong_text(done: list[Change], name: str) -> None:
    good = json.dumps(FULL, indent=1) if name.endswith("json") else yaml.safe_dump(FULL)
    carried_out([*RENDER, "--template", name], files={name: encoded(changed_text(good, done))}, said=False)


@few
@given(
    done=changes,
    version=st.sampled_from(["auto", "1.7", "1.11"]),
    strategy=st.sampled_from(["bluegreen", "rolling"]),
    check=st.sampled_from(["never", "auto"]),
)
def test_an_app_definition_with_wrong_parts(done: list[Change], version: str, strategy: str, check: str) -> None:
    words = [*RENDER, "--template", "fuzzed.json", "--marathon-version", version, "--strategy", strategy]
    environ = {"BGCI_CHECK_CONFIG": check}
    carried_out(words, files={"fuzzed.json": written(changed(FULL, done))}, environ=environ)


@few
@given(done=changes, texts=pieces, raw=st.booleans())
def test_a_job_template_with_wrong_parts(done: list[Change], texts: list[Change], raw: bool) -> None:
    text = (files("bgci.appdef") / "job.template.json").read_text(encoding="utf-8")
    job = {"id": "{{ id }}", "labels": {"a": "b"}, "run": {"cmd": "{{ cmd }}", "cpus": 1, "mem": 32, "disk": 0}}
    content = encoded(changed_text(text, texts)) if raw else written(changed(job, done))
    carried_out([*RENDER, "--job-template", "job.json"], files={"job.json": content}, said=False)


@few
@given(done=changes, texts=pieces, raw=st.booleans())
def test_a_suite_with_wrong_parts(done: list[Change], texts: list[Change], raw: bool) -> None:
    content = encoded(changed_text(yaml.safe_dump(SUITE), texts)) if raw else written(changed(SUITE, done))
    carried_out(list(TEST), files={"fuzzed.yaml": content}, said=False)


patterns = st.lists(st.sampled_from(IN_PATTERNS), max_size=8).map("".join)
json_paths = st.lists(st.sampled_from(IN_JSON_PATHS), max_size=10).map("".join)


@few
@given(pattern=patterns, path=json_paths | json_paths.map(lambda text: f"${text}"))
def test_a_suite_with_any_pattern(pattern: str, path: str) -> None:
    expect = {"body_regex": pattern, "json_has": path}
    content = written({"checks": [{"path": "/", "timeout": "1s", "expect": expect}]})
    carried_out(list(TEST), files={"fuzzed.yaml": content}, said=False)


OPTIONS = {name: one for name, one in options.OPTIONS.items() if not name.startswith(("test_command", "state_dir"))}
toml_values = json_values.map(lambda value: _toml(value))


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(key))} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf").replace("null", "1979-05-27")


@few
@given(
    settings=st.lists(st.tuples(st.sampled_from([*OPTIONS, "unknown", ""]), toml_values), max_size=4),
    texts=pieces,
    command=st.sampled_from(["render", "status", "prune", "doctor"]),
)
def test_a_configuration_with_wrong_values(settings: list[tuple[str, str]], texts: list[Change], command: str) -> None:
    text = "".join(f"{name.replace('_', '-')} = {value}\n" for name, value in settings)
    words = ["--config", "fuzzed.toml", *(RENDER if command == "render" else COMMANDS[command])]
    carried_out(words, files={"fuzzed.toml": encoded(changed_text(text, texts))}, said=False)


@few
@given(
    command=st.sampled_from(["render", *sorted({words[0] for words in COMMANDS.values()} - {"doctor"})]),
    name=st.sampled_from(sorted(OPTIONS)),
    value=odd_texts,
    by_flag=st.booleans(),
)
def test_an_option_with_any_value(command: str, name: str, value: str, by_flag: bool) -> None:
    words = {words[0]: words for words in COMMANDS.values()} | {"render": RENDER}
    if name in ("timeout", "lock_timeout", "drain_timeout", "judge_for") and re.search(r"[1-9]", value):
        value = f"-{value}"  # a good one is waited for
    value = os.fsdecode(value.replace("\0", "").encode("utf-8", "surrogatepass"))
    flag, variable = f"--{name.replace('_', '-')}={value}", {f"BGCI_{name.upper()}": value}
    given_words = [*words[command], flag] if by_flag else list(words[command])
    carried_out(given_words, environ={} if by_flag else variable, said=False)


@few
@given(
    variables=st.dictionaries(
        st.sampled_from([*CREDENTIAL_VARIABLES, *VARIABLES]),
        odd_texts.map(lambda text: os.fsdecode(text.replace("\0", "").encode("utf-8", "replace"))),
        max_size=4,
    ),
    command=st.sampled_from(["status", "render", "test", "prune"]),
)
def test_an_environment_with_any_variables(variables: dict[str, str], command: str) -> None:
    words = {**COMMANDS, "render": RENDER}[command]
    carried_out(list(words), environ=variables, said=False)


@cache
def document() -> dict[str, Any]:
    job = cluster().jobs["web-v2-deploy-single-canary"]
    found: dict[str, Any] = json.loads(job["run"]["env"][VARIABLE])
    return found


@few
@given(
    done=changes,
    texts=text_changes,
    how=st.sampled_from(["object", "object", "gzip", "text", "base64"]),
    command=st.sampled_from(["canary", "promote", "rollback", "remove"]),
)
def test_a_document_of_a_job_with_wrong_parts(done: list[Change], texts: list[Change], how: str, command: str) -> None:
    home()
    plain = written(changed(document(), done))
    made = {
        "object": plain,
        "gzip": base64.b64encode(gzip.compress(plain)),
        "base64": base64.b64encode(plain),
        "text": encoded(changed_text(json.dumps(document()), texts)),
    }
    text = made[how].replace(b"\0", b"").decode("utf-8", "surrogateescape")
    environ = {VARIABLE: text, "MESOS_TASK_ID": "t-r1"}
    words = [command, *(("--yes",) if command == "remove" else ()), "--via", "direct"]
    carried_out(words, environ=environ)


JOURNALS = sorted((ROOT / "tests" / "replay" / "journals").iterdir())


@cache
def lines_of(number: int) -> tuple[bytes, ...]:
    return tuple(gzip.decompress(JOURNALS[number].read_bytes()).splitlines())


events = st.lists(st.tuples(st.integers(0, 300), changes), max_size=3)


def journal(number: int, wrong: list[tuple[int, list[Change]]], texts: list[str]) -> bytes:
    """A recorded journal, its first 60 lines: some changed, and texts between them."""
    lines = list(lines_of(number % len(JOURNALS))[:60])
    for at, done in wrong:
        lines[at % len(lines)] = written(changed(json.loads(lines[at % len(lines)]), done))
    for text in texts:
        lines.insert(len(text) % len(lines), encoded(text))
    return b"\n".join(lines) + b"\n"


@few
@given(number=st.integers(0, 5), wrong=events, texts=st.lists(odd_texts, max_size=2))
def test_a_journal_with_wrong_events(number: int, wrong: list[tuple[int, list[Change]]], texts: list[str]) -> None:
    carried_out(["replay", "fuzzed.jsonl"], files={"fuzzed.jsonl": journal(number, wrong, texts)})


@few
@given(number=st.integers(0, 5), wrong=events, done=changes, manifest=changes, result=changes, texts=text_changes)
def test_artifacts_of_earlier_stages_with_wrong_parts(
    number: int,
    wrong: list[tuple[int, list[Change]]],
    done: list[Change],
    manifest: list[Change],
    result: list[Change],
    texts: list[Change],
) -> None:
    more = [written(changed(one, done)) for one in (SAMPLE, SAMPLE, RECORDED)]
    xml = changed_text(JUNIT, texts)
    content = {
        "bgci-artifacts/journal.jsonl": journal(number, wrong, []) + b"\n".join(more) + b"\n",
        "bgci-artifacts/manifest.json": written(changed(MANIFEST, manifest)),
        "bgci-artifacts/result.json": written(changed(RECORDED, result)),
        "bgci-artifacts/web-v2-new-app-definition.json": written(changed(FULL, done)),
    }
    carried_out(["render", *V2], files=content)
    (home() / "bgci-artifacts" / "junit").mkdir(exist_ok=True)
    carried_out(["publish", *APP, "--revision", "v2"], files={**content, "bgci-artifacts/x.xml": encoded(xml)})


xml_changes = st.lists(st.builds(Change, st.integers(0, 2000), st.sampled_from(XML) | odd_texts), max_size=4)


@few
@given(done=xml_changes)
def test_a_junit_file_with_wrong_parts(done: list[Change]) -> None:
    words = ["test", *V2, "--test-command", "cp fuzzed.xml out.xml", "--junit-glob", "out.xml"]
    carried_out(words, files={"fuzzed.xml": encoded(changed_text(JUNIT, done)), "out.xml": b""}, said=False)


@few
@given(text=odd_texts)
def test_any_text_as_a_revision(text: str) -> None:
    carried_out(["slug", "--", text], said=False)
