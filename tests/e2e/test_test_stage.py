"""``bgci test`` and the tests in a release, on a real cluster."""

from __future__ import annotations

import os
import re
import signal
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from e2e.lab import App, send, until

SUITE = """
checks:
  - name: home
    target: both
    path: /
    repeat: 4
    concurrency: 2
    expect: {status: 200, header_regex: {X-Revision: "^v[0-9]$"}, latency: {p100: 5s}}
  - name: it is the new one
    path: /
    expect: {headers: {X-Revision: "${revision}"}}
  - name: the canary has its share
    target: load-balancer
    path: /
    repeat: 40
    expect: {share: {header: {X-Revision: "${revision}"}, at_least: 25%, at_most: 75%}}
"""
EXAMPLE = (Path(__file__).parents[2] / "examples" / "testapp.canary.yaml").read_text(encoding="utf-8")
BROKEN = """
checks:
  - name: a page that the new one answers with an error
    path: /?status=500
    expect: {status: 200}
"""
SMOKE = """
mkdir -p out
test -n "$BGCI_BASELINE_URLS" && test -z "$BGCI_TOKEN" && test "$BGCI_REVISION" = v2 || exit 9
echo "<testsuite name='smoke'><testcase classname='smoke' name='reads'/></testsuite>" > out/smoke.xml
echo "::error::tested $BGCI_CANARY_URL"
"""


def suite(app: App, text: str) -> None:
    (app.directory / f"{app.id.strip('/')}.canary.yaml").write_text(text)


def report(artifacts: Path) -> dict[str, list[ET.Element]]:
    """The test cases of the JUnit report by suite."""
    root = ET.parse(artifacts / "junit" / "bgci.xml").getroot()
    return {str(one.get("name")): list(one.iter("testcase")) for one in root}


def failed(cases: list[ET.Element]) -> list[str]:
    return [str(case.get("name")) for case in cases if case.find("failure") is not None]


def test_a_good_canary_passes_and_the_report_lists_the_tests(make_app: Callable[..., App]) -> None:
    app = make_app(2)
    app.promote("v1")
    app.canary("v2")
    suite(app, SUITE)
    (app.directory / "smoke.sh").write_text(SMOKE)
    (app.directory / "out").mkdir()
    (app.directory / "out" / "old.xml").write_text(
        "<testsuite><testcase name='stale'><failure/></testcase></testsuite>"
    )
    before = app.state()

    done = app.run("test", "v2", "--command", "sh smoke.sh", "--junit-glob", "out/*.xml", BGCI_TOKEN="hush")

    found = report(done.artifacts)
    assert {name: len(cases) for name, cases in found.items()} == {
        "canary": 3,  # two checks at the one instance, which is well afterwards
        "baseline": 2,
        "load-balancer": 2,  # at both replicas
        "commands": 2,  # the program, and the test in its results
    }
    assert done.result["tests"]["total"] == done.result["tests"]["passed"] == 9
    assert done.result["message"] == "v2 passed 9 tests"
    assert "test | ::error::tested http://" in done.out, "not at the beginning of a line"
    text = (done.artifacts / "junit" / "bgci.xml").read_text()
    for name, value in (("app", app.id), ("revision", "v2"), ("image", "image:v2"), ("colour", "green")):
        assert f'name="{name}" value="{value}"' in text
    assert "hush" not in text + done.text
    assert app.state() == before


def test_a_bad_canary_is_rejected_and_its_release_rolls_back(app: App) -> None:
    app.promote("v1")
    suite(app, BROKEN)
    done = app.run("release", "v2", expect=10)
    assert "a page that the new one answers with an error at" in done.err
    assert "status: expected 200, got 500" in done.err
    assert done.result["cause"]["result"] == "rejected"
    assert failed(report(done.artifacts)["canary"])[0].startswith("a page that the new one answers")
    assert app.runs() == {"v1": 2}
    assert app.least_up() == 2


def test_a_canary_that_failed_its_checks_is_not_judged_on_live_traffic(app: App) -> None:
    app.promote("v1")
    app.canary("v2")
    suite(app, BROKEN)
    done = app.run("test", "v2", "--judge-for", "100s", expect=7)
    assert done.seconds < 60
    (judge,) = report(done.artifacts)["judge"]
    assert judge.find("skipped") is not None


def test_a_release_tests_a_first_deployment_too_and_one_that_passes_is_promoted(app: App) -> None:
    suite(app, EXAMPLE)
    for revision in ("v1", "v2"):
        app.write(revision, env={"BGCI_SANDBOX_BODY": "<html>shop</html>"})
    first = app.run("release", "v1")
    assert first.result["tests"]["skipped"] == 2, "nothing to compare with: the baseline's check and the share"
    assert first.result["tests"]["failed"] == 0
    assert app.runs() == {"v1": 2}
    again = app.run("release", "v2")
    assert again.result["tests"]["skipped"] == 0
    assert app.runs() == {"v2": 2}


def test_a_test_without_a_canary_is_refused_and_leaves_no_report(app: App) -> None:
    suite(app, SUITE)
    earlier = app.directory / "bgci-artifacts" / "junit" / "bgci.xml"
    earlier.parent.mkdir(parents=True)
    earlier.write_text("<testsuite/>")  # of an earlier build in the same workspace
    ended = app.run("test", "v1", expect=6)
    assert "Running apps of" in ended.err
    assert not earlier.exists()
    assert ended.result["outputs"]["junit"] == ""
    app.promote("v1")
    assert "serves alone" in app.run("test", "v1").text
    assert earlier.exists()
    app.canary("v2")
    assert "not a canary beside a baseline" in app.run("test", "v1", expect=6).err, "it is the baseline"
    assert not earlier.exists()


def test_a_canary_that_dies_during_the_test_ends_it_early_and_the_release_rolls_back(app: App) -> None:
    app.promote("v1")
    suite(app, "checks: [{name: home, path: /, expect: {status: 200}}]")
    # The program ends by itself only when it is not ended early: its failure would be another one.
    running = app.start("release", "v2", "--test-command", "echo $$ > pid; sleep 100; exit 9")
    until(lambda: (app.directory / "pid").exists() and (app.directory / "pid").read_text().strip())
    (task,) = app.tasks("v2")
    requests.post(f"{app.lab.marathon.url}/v2/tasks/delete", json={"ids": [task]}, timeout=10)
    done = running.end(90)
    assert done.code == 10, done.text
    assert done.result["cause"]["result"] == "rejected"
    found = report(done.artifacts)
    assert failed(found["canary"]) == ["stays healthy [instance 1]"]
    assert [str(case.get("name")).partition(" [")[0] for case in found["canary"]] == ["home", "stays healthy"]
    why = done.result["tests"]["failures"][-1]["why"]
    what = "(is being killed|disappeared|was replaced by another one)"
    assert re.match(rf"task {re.escape(task)} {what}\b.*, noticed at [0-9:]+ UTC", why), why
    assert "commands" not in found, "the program was ended, and its exit code says nothing"
    assert app.runs() == {"v1": 2}


def test_a_signal_ends_test_programs_and_a_canary_that_loses_a_task_meanwhile_is_rejected(app: App) -> None:
    app.promote("v1")
    app.canary("v2", "--instances", "2")
    stopped = app.start("test", "v2", "--test-command", "echo $$ > pid; sleep 60")
    until(lambda: (app.directory / "pid").exists() and (app.directory / "pid").read_text().strip())
    send(stopped.process.pid, signal.SIGTERM)
    assert stopped.end(40).code == 143
    with pytest.raises(ProcessLookupError):
        os.kill(int((app.directory / "pid").read_text()), 0)
    running = app.start("test", "v2", "--test-command", "touch began; until test -e go; do sleep 0.1; done")
    until((app.directory / "began").exists)
    task = sorted(app.tasks("v2"))[0]
    requests.post(f"{app.lab.marathon.url}/v2/tasks/delete", json={"ids": [task]}, timeout=10)
    until(lambda: len(app.tasks("v2") - {task}) == 2)
    until(lambda: app.healthy()["v2"] == 2)  # the app looks like before
    (app.directory / "go").touch()
    done = running.end()
    assert done.code == 7, done.text
    assert f"task {task} was replaced by another one, noticed at" in done.err
    found = report(done.artifacts)
    assert [case.find("failure") is None for case in found["commands"]] == [True]
    assert len(failed(found["canary"])) == 1
    assert len(found["canary"]) == 2


def test_the_report_of_an_interrupted_test_has_the_finished_checks_and_a_failure(app: App) -> None:
    app.promote("v1")
    app.canary("v2")
    quick = "{name: quick, path: /, expect: {status: 200}}"
    suite(app, f"checks: [{quick}, {{name: long, path: '/?sleep=0.1', repeat: 600, expect: {{status: 200}}}}]")
    running = app.start("test", "v2")
    url = f"{app.lab.marathon.url}/v2/apps{app.id_of('v2')}"
    (task,) = requests.get(url, timeout=10).json()["app"]["tasks"]
    idle = f"http://{task['host']}:{task['ports'][0]}/idle"
    until(lambda: requests.get(idle, timeout=5).status_code == 503)
    until(lambda: requests.get(idle, timeout=5).status_code == 200)
    until(lambda: requests.get(idle, timeout=5).status_code == 503)  # between the long one's requests
    send(running.process.pid, signal.SIGTERM)
    done = running.end(40)
    assert done.code == 143, done.text
    found = report(done.artifacts)
    assert [str(case.get("name")).partition(" [")[0] for case in found["canary"]] == ["quick"]
    (aborted,) = found["bgci"]
    error = aborted.find("error")
    assert error is not None
    assert error.get("message") == "Aborted by SIGTERM."
    assert done.result["tests"]["failed"] == 1


def test_an_invalid_suite_ends_a_release_before_any_change(app: App) -> None:
    suite(app, "checks:\n  - path: /\n    expects: {status: 200}\n")
    done = app.run("release", "v1", expect=3)
    assert "canary.yaml, line 3: checks[0].expects is an unknown field" in done.err
    assert "Write expect; known are name" in done.err
    assert app.apps() == []


def test_a_test_without_suite_and_program_is_a_usage_error(app: App) -> None:
    assert "No tests are given" in app.run("test", "v1", expect=2).err


def test_an_empty_test_command_is_refused(app: App) -> None:
    done = app.run("test", "v1", "--test-command", " ", expect=2)
    assert "--test-command is empty" in done.err


def test_a_program_whose_tests_were_all_skipped_does_not_pass(app: App) -> None:
    app.promote("v1")
    app.canary("v2")
    document = "<testsuite name='smoke'><testcase name='reads'><skipped/></testcase></testsuite>"
    words = ("--test-command", f'echo "{document}" > out.xml', "--junit-glob", "*.xml")
    done = app.run("test", "v2", *words, expect=7)
    assert "none of the 1 tests in its JUnit files was executed" in done.err
