"""Runs the checks of a suite: at all places at once, each with a bounded number of connections.

Every request has its own connection: a reused one could lead to an older HAProxy worker, and would not be balanced
again. Its time is measured from connecting to the last byte.
"""

from __future__ import annotations

import http.client
import os
import queue
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace

import requests
import urllib3

from bgci.checks.assertions import Response, ResponseSums, mismatches
from bgci.checks.confined import CHILDREN, Closed, Confined
from bgci.checks.model import BASELINE, BOTH, CANARY, MAX_CONCURRENCY, Check, Suite
from bgci.checks.test_result import Case, Outcome
from bgci.interim_answers import InterimAnswersError, limit_interim_answers
from bgci.interruption import signals

limit_interim_answers()
MAX_CONNECTIONS = 48  # connections in all: more would delay bgci itself and distort the measured times
MAX_BODY = 1 << 20  # bytes of an answer that are read
GIVE_UP_AFTER = 3  # requests in a row without an answer
CHUNK = 1 << 16
LOOK = 0.1  # seconds until a signal is handled
TURN = 0.0005  # seconds until a busy thread lets another one run: with 48 of them, the main thread waits for each
SMALL_BODY = 1 << 16  # bytes; more of it is read while fewer than LARGE_BODIES others are read or compared
LARGE_BODIES = 4


@dataclass(frozen=True)
class Place:
    """An instance or load balancer. ``name``: the same in each run, such as ``instance 2``; ``urls``: by port index."""

    name: str
    urls: tuple[str, ...]
    address: str = ""


@dataclass(frozen=True)
class _Room:
    """What bounds the memory of a run: a body can take up to thirty times its size while it is compared."""

    matcher: Confined
    stop: threading.Event
    large: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(LARGE_BODIES))
    comparing: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(CHILDREN))

    @contextmanager
    def for_one(self) -> Iterator[Callable[[bool], float]]:
        """A function for each part of one body: it waits until there is room if the body is large, and returns the
        seconds that it waited. It raises Closed at the end of the run."""
        taken: list[bool] = []

        def take(large: bool) -> float:
            began = time.monotonic()
            while not self.stop.is_set():
                if taken or not large:
                    return time.monotonic() - began
                if self.large.acquire(timeout=LOOK):
                    taken.append(True)
            raise Closed

        try:
            yield take
        finally:
            if taken:
                self.large.release()


@dataclass
class _Job:
    """One check at one place. It has several lanes: chains of requests, one after the other."""

    check: Check
    suite: str  # the target
    place: Place
    sums: ResponseSums
    left: int  # lanes that have not ended
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        url = self.place.urls[self.check.port] if self.check.port < len(self.place.urls) else ""
        return f"{self.check.scheme}:{url.partition(':')[2]}" if url and self.check.scheme else url

    def lanes(self) -> list[tuple[int, _Job]]:
        """The number of requests in each lane, and this job."""
        each, more = divmod(self.check.repeat, self.left)
        return [(each + (n < more), self) for n in range(self.left)]


Places = Mapping[str, Sequence[Place]]  # by target: canary, baseline, load-balancer


def run(
    suite: Suite,
    places: Places,
    *,
    timeout: float,
    verify: bool | str = True,
    report: Callable[[Case], None] = lambda case: None,
    poll: Callable[[], None] = lambda: None,
) -> list[Case]:
    """Every check at every place of its target, in the suite's order; checks without a place are skipped.

    ``timeout``: seconds for all of them; a check that has not ended by then fails. ``report`` is called with each
    case when it ends. ``poll`` is called several times a second; its exception ends the suite.
    An instance that does not answer is a failed case, not an exception.
    """
    jobs = [job for check in suite.checks for job in _jobs(check, places)]
    finished: queue.SimpleQueue[Future[_Job]] = queue.SimpleQueue()
    stop = threading.Event()
    ended: dict[int, Case] = {}
    until = time.monotonic() + timeout
    matcher = Confined()
    pools: list[ThreadPoolExecutor] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(TURN)
    try:
        pools += _start(jobs, finished, verify, _Room(matcher, stop))
        for job in _ended(len(jobs), finished, until, poll):
            ended[id(job)] = _case(job, suite)
            report(ended[id(job)])
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        for pool in pools:
            pool.shutdown(wait=False, cancel_futures=True)
        matcher.close()
    for job in jobs:
        if id(job) not in ended:
            ended[id(job)] = _unfinished(job, suite, timeout)
            report(ended[id(job)])
    skipped = [case for check in suite.checks for case in _skipped(check, places)]
    return [*(ended[id(job)] for job in jobs), *skipped]


def _ended(
    count: int, finished: queue.SimpleQueue[Future[_Job]], until: float, poll: Callable[[], None]
) -> Iterator[_Job]:
    """Each job whose last lane has ended, until ``count`` jobs or the end of the time."""
    while count:
        signals.check()
        poll()
        try:
            job = finished.get(timeout=max(0.0, min(LOOK, until - time.monotonic()))).result()
        except queue.Empty:
            if time.monotonic() >= until:
                return
            continue
        job.left -= 1
        if not job.left:
            count -= 1
            yield job


def targets(check: Check) -> tuple[str, ...]:
    return (CANARY, BASELINE) if check.target == BOTH else (check.target,)


def _jobs(check: Check, places: Places) -> list[_Job]:
    lanes = min(check.concurrency, check.repeat)
    return [
        _Job(check, target, place, ResponseSums(check), lanes)
        for target in targets(check)
        for place in places.get(target, ())
    ]


def _skipped(check: Check, places: Places) -> list[Case]:
    return [
        Case(target, check.name, outcome=Outcome.SKIPPED, message=f"There is no {target}.")
        for target in targets(check)
        if not places.get(target)
    ]


def _case(job: _Job, suite: Suite) -> Case:
    case = job.sums.case(job.suite, job.place.name, job.url + job.check.path, suite.redact)
    return replace(case, address=job.place.address)


def _unfinished(job: _Job, suite: Suite, timeout: float) -> Case:
    with job.lock:
        job.sums.skip(job.check.repeat - job.sums.sent, f"not sent or answered within the suite's {timeout:g} s")
        return _case(job, suite)


def _start(
    jobs: Sequence[_Job],
    finished: queue.SimpleQueue[Future[_Job]],
    verify: bool | str,
    room: _Room,
) -> list[ThreadPoolExecutor]:
    """Start the lanes of each place, each place with separate threads."""
    if not all(job.check.verify for job in jobs):
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the suite switches verification off
    if verify is True:
        verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    by_place: dict[Place, list[tuple[int, _Job]]] = {}
    for job in jobs:
        by_place.setdefault(job.place, []).extend(job.lanes())
    pools = []
    for place, lanes in by_place.items():
        proxies = requests.utils.get_environ_proxies(place.urls[0]) if place.urls else {}
        pool = ThreadPoolExecutor(min(len(lanes), MAX_CONCURRENCY, max(1, MAX_CONNECTIONS // len(by_place))))
        # The longest lanes first, because they decide the total time.
        for count, job in sorted(lanes, key=lambda lane: lane[0], reverse=True):
            pool.submit(_drive, job, count, verify, proxies, room).add_done_callback(finished.put)
        pools.append(pool)
    return pools


def _drive(job: _Job, count: int, verify: bool | str, proxies: dict[str, str], room: _Room) -> _Job:
    """Send one lane's requests; skip the rest when several in a row got no answer."""
    silent = 0
    with requests.Session() as session, suppress(Closed):
        session.trust_env = False  # reading the environment and ~/.netrc for each request is a quarter of its cost
        session.verify = verify
        session.proxies = proxies
        for number in range(count):
            if room.stop.is_set():
                break
            missing = Response(problem=f"the app has no port {job.check.port}")
            with room.for_one() as take:
                response = send(session, job.check, job.url, take) if job.url else missing
                with room.comparing:
                    if room.stop.is_set():
                        break
                    wrong = list(mismatches(job.check.expect, response, room.matcher))
                    with job.lock:
                        job.sums.add(response, wrong)
                problem, response = response.problem, missing
            with job.lock:
                silent = silent + 1 if problem else 0
                if silent == GIVE_UP_AFTER:
                    job.sums.skip(count - number - 1, f"not sent after {silent} requests without an answer")
                    break
    return job


# -- one request ------------------------------------------------------------------------------------------------------


def send(
    session: requests.Session, check: Check, url: str, take: Callable[[bool], float] = lambda large: 0.0
) -> Response:
    """Send one request within the check's timeout. A redirect is an answer like any other.

    take: called before a body is read on, and told whether it is large already; returns the seconds that it waited,
    which do not count.
    """
    began = time.monotonic()
    until = began + check.timeout
    session.cookies.clear()
    try:
        with session.request(
            check.method,
            url + check.path,
            headers={"User-Agent": "bgci-test", **check.headers, "Connection": "close"},
            data=check.body or None,
            timeout=check.timeout,
            allow_redirects=False,
            stream=True,
            verify=session.verify if check.verify else False,
        ) as received:
            body, cut, waited = _read(received, until, take)
            seconds = time.monotonic() - began - waited
            return Response(received.status_code, received.reason or "", received.headers, body, seconds, cut=cut)
    except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        return Response(problem=_why(error, check.timeout), seconds=time.monotonic() - began)
    except ValueError as error:  # an invalid URL or header; its message can show a secret
        return Response(problem=f"the request cannot be sent ({type(error).__name__})")


def _read(response: requests.Response, until: float, take: Callable[[bool], float]) -> tuple[bytes, bool, float]:
    """The body, whether it was cut, and the seconds of ``take``. Raises TimeoutError for a body that is too slow."""
    body, waited = bytearray(), 0.0
    while len(body) <= MAX_BODY:
        waited += take(len(body) > SMALL_BODY)
        if time.monotonic() > until + waited:
            raise TimeoutError
        part = response.raw.read1(CHUNK, decode_content=True)
        if not part:
            return bytes(body), False, waited
        body += part[: MAX_BODY + 1 - len(body)]
    del body[MAX_BODY:]
    return bytes(body), True, waited


def _why(error: BaseException, timeout: float) -> str:
    """Why there is no answer, without a header's value."""
    chain = _chain(error)
    if any(isinstance(one, requests.exceptions.InvalidHeader | requests.exceptions.InvalidURL) for one in chain):
        return f"the request cannot be sent ({type(error).__name__})"
    for error in chain:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"no answer: the certificate is not trusted: {error.verify_message}".rstrip(". ")
        if isinstance(error, InterimAnswersError):
            return f"no answer: {error}"
    # Before timeouts: urllib3's NewConnectionError is a timeout by its class, also for a refused connection.
    system = [one for one in chain if isinstance(one, OSError) and not isinstance(one, TimeoutError)]
    text = next((one.strerror for one in reversed(system) if one.strerror), "")
    if text:
        return f"no answer: {str(text).lower()}"
    late = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
    if any(isinstance(one, late) for one in chain):
        return f"no answer within {timeout:g} s"
    if any(isinstance(one, http.client.RemoteDisconnected) for one in chain):
        return "no answer: the connection was closed"
    return f"no answer: {type(chain[-1]).__name__}"


def _chain(error: BaseException) -> list[BaseException]:
    """The error and its causes: requests keeps urllib3's reason in its arguments."""
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        inner = [part for part in (getattr(current, "reason", None), *current.args) if isinstance(part, BaseException)]
        current = inner[0] if inner else current.__cause__ or current.__context__
    return found
