"""The HTTP session: retries, messages, and the destinations of credentials."""

from __future__ import annotations

import gzip
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bgci import interruption
from bgci.dcos import http as http_module
from bgci.dcos.credentials import Token
from bgci.dcos.http import LONGEST, Http
from bgci.dcos.http_address import origin
from bgci.dcos.http_body import read_body
from bgci.dcos.http_failure import HttpFailure
from bgci.dcos.idle_probe import answers_ok, timed
from bgci.dcos.login import Login
from bgci.errors import AbortedError, DeniedError, UnavailableError, UsageError
from bgci.interruption import signals


def quick(url: str, **settings: Any) -> Http:
    return Http(url, **{"backoff": 0.01, "name": "Marathon", **settings})


TOKEN = Login(Token("s3cret"), Http("http://unused"))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("method", ["get", "put", "delete"])
@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_temporary_fault_is_retried(stub, answer, method, status):
    stub.tell(method.upper(), "/x", answer(status, "<h1>busy</h1>", "text/html"), answer(200, {"ok": 1}))
    assert getattr(quick(stub.url), method)("/x") == {"ok": 1}
    assert len(stub.asked) == 2


def test_a_get_is_retried_after_a_cut_connection(stub, answer):
    stub.tell("GET", "/x", answer(cut=True), answer(200, [1]))
    assert quick(stub.url).get("/x") == [1]


@pytest.mark.parametrize("body", ["", '{"apps": ['])
def test_a_request_is_repeated_once_after_an_answer_without_usable_json(stub, answer, body):
    stub.tell("GET", "/x", answer(200, body, "text/plain"), answer(200, {"ok": 1}))
    assert quick(stub.url).get("/x") == {"ok": 1}


def test_a_request_to_a_busy_service_is_retried_until_the_limit(stub, answer):
    stub.tell("GET", "/x", *[answer(503)] * 5, answer(200, {"ok": 1}))
    assert quick(stub.url, retries=1, retry_for=20).get("/x") == {"ok": 1}


def test_no_request_is_repeated_after_the_deadline(stub, answer):
    stub.tell("GET", "/x", answer(503))
    with interruption.within(5), pytest.raises(UnavailableError, match="answers 503"):
        quick(stub.url, backoff=60).get("/x")
    assert len(stub.asked) == 1


@pytest.mark.parametrize("fault", ["cut", "503"])
def test_a_post_with_an_unknown_result_is_not_repeated(stub, answer, fault):
    stub.tell("POST", "/x", answer(cut=True) if fault == "cut" else answer(503), answer(200))
    with pytest.raises(UnavailableError, match="effect of the POST is unknown"):
        quick(stub.url).post("/x", json={})
    assert len(stub.asked) == 1


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize("method", ["post", "put", "delete"])
def test_h67_a_step_of_a_release_is_sent_once(stub, answer, method, status):
    """The engine decides the step again after a new observation."""
    stub.tell(method.upper(), "/x", answer(status), answer(200))
    with pytest.raises(UnavailableError, match=f"answers {status}"):
        getattr(quick(stub.url, retry_for=20).once(), method)("/x")
    assert len(stub.asked) == 1


def test_a_post_that_was_refused_for_its_rate_is_repeated(stub, answer):
    stub.tell("POST", "/x", answer(429), answer(201, {"id": "/x"}))
    assert quick(stub.url).post("/x", json={"a": 1}) == {"id": "/x"}
    assert [asked.body for asked in stub.asked] == [{"a": 1}] * 2


def test_a_post_to_a_port_that_opens_late_is_repeated(monkeypatch):
    """The connection was refused, so nothing was carried out."""
    port = free_port()
    refused = threading.Event()

    def pausing(seconds: float) -> None:
        """Called whenever Http waits before the next try."""
        refused.set()
        interruption.pause(seconds)

    monkeypatch.setattr(http_module, "pause", pausing)

    def open_late() -> None:
        assert refused.wait(5)
        with socket.create_server(("127.0.0.1", port)) as listener:
            listener.settimeout(5)
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")

    thread = threading.Thread(target=open_late)
    thread.start()
    assert quick(f"http://127.0.0.1:{port}", backoff=0.2).post("/x") == {}
    thread.join()


def test_a_post_never_risks_an_idle_connection_that_the_server_is_about_to_drop(stub):
    stub.json("/x", 1)
    stub.json("/x", 1, method="POST")
    http = quick(stub.url)
    http.get("/x")
    http.get("/x")
    http.post("/x")
    first, second, posted = [asked.connection for asked in stub.asked]
    assert first == second != posted


def test_a_refused_connection_names_url_cause_and_remedy():
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UnavailableError) as caught:
        quick(url, retries=1).get("/v2/apps")
    assert caught.value.message == f"Marathon cannot be reached at {url}/v2/apps: the connection is refused."
    assert caught.value.remedy


def test_an_unknown_host_is_reported():
    with pytest.raises(UnavailableError, match="its name cannot be resolved"):
        quick("http://no-such-host.invalid", retries=0).get("/")


def test_h23_a_server_that_never_answers_ends_with_a_timeout(stub, answer):
    release = threading.Event()
    stub.tell("GET", "/x", answer(hold=release))
    with pytest.raises(UnavailableError, match=r"no answer within 0\.2 s"):
        quick(stub.url, retries=1, read_timeout=0.2).get("/x")
    release.set()
    assert len(stub.asked) == 2


def test_retry_after_is_honoured(stub, answer, monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr(http_module, "pause", slept.append)
    stub.tell("GET", "/x", answer(503, headers={"Retry-After": "7"}), answer(200, {}))
    quick(stub.url).get("/x")
    assert slept == [7.0]


def test_an_absurd_retry_after_is_capped(stub, answer, monkeypatch):
    slept: list[float] = []
    http = quick(stub.url, retries=1)
    monkeypatch.setattr(http_module, "pause", slept.append)
    stub.tell("GET", "/x", answer(503, headers={"Retry-After": "86400"}))
    with pytest.raises(UnavailableError, match="answers 503"):
        http.get("/x")
    assert slept == [30.0]


@contextmanager
def signal_once(ready: Callable[[], bool]) -> Iterator[None]:
    """Inside, signals are noted; this process gets a SIGTERM as soon as it is ready for it."""

    def send() -> None:
        while not ready():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    with interruption.noted_signals():
        sender = threading.Thread(target=send)
        sender.start()
        yield
        sender.join()


def test_h62_a_signal_ends_the_pause_before_the_next_try(stub, answer, monkeypatch):
    stub.tell("GET", "/x", answer(503))
    monkeypatch.setattr(http_module, "MAX_PAUSE", LONGEST)
    with signal_once(lambda: bool(stub.asked)), pytest.raises(AbortedError):
        quick(stub.url, backoff=LONGEST - 1).get("/x")
    assert len(stub.asked) == 1


def test_h62_a_signal_ends_a_request_and_the_rollback_has_another_session(stub, answer):
    release = threading.Event()
    stub.tell("GET", "/x", answer(hold=release), answer(200, {}))
    http = quick(stub.url)
    held = http._sessions.current
    with signal_once(lambda: bool(stub.asked)):
        with pytest.raises(AbortedError):
            http.below("").get("/x")
        assert http._sessions.current is not held, "its thread may hold its locks"
        assert http.get("/x") == {}
        release.set()


def test_h62_a_change_that_is_answered_just_after_the_signal_is_completed(stub, answer, monkeypatch):
    release, answered = threading.Event(), []
    stub.tell("POST", "/x", answer(200, {}, hold=release))
    monkeypatch.setattr(http_module, "SETTLE", 60.0)
    wait = signals._wait

    def watched(seconds, reader=None):
        if signals._taken:  # the signal has come, and the answer is waited for all the same
            release.set()
        wait(seconds, reader)

    def noted(response, over):
        read_body(response, over)
        answered.append(response.status_code)

    monkeypatch.setattr(signals, "_wait", watched)
    monkeypatch.setattr(http_module, "read_body", noted)
    with signal_once(lambda: bool(stub.asked)), pytest.raises(AbortedError):
        quick(stub.url).post("/x")
    assert answered == [200]


@pytest.mark.parametrize(("harmless", "settle"), [(True, 0.0), (False, interruption.SETTLE)])
def test_only_a_change_may_finish_after_a_signal(stub, answer, monkeypatch, harmless, settle):
    settled = []

    def noted(work, limit, *, settle):
        settled.append(settle)
        return work()

    monkeypatch.setattr(http_module, "call", noted)
    stub.tell("POST", "/x", answer(200, {}))
    quick(stub.url).request("POST", "/x", harmless=harmless)
    assert settled == [settle]


def test_an_answer_that_arrives_slowly_ends_at_the_time_limit():
    with trickling(b"x") as url, pytest.raises(UnavailableError, match=r"not complete within 0\.5 s"):
        quick(url, connect_timeout=0.1, read_timeout=0.2).get("/")


def test_headers_that_arrive_slowly_end_at_the_time_limit():
    server = trickling(b"X-More: 1\r\n", head=b"HTTP/1.1 200 OK\r\n")
    with server as url, pytest.raises(UnavailableError, match=r"not complete within 0\.5 s"):
        quick(url, connect_timeout=0.1, read_timeout=0.2).get("/")


def test_a_request_has_a_limit_together_with_its_login():
    seen = []
    with trickling(b"x") as url, pytest.raises(UnavailableError, match=r"not complete within 0\.5 s"):
        quick(url, connect_timeout=0.1, read_timeout=0.2, auth=Recorder(seen)).get("/")
    assert 0 < seen[0] <= LONGEST


class Recorder:
    """Records the time that is left when a login would be made."""

    def __init__(self, seen: list[float]) -> None:
        self.seen = seen

    def __call__(self, headers: dict[str, str]) -> None:
        self.seen.append(interruption.left())


def test_no_thread_reads_an_answer_after_its_request_was_abandoned(monkeypatch):
    problems, ended = [], threading.Event()

    def noted(response, over):
        try:
            read_body(response, over)
        except Exception as problem:
            problems.append(problem)
        ended.set()

    monkeypatch.setattr(http_module, "read_body", noted)
    with trickling(b"x" * 70_000, head=b"HTTP/1.1 200 OK\r\n\r\n") as url:
        with pytest.raises(UnavailableError, match=r"not complete within 0\.5 s"):
            quick(url, connect_timeout=0.1, read_timeout=0.2).get("/")
        assert ended.wait(60)
    assert problems == []  # otherwise it is read until it is too large


@contextmanager
def trickling(part: bytes, head: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n") -> Iterator[str]:
    """The URL of a server that sends a part of its answer every 20 ms, until nobody reads it any more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(head)
                while not over.wait(0.02):
                    connection.sendall(part)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_larger_than_the_limit_is_refused(stub, answer, packed):
    body = b" " * ((16 << 20) + 1)
    headers = {"Content-Encoding": "gzip"} if packed else {}
    stub.tell("GET", "/x", answer(200, gzip.compress(body, 1) if packed else body, headers=headers))
    with pytest.raises(UnavailableError, match="its answer is longer than 16 MiB"):
        quick(stub.url).get("/x")
    assert len(stub.asked) == 1


def test_a_compressed_answer_is_decoded(stub, answer):
    stub.tell("GET", "/x", answer(200, gzip.compress(b"[1]"), headers={"Content-Encoding": "gzip"}))
    assert quick(stub.url).get("/x") == [1]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[" * 100_000, "nested too deep"),
        (b"[" + b"1," * 250_001 + b"1]", "more than 250000 values"),
        (b'{"instances": NaN}', "NaN is not a number"),
        (b'{"instances": 1e999}', "1e999 is not a number"),
    ],
    ids=["deep", "many", "nan", "infinite"],
)
def test_json_that_cannot_be_used_is_refused(stub, answer, body, why):
    stub.tell("GET", "/x", answer(200, body))
    with pytest.raises(UnavailableError, match=f"unusable JSON: .*{why}"):
        quick(stub.url).get("/x")


@pytest.mark.parametrize("location", ["http://[", "http://127.0.0.1:999999/", "http://user:word@host/"])
def test_a_redirect_to_an_invalid_address_is_refused(stub, answer, location):
    stub.tell("GET", "/x", answer(302, headers={"Location": location}))
    with pytest.raises(UnavailableError, match="is redirected to"):
        quick(stub.url).get("/x")


@pytest.mark.parametrize(
    ("kind", "body"), [("text/html", "<html>a portal</html>"), ("application/json", b"{"), ("text/plain", "pong")]
)
def test_an_answer_that_is_not_json_has_the_remedy_to_check_the_url(stub, answer, kind, body):
    stub.tell("GET", "/x", answer(200, body, kind))
    with pytest.raises(UnavailableError) as caught:
        quick(stub.url).get("/x")
    assert caught.value.remedy == f"Is {stub.url} the URL of Marathon?"


def test_an_empty_answer_is_none(stub, answer):
    stub.tell("DELETE", "/x", answer(204))
    assert quick(stub.url).delete("/x") is None


def test_a_login_page_in_html_is_a_denial(stub, answer):
    stub.tell("GET", "/x", answer(401, "<html><body>401 Authorization Required</body></html>", "text/html"))
    with pytest.raises(DeniedError) as caught:
        quick(stub.url, auth=TOKEN).get("/x")
    assert "BGCI_TOKEN" in caught.value.remedy
    assert "s3cret" not in str(caught.value)


def test_a_missing_permission_names_the_path(stub, answer):
    stub.tell("PUT", "/service/marathon/v2/apps/web", answer(403, "<html>403</html>", "text/html"))
    with pytest.raises(DeniedError, match="PUT /service/marathon/v2/apps/web at Marathon"):
        quick(stub.url).put("/service/marathon/v2/apps/web", json={})


def test_other_error_statuses_are_returned_to_the_caller(stub, answer):
    body = {"message": "Object is not valid", "details": [{"path": "/cpus", "errors": ["too small", "no"]}]}
    stub.tell("POST", "/x", answer(422, body))
    with pytest.raises(HttpFailure) as caught:
        quick(stub.url).post("/x")
    assert (caught.value.status, caught.value.message) == (422, "Object is not valid")
    assert caught.value.details == ["/cpus: too small", "/cpus: no"]
    assert caught.value.is_api


def test_the_text_of_an_html_failure_is_kept_without_its_markup(stub, answer):
    page = "<html><style>p{}</style><body>\n<h1>500</h1> Oops</body></html>"
    stub.tell("GET", "/x", answer(500, page, "text/html"))
    with pytest.raises(HttpFailure) as caught:
        quick(stub.url).get("/x")
    assert caught.value.body == "500 Oops"
    assert not caught.value.is_api


def test_a_redirect_on_the_same_host_keeps_the_credentials(stub, answer):
    stub.tell("GET", "/a", answer(303, headers={"Location": "/b?cursor=1"}))
    stub.json("/b", {"here": True})
    assert quick(stub.url, auth=TOKEN).get("/a", params=[("old", "1")]) == {"here": True}
    assert stub.asked[1].headers["authorization"] == "token=s3cret"
    assert stub.asked[1].query == [("cursor", "1")]


def test_a_redirect_to_another_host_loses_the_credentials(stub, other, answer):
    stub.tell("GET", "/a", answer(302, headers={"Location": f"{other.url}/b", "Set-Cookie": "dcos-acs-auth-cookie=s3"}))
    other.tell("GET", "/b", answer(302, headers={"Location": f"{other.url}/c"}))
    other.json("/c", 1)
    quick(stub.url, auth=TOKEN).get("/a")
    assert len(other.asked) == 2
    for asked in other.asked:
        assert not {"authorization", "cookie"} & set(asked.headers)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("form", ["{url}/b", "//{host}/b", "/way"])
def test_a_redirect_of_any_form_never_sends_the_credentials_to_another_host(stub, other, answer, status, form):
    """``other`` is another port of the same host; it redirects to where we began."""
    where = form.format(url=other.url, host=other.url.partition("//")[2])
    stub.tell("GET", "/a", answer(status, headers={"Location": where}))
    stub.tell("GET", "/way", answer(status, headers={"Location": f"{other.url}/b"}))
    other.tell("GET", "/b", answer(status, headers={"Location": f"{stub.url}/c"}))
    stub.json("/c", 1)
    quick(stub.url, auth=TOKEN).get("/a")
    ours = {asked.path: asked.headers.get("authorization") for asked in stub.asked}
    assert ours.pop("/c") is None
    assert set(ours.values()) == {"token=s3cret"}
    assert [asked.headers.get("authorization") for asked in other.asked] == [None]


def test_another_name_of_the_host_and_another_scheme_are_another_address():
    urls = ["https://dcos", "http://dcos", "https://dcos:8443", "https://dcos.", "https://10.0.0.1"]
    assert len({origin(url) for url in urls}) == len(urls)
    assert origin("https://DCOS:443/x") == origin("https://dcos")


def test_the_login_of_a_proxy_goes_to_the_proxy_only(stub, other, answer, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, stub.url.replace("//", "//joe:pr0xy-pw@"))
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    stub.tell("GET", "/a", answer(302, headers={"Location": f"{other.url}/b"}))
    other.json("/b", 1)
    assert quick("http://cluster.example").get("/a") == 1
    assert stub.asked[0].headers["proxy-authorization"] == "Basic am9lOnByMHh5LXB3"
    assert "proxy-authorization" not in other.asked[0].headers


def test_a_login_requested_by_another_host_is_refused_with_the_reason(stub, other, answer):
    stub.tell("GET", "/a", answer(301, headers={"Location": f"{other.url}/a"}))
    other.tell("GET", "/a", answer(401, "<html>", "text/html"))
    with pytest.raises(DeniedError) as caught:
        quick(stub.url, auth=TOKEN).get("/a")
    assert f"only to {stub.url}" in caught.value.remedy


def test_a_write_is_never_redirected(stub, other, answer):
    stub.tell("POST", "/a", answer(307, headers={"Location": f"{other.url}/a"}))
    with pytest.raises(UnavailableError, match=f"redirected to {other.url}/a"):
        quick(stub.url).post("/a", json={})
    assert not other.asked


def test_a_redirect_in_circles_ends(stub, answer):
    stub.tell("GET", "/a", answer(302, headers={"Location": "/a"}))
    with pytest.raises(UnavailableError, match="redirects more than"):
        quick(stub.url).get("/a")


def test_a_netrc_file_is_not_read(stub, tmp_path, monkeypatch):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    stub.json("/x", 1)
    quick(stub.url, auth=TOKEN).get("/x")
    quick(stub.url).get("/x")
    assert [asked.headers.get("authorization") for asked in stub.asked] == ["token=s3cret", None]
    assert answers_ok(f"{stub.url}/x")
    assert timed(f"{stub.url}/x") is not None
    assert [asked.headers.get("authorization") for asked in stub.asked[2:]] == [None, None]


@pytest.mark.parametrize("bad", ["s3cret\nX: y", "s3cret\u2028"])
def test_a_token_that_cannot_be_a_header_is_not_shown(stub, bad):
    with pytest.raises(DeniedError) as caught:
        quick(stub.url, auth=Login(Token(bad), Http("http://unused"))).get("/x")
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("url", ["marathon:8080", "ftp://host", "http://", "http://host:port", ""])
def test_an_invalid_url_is_a_usage_error(url):
    with pytest.raises(UsageError):
        Http(url)


def test_credentials_in_a_url_are_refused_and_not_shown():
    with pytest.raises(UsageError) as caught:
        Http("https://me:s3cret@host")
    assert "s3cret" not in str(caught.value)


def test_below_differs_only_in_the_base_url(stub):
    stub.json("/service/marathon/v2/info", {})
    quick(stub.url, auth=TOKEN).below("/service/marathon/", name="M").get("/v2/info")
    assert stub.asked[0].headers["authorization"] == "token=s3cret"


@pytest.fixture
def tls(stub, tmp_path) -> tuple[str, Path]:
    """The stub behind a self-signed certificate: its URL and the certificate."""
    pem, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(pem)]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject, *files],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    stub.server.socket = context.wrap_socket(stub.server.socket, server_side=True)
    stub.server.handle_error = lambda *_: None  # a client that turns away in the handshake is expected here
    stub.json("/x", 1)
    return f"https://127.0.0.1:{stub.port}", pem


def test_an_unknown_certificate_is_refused_at_once_and_names_the_flag(tls, stub):
    with pytest.raises(UnavailableError, match="its certificate is not trusted") as caught:
        quick(tls[0], backoff=30).get("/x")
    assert "--ca-cert" in caught.value.remedy
    assert not stub.asked


def test_the_given_ca_is_trusted_whatever_the_environment_says(tls, tmp_path, monkeypatch):
    empty = tmp_path / "empty.pem"
    empty.touch()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(empty))
    assert quick(tls[0], ca_cert=str(tls[1])).get("/x") == 1
    assert quick(tls[0], insecure=True).get("/x") == 1


def test_https_to_a_plain_port_suggests_http(stub):
    with pytest.raises(UnavailableError) as caught:
        quick(stub.url.replace("http:", "https:"), backoff=30).get("/x")
    assert "http://" in caught.value.remedy


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_that_is_not_a_ca_is_a_usage_error(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    with pytest.raises(UsageError, match=r"ca\.pem"):
        Http("https://host", ca_cert=str(path))
