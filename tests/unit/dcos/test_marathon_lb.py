"""marathon-lb's statistics, read by their meaning."""

from __future__ import annotations

import socket
import time

import pytest

from bgci.dcos import marathon_lb
from bgci.dcos.haproxy_workers import older_workers
from bgci.dcos.marathon_lb import (
    Endpoint,
    LoadBalancer,
    ServerRow,
    backend_name,
    parse_stats,
    resolve_replicas,
)
from bgci.engine.observation import Replica, Server, Serving
from bgci.errors import UnavailableError, UsageError

CLASSIC = ["pxname", "svname", "qcur", "qmax", "scur", "smax", "stot", "status", "weight"]
UP, DOWN, MAINT, ABSENT = Serving.UP, Serving.DOWN, Serving.MAINT, Serving.ABSENT


def table(*rows, columns=CLASSIC):
    """A statistics CSV as HAProxy writes it. A row: backend, server, status, sessions, queued."""
    lines = ["# " + ",".join(columns) + ","]
    for backend, server, status, sessions, queued in rows:
        cells = {"pxname": backend, "svname": server, "status": status, "scur": str(sessions), "qcur": str(queued)}
        lines.append(",".join(cells.get(column, "") for column in columns) + ",")
    return "\n".join(lines) + "\n\n"


@pytest.fixture
def lb(stub, answer):
    """``lb(rows..., pids="1 2")`` tells the replica's state and returns its client."""
    client = LoadBalancer(stub.url)

    def tell(*rows, pids="8 21", columns=CLASSIC):
        stub.tell("GET", "/haproxy", answer(200, table(*rows, columns=columns), "text/plain"))
        stub.tell("GET", "/_haproxy_getpids", answer(200, pids, "text/plain"))
        return client

    return tell


def at(port, backend="web_10101", host="10.0.1.7", ips=()):
    return Endpoint(backend, host, ips, port)


ROW = ("web_10101", "10_0_1_7_31001", "UP", 2, 1)
DRAINED = ("web_10101", "10_0_1_7_31001", "MAINT", 0, 0)
TASK = {"t1": [at(31001)]}


def test_a_task_is_found_by_its_host_and_port(lb):
    replica = lb(ROW).read({"t1": [at(31001)], "t2": [at(31002)]})
    assert replica.problem == ""
    assert replica.servers == {"t1": Server(UP, 3), "t2": Server(ABSENT)}


def test_the_pids_are_read_after_the_statistics_and_never_through_a_kept_connection(lb, stub):
    lb(DRAINED).read(TASK)
    assert [asked.path for asked in stub.asked][-3:] == ["/haproxy", "/haproxy", "/_haproxy_getpids"]
    assert {asked.headers["connection"] for asked in stub.asked} == {"close"}


@pytest.mark.parametrize(
    ("page", "age"),
    [
        ("<b>pid = </b> 21 (process #1, nbproc = 1)<br>\n<b>uptime = </b> 1d 2h03m04s<br>", 93784.0),
        ("no such page", None),
    ],
    ids=["its own page", "unknown"],
)
def test_the_newest_worker_and_its_start_are_read_from_its_page(stub, answer, page, age):
    client = LoadBalancer(stub.url)
    csv, html = answer(200, table(ROW), "text/plain"), answer(200, page, "text/html")
    stub.tell("GET", "/haproxy", csv, html, csv, html)
    stub.tell("GET", "/_haproxy_getpids", answer(200, "8 21", "text/plain"))
    replica = client.read({})
    assert replica.worker == (21 if age else 0)
    assert replica.worker_started == (pytest.approx(time.time() - age, abs=5) if age else 0.0)


def test_servers_of_our_backends_that_are_not_our_tasks_are_listed_separately(lb):
    other, frontend = ("web_10101", "10_0_1_9_31009", "UP", 0, 0), ("web_10101", "BACKEND", "UP", 0, 0)
    elsewhere = ("shop_10105", "10_0_1_8_31001", "UP", 0, 0)
    replica = lb(ROW, other, frontend, elsewhere).read({"t1": [at(31001)]})
    assert replica.others == ("10_0_1_9_31009",)
    assert replica.worker == 0  # its page does not say


def test_h17_each_replica_is_read_by_the_header_of_its_own_statistics(lb):
    old = ["pxname", "svname", "status", "qcur", "scur"]
    new = ["pxname", "svname", "-", "scur", "ssl_sess", "weight", "qcur", "status"]
    idle = ("web_10101", "10_0_1_7_31001", "MAINT", 0, 0)
    assert lb(ROW, columns=old).read(TASK).servers == {"t1": Server(UP, 3)}
    assert lb(idle, columns=new).read(TASK).servers == {"t1": Server(MAINT)}
    assert lb(ROW, columns=old).read(TASK).servers == {"t1": Server(UP, 3)}


def test_h47_a_server_that_is_listed_twice_in_the_statistics_is_counted(lb):
    twice = lb(ROW, ROW, ("shop_10105", "10_0_1_7_31001", "UP", 0, 0)).census(TASK)
    assert (twice.tasks, twice.duplicates) == ({"t1"}, ("web_10101/10_0_1_7_31001",))
    assert lb(ROW).census(TASK).duplicates == ()


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        ("UP", UP),
        ("UP 1/4", UP),
        ("no check", UP),
        ("DOWN", DOWN),
        ("DOWN 1/2", DOWN),
        ("MAINT", MAINT),
        ("MAINT (via web/x)", MAINT),
        ("DRAIN", MAINT),
        ("NOLB 1/2", MAINT),
        ("", DOWN),
    ],
)
def test_h34_each_status_text_has_its_meaning(status, meaning):
    assert marathon_lb.serving(status) is meaning


@pytest.mark.parametrize(
    ("name", "end"),
    [
        ("node1_local_10_0_1_7_31001", at(31001, host="node1.local")),
        ("node1_local_fe80__7_31001", at(31001, host="node1.local")),
        ("9_0_2_3_8080", at(8080, ips=("9.0.2.3",))),
        ("10_0_1_7_9_0_2_3_8080", at(8080, ips=("9.0.2.3",))),
    ],
)
def test_a_task_is_found_by_every_form_of_server_name(lb, name, end):
    assert lb(("web_10101", name, "UP", 0, 0)).read({"t": [end]}).server("t").serving is UP


@pytest.mark.parametrize("name", ["node1_local_10_0_1_7_31002", "node1_local_2_10_0_1_7_31001", "node1_local_31001x"])
def test_a_neighbour_is_not_taken_for_the_task(lb, name):
    replica = lb(("web_10101", name, "UP", 0, 0)).read({"t": [at(31001, host="node1.local")]})
    assert replica.server("t").serving is ABSENT


def test_a_neighbour_with_its_own_ip_is_not_taken_for_the_task(lb):
    replica = lb(("web_10101", "10_0_1_7_9_0_2_4_8080", "UP", 0, 0)).read({"t": [at(8080, ips=("9.0.2.3",))]})
    assert replica.server("t").serving is ABSENT


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("UP", "UP 1/4", UP),
        ("MAINT", "MAINT", MAINT),
        ("UP", "MAINT", UP),
        ("UP", "DOWN", UP),
        ("DOWN", "MAINT", DOWN),
        ("DOWN", "DOWN", DOWN),
    ],
)
def test_h10_a_task_with_two_service_ports_counts_over_both(lb, first, second, together):
    rows = [("web_10101", "10_0_1_7_31001", first, 1, 0), ("web_10102", "10_0_1_7_31002", second, 2, 0)]
    ends = [at(31001), at(31002, backend="web_10102")]
    found = lb(*rows).read({"t": ends}).server("t")
    assert (found.serving, found.sessions) == (together, 3)


@pytest.mark.parametrize(
    ("status", "check", "unchecked"),
    [
        ("UP", "L7OK", False),
        ("UP", "* L4OK", False),
        ("UP", "", False),  # an older HAProxy without that column
        ("no check", "", False),
        ("UP 1/4", "INI", True),  # new to HAProxy
        ("UP", "INI", True),  # the same with fall 1
        ("UP 3/4", "L7STS", True),  # its last check failed
        ("MAINT", "INI", False),  # not in rotation at all
    ],
)
def test_an_unchecked_up_is_distinguished_from_a_passed_check(lb, status, check, unchecked):
    columns = [*CLASSIC, "check_status"]
    text = table(("web_10101", "10_0_1_7_31001", status, 0, 0), columns=columns).replace(",,\n", f",{check},\n")
    client = lb(ROW)
    client._rows = lambda: parse_stats(text)
    assert client.read({"t": [at(31001)]}).server("t").unchecked is unchecked


def test_a_task_that_is_up_at_one_service_port_and_down_at_another_is_unchecked(lb):
    rows = [("web_10101", "10_0_1_7_31001", "UP", 1, 0), ("web_10102", "10_0_1_7_31002", "DOWN", 2, 0)]
    assert lb(*rows).read({"t": [at(31001), at(31002, backend="web_10102")]}).server("t").unchecked


def test_a_service_port_that_this_replica_does_not_serve_is_ignored(lb):
    ends = [at(31001), at(31002, backend="web_10102")]
    assert lb(ROW).read({"t": ends}).server("t").serving is UP


def test_h11_a_folder_becomes_underscores():
    assert backend_name("/team/web", 10101) == backend_name("team/web", 10101) == "team_web_10101"


def test_h16_a_column_named_dash_and_unknown_columns_are_ignored(lb):
    columns = ["pxname", "svname", "new", "qcur", "scur", "status", "-", "ssl_sess", "-", "status"]
    assert lb(ROW, columns=columns).read({"t": [at(31001)]}).server("t") == Server(UP, 3)


def test_h16_of_two_columns_with_one_name_the_first_counts():
    assert parse_stats("# pxname,svname,status,-,status,\nweb_1,a,UP,-,0,\n") == [
        {"pxname": "web_1", "svname": "a", "status": "UP"}
    ]


def test_h17_quoted_cells_and_short_rows_are_understood():
    text = '# pxname,svname,status,last_chk,scur,\nweb_1,a,UP,"L7OK, 200 ""fine""",3,\nweb_1,b,DOWN\nweb_2\n'
    assert parse_stats(text) == [
        {"pxname": "web_1", "svname": "a", "status": "UP", "scur": "3"},
        {"pxname": "web_1", "svname": "b", "status": "DOWN"},
    ]


def test_h18_workers_from_before_the_reload_are_reported(lb):
    """Master 8, newest 40: 21 and 33 may still serve sessions whatever the statistics say."""
    assert lb(DRAINED, pids="40 33 21 8").read(TASK).older_workers == (21, 33)
    assert lb(DRAINED, pids="40 8\n").read(TASK).older_workers == ()


def test_h18_without_a_master_process_two_pids_are_one_too_many(lb):
    assert lb(DRAINED, pids="21").read(TASK).older_workers == ()
    assert lb(DRAINED, pids="33 21").read(TASK).older_workers == (21,)


def test_one_process_has_no_older_workers():
    assert older_workers([21], lone_worker=False) == ()


def test_h19_a_replica_that_is_down_is_a_problem_and_not_an_exception():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        replica = LoadBalancer(url).read({"t": [at(31001)]})
    assert replica == Replica(url, problem=replica.problem)
    assert "the connection is refused" in replica.problem


@pytest.mark.parametrize("page", ["haproxy", "_haproxy_getpids"])
def test_a_page_that_is_not_marathon_lbs_is_a_problem(lb, stub, answer, page):
    client = lb(ROW)
    stub.tell("GET", f"/{page}", answer(200, "<html>It works</html>", "text/html"))
    assert page.split("_")[-1] in client.read({}).problem.lower()


@pytest.mark.parametrize("pids", ["9" * 5000, "1 2 " + "9" * 11])
def test_invalid_process_ids_are_a_problem(lb, pids):
    assert "does not list process ids" in lb(ROW, pids=pids).read({}).problem


@pytest.mark.parametrize("row", [f"web_1,a,{'U' * 140_000}\n", "web_1,a,UP\n" * 60_001])
def test_statistics_with_impossible_numbers_are_refused(row):
    assert parse_stats(f"# pxname,svname,status,\n{row}") is None


def test_a_single_failed_read_is_retried(lb, stub, answer):
    client = lb(ROW)
    stub.tell("GET", "/haproxy", answer(503), answer(200, table(ROW), "text/plain"))
    assert client.read({"t": [at(31001)]}).server("t").serving is UP


def test_rows_have_the_state_and_the_counters_of_each_task(lb):
    client = lb(ROW)
    rows = client.rows({"t": [at(31001)], "unknown": [at(9)]})
    assert rows == {"t": [ServerRow(UP)], "unknown": []}


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 503}, {"status": 403}, {"cut": True}], ids=str)
def test_h38_a_failed_request_to_reload_does_not_end_the_run(stub, answer, fault):
    stub.tell("GET", "/_mlb_signal/hup", answer(body="failed", kind="text/plain", **fault))
    LoadBalancer(stub.url).request_reload()
    assert {asked.path for asked in stub.asked} == {"/_mlb_signal/hup"}


def test_a_name_with_several_addresses_is_one_replica_per_address(monkeypatch):
    def lookup(host, port, family, kind):
        assert host == "mlb"
        return [(family, kind, 6, "", (ip, port)) for ip in ("10.0.0.6", "10.0.0.5")]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    expected = ["http://10.0.0.5:9090", "http://10.0.0.6:9090"]
    assert resolve_replicas(["http://mlb"]) == expected
    assert resolve_replicas(["mlb", "http://mlb:9090/"]) == expected
    assert resolve_replicas(["https://mlb"]) == ["https://mlb:443"]


def test_a_name_with_one_address_stays_a_name():
    assert resolve_replicas(["http://127.0.0.1", "http://localhost:19090"]) == [
        "http://127.0.0.1:9090",
        "http://localhost:19090",
    ]
    assert resolve_replicas(["http://[::1]:9090"]) == ["http://[::1]:9090"]


def test_an_unknown_host_name_is_unavailable():
    with pytest.raises(UnavailableError, match="cannot be resolved"):
        resolve_replicas(["http://no-such-host.invalid"])


@pytest.mark.parametrize("url", ["", "http://", "ftp://x", "http://x:port"])
def test_an_invalid_url_is_a_usage_error(url):
    with pytest.raises(UsageError):
        resolve_replicas([url])
