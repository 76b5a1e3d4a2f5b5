"""The session below ``http.Http``: ignores the environment, and respects a server's Retry-After."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy

import requests

from bgci.interim_answers import limit_interim_answers

limit_interim_answers()
MAX_PAUSE = 30.0  # seconds: neither the back-off nor a Retry-After may pause longer


class _Session(requests.Session):
    """Does not follow redirects, and does not parse their addresses, which could fail."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class Sessions:
    """The session of an Http and of those below it."""

    def __init__(self) -> None:
        self.replace()

    def replace(self) -> None:
        """Replace the session by one with new connections. A thread can still use the earlier one."""
        self.current = _Session()
        self.current.trust_env = False  # no ~/.netrc, and no variables that override the trusted certificates
        self.current.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))


def http_date(text: str) -> float:
    """Seconds since the epoch of a date in a header; 0 for any other text."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return 0.0


def retry_after(response: requests.Response) -> float:
    """Seconds of the server's Retry-After, at most `MAX_PAUSE`; 0 without one."""
    value = response.headers.get("Retry-After", "")
    if value.isascii() and value.isdigit():
        return min(MAX_PAUSE, float(value[:6]))
    return min(MAX_PAUSE, max(0.0, http_date(value) - time.time()))
