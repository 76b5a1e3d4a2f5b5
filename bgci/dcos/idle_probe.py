"""Single requests to a task: its idle probe, and its response time."""

from __future__ import annotations

import os
import time

import requests
import urllib3

from bgci.dcos.http_address import proxies
from bgci.interim_answers import limit_interim_answers
from bgci.interruption import call

limit_interim_answers()
TIMEOUT = 2.0  # seconds without data
LONGEST = 5.0  # seconds for the whole answer: it could arrive endlessly, byte by byte
CHUNK, MOST = 65536, 4_194_304  # bytes; limit of an answer


def answers_ok(url: str) -> bool:
    """Whether GET ``url`` answers 200 now. False for any other answer, and without one."""

    def ask() -> bool:
        with (
            _session(url) as session,
            session.get(url, timeout=TIMEOUT, allow_redirects=False, stream=True) as response,
        ):
            return response.status_code == 200

    try:
        return call(ask, LONGEST)
    except (requests.RequestException, TimeoutError):
        return False


def _session(url: str) -> requests.Session:
    """One that takes proxies and certificates from the environment: no login of ``~/.netrc`` goes to a task."""
    session = requests.Session()
    session.trust_env = False
    session.proxies = dict(proxies(url))
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    return session


def timed(url: str) -> float | None:
    """Milliseconds until GET ``url`` was answered in full; None for a server's error (5xx), or no answer.

    Does not verify a task's certificate, which is for the app's name, not for the task's address; sends no secret.
    """
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def ask() -> float | None:
        began = time.perf_counter()
        with (
            _session(url) as session,
            session.get(url, timeout=TIMEOUT, allow_redirects=False, stream=True, verify=False) as response,
        ):
            size = 0
            while size < MOST and (part := response.raw.read1(CHUNK)):
                size += len(part)
                if time.perf_counter() - began > LONGEST:
                    return None
        return None if response.status_code >= 500 else 1000 * (time.perf_counter() - began)

    try:
        return call(ask, LONGEST)
    except (requests.RequestException, urllib3.exceptions.HTTPError, OSError):  # TimeoutError is one
        return None
