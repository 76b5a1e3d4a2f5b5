"""The living HAProxy workers, with as few requests as possible: each can cost a request of a user (hazard 64)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from bgci.dcos.haproxy_workers import LONGEST, REFUSED, Workers
from bgci.dcos.marathon_lb import Endpoint, LoadBalancer
from bgci.errors import UnavailableError

CONFIG = "frontend stats\n  acl getpid path /_haproxy_getpids\n"
MASTER = 8


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class HAProxy:
    """A HAProxy that shows the answering worker, and counts the requests for its processes."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.workers = Workers(self.clock)
        self.pids: list[int] = [MASTER, 21]
        self.asked = 0
        self.answers(21, up=3600)

    def answers(self, pid: int, up: int = 0, *, threads: int = 2, longest_session: float = 0.0) -> bool:
        """Whether the statistics before this page are used."""
        hours, minutes, seconds = up // 3600, up // 60 % 60, up % 60
        process = f"pid = </b> {pid} (process #1, nbproc = 1, nbthread = {threads})<br>"
        page = f"{process}\n<b>uptime = </b> 0d {hours}h{minutes:02}m{seconds:02}s<br>"
        return self.workers.answered(page, longest_session=longest_session)

    def older(self, *, matter: bool = True, within: float = LONGEST) -> tuple[int, ...]:
        return self.workers.older(matter=matter, within=within, pids=self.list)

    def list(self) -> list[int]:
        self.asked += 1
        return self.pids

    def reload(self, pid: int) -> None:
        self.pids = [*self.pids, pid]
        self.answers(pid)


@pytest.fixture
def haproxy() -> HAProxy:
    return HAProxy()


def test_h64_while_no_task_drains_no_list_is_requested(haproxy: HAProxy) -> None:
    for pid in (21, 22, 23):
        haproxy.reload(pid)
        assert haproxy.older(matter=False) in ((), (21,), (22,))
    assert haproxy.asked == 0


def test_h64_after_the_older_workers_ended_no_list_is_requested_until_the_next_reload(haproxy: HAProxy) -> None:
    for _ in range(100):
        assert haproxy.older() == ()
        haproxy.clock.now += 1
        haproxy.answers(21, up=3600 + int(haproxy.clock.now - 1000))
    assert haproxy.asked == 1
    haproxy.reload(22)
    haproxy.clock.now += 1
    assert haproxy.older() == (21,)
    haproxy.pids = [MASTER, 22]
    haproxy.clock.now += LONGEST
    assert haproxy.older() == ()
    assert haproxy.asked == 3


def test_h64_the_list_is_requested_less_often_while_an_older_worker_stays(haproxy: HAProxy) -> None:
    haproxy.older()
    haproxy.reload(22)
    asked_at = []
    for tenth in range(300):
        before = haproxy.asked
        assert haproxy.older() == (21,)
        if haproxy.asked > before:
            asked_at.append(tenth / 10)
        haproxy.clock.now += 0.1
    assert len(asked_at) <= 10
    assert max(later - earlier for earlier, later in pairwise(asked_at)) <= LONGEST + 0.2


def test_h64_the_list_is_requested_rarely_while_no_goal_waits_for_a_drain(haproxy: HAProxy) -> None:
    assert haproxy.older(within=0) != (), "not known, so not drained"
    haproxy.clock.now += LONGEST - 0.1
    haproxy.older(within=0)
    assert haproxy.asked == 0
    haproxy.clock.now += 0.1
    assert haproxy.older(within=0) == (), "no wait may last for ever, whatever it is for"


def test_h64_no_list_is_requested_before_the_longest_session_can_have_ended(haproxy: HAProxy) -> None:
    haproxy.older()
    haproxy.pids = [MASTER, 21, 22]
    haproxy.answers(22, longest_session=4.0)
    haproxy.clock.now += 3.9
    assert haproxy.older() == (21,)
    assert haproxy.asked == 1
    haproxy.clock.now += 0.1
    haproxy.older()
    assert haproxy.asked == 2


def test_the_list_is_requested_before_a_short_drain_timeout_ends(haproxy: HAProxy) -> None:
    haproxy.older()
    haproxy.pids = [MASTER, 22]
    haproxy.answers(22, longest_session=4.0)
    haproxy.clock.now += 0.3
    assert haproxy.older(within=0.25) == ()


def test_with_one_thread_the_list_is_requested_often(haproxy: HAProxy) -> None:
    haproxy.older()
    haproxy.pids = [MASTER, 21, 22]
    haproxy.answers(22, threads=1, longest_session=4.0)
    for _ in range(10):
        haproxy.clock.now += 0.5
        assert haproxy.older() == (21,)
    assert haproxy.asked == 11


def test_h18_the_worker_before_a_reload_counts_as_running_until_the_list_omits_it(haproxy: HAProxy) -> None:
    haproxy.older()
    haproxy.reload(22)
    assert haproxy.older() == (21,), "without a question"
    assert haproxy.asked == 1


def test_h18_a_list_read_during_a_reload_does_not_end_the_older_workers(haproxy: HAProxy) -> None:
    """The statistics came from 21, which ended before the list was made."""
    haproxy.pids = [MASTER, 22]
    assert haproxy.older() == (21,)


def test_h18_without_a_master_an_older_worker_is_recognised_by_its_page(haproxy: HAProxy) -> None:
    haproxy.pids = [21]
    haproxy.reload(22)
    haproxy.clock.now += 1
    assert haproxy.older() == (21,)
    haproxy.pids = [22]
    haproxy.clock.now += LONGEST
    assert haproxy.older() == ()


def test_h18_without_a_master_an_older_worker_that_never_answered_counts(haproxy: HAProxy) -> None:
    haproxy.pids = [21]
    assert haproxy.older() == ()
    haproxy.pids = [22, 23]  # two reloads since: only 23 has answered
    haproxy.answers(23)
    haproxy.clock.now += LONGEST
    assert haproxy.older() == (22,)


def test_a_new_worker_with_a_small_pid_is_the_current_one(haproxy: HAProxy) -> None:
    haproxy.pids = [30000, 32000]
    haproxy.answers(32000)
    haproxy.clock.now += 60
    haproxy.reload(77)
    assert haproxy.workers.worker == 77
    haproxy.clock.now += 1
    assert haproxy.older() == (32000,)


def test_an_older_worker_that_answers_once_more_is_not_the_current_one(haproxy: HAProxy) -> None:
    haproxy.reload(22)
    haproxy.answers(21, up=3600)
    assert haproxy.workers.worker == 22


def test_a_new_worker_with_the_pid_of_an_earlier_one_is_another(haproxy: HAProxy) -> None:
    assert haproxy.older() == ()
    haproxy.clock.now += 60
    haproxy.answers(21, up=5)
    assert haproxy.workers.started == pytest.approx(haproxy.workers._epoch + haproxy.clock.now - 5)
    assert haproxy.older() != ()


def test_h68_statistics_of_an_earlier_moment_are_not_used(haproxy: HAProxy) -> None:
    assert haproxy.answers(21, up=3600)
    assert not haproxy.answers(22), "asked again after a reload"
    assert haproxy.answers(22)
    assert not haproxy.answers(21, up=3600), "an older worker"
    haproxy.clock.now += 14
    assert haproxy.answers(22, up=14)
    assert not haproxy.answers(22, up=4), "ten seconds ago"
    haproxy.clock.now += 3
    assert not haproxy.answers(22, up=14), "the same answer once more"
    assert haproxy.answers(22, up=17)


def test_a_load_balancer_whose_clock_was_set_back_is_used_again(haproxy: HAProxy) -> None:
    haproxy.answers(21, up=3600)
    haproxy.clock.now += REFUSED - 1
    assert not haproxy.answers(21, up=3500)
    haproxy.clock.now += 1
    assert not haproxy.answers(21, up=3501), "asked again, as a new worker"
    assert haproxy.answers(21, up=3501)


def test_h64_processes_of_a_load_balancer_without_drained_tasks_are_not_requested(stub, answer) -> None:  # type: ignore[no-untyped-def]
    csv = "# pxname,svname,status,scur,qcur,\nweb_1,10_0_1_7_31001,UP,0,0,\n"
    stub.tell("GET", "/haproxy", answer(200, csv, "text/plain"))
    stub.tell(
        "GET", "/_haproxy_getconfig", answer(200, "frontend stats\nacl getpid path /_haproxy_getpids", "text/plain")
    )
    balancer = LoadBalancer(stub.url)
    for _ in range(3):
        assert balancer.read({"t": [Endpoint("web_1", "10.0.1.7", (), 31001)]}).problem == ""
    assert "/_haproxy_getpids" not in {asked.path for asked in stub.asked}


def test_h64_the_longest_session_is_read_from_the_statistics(stub, answer) -> None:  # type: ignore[no-untyped-def]
    clock = Clock()
    balancer = LoadBalancer(stub.url)
    balancer._workers = Workers(clock)
    drained = {"t": [Endpoint("web_1", "10.0.1.7", (), 31001)]}
    csv = answer(200, "# pxname,svname,status,scur,qcur,ttime_max,\nweb_1,10_0_1_7_31001,MAINT,0,0,4000,\n", "text/csv")

    def page(pid: int, seconds: int) -> object:
        up = f"0d 0h00m{seconds:02}s"
        return answer(200, f"pid = </b> {pid} (nbthread = 2)<br>\n<b>uptime = </b> {up}<br>", "text/html")

    stub.tell(
        "GET", "/_haproxy_getconfig", answer(200, "frontend stats\nacl getpid path /_haproxy_getpids", "text/plain")
    )
    stub.tell("GET", "/_haproxy_getpids", answer(200, "8 21", "text/plain"))
    stub.tell("GET", "/haproxy", csv, page(21, 30), csv, page(21, 30))
    assert balancer.read(drained, within=0).problem == ""
    stub.tell("GET", "/haproxy", csv, page(22, 0), csv, page(22, 0), csv, page(22, 4))
    assert balancer.read(drained).older_workers == (21,)
    clock.now += 3.9
    assert balancer.read(drained).older_workers == (21,)
    assert "/_haproxy_getpids" not in {asked.path for asked in stub.asked}, "a session of 4 s may go on"


def test_an_empty_answer_in_place_of_the_configuration_is_not_a_load_balancer_without_strangers(stub, answer) -> None:  # type: ignore[no-untyped-def]
    stub.tell("GET", "/_haproxy_getconfig", answer(200, "", "text/plain"))
    with pytest.raises(UnavailableError, match="does not answer with HAProxy's configuration"):
        LoadBalancer(stub.url).strangers([10101], [])
