"""From Marathon's JSON to the values of the model."""

from __future__ import annotations

from typing import Any

import pytest

from bgci.dcos import running_app
from bgci.dcos.json_answer import JsonAnswer
from bgci.dcos.running_app import RunningApp
from bgci.engine.observation import App
from bgci.errors import ConflictError, UnavailableError


def parsed(raw: Any) -> RunningApp:
    return running_app.running_app(JsonAnswer(raw, "Marathon", "http://m"))


def queued(raw: Any) -> running_app.QueueEntry:
    return running_app.queue_entry(JsonAnswer(raw, "Marathon", "http://m"))


def app(**more: Any) -> dict[str, Any]:
    return {
        "id": "/web-blue",
        "instances": 2,
        "labels": {},
        "healthChecks": [{"protocol": "HTTP", "path": "/"}],
        "networks": [{"mode": "container/bridge"}],
        "container": {"portMappings": [{"containerPort": 80, "servicePort": 10102}]},
        "versionInfo": {"lastScalingAt": "2024-05-01T10:00:00.000Z"},
        "tasks": [],
    } | more


def task(**more: Any) -> dict[str, Any]:
    return {"id": "t1", "host": "10.0.1.7", "ports": [31417], "state": "TASK_RUNNING"} | more


def test_a_task_without_health_results_is_neither_healthy_nor_unhealthy() -> None:
    for results in ([], None):
        seen = parsed(app(tasks=[task(healthCheckResults=results)])).app
        assert seen.tasks[0].healthy is None
        assert not seen.tasks[0].ever_healthy


def test_h39_an_emptied_health_result_does_not_make_a_task_unhealthy() -> None:
    assert parsed(app(tasks=[task()])).app.tasks[0].healthy is None


def test_h15_an_app_without_health_checks_is_healthy_as_soon_as_it_runs_and_is_marked_so() -> None:
    seen = parsed(app(healthChecks=[], tasks=[task(), task(id="t2", state="TASK_STAGING")])).app
    assert [one.healthy for one in seen.tasks] == [True, False]
    assert not seen.has_health_checks


def test_a_dying_task_is_listed_and_does_not_count() -> None:
    seen = parsed(app(tasks=[task(state="TASK_KILLING", healthCheckResults=[{"alive": True}])])).app
    assert seen.tasks[0].dying
    assert seen.healthy == ()


def test_a_finished_task_is_not_listed() -> None:
    assert parsed(app(tasks=[task(state="TASK_FAILED")])).app.tasks == ()


def test_h10_every_service_port_of_a_task_has_its_own_backend() -> None:
    two = app(
        container={
            "portMappings": [{"containerPort": 80, "servicePort": 10102}, {"containerPort": 81, "servicePort": 10103}]
        },
        tasks=[task(ports=[31417, 31418])],
    )
    ends = running_app.endpoints([parsed(two)], "web")["t1"]
    assert [(end.backend, end.port) for end in ends] == [("web_10102", 31417), ("web_10103", 31418)]


def test_h11_a_group_in_a_folder_is_written_with_underscores() -> None:
    assert running_app.endpoints([parsed(app(tasks=[task()]))], "/team/web")["t1"][0].backend == "team_web_10102"


def test_h12_host_networking_takes_its_ports_from_the_port_definitions() -> None:
    host = app(networks=[{"mode": "host"}], container={}, portDefinitions=[{"port": 10102}], tasks=[task()])
    ends = running_app.endpoints([parsed(host)], "web")["t1"]
    assert [(end.backend, end.host, end.port) for end in ends] == [("web_10102", "10.0.1.7", 31417)]
    without = app(networks=[{"mode": "host"}], container={}, tasks=[task(ports=[])])
    assert running_app.endpoints([parsed(without)], "web") == {"t1": []}


def test_container_networking_reaches_the_task_itself() -> None:
    own = app(
        networks=[{"mode": "container", "name": "dcos"}],
        tasks=[task(ports=[], ipAddresses=[{"ipAddress": "9.0.1.5"}])],
    )
    ends = running_app.endpoints([parsed(own)], "web")["t1"]
    assert [(end.host, end.ips, end.port) for end in ends] == [("10.0.1.7", ("9.0.1.5",), 80)]


def test_a_colour_on_its_alternative_port_is_also_served_on_the_public_port() -> None:
    green = app(
        labels={"HAPROXY_0_PORT": "10102"},
        container={"portMappings": [{"containerPort": 80, "servicePort": 10129}]},
        tasks=[task()],
    )
    assert parsed(green).public_ports == [10102]


@pytest.mark.parametrize(
    ("text", "zoned"),
    [
        ("2024-05-01T10:00:00", False),
        ("2024-05-01T10:00:00.123456", False),
        ("2024-05-01T10:00:00.1234567", False),
        ("2024-05-01T10:00:00Z", True),
        ("2024-05-01T12:00:00+02:00", True),
    ],
)
def test_every_spelling_of_a_time_is_parsed_to_the_same_moment(text: str, zoned: bool) -> None:
    seconds, has_zone = running_app.moment(text) or (0.0, None)
    assert int(seconds) == 1714557600
    assert has_zone is zoned


def test_text_that_is_not_a_date_has_no_moment() -> None:
    assert running_app.moment("soon") is None


def test_h13_a_new_app_is_always_later_than_a_baseline_from_another_clock() -> None:
    baseline = App("/web-blue", 1, started_at=2000.0)
    assert running_app.seconds_of(running_app.started_at(1000.0, baseline)) > 2000.0


def test_h33_a_new_app_is_dated_without_a_zone_unless_its_baseline_has_one() -> None:
    assert running_app.started_at(1000.0, None) == "1970-01-01T00:16:40.000"
    zoned = App("/web-blue", 1, started_at=1.0, started_at_zoned=True)
    assert running_app.started_at(1000.0, zoned) == "1970-01-01T00:16:40.000+00:00"


def test_trouble_names_the_last_failure_of_this_version_only() -> None:
    failure = {"state": "TASK_FAILED", "message": "exit\nstatus 1", "timestamp": "now", "version": "v2"}
    assert "exit status 1" in parsed(app(version="v2", lastTaskFailure=failure)).app.trouble
    assert parsed(app(version="v3", lastTaskFailure=failure)).app.trouble == ""


def test_trouble_names_a_failing_check_and_the_reason_of_the_queue() -> None:
    bad = task(healthCheckResults=[{"alive": False, "lastFailureCause": "503 Service Unavailable"}])
    offers = {"reason": "InsufficientCpus", "declined": 3}
    queue = [
        {
            "app": {"id": "/web-blue"},
            "count": 1,
            "delay": {"timeLeftSeconds": 0, "overdue": True},
            "processedOffersSummary": {"rejectSummaryLastOffers": [offers]},
        }
    ]
    said = parsed(app(tasks=[bad])).queued(map(queued, queue)).app.trouble
    assert "503 Service Unavailable" in said
    assert "waiting for offers: InsufficientCpus 3x" in said


def test_trouble_names_a_crash_back_off() -> None:
    queue = [{"app": {"id": "/web-blue"}, "count": 1, "delay": {"timeLeftSeconds": 7, "overdue": False}}]
    assert "back-off for 7s" in parsed(app()).queued(map(queued, queue)).app.trouble


def test_h33_an_app_with_an_invalid_date_is_parsed_and_refused_only_where_the_date_is_needed() -> None:
    wrong = parsed(app(labels={"HAPROXY_DEPLOYMENT_STARTED_AT": "soon"}))
    assert wrong.wrong_date == "soon"
    with pytest.raises(ConflictError, match=r"/web-blue of group .*'soon'"):
        running_app.require_dates([wrong])


def test_the_base_id_is_the_label_or_the_id_without_its_colour() -> None:
    assert parsed(app()).base_id == "/web"
    assert parsed(app(id="/team/web-green")).base_id == "/team/web"
    assert parsed(app(labels={"HAPROXY_APP_ID": "shop"})).base_id == "/shop"


def test_the_definition_of_a_running_app_has_no_state() -> None:
    raw = app(tasks=[task()], version="v", tasksHealthy=1, deployments=[], cmd="sleep 1")
    state = {"tasks", "version", "versionInfo", "tasksHealthy", "deployments"}
    assert parsed(raw).definition == {key: raw[key] for key in raw if key not in state}


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"tasks": 3}, r"\$\.tasks is a number"),
        ({"tasks": [7]}, r"\$\.tasks\[0\] is a number"),
        ({"tasks": [{"id": 7}]}, r"\$\.tasks\[0\]\.id is a number"),
        ({"tasks": [task(ports="80")]}, r"ports is a text"),
        ({"tasks": [task(healthCheckResults=[{"alive": "yes"}])]}, "alive is a text"),
        ({"labels": []}, r"\$\.labels is an array"),
        ({"labels": {"a": 1}}, r"\$\.labels\.a is a number"),
        ({"instances": "2"}, "instances is a text"),
        ({"deployments": [{}]}, r"deployments\[0\]\.id is missing"),
        ({"versionInfo": []}, "versionInfo is an array"),
        ({"lastTaskFailure": "x"}, "lastTaskFailure is a text"),
        ({"id": None}, r"\$\.id is missing"),
    ],
)
def test_a_wrong_type_in_an_answer_is_named_with_its_path(wrong: dict[str, Any], path: str) -> None:
    with pytest.raises(UnavailableError, match=path):
        parsed(app(**wrong))


@pytest.mark.parametrize("wrong", [[], 7, "x", {"count": "2"}, {"delay": 3}, {"processedOffersSummary": []}])
def test_a_wrong_type_in_the_queue_is_named(wrong: Any) -> None:
    with pytest.raises(UnavailableError, match="does not answer like Marathon"):
        queued(wrong)


def test_check_window_is_the_time_of_haproxys_own_checks() -> None:
    short = {"protocol": "TCP", "maxConsecutiveFailures": 3, "intervalSeconds": 3, "timeoutSeconds": 2}
    command = {"protocol": "COMMAND", "intervalSeconds": 900}
    assert parsed(app(healthChecks=[short, command])).app.check_window == (3 + 1) * (3 + 2)
    assert parsed(app(healthChecks=[{"protocol": "HTTP"}])).app.check_window == 4 * 80
    assert parsed(app(healthChecks=[])).app.check_window == 0
