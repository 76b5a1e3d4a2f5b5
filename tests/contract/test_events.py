"""``/v2/events``: server-sent events, framed as Jetty frames them."""

from __future__ import annotations

import http.client
import urllib.parse
from typing import Any

import pytest

from contract.client import Marathon, instance_of, until, web_app


def test_other_accept_headers_are_refused(marathon: Marathon) -> None:
    for accept in ("*/*", "application/json", "text/event-stream, */*"):
        assert marathon.get("/v2/events", headers={"Accept": accept}).status_code == 405


def test_frames_end_with_crlf_and_begin_with_the_attachment(marathon: Marathon) -> None:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(marathon.url).netloc, timeout=10)
    connection.request("GET", "/v2/events", headers={"Accept": "text/event-stream"})
    reply = connection.getresponse()
    lines = [reply.readline() for _ in range(3)]
    assert reply.headers["Content-Type"] == "text/event-stream;charset=utf-8"
    assert lines[0] == b"event: event_stream_attached\r\n"
    assert lines[1].startswith(b'data: {"remoteAddress":')
    assert lines[1].endswith(b"}\r\n")
    assert lines[2] == b"\r\n"
    reply.close()
    connection.close()


def test_idle_stream_has_a_heartbeat_of_a_bare_crlf(marathon: Marathon) -> None:
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(marathon.url).netloc, timeout=20)
    connection.request("GET", "/v2/events?event_type=none", headers={"Accept": "text/event-stream"})
    reply = connection.getresponse()
    assert reply.readline() == b"\r\n"
    reply.close()
    connection.close()


def test_events_report_the_life_of_an_app(marathon: Marathon, name: str) -> None:
    with marathon.events() as events:
        marathon.deploy(web_app(name))
        task = marathon.tasks(f"/{name}")[0]["id"]
        marathon.delete(f"/v2/apps/{name}")
        until(lambda: [e for e in events if e["eventType"] == "app_terminated_event" and e["appId"] == f"/{name}"])
    states = [e["taskStatus"] for e in events if e["eventType"] == "status_update_event" and e["appId"] == f"/{name}"]
    assert [state for state in states if state != "TASK_STARTING"] == ["TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"]
    update = next(e for e in events if e["eventType"] == "status_update_event" and e["appId"] == f"/{name}")
    assert update["taskId"] == task
    assert update.keys() >= {"slaveId", "message", "host", "ipAddresses", "ports", "version", "timestamp"}
    health = [e for e in events if e["eventType"] == "health_status_changed_event" and e["appId"] == f"/{name}"]
    assert [(e["alive"], e["instanceId"]) for e in health] == [(True, instance_of(task))]
    steps = {e["eventType"] for e in events if plan_apps(e) == {f"/{name}"}}
    assert steps == {"deployment_info", "deployment_step_success", "deployment_success"}


def plan_apps(event: dict[str, Any]) -> set[str]:
    return {action["app"] for step in event.get("plan", {}).get("steps", []) for action in step["actions"]}


def test_only_single_app_writes_are_posted(marathon: Marathon, name: str) -> None:
    with marathon.events("api_post_event") as events:
        marathon.deploy(web_app(name, 0))
        marathon.put(f"/v2/apps/{name}", {"instances": 1})
        marathon.settled()
        marathon.put("/v2/apps", [{"id": f"/{name}", "mem": 40}])
        marathon.settled()
        marathon.post(f"/v2/apps/{name}/restart")
        marathon.settled()
        marathon.post("/v2/tasks/delete?scale=true", {"ids": [marathon.tasks(f"/{name}")[0]["id"]]})
        marathon.settled()
        marathon.call("PATCH", f"/v2/apps/{name}", {"mem": 41})
        until(lambda: [e for e in events if e.get("appDefinition", {}).get("mem") == 41])
    mine = [e for e in events if e.get("appDefinition", {}).get("id") == f"/{name}"]
    assert [e["uri"] for e in mine] == ["/v2/apps", f"/v2/apps/{name}", f"/v2/apps/{name}"]


def test_filter_passes_only_the_listed_types(marathon: Marathon, name: str) -> None:
    with marathon.events("deployment_success", "status_update_event") as events:
        marathon.deploy(web_app(name))
        until(lambda: [e for e in events if e["eventType"] == "deployment_success" and plan_apps(e) == {f"/{name}"}])
    assert {e["eventType"] for e in events} == {"event_stream_attached", "deployment_success", "status_update_event"}


@pytest.mark.sandbox_only
def test_change_of_leader_ends_streams_and_forgets_health(server: Any, name: str) -> None:
    marathon = Marathon(server("--health-delay", "0.1", "--offer-delay", "0.05").marathon_url)
    marathon.deploy(web_app(name, health={"intervalSeconds": 2}))
    stream = marathon.get("/v2/events", headers={"Accept": "text/event-stream"}, stream=True)
    reply = marathon.delete("/v2/leader")
    assert reply.json() == {"message": "Leadership abdicated"}
    assert marathon.tasks(f"/{name}")[0]["healthCheckResults"] == []
    assert b"event_stream_attached" in b"".join(stream.iter_lines())
    until(lambda: marathon.app(f"/{name}")["tasksHealthy"] == 1)
