"""Performs the checks of a suite: at all places at once, each with a bounded number of connections.

Every request has a connection of its own: a kept one could lead to an older HAProxy worker, and would not be balanced
again. Its time runs from connecting to the last byte.
"""

from __future__ import annotations

import http.client
import os
import queue
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import requests
import urllib3

from bgci.checks.assertions import Answer, Matcher, Tally, mismatches
from bgci.checks.confined import Confined
from bgci.checks.model import BASELINE, BOTH, CANARY, MAX_CONCURRENCY, Check, Suite
from bgci.checks.test_result import Case, Outcome
from bgci.interruption import signals

MAX_CONNECTIONS = 48  # in all: more would add our own work to the measured times
MAX_BODY = 1 << 20  # bytes of an answer that are read
GIVE_UP_AFTER = 3  # requests in a row without an answer
CHUNK = 1 << 16
LOOK = 0.1  # seconds until a signal is seen


@dataclass(frozen=True)
class Place:
    """Where checks go. ``name``: the same in each run, such as ``instance 2``; ``urls``: by index of the app's port."""

    name: str
    urls: tuple[str, ...]
    address: str = ""


@dataclass
class _Job:
    """One check at one place; several lanes may work at it."""

    check: Check
    suite: str  # the target
    place: Place
    tally: Tally
    left: int  # lanes that have not ended
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        url = self.place.urls[self.check.port] if self.check.port < len(self.place.urls) else ""
        return f"{self.check.scheme}:{url.partition(':')[2]}" if url and self.check.scheme else url


@dataclass(frozen=True)
class _Lane:
    job: _Job
    requests: int


Places = Mapping[str, Sequence[Place]]  # by target: canary, baseline, load-balancer


def run(
    suite: Suite,
    places: Places,
    *,
    timeout: float,
    verify: bool | str = True,
    report: Callable[[Case], None] = lambda case: None,
    look: Callable[[], None] = lambda: None,
) -> list[Case]:
    """Every check at every place of its target, in the suite's order; checks without a place are skipped.

    ``timeout``: seconds for all of them; a check that has not ended by then has failed. ``report`` is called with each
    case as it ends. ``look`` is called several times a second; what it raises ends the suite.
    Raises nothing for an instance that does not answer: that is a failed case.
    """
    jobs = [job for check in suite.checks for job in _jobs(check, places)]
    finished: queue.Queue[_Job | BaseException] = queue.Queue()
    stop = threading.Event()
    ended: dict[int, Case] = {}
    until = time.monotonic() + timeout
    matcher = Confined()
    _start(jobs, finished, stop, verify, matcher)
    try:
        while len(ended) < len(jobs):
            signals.check()
            look()
            try:
                job = finished.get(timeout=max(0.0, min(LOOK, until - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= until:
                    break
                continue
            if isinstance(job, BaseException):
                raise job
            ended[id(job)] = _case(job, suite)
            report(ended[id(job)])
    finally:
        stop.set()
        matcher.close()
    for job in jobs:
        if id(job) not in ended:
            ended[id(job)] = _unfinished(job, suite, timeout)
            report(ended[id(job)])
    skipped = [case for check in suite.checks for case in _skipped(check, places)]
    return [*(ended[id(job)] for job in jobs), *skipped]


def targets(check: Check) -> tuple[str, ...]:
    return (CANARY, BASELINE) if check.target == BOTH else (check.target,)


def _jobs(check: Check, places: Places) -> list[_Job]:
    lanes = min(check.concurrency, check.repeat)
    return [
        _Job(check, target, place, Tally(check), lanes) for target in targets(check) for place in places.get(target, ())
    ]


def _skipped(check: Check, places: Places) -> list[Case]:
    return [
        Case(target, check.name, outcome=Outcome.SKIPPED, message=f"there is no {target} to send it to")
        for target in targets(check)
        if not places.get(target)
    ]


def _case(job: _Job, suite: Suite) -> Case:
    case = job.tally.case(job.suite, job.place.name, job.url + job.check.path, suite.redact)
    return replace(case, address=job.place.address)


def _unfinished(job: _Job, suite: Suite, timeout: float) -> Case:
    with job.lock:
        job.tally.skip(job.check.repeat - job.tally.sent, f"not sent or answered within the suite's {timeout:g} s")
        return _case(job, suite)


# -- lanes: each is a chain of requests, one after the other --------------------------------------------------------


def _start(
    jobs: Iterable[_Job],
    finished: queue.Queue[_Job | BaseException],
    stop: threading.Event,
    verify: bool | str,
    matcher: Matcher,
) -> None:
    """Start threads for each place. They are daemons: a hanging name lookup must not keep the command alive."""
    jobs = list(jobs)
    if not all(job.check.verify for job in jobs):
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the suite has asked for it
    if verify is True:
        verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    lanes: dict[Place, list[_Lane]] = {}
    for job in jobs:
        each, more = divmod(job.check.repeat, job.left)
        lanes.setdefault(job.place, []).extend(_Lane(job, each + (n < more)) for n in range(job.left))
    for place, waiting in lanes.items():
        proxies = requests.utils.get_environ_proxies(place.urls[0]) if place.urls else {}
        # The longest chains first: they decide when all is over.
        waiting.sort(key=lambda lane: lane.requests, reverse=True)
        line: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        for lane in waiting:
            line.put(lane)
        count = min(len(waiting), MAX_CONCURRENCY, max(1, MAX_CONNECTIONS // len(lanes)))
        for _ in range(count):
            threading.Thread(target=_work, args=(line, finished, stop, verify, proxies, matcher), daemon=True).start()


def _work(
    line: queue.SimpleQueue[_Lane],
    finished: queue.Queue[_Job | BaseException],
    stop: threading.Event,
    verify: bool | str,
    proxies: dict[str, str],
    matcher: Matcher,
) -> None:
    try:
        with requests.Session() as session:
            # A look at the environment and ~/.netrc with each request is a quarter of its cost.
            session.trust_env = False
            session.verify = verify
            session.proxies = proxies
            while not stop.is_set():
                try:
                    lane = line.get_nowait()
                except queue.Empty:
                    return
                _drive(lane, session, stop, matcher)
                with lane.job.lock:
                    lane.job.left -= 1
                    last = lane.job.left == 0
                if last:
                    finished.put(lane.job)
    except BaseException as error:
        finished.put(error)


def _drive(lane: _Lane, session: requests.Session, stop: threading.Event, matcher: Matcher) -> None:
    """Send one lane's requests; skip the rest when several in a row got no answer."""
    job, silent = lane.job, 0
    for number in range(lane.requests):
        if stop.is_set():
            return
        answer = (
            send(session, job.check, job.url) if job.url else Answer(problem=f"the app has no port {job.check.port}")
        )
        wrong = list(mismatches(job.check.expect, answer, matcher))
        with job.lock:
            job.tally.add(answer, wrong)
            silent = silent + 1 if answer.problem else 0
            if silent == GIVE_UP_AFTER:
                job.tally.skip(lane.requests - number - 1, f"not sent after {silent} requests without an answer")
                return


# -- one request ------------------------------------------------------------------------------------------------------


def send(session: requests.Session, check: Check, url: str) -> Answer:
    """Send one request within the check's timeout. A redirect is an answer like any other."""
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
        ) as response:
            body, cut = _read(response, until)
            seconds = time.monotonic() - began
            return Answer(response.status_code, response.reason or "", response.headers, body, seconds, cut=cut)
    except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        return Answer(problem=_why(error, check.timeout), seconds=time.monotonic() - began)
    except ValueError as error:  # a URL or a header that cannot be sent; its message may show a secret
        return Answer(problem=f"the request cannot be sent ({type(error).__name__})")


def _read(response: requests.Response, until: float) -> tuple[bytes, bool]:
    """The body, and whether it was cut. Raises TimeoutError, also for a body that arrives too slowly."""
    parts: list[bytes] = []
    size = 0
    while size <= MAX_BODY:
        if time.monotonic() > until:
            raise TimeoutError
        part = response.raw.read1(CHUNK, decode_content=True)
        if not part:
            return b"".join(parts), False
        parts.append(part)
        size += len(part)
    return b"".join(parts)[:MAX_BODY], True


def _why(error: BaseException, timeout: float) -> str:
    """Why there is no answer, in a few words and without a header's value."""
    chain = _chain(error)
    if any(isinstance(one, requests.exceptions.InvalidHeader | requests.exceptions.InvalidURL) for one in chain):
        return f"the request cannot be sent ({type(error).__name__})"
    for error in chain:
        if isinstance(error, ssl.SSLCertVerificationError):
            return f"no answer: the certificate is not trusted: {error.verify_message}".rstrip(". ")
    # Before timeouts: urllib3's NewConnectionError is a timeout by its class, also for a refused connection.
    system = [one for one in chain if isinstance(one, OSError) and not isinstance(one, TimeoutError)]
    said = next((one.strerror for one in reversed(system) if one.strerror), "")
    if said:
        return f"no answer: {str(said).lower()}"
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
