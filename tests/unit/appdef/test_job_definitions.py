"""The three jobs: what Metronome takes, what they carry, and what they must not."""

from __future__ import annotations

import dataclasses
from typing import Any

import jsonschema
import pytest
from definition_samples import BRIDGE, changed

from bgci.appdef.jobs import (
    JobSettings,
    default_template,
    definition_from_env,
    duration_seconds,
    render_jobs,
    to_json,
)
from bgci.appdef.marathon_schema import load_schema
from bgci.appdef.metronome_rules import check_job
from bgci.errors import InvalidError

SETTINGS = JobSettings(
    image="example/bgci:1",
    cluster_url="https://master.mesos",
    marathon_lb_urls=("http://lb-1:9090", "http://lb-2:9090"),
    strategy="bluegreen",
    wave=1,
    timeout="10m",
    drain_timeout="5m",
    on_drain_timeout="abort",
    instances=2,
)


def jobs(definition: dict[str, Any] = BRIDGE, template: str | None = None, **options: Any) -> dict[str, dict[str, Any]]:
    return render_jobs(
        definition,
        app_id=str(definition["id"]),
        revision="V1.2",
        image="example/a&b|c:1",
        settings=dataclasses.replace(SETTINGS, **options),
        template=template,
    )


VARIANTS: list[dict[str, Any]] = [
    {},
    {"secret_env": {"BGCI_SERVICE_ACCOUNT": "team/bgci"}},
    {"marathon_url": "http://m:8080", "ca_cert": "/ca.crt", "insecure": True, "allow_no_health_check": True},
    {"labels": {"owner": 'team "web"'}, "env": {"A": "{{ x }}"}},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_every_job_is_what_metronomes_schema_wants(options: dict[str, Any]) -> None:
    schema = load_schema("metronome-job")
    for definition in (BRIDGE, changed(BRIDGE, id="/team/web")):
        for job in jobs(definition, **options).values():
            jsonschema.Draft4Validator(schema).validate(job)


def test_there_are_three_jobs_with_bg_deploys_names() -> None:
    assert {goal: job["id"] for goal, job in jobs(changed(BRIDGE, id="/team/web")).items()} == {
        "canary": "team.web-v1-2-deploy-single-canary",
        "promote": "team.web-v1-2-deploy-canary-completely",
        "rollback": "team.web-v1-2-rollback-single-canary",
    }


def test_h32_a_run_ends_at_its_deadline_whatever_metronome_does() -> None:
    for goal, job in jobs().items():
        assert job["run"]["cmd"] == f"exec timeout -k 30 1020 bgci {goal} --via direct"
        assert job["run"]["restart"] == {"policy": "NEVER", "activeDeadlineSeconds": 1020}


def test_a_job_carries_the_definition_and_its_settings() -> None:
    canary = jobs()["canary"]
    env = canary["run"]["env"]
    assert definition_from_env(env["BGCI_APP_DEFINITION"]) == BRIDGE
    assert {key: value for key, value in env.items() if key != "BGCI_APP_DEFINITION"} == {
        "BGCI_APP": "/web",
        "BGCI_REVISION": "V1.2",
        "BGCI_IMAGE": "example/a&b|c:1",
        "BGCI_CLUSTER_URL": "https://master.mesos",
        "BGCI_MARATHON_LB_URL": "http://lb-1:9090 http://lb-2:9090",
        "BGCI_STRATEGY": "bluegreen",
        "BGCI_WAVE": "1",
        "BGCI_TIMEOUT": "10m",
        "BGCI_DRAIN_TIMEOUT": "5m",
        "BGCI_ON_DRAIN_TIMEOUT": "abort",
        "BGCI_INSTANCES": "2",
        "BGCI_LOG_FORMAT": "text",
    }
    assert canary["labels"] == {"BGCI_APP": "/web", "BGCI_REVISION": "V1.2", "BGCI_GOAL": "canary"}
    assert "BGCI_INSTANCES" not in jobs()["promote"]["run"]["env"]


def test_h31_a_credential_comes_from_the_secret_store_only() -> None:
    assert "secrets" not in jobs()["canary"]["run"]
    run = jobs(secret_env={"BGCI_SERVICE_ACCOUNT": "team/bgci"})["canary"]["run"]
    assert run["env"]["BGCI_SERVICE_ACCOUNT"] == {"secret": "bgci_service_account"}
    assert run["secrets"] == {"bgci_service_account": {"source": "team/bgci"}}


def test_a_users_label_or_variable_cannot_replace_ours() -> None:
    canary = jobs(labels={"BGCI_GOAL": "x", "owner": "me"}, env={"BGCI_REVISION": "x", "A": "a"})["canary"]
    assert canary["labels"] == {"BGCI_APP": "/web", "BGCI_REVISION": "V1.2", "BGCI_GOAL": "canary", "owner": "me"}
    assert canary["run"]["env"]["BGCI_REVISION"] == "V1.2"
    assert canary["run"]["env"]["A"] == "a"


def test_rendering_twice_gives_the_same_bytes() -> None:
    reordered = dict(reversed(BRIDGE.items()))
    assert to_json(jobs()) == to_json(jobs(reordered))
    assert to_json({"b": "é", "a": 1}) == '{\n  "a": 1,\n  "b": "\\u00e9"\n}\n'


def test_another_template_may_say_more() -> None:
    template = default_template().replace('"maxLaunchDelay": 300', '"maxLaunchDelay": 60, "user": "nobody"')
    run = jobs(template=template)["promote"]["run"]
    assert (run["maxLaunchDelay"], run["user"]) == (60, "nobody")


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ('{"id": "other", "run": {"cmd": "a", "cpus": 1, "mem": 32, "disk": 0}}', "$.id"),
        ('{"id": "{{ id }}"}', "$.run"),
        ('{"id": "{{ id }}", "run": {"cmd": "a", "cpus": 1, "mem": 16, "disk": 0}}', "$.run.mem"),
        ('{"id": "{{ id }}", "run": {"cmd": "a", "cpus": 1, "mem": 32, "disk": 0, "x": 1}}', "$.run.x"),
        ('{"id": "{{ id }}", "run": {"cpus": 1, "mem": 32, "disk": 0}}', "$.run"),
        ('{"id": "{{ id }}", "run": {"cmd": "", "cpus": 1, "mem": 32, "disk": 0}}', "$.run.cmd"),
        ('{"id": "{{ id }}", "run": {"cmd": "a", "cpus": 1, "mem": 32, "disk": 0, "env": {"A": 1}}}', "$.run.env.A"),
    ],
)
def test_a_template_that_metronome_would_refuse_is_refused_here(template: str, path: str) -> None:
    with pytest.raises(InvalidError) as caught:
        jobs(template=template)
    assert f"{path} " in caught.value.message


def test_secrets_have_to_be_both_declared_and_used() -> None:
    run = {
        "cmd": "ab",
        "cpus": 1,
        "mem": 32,
        "disk": 0,
        "env": {"A": {"secret": "a"}},
        "secrets": {"b": {"source": "s"}},
    }
    messages = [finding.message for finding in check_job({"id": "j", "run": run}, job_id="j")]
    assert messages == ["lacks 'a', which is used", "declares 'b', which nothing uses"]
    both = {"cmd": "ab", "cpus": 1, "mem": 32, "disk": 0, "docker": {"image": "a"}, "ucr": {"image": {"id": "a"}}}
    assert [finding.path for finding in check_job({"id": "j", "run": both}, job_id="j")] == ["$.run.ucr"]


def test_a_definition_too_large_for_an_environment_variable_is_refused() -> None:
    with pytest.raises(InvalidError, match="bytes"):
        jobs(changed(BRIDGE, env={"A": "x" * 131_072}))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "9" * 5000])
def test_a_damaged_definition_in_a_job_is_named(text: str) -> None:
    with pytest.raises(InvalidError, match="BGCI_APP_DEFINITION"):
        definition_from_env(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), ("500ms", 1), ("2d", 172_800)]
)
def test_durations_are_read_with_their_units(text: str, seconds: int) -> None:
    assert duration_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "m", "10 m", "-1s", "1s\n", "1e3s"])
def test_a_duration_without_a_unit_is_refused(text: str) -> None:
    with pytest.raises(InvalidError):
        duration_seconds(text)
