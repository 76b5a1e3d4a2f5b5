"""Common base of the clients of Marathon and Metronome: typed answers, and a bgci error for each HTTP status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bgci.dcos.http import Http
from bgci.dcos.http_failure import HttpFailure
from bgci.dcos.json_answer import JsonAnswer
from bgci.errors import InvalidError


class Service:
    """A client. Expected failures are bgci errors that quote the service's own message."""

    name = ""  # in messages

    def __init__(self, http: Http) -> None:
        self.http = http.below("", name=self.name)

    def translated(self, failure: HttpFailure, what: str) -> Exception:
        """The bgci error for a status. what: the app or the job, empty if it has none."""
        if failure.status in (400, 422):
            return InvalidError(
                "\n  ".join([f"{self.name} does not accept {what or 'this'}: {failure.message}", *failure.details]),
                remedy="Correct the template or its variables.",
            )
        return failure.unavailable(f"{self.name} fails")

    def _call(self, request: Callable[[], Any], what: str = "") -> JsonAnswer:
        """The answer. Raises the bgci error for the status."""
        answer = self._asked(request, what)
        assert answer is not None  # noqa: S101 - without ``missing`` a 404 is an error
        return answer

    def _if_there(self, request: Callable[[], Any], what: str = "") -> JsonAnswer | None:
        """The answer; None for the service's own 404. A proxy's 404 is an error: the URL is wrong."""
        return self._asked(request, what, missing=True)

    def _asked(self, request: Callable[[], Any], what: str, *, missing: bool = False) -> JsonAnswer | None:
        try:
            return JsonAnswer(request(), self.name, self.http.base_url)
        except HttpFailure as failure:
            if missing and failure.status == 404 and failure.is_api:
                return None
            raise self.translated(failure, what) from failure
