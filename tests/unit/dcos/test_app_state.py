"""From Marathon's JSON to the values of the model."""

from __future__ import annotations

from typing import Any

import pytest

from bgci.dcos import app_state
from bgci.engine.model import App


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
        seen = app_state.app_from(app(tasks=[task(healthCheckResults=results)]))
        assert seen.tasks[0].healthy is None
        assert not seen.tasks[0].ever_healthy


def test_h39_an_emptied_health_result_does_not_make_a_task_unhealthy() -> None:
    assert app_state.app_from(app(tasks=[task()])).tasks[0].healthy is None


def test_h15_an_app_without_health_checks_is_healthy_as_soon_as_it_runs_and_says_so() -> None:
    seen = app_state.app_from(app(healthChecks=[], tasks=[task(), task(id="t2", state="TASK_STAGING")]))
    assert [one.healthy for one in seen.tasks] == [True, False]
    assert not seen.has_health_checks


def test_a_dying_task_is_listed_and_does_not_count() -> None:
    seen = app_state.app_from(app(tasks=[task(state="TASK_KILLING", healthCheckResults=[{"alive": True}])]))
    assert seen.tasks[0].dying
    assert seen.healthy == ()


def test_a_finished_task_is_not_listed() -> None:
    assert app_state.app_from(app(tasks=[task(state="TASK_FAILED")])).tasks == ()


def test_h10_every_service_port_of_a_task_has_its_own_backend() -> None:
    two = app(
        container={
            "portMappings": [{"containerPort": 80, "servicePort": 10102}, {"containerPort": 81, "servicePort": 10103}]
        },
        tasks=[task(ports=[31417, 31418])],
    )
    ends = app_state.endpoints([two], "web")["t1"]
    assert [(end.backend, end.port) for end in ends] == [("web_10102", 31417), ("web_10103", 31418)]


def test_h11_a_group_in_a_folder_is_written_with_underscores() -> None:
    assert app_state.endpoints([app(tasks=[task()])], "/team/web")["t1"][0].backend == "team_web_10102"


def test_h12_host_networking_takes_its_ports_from_the_port_definitions() -> None:
    host = app(networks=[{"mode": "host"}], container={}, portDefinitions=[{"port": 10102}], tasks=[task()])
    ends = app_state.endpoints([host], "web")["t1"]
    assert [(end.backend, end.host, end.port) for end in ends] == [("web_10102", "10.0.1.7", 31417)]


def test_container_networking_reaches_the_task_itself() -> None:
    own = app(
        networks=[{"mode": "container", "name": "dcos"}],
        tasks=[task(ports=[], ipAddresses=[{"ipAddress": "9.0.1.5"}])],
    )
    ends = app_state.endpoints([own], "web")["t1"]
    assert [(end.host, end.ips, end.port) for end in ends] == [("10.0.1.7", ("9.0.1.5",), 80)]


def test_a_colour_on_its_alternative_port_still_answers_on_the_public_one() -> None:
    green = app(
        labels={"HAPROXY_0_PORT": "10102"},
        container={"portMappings": [{"containerPort": 80, "servicePort": 10129}]},
        tasks=[task()],
    )
    assert app_state.public_ports(green) == [10102]


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
def test_every_way_to_write_one_moment(text: str, zoned: bool) -> None:
    seconds, has_zone = app_state.started(text)
    assert int(seconds) == 1714557600
    assert has_zone is zoned


def test_no_date_at_all_is_said_to_be_one() -> None:
    with pytest.raises(ValueError, match="soon"):
        app_state.started("soon")


def test_h13_a_new_app_is_always_later_than_a_baseline_from_another_clock() -> None:
    baseline = App("/web-blue", 1, started_at=2000.0)
    assert app_state.started(app_state.started_at(1000.0, baseline))[0] > 2000.0


def test_h33_a_new_app_is_dated_without_a_zone_unless_its_baseline_has_one() -> None:
    assert app_state.started_at(1000.0, None) == "1970-01-01T00:16:40.000"
    zoned = App("/web-blue", 1, started_at=1.0, started_at_zoned=True)
    assert app_state.started_at(1000.0, zoned) == "1970-01-01T00:16:40.000+00:00"


def test_trouble_names_the_last_failure_of_this_version_only() -> None:
    failure = {"state": "TASK_FAILED", "message": "exit\nstatus 1", "timestamp": "now", "version": "v2"}
    assert "exit status 1" in app_state.app_from(app(version="v2", lastTaskFailure=failure)).trouble
    assert app_state.app_from(app(version="v3", lastTaskFailure=failure)).trouble == ""


def test_trouble_names_a_failing_check_and_what_the_queue_waits_for() -> None:
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
    said = app_state.app_from(app(tasks=[bad]), queue).trouble
    assert "503 Service Unavailable" in said
    assert "waiting for offers: InsufficientCpus 3x" in said


def test_trouble_names_a_crash_back_off() -> None:
    queue = [{"app": {"id": "/web-blue"}, "count": 1, "delay": {"timeLeftSeconds": 7, "overdue": False}}]
    assert "back-off for 7s" in app_state.app_from(app(), queue).trouble
