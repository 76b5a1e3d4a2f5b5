"""The paths of a DC/OS master: services behind prefixes, Mesos state, logs."""

from __future__ import annotations

from typing import Any

import pytest

from contract.client import Client, Marathon, Metronome, Sandbox, until, web_app


@pytest.fixture
def master(sandbox: Sandbox) -> Client:
    return Client(sandbox.cluster_url)


def finished_task(metronome: Metronome, name: str, command: str) -> str:
    """Runs a job to its end. Returns the id of its task."""
    metronome.create({"id": name, "run": {"cmd": command, "cpus": 0.01, "mem": 32, "disk": 0}})
    metronome.post(f"/v1/jobs/{name}/runs")
    history = until(lambda: (h := metronome.history(name))["successCount"] + h["failureCount"] and h)
    runs = [*history["successfulFinishedRuns"], *history["failedFinishedRuns"]]
    return str(runs[0]["tasks"][0])


def test_version_is_that_of_an_open_cluster(master: Client) -> None:
    assert master.get("/dcos-metadata/dcos-version.json").json()["dcos-variant"] == "open"


@pytest.mark.parametrize("prefix", ["/service/marathon", "/marathon"])
def test_marathon_answers_behind_its_prefixes(master: Client, marathon: Marathon, name: str, prefix: str) -> None:
    marathon.deploy(web_app(name, 0))
    assert master.get(f"{prefix}/v2/apps/{name}").json()["app"]["id"] == f"/{name}"
    assert master.get(f"{prefix}/v2/none").status_code == 500
    assert master.get(f"{prefix}/ping").text == "pong"


def test_location_is_rewritten(master: Client, marathon: Marathon, name: str) -> None:
    reply = master.post("/service/marathon/v2/apps", web_app(name, 0))
    marathon.created.append(f"/{name}")
    assert reply.headers["Location"].removeprefix(master.url) == f"/service/marathon/{name}"
    root = master.get("/service/marathon/", allow_redirects=False)
    assert root.headers["Location"] == "/service/marathon/ui/"


def test_metronome_answers_behind_its_prefix(master: Client, metronome: Metronome, name: str) -> None:
    metronome.create({"id": name, "run": {"cmd": "true", "cpus": 0.01, "mem": 32, "disk": 0}})
    assert master.get(f"/service/metronome/v1/jobs/{name}").json()["id"] == name
    unknown = master.get("/service/metronome/v1/none")
    assert (unknown.status_code, unknown.json()["requestPath"]) == (404, "/v1/none")


def test_unknown_service_is_a_text_404(master: Client) -> None:
    reply = master.get("/service/none/v2/apps")
    assert (reply.status_code, reply.text) == (404, "404 Not Found: service not found.")
    assert reply.headers["Content-Type"].startswith("text/plain")


def test_service_without_slash_is_a_redirect(master: Client) -> None:
    reply = master.get("/service/marathon", allow_redirects=False)
    assert (reply.status_code, reply.headers["Location"]) == (301, "/service/marathon/")


def test_events_stream_through_the_master(sandbox: Sandbox, marathon: Marathon, name: str) -> None:
    with Marathon(f"{sandbox.cluster_url}/service/marathon").events("api_post_event") as events:
        marathon.deploy(web_app(name, 0))
        until(lambda: [e for e in events if e.get("appDefinition", {}).get("id") == f"/{name}"])


def test_finished_task_is_found_in_mesos_state(master: Client, metronome: Metronome, name: str) -> None:
    task_id = finished_task(metronome, name, "exit 3")
    frameworks = master.get("/mesos/master/state").json()["frameworks"]
    completed = [task for framework in frameworks for task in framework["completed_tasks"] if task["id"] == task_id]
    assert [task["state"] for task in completed] == ["TASK_FAILED"]
    agents = {agent["id"] for agent in master.get("/mesos/master/slaves").json()["slaves"]}
    assert completed[0]["slave_id"] in agents
    assert completed[0]["executor_id"] == ""


def test_end_of_a_task_has_its_message_in_the_operator_api(master: Client, metronome: Metronome, name: str) -> None:
    task_id = finished_task(metronome, name, "exit 3")
    found = master.post("/mesos/api/v1", {"type": "GET_TASKS"}).json()["get_tasks"]["completed_tasks"]
    statuses = next(task["statuses"] for task in found if task["task_id"]["value"] == task_id)
    assert statuses[-1]["state"] == "TASK_FAILED"
    assert statuses[-1]["message"].endswith("exited with status 3")


def test_running_task_is_found_in_mesos_state(master: Client, marathon: Marathon, name: str) -> None:
    task_id = marathon.deploy(web_app(name))["tasks"][0]["id"]
    frameworks = {framework["name"]: framework for framework in master.get("/mesos/master/state").json()["frameworks"]}
    states = {task["id"]: task["state"] for task in frameworks["marathon"]["tasks"]}
    assert states[task_id] == "TASK_RUNNING"


def test_log_is_read_by_lines_through_a_redirect_to_the_agent(master: Client, metronome: Metronome, name: str) -> None:
    task_id = finished_task(metronome, name, "for i in 1 2 3 4; do echo line $i; done; echo oops >&2")
    path = f"/system/v1/logs/v2/task/{task_id}"
    redirect = master.get(f"{path}/file/stdout?cursor=END&skip=-2", allow_redirects=False)
    assert redirect.status_code == 303
    assert redirect.headers["Location"].startswith("/system/v1/agent/")
    assert master.get(f"{path}/file/stdout?cursor=END&skip=-2").text == "line 3\nline 4\n"
    assert master.get(f"{path}/file/stdout?cursor=BEG&skip=1&limit=2").text == "line 2\nline 3\n"
    assert master.get(f"{path}?cursor=7").text == "line 2\nline 3\nline 4\n"
    assert master.get(f"{path}/file/stderr").text == "oops\n"
    assert master.get(f"{path}/file/stdout?cursor=END").status_code == 204
    assert master.get(f"{path}/file/none").status_code == 204
    unknown = master.get("/system/v1/logs/v2/task/none")
    assert unknown.status_code == 500
    assert unknown.text.startswith("unable to get canonical task ID")


def test_sandbox_is_read_through_the_files_api(master: Client, metronome: Metronome, name: str) -> None:
    task_id = finished_task(metronome, name, "echo hello; echo more > file.txt")
    frameworks = master.get("/mesos/master/state").json()["frameworks"]
    task: dict[str, Any] = next(t for f in frameworks for t in f["completed_tasks"] if t["id"] == task_id)
    container = task["statuses"][0]["container_status"]["container_id"]["value"]
    place = f"/frameworks/{task['framework_id']}/executors/{task_id}/runs/{container}"
    agent = f"/agent/{task['slave_id']}/files"
    directory = next(path for key, path in master.get(f"{agent}/debug").json().items() if place in key)
    files = {entry["path"].rsplit("/", 1)[1]: entry for entry in master.get(f"{agent}/browse?path={directory}").json()}
    assert files.keys() == {"file.txt", "stdout", "stderr"}
    assert files["stdout"]["size"] == 6
    stdout = files["stdout"]["path"]
    assert master.get(f"{agent}/read?path={stdout}&offset=-1").json() == {"data": "", "offset": 6}
    assert master.get(f"{agent}/read?path={stdout}&offset=9").json() == {"data": "", "offset": 6}, "the file's size"
    assert master.get(f"{agent}/read?path={stdout}&offset=1&length=3").json() == {"data": "ell", "offset": 1}
    assert master.get(f"{agent}/download?path={stdout}").content == b"hello\n"
    assert master.get(f"{agent}/read?path={directory}/../../../etc/passwd").status_code == 404
    assert master.get(f"{agent}/browse?path=/etc").status_code == 404


def test_job_finds_bgci_and_its_own_directory(master: Client, metronome: Metronome, name: str) -> None:
    task_id = finished_task(metronome, name, "which bgci; env | sort; pwd")
    log = master.get(f"/system/v1/logs/v2/task/{task_id}").text
    assert log.splitlines()[0].endswith("/bgci")
    assert f"MESOS_TASK_ID={task_id}" in log
    names = {line.split("=")[0] for line in log.splitlines() if "=" in line}
    assert names >= {"PATH", "HOME", "LANG", "MESOS_SANDBOX", "MESOS_TASK_ID"}
    assert not any(other in log for other in ("PYTEST_CURRENT_TEST", "VIRTUAL_ENV"))
