"""Limits the interim answers (status 100) before an answer: Python's client reads them without an end."""

from __future__ import annotations

import http.client
from typing import Any

import urllib3.connection

MOST = 20


class InterimAnswersError(http.client.HTTPException):
    """There are too many."""


class _Response(http.client.HTTPResponse):
    _seen = 0

    def _read_status(self) -> Any:
        self._seen += 1
        if self._seen > MOST:
            raise InterimAnswersError(f"more than {MOST} interim answers")
        return super()._read_status()  # type: ignore[misc]


def limit_interim_answers() -> None:
    """From now on every answer to a request of this process is limited so."""
    urllib3.connection.HTTPConnection.response_class = _Response
