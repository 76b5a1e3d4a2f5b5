"""The three jobs: Metronome's limits, their content, and what they must not contain."""

from __future__ import annotations

import dataclasses
import json
import random
from typing import Any

import jsonschema
import pytest
import requests
from definition_samples import BRIDGE, changed

from bgci.appdef.job_document import JobDocument, decode_job, job_document, with_document
from bgci.appdef.jobs import JobSettings, default_template, job_deadline, render_jobs, request_bytes
from bgci.appdef.marathon_schema import load_schema
from bgci.appdef.metronome_rules import check_job
from bgci.errors import InvalidError

SETTINGS = JobSettings(image="example/bgci:1", deadline_seconds=1020)
OPTIONS = {"timeout": "10m", "drain_timeout": "5m", "instances": 2, "marathon_lb_url": ["http://lb-1", "http://lb-2"]}


def document(definition: dict[str, Any] = BRIDGE) -> JobDocument:
    return JobDocument(
        app=str(definition["id"]),
        revision="V1.2",
        image="example/a&b|c:1",
        definition=definition,
        options=OPTIONS,
        published={"job_image": "example/bgci:1"},
    )


def jobs(definition: dict[str, Any] = BRIDGE, template: str | None = None, **options: Any) -> dict[str, dict[str, Any]]:
    return render_jobs(document(definition), settings=dataclasses.replace(SETTINGS, **options), template=template)


VARIANTS: list[dict[str, Any]] = [
    {},
    {"secret_env": {"BGCI_SERVICE_ACCOUNT": "team/bgci"}},
    {"env": {"A": "{{ x }}", "OWNER": 'team "web"'}},
]


@pytest.mark.parametrize("options", VARIANTS)
def test_every_job_matches_metronomes_schema(options: dict[str, Any]) -> None:
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


def test_h32_a_run_ends_at_its_deadline_without_help_of_metronome() -> None:
    for goal, job in jobs().items():
        assert job["run"]["cmd"] == f"exec timeout -k 30 1020 bgci {goal} --via direct"
        assert job["run"]["restart"] == {"policy": "NEVER", "activeDeadlineSeconds": 1020}


def test_a_job_carries_exactly_one_document() -> None:
    canary = jobs()["canary"]
    assert list(canary["run"]["env"]) == ["BGCI_JOB"]
    assert job_document(canary) == document()
    assert canary["labels"] == {"BGCI_APP": "/web", "BGCI_REVISION": "V1.2", "BGCI_GOAL": "canary"}


def test_what_a_command_knows_is_in_the_document_of_one_run_only() -> None:
    job = jobs()["promote"]
    assert "known" not in json.loads(job["run"]["env"]["BGCI_JOB"])
    told = with_document(job, dataclasses.replace(job_document(job), known={"apps": {"/web": {"instances": 2}}}))
    assert job_document(told).known == {"apps": {"/web": {"instances": 2}}}
    assert with_document(told, dataclasses.replace(job_document(told), known={})) == job


def test_a_document_gives_a_command_inside_the_job_its_options() -> None:
    assert document().defaults == {**OPTIONS, "app": "/web", "revision": "V1.2", "image": "example/a&b|c:1"}


def test_h60_the_deadline_of_a_job_is_later_than_those_of_its_command() -> None:
    assert job_deadline(600.0, 300.2) == 600 + 301 + 120


def test_h31_a_credential_comes_from_the_secret_store_only() -> None:
    assert "secrets" not in jobs()["canary"]["run"]
    run = jobs(secret_env={"BGCI_SERVICE_ACCOUNT": "team/bgci"})["canary"]["run"]
    assert run["env"]["BGCI_SERVICE_ACCOUNT"] == {"secret": "bgci_service_account"}
    assert run["secrets"] == {"bgci_service_account": {"source": "team/bgci"}}


def test_an_environment_variable_cannot_replace_the_document_of_the_job() -> None:
    canary = jobs(env={"BGCI_JOB": "x", "A": "a"})["canary"]
    assert job_document(canary) == document()
    assert canary["run"]["env"]["A"] == "a"


def test_rendering_twice_gives_the_same_bytes() -> None:
    reordered = dict(reversed(BRIDGE.items()))
    assert json.dumps(jobs()) == json.dumps(jobs(reordered))
    large = {"env": {str(n): "x" * 30 for n in range(4000)}}
    assert jobs(changed(BRIDGE, **large)) == jobs(changed(BRIDGE, **large))


def test_a_custom_template_can_add_fields() -> None:
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


def test_a_secret_must_be_declared_and_used() -> None:
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


def request_size(job: dict[str, Any]) -> int:
    return len(requests.Request("POST", "http://m/v1/jobs", json=job).prepare().body)


def with_request_of(size: int) -> dict[str, Any]:
    """A definition whose job, as text, is sent in so many bytes. Quotes count twice: they are escaped."""
    fixed = request_size(jobs(changed(BRIDGE, env={"A": ""}))["promote"])
    return changed(BRIDGE, env={"A": "x" * (size - fixed)})


def test_a_job_up_to_metronomes_limit_is_carried_as_text_and_a_larger_one_compressed() -> None:
    """Metronome accepts bodies of up to 102,400 bytes (measured)."""
    exact = jobs(with_request_of(102_400))["promote"]
    assert request_size(exact) == request_bytes(exact) == 102_400
    assert exact["run"]["env"]["BGCI_JOB"].startswith("{")
    larger = with_request_of(102_401)
    compressed = jobs(larger)["promote"]
    assert request_size(compressed) < 5_000
    assert not compressed["run"]["env"]["BGCI_JOB"].startswith("{")
    assert job_document(compressed) == document(larger)


def test_h58_a_definition_too_large_for_metronome_is_refused_with_its_size_and_largest_parts() -> None:
    noise = random.Random(1)  # nothing compresses it
    large = changed(BRIDGE, env={"SMALL": "x", "LARGE": noise.randbytes(90_000).hex()})
    with pytest.raises(InvalidError, match=r"has [0-9]{6} bytes, compressed; .* 102400\. .* \$\.env\.LARGE \(180002"):
        jobs(large)


def test_a_document_that_is_changed_keeps_its_form() -> None:
    for size in (50_000, 110_000):
        job = jobs(with_request_of(size))["canary"]
        other = dataclasses.replace(job_document(job), options={"wave": 3})
        assert job_document(with_document(job, other)) == other
        assert request_bytes(with_document(job, other)) <= 102_400


@pytest.mark.parametrize(
    "text", ["", "{", "{}", "[]", "null", "9" * 5000, '{"app": "/web", "other": 1}', "H4sIAAAA", "é"]
)
def test_a_damaged_document_in_a_job_is_named(text: str) -> None:
    with pytest.raises(InvalidError, match="BGCI_JOB cannot be read"):
        decode_job(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"options": None},
        {"options": "x"},
        {"definition": []},
        {"published": {"job_image": 7}},
        {"variables": []},
        {"suite": {}},
        {"known": []},
        {"app": None},
        {"later": 1},
    ],
)
def test_a_document_of_a_wrong_type_is_refused_with_a_message(wrong):
    text = json.dumps({"app": "/web", "revision": "v1", "image": "i", "definition": {}, **wrong})
    with pytest.raises(InvalidError, match=rf"BGCI_JOB cannot be read: .*\b{next(iter(wrong))}\b") as caught:
        decode_job(text)
    assert "__init__" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "x", "{}", "[]", "e30=", "{" * 9000])
def test_a_value_that_is_not_a_job_document_is_refused(text):
    with pytest.raises(InvalidError, match="BGCI_JOB cannot be read"):
        decode_job(text)
