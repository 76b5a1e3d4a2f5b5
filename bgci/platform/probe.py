"""Single requests to a task: its own word on whether it is idle, and how long it takes to answer."""

from __future__ import annotations

import itertools
import time

import requests
import urllib3

TIMEOUT = 2.0  # seconds
CHUNKS = 64  # of 64 KiB: as much of an answer as is waited for


def answers_ok(url: str) -> bool:
    """Whether GET ``url`` answers 200 now; anything else, and no answer, is no."""
    try:
        return requests.get(url, timeout=TIMEOUT, allow_redirects=False).status_code == 200
    except requests.RequestException:
        return False


def timed(url: str) -> float | None:
    """Milliseconds until GET ``url`` was answered in full; None for a server's error (5xx), or no answer.

    A task's certificate is not verified: it is for the app's name, not for the task's address; nothing secret is sent.
    """
    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    try:
        began = time.perf_counter()
        with requests.get(url, timeout=TIMEOUT, allow_redirects=False, stream=True, verify=False) as response:  # noqa: S501
            for _ in itertools.islice(response.iter_content(65536), CHUNKS):
                pass
        return None if response.status_code >= 500 else 1000 * (time.perf_counter() - began)
    except requests.RequestException:
        return None
