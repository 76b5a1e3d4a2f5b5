"""The permissions of a release, and the missing permission of a refused request."""

from __future__ import annotations

import pytest

from bgci.dcos.permissions import JOBS, needed, of_request

APPS = "dcos:service:marathon:marathon:services:"


def said(permissions: list[object]) -> set[str]:
    return {str(one) for one in permissions}


def test_with_jobs_ci_only_reads_apps_and_the_job_writes_them() -> None:
    both = needed("/team/web", via_job=True)
    assert said(both.ci) >= {
        "dcos:adminrouter:service:metronome full",
        f"{JOBS}:team create",
        f"{JOBS}:team read",
        f"{JOBS}:team update",
        f"{JOBS}:team delete",
        f"{APPS}/team read",
    }
    required = said([one for one in both.ci if not one.optional])
    assert not {one for one in required if one.startswith(APPS) and not one.endswith(" read")}
    actions = ("create", "read", "update", "delete")
    assert said(both.job) == {"dcos:adminrouter:service:marathon full", *(f"{APPS}/team {one}" for one in actions)}


def test_without_jobs_ci_writes_apps_and_needs_no_metronome() -> None:
    both = needed("/team/web", via_job=False)
    assert both.job == []
    assert f"{APPS}/team delete" in said(both.ci)
    assert not {one for one in said(both.ci) if "metronome" in one}


def test_a_nested_folder_isolates_jobs_and_apps_alike() -> None:
    both = needed("/a/b/web", via_job=True)
    assert f"{JOBS}:a.b update" in said(both.ci)
    assert f"{APPS}/a/b update" in said(both.job)


def test_at_the_root_permissions_name_each_colour_and_all_jobs() -> None:
    both = needed("/web", via_job=True)
    assert {one for one in said(both.job) if one.endswith("delete")} == {
        f"{APPS}/web-blue delete",
        f"{APPS}/web-green delete",
    }
    assert f"{JOBS} create" in said(both.ci)


def test_logs_and_the_secrets_name_are_optional_and_strict_mode_asks_for_more() -> None:
    ci = needed("/team/web", via_job=True, secret="team/bgci", strict=True).ci
    optional = {str(one) for one in ci if one.optional}
    assert "dcos:adminrouter:ops:system-logs full" in optional
    assert "dcos:secrets:list:default:/team read" in optional
    assert "dcos:mesos:agent:sandbox:app_id:/team read" in optional
    assert {one for one in optional if "metronome" in one or "marathon" in one} == {
        f"{APPS}/team {action}" for action in ("create", "update", "delete")
    }
    assert len(ci) > len(needed("/team/web", via_job=True, secret="team/bgci").ci)


def test_every_permission_has_its_reason() -> None:
    both = needed("/team/web", via_job=True, secret="team/bgci", strict=True)
    assert all(one.why for one in [*both.ci, *both.job])


@pytest.mark.parametrize(
    ("method", "path", "body", "lacked"),
    [
        ("GET", "/service/marathon/v2/apps", None, f"{APPS}/ read"),
        ("GET", "/service/marathon/v2/apps/team/web-blue", None, f"{APPS}/team read"),
        ("POST", "/service/marathon/v2/apps", {"id": "/team/web-blue"}, f"{APPS}/team create"),
        ("PUT", "/v2/apps/web-blue", {"instances": 2}, f"{APPS}/web-blue update"),
        ("DELETE", "/v2/apps/a/b/web-green", None, f"{APPS}/a/b delete"),
        ("POST", "/v2/apps/team/web/restart", None, f"{APPS}/team update"),
        ("DELETE", "/v2/apps/team/web/tasks/team_web.instance-1._app.1", None, f"{APPS}/team update"),
        ("POST", "/v2/tasks/delete", {"ids": ["team_web-blue.instance-1._app.1"]}, f"{APPS}/team update"),
        ("POST", "/v2/tasks/delete", {"ids": []}, ""),
        ("GET", "/v2/info", None, "dcos:service:marathon:marathon:admin:config read"),
        ("POST", "/service/metronome/v1/jobs", {"id": "team.web-v1"}, f"{JOBS}:team create"),
        ("GET", "/service/metronome/v1/jobs", None, f"{JOBS} read"),
        ("PUT", "/service/metronome/v1/jobs/a.b.web-v1", {}, f"{JOBS}:a.b update"),
        ("POST", "/v1/jobs/team.web-v1/runs", None, f"{JOBS}:team update"),
        ("GET", "/v1/jobs/team.web-v1/runs/20240501100259Ab3dE", None, f"{JOBS}:team read"),
        ("DELETE", "/v1/jobs/web-v1", None, f"{JOBS} delete"),
        ("GET", "/secrets/v1/secret/default/team/db", None, "dcos:secrets:default:team/db read"),
        ("PUT", "/secrets/v1/secret/default/team%2Fdb", None, "dcos:secrets:default:team/db create"),
        ("GET", "/something/else", None, ""),
    ],
)
def test_a_refused_request_gives_the_missing_permission(method: str, path: str, body: object, lacked: str) -> None:
    assert of_request(method, path, body=body) == lacked


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/service/marathon/v2/apps/team/web", "service:marathon"),
        ("/service/metronome/v1/jobs", "service:metronome"),
        ("/secrets/v1/secret/default/x", "secrets"),
        ("/mesos/master/state", "ops:mesos"),
        ("/agent/S1/files/read", "ops:slave"),
        ("/system/v1/logs/v2/task/x/file/stdout", "ops:system-logs"),
        ("/service/other/x", "service:other"),
    ],
)
def test_where_the_router_itself_refuses_the_route_is_named(path: str, resource: str) -> None:
    assert of_request("PUT", path, by_router=True) == f"dcos:adminrouter:{resource} full"


def test_the_missing_permission_of_a_request_is_among_the_documented_ones() -> None:
    both = needed("/team/web", via_job=True, secret="team/bgci")
    everything = said([*both.ci, *both.job])
    for method, path in [("DELETE", "/v2/apps/team/web-blue"), ("POST", "/v1/jobs/team.web-v1/runs")]:
        assert of_request(method, path) in everything
