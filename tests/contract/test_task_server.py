"""The options of the program of the tasks."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import requests

from contract.client import until

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def get(port: int) -> Callable[..., Any]:
    """The answer of the task; None while it does not listen."""

    def ask(path: str = "/", **options: Any) -> requests.Response | None:
        try:
            return requests.get(f"http://127.0.0.1:{port}{path}", timeout=10, **options)
        except requests.ConnectionError:
            return None

    return ask


def started(get: Callable[..., Any]) -> None:
    until(lambda: get("/idle") is not None)


@pytest.mark.parametrize(
    ("image", "text"),
    [("registry.local/httpd:2.4", "It works!"), ("nginx:1", "Welcome to nginx!"), ("team/web:7", "team/web:7 v1")],
)
def test_body_follows_the_image(task_server: Start, port: int, get: Any, image: str, text: str) -> None:
    task_server(port, MARATHON_APP_DOCKER_IMAGE=image, MARATHON_APP_VERSION="v1", MESOS_TASK_ID="t")
    started(get)
    assert text in get().text
    assert (get().headers["X-App-Version"], get().headers["X-Task-Id"]) == ("v1", "t")


def test_body_can_be_set(task_server: Start, port: int, get: Any) -> None:
    task_server(port, BGCI_SANDBOX_BODY="hello")
    started(get)
    assert get("/any/path?x=y").text == "hello"


def test_requests_choose_status_size_and_duration(task_server: Start, port: int, get: Any) -> None:
    task_server(port)
    started(get)
    assert get("/?status=418").status_code == 418
    assert get("/?bytes=100000").content == b"x" * 100000
    before = time.monotonic()
    get("/?sleep=0.3")
    assert time.monotonic() - before >= 0.3
    assert requests.post(f"http://127.0.0.1:{port}/", data="x" * 200000, timeout=10).status_code == 200
    assert get("/?status=nonsense").status_code == 400


def test_several_requests_use_one_connection(task_server: Start, port: int, get: Any) -> None:
    task_server(port)
    started(get)
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.connect()
        first = connection.sock
        for _ in range(2):
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read()), connection.sock) == (200, True, first)


def test_health_fails_by_setting(task_server: Start, port: int, get: Any) -> None:
    task_server(port, SANDBOX_HEALTH="fail")
    started(get)
    assert (get("/health").status_code, get("/").status_code) == (500, 200)


def test_root_as_health_path_is_a_check_only_without_a_user_agent(task_server: Start, port: int, get: Any) -> None:
    task_server(port, SANDBOX_HEALTH="fail", SANDBOX_HEALTH_PATH="/")
    started(get)
    assert get("/").status_code == 200
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 500")


def test_health_comes_late_by_setting(task_server: Start, port: int, get: Any) -> None:
    task_server(port, SANDBOX_HEALTH_AFTER="1")
    started(get)
    assert get("/health").status_code == 500
    until(lambda: get("/health").status_code == 200)


def test_share_of_requests_fails_but_never_the_health_check(task_server: Start, port: int, get: Any) -> None:
    task_server(port, SANDBOX_ERROR_SHARE="0.3")
    started(get)
    assert [get("/").status_code for _ in range(20)].count(500) == 6
    assert {get("/health").status_code for _ in range(10)} == {200}


def test_latency_is_added_to_every_page(task_server: Start, port: int, get: Any) -> None:
    task_server(port, SANDBOX_LATENCY="0.2")
    started(get)
    before = time.monotonic()
    get("/")
    assert time.monotonic() - before >= 0.2


def test_the_port_is_closed_before_the_end_of_the_start(task_server: Start, port: int, get: Any) -> None:
    before = time.monotonic()
    task_server(port, SANDBOX_START_SECONDS="0.5")
    started(get)
    assert time.monotonic() - before >= 0.5


def test_crash_ends_with_code_1(task_server: Start, port: int) -> None:
    assert task_server(port, SANDBOX_CRASH_AFTER="0.2").wait(timeout=20) == 1


def test_idle_is_503_while_a_request_runs(task_server: Start, port: int, get: Any) -> None:
    task_server(port)
    started(get)
    slow = threading.Thread(target=get, args=("/?sleep=1",))
    slow.start()
    until(lambda: get("/idle").status_code == 503)
    slow.join()
    assert get("/idle").status_code == 200


def test_sigterm_ends_the_task_at_once_and_cuts_the_request(task_server: Start, port: int, get: Any) -> None:
    process = task_server(port)
    started(get)
    answers: list[Any] = []
    slow = threading.Thread(target=lambda: answers.append(get("/?sleep=5")))
    slow.start()
    until(lambda: get("/idle").status_code == 503)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == -signal.SIGTERM
    slow.join()
    assert answers == [None]


def test_graceful_task_still_serves_after_sigterm(task_server: Start, port: int, get: Any) -> None:
    process = task_server(port, SANDBOX_STOP_SECONDS="1")
    started(get)
    process.send_signal(signal.SIGTERM)
    assert get("/").status_code == 200
    assert process.wait(timeout=10) == 0


def test_a_websocket_sends_each_message_back(task_server: Start, port: int, get: Any) -> None:
    task_server(port)
    started(get)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client, client.makefile("rb") as reader:
        key = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455, section 1.3
        asked = f"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        client.sendall(asked.encode())
        head = list(iter(reader.readline, b"\r\n"))
        assert head[0].startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
        long = b"x" * 300
        client.sendall(
            bytes([0x81, 0x85, 1, 2, 3, 4]) + bytes(b ^ m for b, m in zip(b"hello", b"\1\2\3\4\1", strict=True))
        )
        client.sendall(bytes([0x82, 0xFE]) + len(long).to_bytes(2, "big") + bytes(4) + long)
        client.sendall(bytes([0x88, 0x80, 0, 0, 0, 0]))
        expected = b"\x81\x05hello" + bytes([0x82, 126]) + len(long).to_bytes(2, "big") + long + b"\x88\x00"
        assert reader.read() == expected


def test_an_answer_reports_the_received_size_of_the_body(task_server: Start, port: int, get: Any) -> None:
    task_server(port)
    started(get)
    reply = requests.post(f"http://127.0.0.1:{port}/", data=b"x" * 70_000, timeout=10)
    assert reply.headers["X-Received"] == "70000"
