"""Definitions with any text in images, labels and variables, and with any name of an app and a revision."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bgci.appdef.app_definition import normalise, service_ports, set_service_ports
from bgci.appdef.colour import coloured
from bgci.appdef.job_document import JobDocument, job_document
from bgci.appdef.jobs import JobSettings, render_jobs
from bgci.appdef.names import app_slug, artifact_names, is_app_id, job_ids, parse_app
from bgci.appdef.template import render_template
from bgci.appdef.validate import check_definition

# metronome: jobspec.schema.json, pathType
JOB_ID = re.compile(r"([a-z0-9]+(-+[a-z0-9]+)*)(\.([a-z0-9]+(-+[a-z0-9]+)*))*")
# marathon: stringTypes.raml, PathId
PATH_ID = re.compile(
    r"(/?((\.\.)|(([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9])\.)*([a-z0-9]|[a-z0-9][a-z0-9-]*[a-z0-9]))?($|/))+"
)

label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
segment = st.lists(label, min_size=1, max_size=2).map(".".join)
app_ids = st.lists(segment, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts)).filter(is_app_id)
revisions = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "id",
    "labels",
    "container",
    "networks",
    "healthChecks",
    "portDefinitions",
    "ports",
    "env",
    "instances",
    "cmd",
]


@given(image=st.text(), text=st.text(), key=st.text())
def test_any_text_survives_json_rendering(image: str, text: str, key: str) -> None:
    template = '{"a": "ThisIsAUniqueKey", "b": "x{{ text }}{{ image }}", "c": {"{{ key }}": "{{ text | upper }}"}}'
    rendered = render_template(template, name="t.json", variables={"image": image, "text": text, "key": key})
    assert rendered == {"a": image, "b": f"x{text}{image}", "c": {key: text.upper()}}


@given(image=st.text(), text=st.text())
def test_any_text_survives_yaml_rendering(image: str, text: str) -> None:
    template = "a: {{ image }}\nb: \"x{{ text }}\"\nc: ['{{ text }}', {{ image }}y]\nd: |-\n  {{ text }}\n  end\n"
    rendered = render_template(template, name="t.yaml", variables={"image": image, "text": text})
    assert rendered == {"a": image, "b": f"x{text}", "c": [text, f"{image}y"], "d": f"{text}\nend"}


@given(value=json_values)
def test_any_json_value_survives_insertion(value: Any) -> None:
    rendered = render_template(
        '{"a": {{ v | tojson }}, "b": {{ w }}}', name="t.json", variables={"v": value, "w": [value]}
    )
    assert rendered == {"a": value, "b": [value]}


@given(app_id=app_ids, revision=revisions)
def test_every_job_id_is_accepted_by_metronome(app_id: str, revision: str) -> None:
    ids = list(job_ids(app_id, revision).values())
    assert all(JOB_ID.fullmatch(job_id) for job_id in ids)
    assert len(set(ids)) == 3
    assert all("/" not in name for name in artifact_names(app_id, revision).values())
    assert PATH_ID.fullmatch(app_id)


@given(text=st.text(alphabet="ab1-./_ A\n", max_size=12))
def test_every_accepted_app_id_is_accepted_by_marathon(text: str) -> None:
    if is_app_id(text):
        assert PATH_ID.fullmatch(text)
        assert parse_app(text) == text
        assert JOB_ID.fullmatch(app_slug(text))


@given(definition=st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=5))
def test_validation_of_any_value_ends_in_findings(definition: dict[str, Any]) -> None:
    normalised = normalise(definition)
    assert normalise(normalised) == normalised
    assert all(finding.path for finding in check_definition(normalised, app_id="/web", allow_no_health_check=True))


@given(
    own=st.lists(st.integers(1, 20_000), min_size=1, max_size=4, unique=True),
    order=st.lists(st.booleans(), min_size=1, max_size=5),
)
def test_two_colours_never_share_a_service_port(own: list[int], order: list[bool]) -> None:
    alternatives = [port + 30_000 for port in own]
    definition: dict[str, Any] = {
        "id": "/web",
        "portDefinitions": [{"port": port} for port in own],
        "labels": {"HAPROXY_DEPLOYMENT_ALT_PORT": ",".join(map(str, alternatives))},
    }
    baseline = None
    for swappable in order:
        app = coloured(
            definition, revision="1", image="i", baseline=baseline, instances=1, started_at="s", swappable=swappable
        )
        if baseline is not None:
            assert not set(service_ports(app)) & set(service_ports(baseline))
            assert app["id"] != baseline["id"]
        assert set_service_ports(app, own)["portDefinitions"] == definition["portDefinitions"]
        baseline = app


@settings(max_examples=30)
@given(image=st.text(), text=st.text(), name=st.text(), app_id=app_ids, revision=revisions)
def test_any_definition_survives_the_transport_in_a_job(
    image: str, text: str, name: str, app_id: str, revision: str
) -> None:
    definition = {"id": app_id, "labels": {name: text}, "env": {text: image}}
    document = JobDocument(app=app_id, revision=revision, image=image, definition=definition)
    jobs = render_jobs(document, settings=JobSettings(image="example/bgci:1", deadline_seconds=240))
    for job in json.loads(json.dumps(jobs)).values():
        assert job_document(job) == document
