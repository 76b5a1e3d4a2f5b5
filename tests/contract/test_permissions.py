"""Permissions on a secured cluster: each alone, and its scope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from administrator import API, acl_path, key_pair

from contract.client import Sandbox, until, web_app
from contract.secured import (
    ADMIN,
    JOBS,
    MARATHON,
    METRONOME,
    REACH_MARATHON,
    REACH_METRONOME,
    REACH_SECRETS,
    SECRET,
    SERVICES,
    Person,
    Secured,
    of_sandbox,
)

SCALE = {"instances": 0, "env": {"CHANGED": "yes"}}
STREAM = {"headers": {"Accept": "text/event-stream"}}
DENIED = {"message": "Not Authorized to perform this action!"}
JOB = {"cmd": "true", "cpus": 0.01, "mem": 32, "disk": 0}


@pytest.fixture
def team(secured: Secured, name: str) -> str:
    """A folder with an app ``web``, a job ``job`` and a secret ``db``."""
    secured.app(f"/{name}/web")
    secured.job(f"{name}.job")
    secured.secret(f"{name}/db")
    return name


@pytest.mark.parametrize(
    ("method", "path", "permission"),
    [
        ("GET", f"{MARATHON}/v2/apps", REACH_MARATHON),
        ("GET", "/marathon/ping", REACH_MARATHON),
        ("GET", f"{METRONOME}/v1/jobs", REACH_METRONOME),
        ("GET", "/secrets/v1/store", REACH_SECRETS),
        ("GET", "/mesos/master/state", "dcos:adminrouter:ops:mesos"),
        ("GET", "/mesos/state-summary", "dcos:adminrouter:ops:mesos"),
        ("GET", "/agent/any/files/debug", "dcos:adminrouter:ops:slave"),
        ("GET", "/system/v1/logs/v2/task/none", "dcos:adminrouter:ops:system-logs"),
    ],
)
def test_a_service_is_reached_with_its_permission_only(
    secured: Secured, method: str, path: str, permission: str
) -> None:
    person = secured.person()
    refusal = person.sends(method, path)
    assert (refusal.status_code, refusal.headers["Content-Type"].partition(";")[0]) == (403, "text/html")
    assert person.may(f"{permission} full").gets(method, path) not in (401, 403)


@pytest.mark.parametrize(
    ("action", "method", "path", "body"),
    [
        ("read", "GET", "/v2/apps//{team}/web", None),
        ("read", "GET", "/v2/apps//{team}/web/versions", None),
        ("read", "GET", "/v2/apps//{team}/web/tasks", None),
        ("create", "POST", "/v2/apps", web_app("{team}/new", 0)),
        ("create", "PUT", "/v2/apps//{team}/new", web_app("new", 0)),
        ("update", "PUT", "/v2/apps//{team}/web", SCALE),
        ("update", "PATCH", "/v2/apps//{team}/web", SCALE),
        ("update", "PATCH", "/v2/apps", [{"id": "/{team}/web", **SCALE}]),
        ("update", "POST", "/v2/apps//{team}/web/restart", None),
        ("update", "DELETE", "/v2/apps//{team}/web/tasks", None),
        ("delete", "DELETE", "/v2/apps//{team}/web", None),
    ],
)
def test_each_action_on_apps_needs_its_own_permission(
    secured: Secured, team: str, action: str, method: str, path: str, body: Any
) -> None:
    others = [f"{SERVICES}:/{team} {other}" for other in ("create", "read", "update", "delete") if other != action]
    person = secured.person(f"{REACH_MARATHON} full", *others)
    secured.made.append(("DELETE", f"{MARATHON}/v2/apps/{team}/new"))
    where, body = MARATHON + path.format(team=team), in_folder(body, team)
    refusal = person.sends(method, where, body)
    assert (refusal.status_code, refusal.json()) == (403, DENIED)
    assert person.may(f"{SERVICES}:/{team} {action}").gets(method, where, body) in (200, 201)


def in_folder(body: Any, team: str) -> Any:
    """Replaces ``{team}`` in the ids of a body."""
    if isinstance(body, list):
        return [in_folder(one, team) for one in body]
    return {**body, "id": body["id"].replace("{team}", team)} if body and "id" in body else body


@pytest.mark.parametrize(
    ("what", "path", "options"),
    [("events", "/v2/events", STREAM), ("config", "/v2/info", {}), ("leader", "/v2/leader", {})],
)
def test_objects_without_an_app_have_separate_permissions(
    secured: Secured, what: str, path: str, options: dict[str, Any]
) -> None:
    person = secured.person(f"{REACH_MARATHON} full", f"{SERVICES}:/ full")
    refusal = person.sends("GET", MARATHON + path, **options)
    assert (refusal.status_code, refusal.json()) == (403, DENIED)
    assert person.may(f"{ADMIN}:{what} read").gets("GET", MARATHON + path, **options) == 200


def test_killing_tasks_needs_the_permission_for_every_app_of_them(secured: Secured, name: str) -> None:
    for app_id in (f"/{name}/one", f"/{name}-other/two"):
        secured.app(app_id, 1)

    def tasks() -> list[dict[str, Any]]:
        found = secured.request("GET", f"{MARATHON}/v2/tasks").json()["tasks"]
        return [task for task in found if task["appId"].startswith(f"/{name}") and task["state"] == "TASK_RUNNING"]

    until(lambda: len(tasks()) == 2)
    person = secured.person(f"{REACH_MARATHON} full", f"{SERVICES}:/{name} full")
    kill = f"{MARATHON}/v2/tasks/delete?scale=true&force=true"
    both = {"ids": [task["id"] for task in tasks()]}
    assert person.gets("POST", kill, both) == 403
    assert len(tasks()) == 2
    mine = {"ids": [task["id"] for task in tasks() if task["appId"] == f"/{name}/one"]}
    assert person.gets("POST", kill, mine) == 200
    person.may(f"{SERVICES}:/{name}-other update")
    assert person.gets("POST", kill, both) == 200
    until(lambda: not tasks())


def test_one_task_or_deployment_or_version_needs_the_permission_for_its_app(secured: Secured, name: str) -> None:
    secured.app(f"/{name}/web", 1, cpus=1000)
    app = f"{MARATHON}/v2/apps/{name}/web"
    [deployment] = secured.request("GET", app).json()["app"]["deployments"]
    [version] = secured.request("GET", f"{app}/versions").json()["versions"]
    unknown_task = f"{app}/tasks/{name}_web.instance-3f0c8a5e-0000-0000-0000-000000000000._app.1"
    person = secured.person(f"{REACH_MARATHON} full")
    assert person.gets("GET", f"{app}/versions/{version}") == 403
    person.may(f"{SERVICES}:/{name} read")
    assert person.gets("GET", f"{app}/versions/{version}") == 200
    assert person.gets("DELETE", unknown_task) == 403
    assert person.gets("DELETE", f"{MARATHON}/v2/deployments/{deployment['id']}") == 403
    assert person.gets("DELETE", f"{MARATHON}/v2/queue/{name}/web/delay") == 403
    person.may(f"{SERVICES}:/{name} update")
    assert person.gets("DELETE", f"{MARATHON}/v2/queue/{name}/web/delay") == 204
    assert person.gets("DELETE", unknown_task) == 404
    assert person.gets("DELETE", f"{MARATHON}/v2/deployments/{deployment['id']}") == 200


def test_lists_show_readable_objects_only(secured: Secured, name: str) -> None:
    for app_id in (f"/{name}/web", f"/{name}-other/web"):
        secured.app(app_id, 1, cpus=1000)
        secured.job(f"{app_id.split('/')[1]}.job")
    person = secured.person(f"{REACH_MARATHON} full", f"{REACH_METRONOME} full")
    person.may(f"{SERVICES}:/{name} read").may(f"{JOBS}:{name} read")

    def seen(path: str) -> Any:
        return person.sends("GET", path).json()

    waiting = [f"/{name}/web"]
    assert [app["id"] for app in seen(f"{MARATHON}/v2/apps")["apps"]] == waiting
    assert [app["id"] for app in seen(f"{MARATHON}/v2/apps/*")["*"]] == waiting
    assert [apps["affectedApps"] for apps in seen(f"{MARATHON}/v2/deployments")] == [waiting]
    assert [entry["app"]["id"] for entry in seen(f"{MARATHON}/v2/queue")["queue"]] == waiting
    assert [job["id"] for job in seen(f"{METRONOME}/v1/jobs")] == [f"{name}.job"]


def test_only_tasks_that_may_be_read_are_listed(secured: Secured, name: str) -> None:
    for app_id in (f"/{name}/web", f"/{name}-other/web"):
        secured.app(app_id, 1)
    person = secured.person(f"{REACH_MARATHON} full", f"{SERVICES}:/{name} read")

    def seen() -> list[str]:
        return [task["appId"] for task in person.sends("GET", f"{MARATHON}/v2/tasks").json()["tasks"]]

    assert until(seen) == [f"/{name}/web"]


@pytest.mark.parametrize(
    ("action", "method", "path"),
    [
        ("update", "PUT", "/v1/jobs/{team}.job"),
        ("update", "POST", "/v1/jobs/{team}.job/runs"),
        ("delete", "DELETE", "/v1/jobs/{team}.job"),
        ("create", "POST", "/v1/jobs"),
    ],
)
def test_each_action_on_jobs_needs_its_own_permission(
    secured: Secured, team: str, action: str, method: str, path: str
) -> None:
    others = [f"{JOBS}:{team} {other}" for other in ("create", "read", "update", "delete") if other != action]
    person = secured.person(f"{REACH_METRONOME} full", *others)
    where, body = (
        METRONOME + path.format(team=team),
        {"id": f"{team}.{'new' if action == 'create' else 'job'}", "run": JOB},
    )
    secured.made.append(("DELETE", f"{METRONOME}/v1/jobs/{team}.new"))
    assert person.gets(method, where, body) == 403
    assert person.may(f"{JOBS}:{team} {action}").gets(method, where, body) in (200, 201)


def test_an_unreadable_job_seems_absent(secured: Secured, name: str) -> None:
    secured.job(f"{name}.job", "exec sleep 600")
    job = f"{METRONOME}/v1/jobs/{name}.job"
    run = secured.request("POST", f"{job}/runs", json={}).json()["id"]
    person = secured.person(f"{REACH_METRONOME} full")
    for path in (job, f"{job}/runs/{run}", f"{job}/schedules"):
        assert person.gets("GET", path) == 404
    assert person.sends("GET", f"{job}/runs").json() == []
    person.may(f"{JOBS}:{name} read")
    assert [one["id"] for one in person.sends("GET", f"{job}/runs").json()] == [run]
    assert person.gets("GET", f"{job}/runs/{run}") == 200
    assert person.gets("POST", f"{job}/runs/{run}/actions/stop", {}) == 403
    assert person.may(f"{JOBS}:{name} update").gets("POST", f"{job}/runs/{run}/actions/stop", {}) == 200


@pytest.mark.parametrize("spelling", [":{team}.job", ":/{team}.job", ":{team}/job", ":/{team}/job", ":{team}", ""])
def test_jobs_may_be_spelled_with_dots_or_slashes(secured: Secured, team: str, spelling: str) -> None:
    person = secured.person(f"{REACH_METRONOME} full", f"{JOBS}{spelling.format(team=team)} read")
    assert person.gets("GET", f"{METRONOME}/v1/jobs/{team}.job") == 200


@pytest.mark.parametrize(
    ("action", "method", "path", "body"),
    [
        ("read", "GET", "/db", None),
        ("create", "PUT", "/new", {"value": "x"}),
        ("update", "PATCH", "/db", {"value": "x"}),
        ("delete", "DELETE", "/db", None),
    ],
)
@pytest.mark.parametrize("slash", ["", "/"])
def test_each_action_on_secrets_needs_its_own_permission(
    secured: Secured, team: str, action: str, method: str, path: str, body: Any, slash: str
) -> None:
    person = secured.person(f"{REACH_SECRETS} full")
    where = f"{SECRET}/{team}{path}"
    secured.made.append(("DELETE", f"{SECRET}/{team}/new"))
    assert person.gets(method, where, body) == 403
    person.may(f"dcos:secrets:default:{slash}{team}{path} {action}")
    assert person.gets(method, where, body) in (200, 201, 204)


def test_listing_secrets_is_a_separate_permission(secured: Secured, team: str) -> None:
    person = secured.person(f"{REACH_SECRETS} full", f"dcos:secrets:default:{team}/db read")
    assert person.gets("GET", f"{SECRET}/{team}?list=true") == 403
    person.may(f"dcos:secrets:list:default:/{team} read")
    assert person.sends("GET", f"{SECRET}/{team}?list=true").json() == {"array": ["db"]}


def everything_below(secured: Secured, team: str) -> Person:
    reach = [f"{one} full" for one in (REACH_MARATHON, REACH_METRONOME, REACH_SECRETS)]
    return secured.person(
        *reach, f"{SERVICES}:/{team} full", f"{JOBS}:{team} full", f"dcos:secrets:default:{team} full"
    )


def test_full_rights_in_one_folder_give_none_in_another(secured: Secured, team: str) -> None:
    person = everything_below(secured, team)
    for other, expected in ((f"{team}/below", (201, 201, 201)), (f"{team}work", (403, 403, 403))):
        secured.made += [
            ("DELETE", f"{MARATHON}/v2/apps/{other}/web"),
            ("DELETE", f"{METRONOME}/v1/jobs/{other.replace('/', '.')}.job"),
            ("DELETE", f"{SECRET}/{other}/db"),
        ]
        app = person.gets("POST", f"{MARATHON}/v2/apps", web_app(f"{other}/web", 0))
        job = person.gets("POST", f"{METRONOME}/v1/jobs", {"id": f"{other.replace('/', '.')}.job", "run": JOB})
        secret = person.gets("PUT", f"{SECRET}/{other}/db", {"value": "x"})
        assert (app, job, secret) == expected


def test_a_permission_without_its_leading_slash_covers_no_app(secured: Secured, team: str) -> None:
    person = secured.person(f"{REACH_MARATHON} full", f"{SERVICES}:{team} full")
    assert person.gets("GET", f"{MARATHON}/v2/apps/{team}/web") == 403


def test_a_superuser_has_all_permissions(secured: Secured, team: str) -> None:
    person = secured.person("dcos:superuser full")
    assert person.gets("GET", f"{MARATHON}/v2/apps/{team}/web") == 200
    assert person.gets("GET", f"{SECRET}/{team}/db") == 200
    assert person.gets("GET", f"{API}/users") == 200


MESOS = ("framework:role:*", "executor:app_id:/{name}", "task:app_id:/{name}")


@pytest.mark.sandbox_only
def test_in_strict_mode_a_log_needs_mesos_permissions_as_well(server: Callable[..., Sandbox], name: str) -> None:
    cluster = of_sandbox(server("--secured", "--strict"))
    cluster.job(f"{name}.job", "echo hello")
    cluster.request("POST", f"{METRONOME}/v1/jobs/{name}.job/runs", json={})
    job = f"{METRONOME}/v1/jobs/{name}.job?embed=history"
    [run] = until(lambda: cluster.request("GET", job).json()["history"]["successfulFinishedRuns"])
    find = f"/system/v1/logs/v2/task/{run['tasks'][0]}"
    ops = [f"dcos:adminrouter:ops:{one} full" for one in ("mesos", "slave", "system-logs")]
    person = cluster.person(*ops)

    def tasks() -> list[str]:
        found = person.sends("GET", "/mesos/master/state").json()["frameworks"]
        return [task["id"] for framework in found for task in framework["completed_tasks"]]

    assert (tasks(), person.gets("GET", find)) == ([], 500)
    for part in MESOS:
        person.may(f"dcos:mesos:master:{part.format(name=name)} read")
    assert tasks() == run["tasks"]
    found = person.sends("GET", find)
    assert found.status_code == 303
    assert person.gets("GET", found.headers["Location"]) == 403
    for part in (*MESOS, "sandbox:app_id:/{name}"):
        person.may(f"dcos:mesos:agent:{part.format(name=name)} read")
    assert person.sends("GET", found.headers["Location"]).text == "hello\n"


# -- how accounts and permissions are made -----------------------------------------------------------------------------


def test_only_a_superuser_reads_and_changes_accounts(secured: Secured, name: str) -> None:
    person = secured.person()
    user, acl = f"{API}/users/{name}", acl_path(f"{SERVICES}:/{name}")
    granted = f"{acl}/users/{person.uid}/read"
    requests = [(method, path) for path in (user, acl, granted) for method in ("GET", "PUT", "DELETE")]
    requests += [("GET", path) for path in (f"{API}/users", f"{API}/acls", f"{user}/permissions", f"{acl}/permissions")]
    assert {person.gets(method, path, {}) for method, path in requests} == {403}
    person.may("dcos:adminrouter:acs full")
    assert {person.gets(method, path, {}) for method, path in requests} == {403}


def test_an_account_is_created_only_once(secured: Secured, name: str) -> None:
    secured.user(name)
    reply = secured.request("PUT", f"{API}/users/{name}", json={"password": "a password"})
    assert (reply.status_code, reply.json()["code"]) == (409, "ERR_USER_EXISTS")
    assert secured.request("GET", f"{API}/users/{name}").json()["uid"] == name
    assert secured.request("DELETE", f"{API}/users/{name}").status_code == 204
    assert secured.request("GET", f"{API}/users/{name}").status_code == 404


def test_a_service_account_is_one_with_a_public_key(secured: Secured, name: str) -> None:
    assert secured.service_account(name)["uid"] == name
    assert secured.request("GET", f"{API}/users/{name}").json()["is_service"]
    services = secured.request("GET", f"{API}/users?type=service").json()["array"]
    assert name in [user["uid"] for user in services]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "ERR_INVALID_DATA"),
        ({"password": "four"}, "ERR_INVALID_DATA"),
        ({"password": "a password", "public_key": key_pair()[1]}, "ERR_INVALID_DATA"),
        ({"public_key": "no key"}, "ERR_INVALID_PUBLIC_KEY"),
    ],
)
def test_an_account_needs_a_password_or_a_key(secured: Secured, name: str, body: Any, code: str) -> None:
    reply = secured.request("PUT", f"{API}/users/{name}", json=body)
    assert (reply.status_code, reply.json()["code"]) == (400, code)


def test_a_slash_in_a_resource_is_encoded_twice(secured: Secured, name: str) -> None:
    rid = f"{SERVICES}:/{name}/web"
    path = acl_path(rid)
    assert "%252F" in path
    assert secured.request("PUT", path, json={"description": "x"}).status_code == 201
    assert secured.request("PUT", path, json={"description": "x"}).status_code == 409
    assert secured.request("GET", path).json()["rid"] == rid
    assert secured.request("GET", path.replace("%252F", "%2F")).status_code == 404
    assert secured.request("DELETE", path).status_code == 204
    assert secured.request("GET", path).status_code == 404


def test_a_grant_is_listed_and_revoked(secured: Secured, name: str) -> None:
    rid = f"{SERVICES}:/{name}"
    person = secured.person(f"{REACH_MARATHON} full", f"{rid} update")
    permission = f"{acl_path(rid)}/users/{person.uid}/update"
    direct = secured.request("GET", f"{API}/users/{person.uid}/permissions").json()["direct"]
    told = {one["rid"]: [action["name"] for action in one["actions"]] for one in direct}
    assert told == {REACH_MARATHON: ["full"], rid: ["update"]}
    assert secured.request("GET", permission).json() == {"allowed": True}
    assert secured.request("GET", permission.replace("update", "delete")).json() == {"allowed": False}
    assert [user["uid"] for user in secured.request("GET", f"{acl_path(rid)}/permissions").json()["users"]] == [
        person.uid
    ]
    assert secured.request("DELETE", permission).status_code == 204
    assert secured.request("GET", permission).json() == {"allowed": False}
