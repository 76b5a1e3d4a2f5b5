"""Requests that change nothing, and the interpretation of their answers."""

from __future__ import annotations

import socket
import time
import uuid
from email.utils import formatdate

import pytest
from hostile.cluster import Cluster
from hostile.tls import CERTIFICATES

from bgci import interruption
from bgci.dcos import examine
from bgci.dcos.http import Http
from bgci.dcos.marathon import Marathon
from bgci.dcos.marathon_lb import About, LoadBalancer
from bgci.dcos.metronome import Metronome
from bgci.errors import UnavailableError

NOBODY = uuid.UUID("00000000-0000-4000-8000-000000000000")
FORBIDDEN = "<html><h1>403 Forbidden</h1></html>"


@pytest.fixture
def http(stub):
    return Http(stub.url, backoff=0.01, retries=1)


@pytest.fixture(autouse=True)
def _no_chance(monkeypatch):
    monkeypatch.setattr("uuid.uuid4", lambda: NOBODY)


TASK = f"/v2/apps/team/web-blue/tasks/team_web-blue.{NOBODY}"
JOB = f"/v1/jobs/team.bgci-doctor-{NOBODY.hex}"


@pytest.mark.parametrize(
    ("status", "body", "kind", "may"),
    [
        (404, {"message": "Task 'x' does not exist"}, "application/json", True),
        (403, {"message": "Not Authorized to perform this action!"}, "application/json", False),
        (403, FORBIDDEN, "text/html", None),  # the router's: nothing is known of Marathon's own permission
        (404, "404 Not Found: service not found.", "text/plain", None),
        (400, {"message": "Invalid task id"}, "application/json", None),
        (200, {"task": {}}, "application/json", None),
    ],
)
def test_permission_to_change_an_app_is_probed_by_killing_an_impossible_task(
    stub, http, answer, status, body, kind, may
):
    stub.tell("DELETE", TASK, answer(status, body, kind))
    assert examine.may_update_app(Marathon(http), "/team/web-blue") is may
    (asked,) = stub.asked
    assert asked.query == []  # above all not scale=true


@pytest.mark.parametrize(("status", "may"), [(404, True), (403, False), (422, None)])
def test_permission_to_change_jobs_is_probed_by_changing_an_impossible_job(stub, http, status, may):
    stub.json(JOB, {"message": "Job not found"}, status, "PUT")
    assert examine.may_update_jobs(Metronome(http), "/team/web") is may
    (asked,) = stub.asked
    assert asked.method == "PUT"
    assert asked.body["id"] == JOB.rpartition("/")[2]


def test_at_the_root_the_impossible_job_is_at_the_root(stub, http):
    stub.json(f"/v1/jobs/bgci-doctor-{NOBODY.hex}", {"message": "Job not found"}, 404, "PUT")
    assert examine.may_update_jobs(Metronome(http), "/web") is True


@pytest.mark.parametrize(
    ("status", "body", "kind", "through"),
    [
        (200, "pong", "text/plain", True),
        (404, "no such agent", "text/plain", True),
        (500, "unable to get canonical task ID", "text/plain", True),
        (403, {"message": "the service's own"}, "application/json", None),
        (403, FORBIDDEN, "text/html", False),
        (401, FORBIDDEN, "text/html", None),
        (503, "caches are empty", "text/plain", None),
    ],
)
def test_access_through_the_admin_router_is_recognised_by_its_answer(stub, http, answer, status, body, kind, through):
    stub.tell("GET", "/x", answer(status, body, kind))
    assert examine.answers(http, "/x") is through


def test_a_secret_is_found_in_the_list_of_its_folder_without_reading_its_value(stub, http):
    stub.json("/secrets/v1/secret/default/team", {"array": ["sa", "db/password"]})
    assert examine.secret_there(http, "team/sa") is True
    assert examine.secret_there(http, "team/other") is False
    assert examine.secrets_listed(http, "team/sa") is True
    assert {(asked.path, *asked.query) for asked in stub.asked} == {
        ("/secrets/v1/secret/default/team", ("list", "true"))
    }


def test_without_permission_to_list_the_secret_itself_is_requested(stub, http):
    stub.json("/secrets/v1/secret/default/team", {}, 403)
    assert examine.secrets_listed(http, "team/sa") is False
    assert examine.secret_there(http, "team/sa") is False  # 404
    stub.json("/secrets/v1/secret/default/team/sa", {"value": "hush"})
    assert examine.secret_there(http, "team/sa") is True
    stub.json("/secrets/v1/secret/default/team/sa", {}, 403)
    assert examine.secret_there(http, "team/sa") is None


def test_a_failing_secret_store_is_not_taken_for_a_missing_secret(stub, http):
    stub.json("/secrets/v1/secret/default/team", {"message": "sealed"}, 500)
    with pytest.raises(UnavailableError):
        examine.secret_there(http, "team/sa")


def test_permissions_of_an_account_include_those_of_its_groups(stub, http):
    entries = {
        "direct": [{"rid": "a:b", "actions": [{"name": "read", "url": "/x"}]}],
        "groups": [{"rid": "c:d", "actions": ["full"]}],
    }
    stub.json("/acs/api/v1/users/ci/permissions", entries)
    assert examine.own_permissions(http, "ci") == [("a:b", "read"), ("c:d", "full")]
    assert examine.own_permissions(http, "other") is None


def told(monkeypatch, http, headers):
    """A server that answers with these headers."""
    reply = type("Reply", (), {"headers": headers})
    monkeypatch.setattr(http, "request", lambda *_, **__: reply)


@pytest.mark.parametrize("ahead", [0, 100, -100])
def test_the_clock_is_compared_with_the_servers(http, monkeypatch, ahead):
    told(monkeypatch, http, {"Date": formatdate(time.time() - ahead, usegmt=True)})
    found = examine.clock_offset(http, "/x")
    assert found is not None
    offset, uncertain = found
    assert abs(offset - ahead) <= uncertain + 0.1


@pytest.mark.parametrize("headers", [{}, {"Date": "yesterday"}])
def test_a_server_without_a_date_has_no_clock_offset(http, monkeypatch, headers):
    told(monkeypatch, http, headers)
    assert examine.clock_offset(http, "/x") is None


def test_a_port_of_this_machine_that_does_not_speak_tls_is_named_also_beside_a_proxy(stub, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    with pytest.raises(UnavailableError, match="does not speak TLS"):
        examine.certificate_end(f"https://127.0.0.1:{stub.port}")


def test_a_handshake_that_never_ends_is_abandoned_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0)) as silent, interruption.within(0.1):
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnavailableError, match="does not speak TLS: no handshake in time"):
            examine.certificate_end(url)
        with pytest.raises(UnavailableError, match="no handshake in time"):
            examine.require_trusted(url, True)


@pytest.mark.parametrize("label", ["a certificate whose end is no date", "a certificate that ends in the year 0"])
def test_a_certificate_whose_end_is_not_readable_is_named(label):
    with Cluster() as cluster:
        cluster.answering("handshake", CERTIFICATES[label]())
        with pytest.raises(UnavailableError, match="without a readable date of expiry"):
            examine.certificate_end(f"https://127.0.0.1:{cluster.port}")


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_behind_a_proxy_the_end_of_the_certificate_is_unknown(monkeypatch, variable):
    monkeypatch.setenv(variable, "http://proxy.invalid:3128")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert examine.certificate_end("https://dcos.invalid") is None


@pytest.mark.parametrize(
    ("page", "pids", "about"),
    [
        ("<h1>HAProxy version 2.0.17, released 2020/07/31</h1>", "8 21", About("2.0.17", 0, False)),
        ("<h1>HAProxy version 2.6.12-1+deb12u4, released 2023</h1>", "8 21 34", About("2.6.12-1+deb12u4", 1, False)),
        ("", "8", About("", 0, True)),
    ],
)
def test_a_load_balancer_reports_its_version_and_its_workers(stub, answer, page, pids, about):
    csv = "# pxname,svname,status,\nstats,FRONTEND,OPEN,\n"
    stub.tell("GET", "/haproxy", answer(200, page, "text/html"), answer(200, csv, "text/plain"))
    stub.tell("GET", "/_haproxy_getpids", answer(200, pids, "text/plain"))
    assert LoadBalancer(stub.url).about() == about


@pytest.mark.parametrize(
    ("nbthread", "loads", "forking"),
    [
        (4, "/marathon-lb/getpids.lua", 4),
        (1, "/marathon-lb/getpids.lua", 1),
        (4, "/marathon-lb/getpids_proc.lua", 1),
        (4, "getpids.lua", 4),
    ],
)
def test_h64_forking_threads_are_derived_from_the_page_and_the_configuration(stub, answer, nbthread, loads, forking):
    page = f"<b>pid = </b> 21 (process #1, nbproc = 1, nbthread = {nbthread})<br>"
    csv = "# pxname,svname,status,\nstats,FRONTEND,OPEN,\n"
    stub.tell("GET", "/haproxy", answer(200, page, "text/html"), answer(200, csv, "text/plain"))
    stub.tell("GET", "/_haproxy_getpids", answer(200, "8 21", "text/plain"))
    config = f"global\n  nbthread {nbthread}\n  lua-load {loads}\n  lua-load /marathon-lb/getconfig.lua\n"
    stub.tell("GET", "/_haproxy_getconfig", answer(200, config, "text/plain"))
    assert LoadBalancer(stub.url).about().forking_threads == forking


def test_another_service_at_the_load_balancers_url_is_reported(stub, answer):
    stub.tell("GET", "/haproxy", answer(200, "<html>", "text/html"))
    with pytest.raises(UnavailableError, match="statistics"):
        LoadBalancer(stub.url).about()


def test_changing_an_app_sends_only_what_changes(stub, http):
    stub.json("/v2/apps/web", {"deploymentId": "d"}, method="PUT")
    Marathon(http).change("/web", {"labels": {"a": "b"}})
    (asked,) = stub.asked
    assert (asked.method, asked.body) == ("PUT", {"labels": {"a": "b"}})


def test_a_configuration_of_blank_lines_is_searched_in_linear_time(stub, answer):
    stub.tell("GET", "/_haproxy_getconfig", answer(200, "\n" * 4_000_000, "text/plain"))  # otherwise it takes hours
    with pytest.raises(UnavailableError, match="does not answer with HAProxy's configuration"):
        LoadBalancer(stub.url).config()
