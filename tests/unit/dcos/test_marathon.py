"""Marathon's client: its requests, and its errors for refusals."""

from __future__ import annotations

import pytest

from bgci.dcos.http import Http
from bgci.dcos.marathon import Locked, Marathon, MarathonInfo
from bgci.dcos.running_app import QueueEntry
from bgci.errors import ConflictError, DeniedError, InvalidError, UnavailableError

LOCK = {
    "message": "App is locked by one or more deployments. Override with the option '?force=true'.",
    "deployments": [{"id": "5ed4"}, {"id": "77aa"}],
}
GONE = {"message": "App '/web' does not exist"}


@pytest.fixture
def marathon(stub):
    return Marathon(Http(stub.url, backoff=0.01, retries=1))


def app(app_id, group):
    return {"id": app_id, "labels": {"HAPROXY_DEPLOYMENT_GROUP": group} if group else {}}


def test_h26_apps_are_selected_by_the_group_escaped_and_in_both_spellings(stub, marathon):
    stub.json("/v2/apps", {"apps": [app("/team/web-blue", "team/web")]})
    assert [found.id for found in marathon.group_apps("/team/web")] == ["/team/web-blue"]
    queries = [asked.query for asked in stub.asked]
    assert [query[0] for query in queries] == [
        ("label", r"HAPROXY_DEPLOYMENT_GROUP==team\/web"),
        ("label", r"HAPROXY_DEPLOYMENT_GROUP==\/team\/web"),
    ]
    query = queries[0]
    embeds = {value for name, value in query if name == "embed"}
    assert embeds == {"apps.tasks", "apps.deployments", "apps.counts", "apps.lastTaskFailure"}


def test_apps_outside_the_group_are_dropped_even_if_the_server_overlooks_the_selector(stub, marathon):
    others = [app("/other", "other"), app("/none", None), app("/web-blue", "web"), app("/web-green", "/web")]
    stub.json("/v2/apps", {"apps": others})
    assert [found.id for found in marathon.group_apps("web")] == ["/web-blue", "/web-green"]


@pytest.mark.parametrize("body", [{"jobs": []}, [], None, {"apps": {}}])
def test_another_service_at_the_url_is_reported(stub, marathon, body):
    stub.json("/v2/apps", body)
    with pytest.raises(UnavailableError) as caught:
        marathon.group_apps("web")
    assert "the URL of Marathon?" in caught.value.remedy


def test_an_app_is_unwrapped(stub, marathon):
    stub.json("/v2/apps/team/web", {"app": app("/team/web", "web")})
    assert marathon.app("/team/web").id == "/team/web"


def test_a_missing_app_is_none(stub, marathon):
    stub.json("/v2/apps/web", GONE, status=404)
    assert marathon.app("/web") is None


def test_a_404_of_another_server_is_not_a_missing_app(stub, marathon):
    with pytest.raises(UnavailableError, match="service not found"):
        marathon.app("/web")


def test_an_unreadable_app_is_distinguished_from_an_outage_where_marathon_answers_500(stub, marathon):
    stub.json("/v2/apps/team/web", {"message": "Some(AppDefinition(...)) (of class scala.Some)"}, status=500)
    with pytest.raises(DeniedError, match="Missing: dcos:service:marathon:marathon:services:/team read"):
        marathon.app("/team/web")
    stub.json("/v2/apps/team/api", {"message": "Futures timed out"}, status=500)
    with pytest.raises(UnavailableError):
        marathon.app("/team/api")


def test_a_probe_app_of_an_interrupted_command_is_not_a_member(stub, marathon):
    probe = {**app("/web-blue", ""), "labels": {"BGCI_PREVIEW_OF": "/web"}}
    stub.json("/v2/apps", {"apps": [probe]})
    stub.json("/v2/apps/web-blue", {"app": probe})
    for path in ("/v2/apps/web", "/v2/apps/web-green"):
        stub.json(path, GONE, status=404)
    assert marathon.members("/web", "") == []
    assert [one.id for one in marathon.previews("/web")] == ["/web-blue"]


def test_creating_sends_the_definition(stub, marathon):
    stub.json("/v2/apps", {"id": "/web-blue"}, status=201, method="POST")
    marathon.create({"id": "/web-blue", "instances": 1})
    assert stub.asked[0].body == {"id": "/web-blue", "instances": 1}


def test_creating_an_existing_app_is_a_conflict_that_names_it(stub, marathon):
    stub.json("/v2/apps", {"message": "An app with id [/web] already exists."}, status=409, method="POST")
    with pytest.raises(ConflictError, match=r"\[/web\] already exists") as caught:
        marathon.create({"id": "/web"})
    assert not isinstance(caught.value, Locked)


@pytest.mark.parametrize(
    ("status", "details", "line"),
    [
        (422, [{"path": "/cpus", "errors": ["must be positive"]}], "/cpus: must be positive"),
        (400, "Unexpected character", "Unexpected character"),
    ],
)
def test_an_invalid_definition_is_refused_with_the_paths_of_its_errors(stub, marathon, status, details, line):
    stub.json("/v2/apps", {"message": "Object is not valid", "details": details}, status=status, method="POST")
    with pytest.raises(InvalidError) as caught:
        marathon.create({"id": "/web"})
    assert caught.value.message.splitlines() == ["Marathon does not accept /web: Object is not valid", f"  {line}"]


def test_scaling_changes_the_instances_and_nothing_else(stub, marathon):
    stub.json("/v2/apps/web", {"deploymentId": "1"}, method="PUT")
    marathon.scale("/web", 3)
    marathon.scale("/web", 4, force=True)
    assert [(asked.query, asked.body) for asked in stub.asked] == [
        ([("force", "false")], {"instances": 3}),
        ([("force", "true")], {"instances": 4}),
    ]


def test_h20_a_lock_is_reported_with_the_app_and_its_deployments(stub, marathon):
    stub.json("/v2/apps/web", LOCK, status=409, method="PUT")
    with pytest.raises(Locked) as caught:
        marathon.scale("/web", 3)
    assert (caught.value.app_id, caught.value.deployment_ids) == ("/web", ("5ed4", "77aa"))
    assert "5ed4, 77aa" in caught.value.message
    assert caught.value.code == 6


def test_h41_a_lock_met_by_a_kill_is_reported_as_a_lock(stub, marathon):
    stub.json("/v2/tasks/delete", LOCK, status=409, method="POST")
    with pytest.raises(Locked):
        marathon.kill(["web.1"], scale=True)


def test_tasks_are_killed_in_one_request(stub, marathon):
    stub.json("/v2/tasks/delete", {"deploymentId": "1"}, method="POST")
    marathon.kill(["web.1", "web.2"], scale=True)
    marathon.kill(["web.3"], scale=False)
    assert [(asked.query, asked.body) for asked in stub.asked] == [
        ([("scale", "true")], {"ids": ["web.1", "web.2"]}),
        ([("scale", "false")], {"ids": ["web.3"]}),
    ]


def test_deleting_a_missing_app_succeeds(stub, marathon, answer):
    stub.tell("DELETE", "/v2/apps/web", answer(503), answer(404, GONE))
    marathon.delete("/web")
    assert stub.asked[-1].query == [("force", "true")]


def test_scaling_a_missing_app_is_a_conflict(stub, marathon):
    stub.json("/v2/apps/web", GONE, status=404, method="PUT")
    with pytest.raises(ConflictError, match="does not exist"):
        marathon.scale("/web", 1)


def test_too_many_deployments_are_not_taken_for_a_missing_permission(stub, marathon):
    said = "Max number (100) of running deployments is achieved. Wait for existing deployments to complete."
    stub.json("/v2/apps/web", {"message": said}, status=403, method="PUT")
    with pytest.raises(ConflictError, match="Max number"):
        marathon.scale("/web", 1)


def test_a_missing_permission_is_a_denial(stub, marathon):
    stub.json("/v2/apps", {"message": "Not Authorized to perform this action!"}, status=403, method="POST")
    with pytest.raises(DeniedError, match="Not Authorized"):
        marathon.create({"id": "/web"})


def test_a_server_error_quotes_marathon(stub, marathon):
    stub.json("/v2/apps", {"message": "No more service ports"}, status=500, method="POST")
    with pytest.raises(UnavailableError, match="500 No more service ports"):
        marathon.create({"id": "/web"})


def test_h35_a_delete_that_fails_is_unavailable_and_quotes_marathon(stub, marathon):
    stub.json("/v2/apps/web", {"message": "ZooKeeper timed out"}, status=500, method="DELETE")
    with pytest.raises(UnavailableError, match="500 ZooKeeper timed out"):
        marathon.delete("/web")


def test_the_queue_and_the_info_are_parsed(stub, marathon):
    stub.json("/v2/queue", {"queue": [{"app": {"id": "/web"}, "count": 2}]})
    stub.json("/v2/info", {"version": "1.11.24", "elected": True})
    assert marathon.queue() == [QueueEntry("/web", 2, "waiting for offers")]
    assert marathon.info() == MarathonInfo("1.11.24", True)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v2/apps", {"apps": [{"id": "/web", "tasks": 3}]}),
        ("/v2/apps", {"apps": [{"id": "/web", "labels": []}]}),
        ("/v2/queue", {"queue": [7]}),
        ("/v2/info", {"version": 1}),
    ],
)
def test_a_wrong_type_in_an_answer_is_unavailable_and_named(stub, marathon, path, body):
    stub.json(path, body)
    reads = {"/v2/apps": marathon.apps, "/v2/queue": marathon.queue}
    with pytest.raises(UnavailableError, match="does not answer like Marathon"):
        reads.get(path, marathon.info)()


@pytest.mark.parametrize("details", [7, {}, [7], [{"path": "/x", "errors": 7}], [{}]])
def test_details_of_a_wrong_type_do_not_hide_the_refusal(stub, marathon, details):
    stub.json("/v2/apps", {"message": "Object is not valid", "details": details}, status=422, method="POST")
    with pytest.raises(InvalidError, match="Object is not valid"):
        marathon.create({"id": "/web"})


@pytest.mark.parametrize("deployments", [7, [7], [{}], {}])
def test_a_lock_of_a_wrong_type_is_still_a_conflict(stub, marathon, deployments):
    stub.json("/v2/apps/web", {"message": "locked", "deployments": deployments}, status=409, method="PUT")
    with pytest.raises(ConflictError, match="locked"):
        marathon.scale("/web", 3)


def test_cancelling_returns_the_reverting_deployment_and_none_by_force(stub, marathon):
    stub.json("/v2/deployments/d1", {"version": "v", "deploymentId": "d2"}, method="DELETE")
    assert marathon.cancel("d1") == "d2"
    assert marathon.cancel("d1", force=True) == ""
    assert [asked.query for asked in stub.asked] == [[], [("force", "true")]]


def test_a_change_returns_its_deployment(stub, marathon):
    stub.json("/v2/apps/web", {"version": "v", "deploymentId": "d1"}, method="PUT")
    assert marathon.change("/web", {"labels": {}}) == "d1"


def test_cancelling_an_ended_deployment_succeeds(stub, marathon):
    stub.json("/v2/deployments/d1", {"message": "DeploymentPlan d1 does not exist"}, status=404, method="DELETE")
    marathon.cancel("d1")
    assert len(stub.asked) == 1


@pytest.mark.parametrize("body", [{}, {"version": "2026-11-27T00:00:00.000Z"}])
def test_a_change_that_no_answer_confirms_is_unavailable(stub, marathon, body):
    for method, path in (("PUT", "/v2/apps/web"), ("POST", "/v2/tasks/delete"), ("DELETE", "/v2/apps/web")):
        stub.json(path, body, method=method)
    for change in (
        lambda: marathon.scale("/web", 2),
        lambda: marathon.kill(["web.1"], scale=True),
        lambda: marathon.delete("/web"),
    ):
        with pytest.raises(UnavailableError, match="does not name its deployment"):
            change()
    marathon.kill(["web.1"], scale=False)  # that one has the tasks in its answer
