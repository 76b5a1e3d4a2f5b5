"""The page: its content from the journal, and its safety against hostile text and secrets."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from bgci.checks.test_result import Case, Outcome
from bgci.engine.decisions import Cause, Delete, Done, Wait
from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task
from bgci.reporting import junit, page
from bgci.reporting.artifacts import Artifacts
from bgci.reporting.chart import TICKS_APART, Axis, duration, even_ticks
from bgci.reporting.figures import DRAWN, measured_share, moving_median, rotation
from bgci.reporting.page_model import checked, page_model
from bgci.reporting.rollout_record import encode_observation, encode_step
from bgci.reporting.timeline import Running, Sample, Snapshot, Span, Variant, for_page, timeline

HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(2)>\" onload='x' {{ 7 * 7 }} & \x1b[31m\u202e"
ONE, TWO = "http://10.0.0.1:9090", "http://10.0.0.2:9090"
VOID = {"meta", "br", "img", "link", "input", "hr"}


def event(kind, second, offset=None, **fields):
    time = f"2026-03-01T10:{second // 60:02d}:{second % 60:02d}.000Z"
    return json.dumps({"time": time, "offset": second if offset is None else offset, "event": kind, **fields})


def observed(second, *apps, offset=None, deaf=(), step=None):
    """``apps``: app and servers, as ``app`` returns them; ``deaf``: load balancers that could not be read."""
    servers = {url: {task: server for _, each in apps for task, server in each[url].items()} for url in (ONE, TWO)}
    replicas = tuple(Replica(url, servers[url], problem="no answer" * (url in deaf)) for url in (ONE, TWO))
    full = encode_observation(Observation(float(second), tuple(one for one, _ in apps), replicas))
    return event("observed", second, offset, now=second, full=full, step=encode_step(step or Done("done")))


def app(colour, revision, up, tasks=4, app_id=""):
    """``up``: in rotation at each of the two load balancers."""
    ids = [f"{colour}-{n}" for n in range(tasks)]
    servers = {
        url: {task: Server(Serving.UP if n < count else Serving.MAINT) for n, task in enumerate(ids)}
        for url, count in zip((ONE, TWO), up, strict=True)
    }
    running = tuple(Task(task, True) for task in ids)
    return App(app_id or f"/web-{colour}", tasks, running, revision, colour), servers


def sample(second, canary, baseline):
    """Each side: requests, errors and perhaps milliseconds."""
    names = ("requests", "errors", "ms")
    return event("sample", second, canary=dict(zip(names, canary)), baseline=dict(zip(names, baseline)))  # noqa: B905


def result(second, command="canary", code=0, revision="v2", app="web", **more):
    names = {0: "ok", 7: "rejected", 8: "unhealthy"}
    return event("result", second, command=command, code=code, name=names[code], revision=revision, app=app, **more)


TIMINGS = {"total_seconds": 12.0, "limit_seconds": 10.0, "waited_seconds": {"health": 8.0, "load balancer": 2.0}}


def hybrid(second, **more):
    return observed(second, app("blue", "v1", (3, 3)), app("green", "v2", (1, 1), 1), **more)


class Reader(HTMLParser):
    """All tags and text, and whether each tag was closed where it should be."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(html):
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def html_of(lines, outcome=None, **more):
    last = {"app": "web", "revision": "v2", "command": "canary", "code": 0, "name": "ok", **(outcome or {})}
    return page.render(page_model(lines, last, **more))


# -- what must never come in or out -----------------------------------------------------------------------------------


def test_foreign_text_is_never_markup():
    apps = app(HOSTILE, HOSTILE, (1, 1)), app("green", HOSTILE, (1, 1), app_id=HOSTILE)
    lines = [
        observed(0, *apps, step=Wait(Cause.HEALTH, HOSTILE)),
        observed(2, *apps, step=Delete(HOSTILE)),
        result(3, HOSTILE, 8, HOSTILE, HOSTILE, message=HOSTILE, timings={"waited_seconds": {HOSTILE: 9}}),
    ]
    outcome: dict[str, Any] = dict.fromkeys(
        ("app", "revision", "command", "name", "message", "remedy", "bgci"), HOSTILE
    )
    outcome["balancer_changes"] = [dict.fromkeys(("name", "before", "after"), HOSTILE)]
    outcome |= {"code": 8, "cause": {"message": HOSTILE + " first"}}
    html = html_of(
        lines,
        outcome,
        cases=[Case(HOSTILE, HOSTILE, HOSTILE, Outcome.FAILED, HOSTILE)],
        files=[HOSTILE, "javascript:alert(1)"],
        manifest={"image": HOSTILE, "revision": HOSTILE},
    )
    found = read(html)
    assert not {"script", "img", "iframe", "object", "link", "base", "form"} & set(found.tags)
    assert not [name for _, name, _ in found.attributes if name.startswith("on") or name == "style"]
    assert "alert(1)" in "".join(found.text)  # it is shown, as text
    assert "{{ 7 * 7 }}" in "".join(found.text)
    assert "\x1b" not in html
    assert "\u202e" not in html
    links = [value for tag, name, value in found.attributes if (tag, name) == ("a", "href")]
    assert not [link for link in links if re.match(r"[a-z]+:|/", link)]


def test_changes_of_the_load_balancer_are_listed():
    changes = [{"kind": "label", "name": "HAPROXY_0_MODE", "before": None, "after": "'tcp'"}]
    lines = [result(3, balancer_changes=changes)]
    text = "".join(read(html_of(lines, {"command": "promote"})).text)
    assert "The load balancer changes after the promotion" in text
    assert "HAPROXY_0_MODEnone'tcp'" in text
    assert "load balancer changes" not in html_of([])


def test_the_page_loads_no_external_resource():
    html = html_of([hybrid(0), sample(1, (10, 0), (30, 0)), sample(2, (20, 0), (60, 0))])
    assert not re.search(r"src=|url\(|@import|https?://|//[a-z]", html)
    assert "default-src 'none'" in html


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2.x-y_z",
        "Authorization: token=hunter2",
        "BGCI_TOKEN=hunter2",
        '{"password": "hunter2"}',
        "http://user:hunter2@example.com/",
        "eyJhbGciOiJub25lIn0.hunter2hunter2.sig",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----\nhunter2",
    ],
)
def test_a_possible_secret_is_not_shown(text):
    lines = [hybrid(0, step=Wait(Cause.HEALTH, text)), result(2, code=8, message=text)]
    html = html_of(lines, {"code": 8, "message": text}, cases=[Case("canary", "home", "", Outcome.FAILED, text)])
    assert "hunter2" not in html
    assert "***" in html


def test_options_and_unknown_fields_of_a_result_are_not_shown():
    html = html_of([result(1, environment="hunter2")], {"options": {"token": "hunter2"}, "more": "hunter2"})
    assert "hunter2" not in html


def test_an_ordinary_text_is_unchanged():
    text = "0 of 1 instances of /web-green are healthy: 403 (no token was sent); see https://ci.example.com/job/7"
    assert for_page(text) == text


def test_the_same_input_gives_the_same_bytes(tmp_path):
    artifacts = Artifacts(tmp_path)
    (tmp_path / "journal.jsonl").write_text("\n".join([hybrid(0), result(9, timings=TIMINGS)]))
    artifacts.write_json("result.json", {"app": "web", "revision": "v2", "command": "canary", "code": 0, "name": "ok"})
    first = page.write(artifacts).read_bytes()
    assert page.write(artifacts).read_bytes() == first  # though the page itself now is among the files


# -- what is read ------------------------------------------------------------------------------------------------------


def test_unreadable_lines_are_ignored():
    junk = ["", "{", "[]", "null", '{"event": "observed"}', '{"time": "soon", "event": "step"}', "\x00" * 5]
    odd = [
        event("observed", 1, now=1, full={"apps": "none"}),
        event("observed", 2, now="soon", full={}),
        event("observed", 2, now=2, full={}, step={"do": "something of a later version"}),
        event("sample", 3, canary=None, baseline={"requests": "many", "errors": -4, "ms": "NaN"}),
        event("sample", 3, canary={"requests": 1, "errors": 2}, baseline={"requests": 1, "errors": 0}),
        event(
            "sample", 3, canary={"requests": 1, "errors": 0, "ms": float("nan")}, baseline={"requests": 1, "errors": 0}
        ),
        event("result", 4, command=None, code="x", timings=[1]),
    ]
    found = timeline([*junk, *odd, hybrid(5), result(6)])
    assert [len(snapshot.apps) for snapshot in found.snapshots] == [0, 2]
    assert found.judgements == []
    assert [stage.code for stage in found.stages] == [0]
    read(html_of([*junk, *odd, hybrid(5), result(6)]))


def test_an_empty_journal_gives_a_page():
    html = page.render(page_model([], {}))
    read(html)
    for text in ("no stage has ended yet", "no observation", "No traffic was compared", "No test was run"):
        assert text in html


def test_stages_of_other_apps_and_revisions_are_not_on_the_page():
    lines = [
        observed(0, app("blue", "v1", (4, 4))),
        result(1, revision="v1"),
        hybrid(2),
        result(3),
        hybrid(4),
        result(5, app="other"),
        hybrid(6),  # a killed process leaves no result
    ]
    found = timeline(lines, app="/web", revision="v2")
    assert [snapshot.at % 60 for snapshot in found.snapshots] == [2, 6]
    assert len(timeline(lines).snapshots) == 4


def test_a_load_balancer_that_updates_later_is_not_a_dip():
    snapshot = timeline([observed(0, app("blue", "v1", (3, 4)), app("green", "v2", (1, 0), 1))]).snapshots[0]
    assert sum(app.in_rotation for app in snapshot.apps) == 4
    assert [app.share for app in snapshot.apps] == [0.875, 0.125]


def test_a_dip_at_one_load_balancer_is_shown():
    snapshot = timeline([observed(0, app("blue", "v1", (4, 1)))]).snapshots[0]
    assert snapshot.apps[0].in_rotation == 1


def test_an_unreadable_load_balancer_is_ignored():
    assert timeline([observed(0, app("blue", "v1", (4, 0)), deaf={TWO})]).snapshots[0].apps[0].in_rotation == 4
    assert timeline([observed(0, app("blue", "v1", (0, 0)), deaf={ONE, TWO})]).snapshots == []


def test_the_journal_of_a_job_is_a_separate_span():
    lines = [hybrid(10, offset=0), hybrid(15, offset=5), result(17, seconds=9), hybrid(600, offset=0), hybrid(610)]
    spans = timeline(lines).spans
    assert [span.name for span in spans] == ["canary", ""]
    assert [span.end - span.start for span in spans] == [7, 10]


def test_a_result_of_another_clock_does_not_extend_a_span():
    spans = timeline([hybrid(10, offset=0), hybrid(15, offset=5), result(500, seconds=9)]).spans
    assert [span.end - span.start for span in spans] == [5]


def test_overlapping_spans_are_merged():
    lines = [
        hybrid(10, offset=0),
        hybrid(40, offset=30),
        result(40),
        hybrid(20, offset=0),
        hybrid(30, offset=10),
        result(30),
    ]
    assert [(span.end - span.start) for span in timeline(lines).spans] == [30]


def test_a_long_judgement_is_drawn_with_few_points():
    samples = [sample(i, (10 * i, 0, 12.0), (30 * i, 0, 11.0)) for i in range(1, 900)]
    seen = page_model([hybrid(0), *samples], {})
    for figure in seen["judged"]:
        assert all(
            1 < shape.path.count("L") < 2 * DRAWN for shape in figure.wide.shapes if shape.style.endswith("line")
        )


def test_decreasing_totals_begin_another_judgement():
    lines = [
        sample(1, (10, 0), (30, 0)),
        sample(2, (20, 1), (60, 0)),
        sample(3, (5, 0), (5, 0)),
        sample(4, (9, 0), (9, 0)),
    ]
    assert [len(run) for run in timeline(lines).judgements] == [2, 2]


# -- what is told ------------------------------------------------------------------------------------------------------


def test_the_verdict_and_the_remedy_are_at_the_top():
    outcome = {"code": 7, "name": "rejected", "message": "v2 is rejected", "remedy": "roll back", "command": "test"}
    text = "".join(read(html_of([hybrid(0), result(1)], outcome)).text)
    assert text.index("rejected · exit code 7") < text.index("v2 is rejected") < text.index("roll back")
    assert text.index("roll back") < text.index("Stages")


def test_an_earlier_failure_is_shown_although_the_last_stage_succeeded():
    seen = page_model(
        [result(1, "test", 7, message="2 % errors"), result(2, "rollback")], {"command": "rollback", "code": 0}
    )
    assert seen["tone"] == "good"
    assert seen["earlier"] == ["test v2 (rejected): 2 % errors"]


def test_times_are_shown_beside_their_physical_limit():
    (bar,) = page_model([hybrid(0), result(15, seconds=15.0, timings=TIMINGS)], {})["bars"]
    assert (bar.limit, bar.above, bar.rest) == pytest.approx((66.67, 13.33, 20.0), abs=0.01)
    assert bar.text == "12 s to the goal, physical limit 10 s (health 8 s, load balancer 2 s): 20% above it"


def test_a_stage_of_a_release_by_steps_is_shown_with_its_size():
    assert page_model([result(1, step="25%")], {})["bars"][0].stage.step == "25%"


def test_the_judges_numbers_and_its_verdict_are_shown():
    lines = [
        hybrid(0),
        sample(1, (100, 1), (300, 0)),
        sample(9, (512, 14), (1540, 3)),
        result(10, "test", 7, judge={"outcome": "fail", "reason": "p = 0.00002"}),
    ]
    seen = page_model(lines, {})
    assert seen["verdict"] == "fail: p = 0.00002"
    assert seen["judged"][0].notes[0].startswith("In the end: canary 14 errors in 512 requests, 2.73% (")
    assert [figure.title for figure in seen["judged"]] == ["Error rate"]


def test_response_times_are_drawn_if_measured():
    samples = [sample(i, (10 * i, 0, 12.0 + i % 3), (30 * i, 0, 11.0)) for i in range(1, 30)]
    seen = page_model([hybrid(0), *samples], {})
    assert [figure.title for figure in seen["judged"]] == ["Error rate", "Response time"]
    styles = {shape.style for shape in seen["judged"][1].wide.shapes}
    assert {"blue baseline line", "green canary line", "blue dots", "green dots"} <= styles


def test_one_check_on_many_instances_is_one_row_and_bad_ones_come_first():
    cases = [
        Case("canary", "home", "a:1", seconds=0.1),
        Case("canary", "home", "b:1", seconds=0.3),
        Case("canary", "cart", "a:1"),
        Case("canary", "cart", "b:1", Outcome.FAILED, "503 came"),
        Case("load-balancer", "share", outcome=Outcome.SKIPPED, message="no baseline"),
    ]
    rows = checked(cases)
    assert [(row.name, row.outcome, row.passed, row.total) for row in rows] == [
        ("cart", "failed", 1, 2),
        ("home", "passed", 2, 2),
        ("share", "skipped", 0, 1),
    ]
    assert rows[0].message == "b:1: 503 came"
    assert rows[1].seconds == 0.3


def test_the_checks_are_read_from_our_own_junit_file(tmp_path):
    cases = [Case("canary", "home [de]", "10.0.0.5:31000"), Case("judge", "error rate", outcome=Outcome.FAILED)]
    Artifacts(tmp_path).write_bytes("junit/bgci.xml", junit.report(cases, {}))
    (tmp_path / "junit" / "broken.xml").write_text("<testsuite")
    (tmp_path / ".hidden").touch()
    html = page.write(Artifacts(tmp_path)).read_text()
    text = " ".join(" ".join(read(html).text).split())
    assert "home [de] canary 1 of 1" in text
    assert 'href="junit/bgci.xml"' in html
    assert ".hidden" not in html


# -- geometry ----------------------------------------------------------------------------------------------------------


def test_time_between_stages_is_omitted_with_a_note():
    axis = Axis([Span(0, 60), Span(7200, 7260)], 0, 1000)
    places = [axis.x(at) for at in (-5, 0, 30, 60, 5000, 7200, 7230, 9e9)]
    assert places == pytest.approx([0, 0, 250, 500, 500, 500, 750, 1000])
    assert "time between the stages is not shown" in html_of([hybrid(0), result(1), hybrid(600), hybrid(601)])
    assert "time between the stages is not shown" not in html_of([hybrid(0), hybrid(9), result(9)])


@pytest.mark.parametrize("width", [280.0, 900.0])
@pytest.mark.parametrize(
    "spans",
    [
        [Span(0, 0)],
        [Span(0, 0.4)],
        [Span(0, 1.7), Span(12, 18.7), Span(19, 19)],
        [Span(0, 90), Span(80_000, 80_400)],
        [Span(0, 3e6)],
        [Span(i * 50, i * 50 + 3) for i in range(40)],
    ],
)
def test_labels_of_the_time_axis_do_not_overlap(spans, width):
    ticks = list(Axis(spans, 50, 50 + width).ticks())
    assert ticks
    for (x, text), (later, following) in pairwise(ticks):
        assert later - x >= max(TICKS_APART, 6 * (len(text) + len(following)) / 2) - 0.1
    assert all(50 <= x <= 50 + width for x, _ in ticks)


def test_the_figures_are_as_high_as_the_observed_values():
    snapshots = [
        Snapshot(0.0, (Running("/web-blue", "blue", "v1", 4, 4, 1.0),)),
        Snapshot(5.0, (Running("/web-blue", "blue", "v1", 4, 2, 0.5), Running("/web-green", "green", "v2", 2, 2, 0.5))),
    ]
    drawn = rotation(snapshots, Axis([Span(0, 10)], 50, 250), 146)  # 100 pixels for 0 to 6
    areas = {shape.style: shape.path for shape in drawn.shapes if shape.style.endswith("area")}
    assert areas["blue area"].startswith("M50 55.3L150 55.3L150 88.7L250 88.7L250 122")
    assert areas["green area"].startswith("M50 55.3L150 55.3L150 55.3L250 55.3L250 88.7")


def test_ticks_are_round_and_reach_the_top():
    whole = (1, 2, 5)
    assert even_ticks(1, whole) == [0, 1]
    assert even_ticks(4, whole) == [0, 1, 2, 3, 4]
    assert even_ticks(17, whole) == [0, 10, 20]
    assert even_ticks(0.023) == [0, 0.01, 0.02, 0.03]
    assert even_ticks(16.4) == [0, 5, 10, 15, 20]
    assert len(even_ticks(0.0)) > 1


def test_the_median_is_of_the_last_values():
    points = [(float(i), float(i)) for i in range(1, 31)]
    assert moving_median(points)[0] == (1.0, 1.0)
    assert moving_median(points)[9] == (10.0, 5.5)
    assert moving_median(points)[-1] == (30.0, 18.0)  # of 6 to 30


def test_the_measured_share_needs_enough_requests():
    run = [Sample(float(i), Variant(10 * i, 0), Variant(30 * i, 0)) for i in range(5)]
    assert list(measured_share(run)) == [(2.0, 0.25), (4.0, 0.25)]
    probed = [Sample(float(i), Variant(10 * i, 0, probes=10 * i), Variant(90 * i, 0, probes=90 * i)) for i in range(5)]
    assert list(measured_share(probed)) == [], "the judge's own requests are no traffic"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.041, "41 ms"), (0, "0 s"), (59.94, "59.9 s"), (59.96, "1 min"), (125, "2 min 05 s"), (3720, "1 h 02 min")],
)
def test_durations_are_shown_in_readable_units(seconds, text):
    assert duration(seconds) == text


def test_each_picture_is_well_formed():
    html = html_of([hybrid(0), hybrid(60), result(61), sample(70, (10, 0), (30, 0)), sample(80, (20, 9), (60, 0))])
    pictures = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert len(pictures) > 6
    for picture in pictures:
        ET.fromstring(picture)
        assert "nan" not in picture
        assert "inf" not in picture
