"""Failures of a request, and their messages. No message ever contains a request header."""

from __future__ import annotations

import json
import re
from typing import Any

import requests
from urllib3.exceptions import NameResolutionError, NewConnectionError

from bgci.bounded import json_value
from bgci.dcos import tls
from bgci.errors import UnavailableError
from bgci.redaction import redacted

LONGEST = 4000  # characters; limit of one quoted text of an answer
MOST_DETAILS = 50  # limit of quoted violations


class HttpFailure(Exception):
    """A reply that only the caller can interpret. ``body``: the JSON value, else text without markup."""

    def __init__(self, status: int, body: Any, url: str) -> None:
        super().__init__(f"HTTP {status} from {url}")
        self.status = status
        self.body = body
        self.url = url

    @property
    def is_api(self) -> bool:
        """Whether the service itself answered, not a proxy in front of it or another server."""
        return isinstance(self.body, dict)

    @property
    def message(self) -> str:
        """The server's message, in one line."""
        if isinstance(self.body, dict):
            message = self.body.get("message") or self.body.get("description") or self.body.get("title") or self.body
            return _text(message)
        return _text(self.body)

    @property
    def details(self) -> list[str]:
        """``path: error`` of each violation that a 400 or 422 lists (marathon: MarathonExceptionMapper)."""
        found = self.body.get("details") if isinstance(self.body, dict) else None
        if isinstance(found, str):
            return [found[:LONGEST]]
        lines: list[str] = []
        for detail in found[:MOST_DETAILS] if isinstance(found, list) else []:
            errors = detail.get("errors", []) if isinstance(detail, dict) else [detail]
            path = _text(detail.get("path", "/")) if isinstance(detail, dict) else "/"
            listed = errors[:MOST_DETAILS] if isinstance(errors, list) else [errors]
            lines += [f"{path}: {_text(error)}" for error in listed]
        return lines[:MOST_DETAILS]

    def unavailable(self, what: str) -> UnavailableError:
        """The error for an unexpected reply."""
        return UnavailableError(
            f"{what}: {self.url} answered {self.status} {self.message}".rstrip(),
            remedy="Check the URL and the service's health, then run the command again.",
        )


def _text(value: Any) -> str:
    """A text as it is, any other value as JSON."""
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))[:LONGEST]


def failure_of(error: BaseException) -> HttpFailure | None:
    """The refused request behind a DeniedError; None for a refusal without a request."""
    return error.__cause__ if isinstance(error.__cause__, HttpFailure) else None


def explained(error: requests.RequestException, base_url: str, timeouts: tuple[float, float]) -> tuple[str, str]:
    """Cause and remedy of a request that got no reply. ``timeouts``: for connecting and reading, in seconds."""
    reason = reason_of(error)
    connect, read = timeouts
    if isinstance(error, requests.exceptions.SSLError):
        return tls.failure(str(reason), base_url)
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy fails: {plain_text(reason)}", "Check HTTP_PROXY, HTTPS_PROXY and NO_PROXY."
    if isinstance(reason, NameResolutionError):
        return "its name cannot be resolved", "Check the host name in the URL, and this machine's DNS."
    if isinstance(error, requests.ConnectTimeout):
        return f"no connection within {connect:g} s", ""
    if isinstance(error, requests.ReadTimeout):
        return f"no answer within {read:g} s", ""
    return plain_text(reason), ""


def reason_of(error: requests.RequestException) -> BaseException:
    """The error of urllib3, which requests wraps into a MaxRetryError."""
    inner = error.args[0] if error.args else error
    reason = getattr(inner, "reason", inner)
    return reason if isinstance(reason, BaseException) else error


def not_sent(error: requests.RequestException) -> bool:
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason_of(error), NewConnectionError)


def plain_text(reason: BaseException) -> str:
    """An exception without the objects that urllib3 prints."""
    text = str(reason)
    if "Connection refused" in text:
        return "the connection is refused"
    if "RemoteDisconnected" in text or "ConnectionReset" in text or "IncompleteRead" in text:
        return "the connection ended before the answer was complete"
    return re.sub(r"(?:<[^>]*>|HTTPS?Connection\([^)]*\)): *", "", text) or type(reason).__name__


def shown(url: str) -> str:
    """The URL without user, password, query and fragment."""
    return re.sub(r"//[^/@]*@", "//", re.split(r"[?#]", url)[0])


def body_of(response: requests.Response) -> Any:
    if "json" in response.headers.get("Content-Type", ""):
        try:
            return json_value(response.content)
        except ValueError:
            pass
    return shortened(response)


def shortened(response: requests.Response) -> str:
    """The body as one line without markup. Redacts before it shortens: redaction cannot recognise a part of a
    secret."""
    text = redacted(response.content[:100_000].decode("utf-8", "replace"))[:4000]
    text = re.sub(r"(?s)<(style|script)\b.*?</\1>|<[^>]*>", " ", text)
    return " ".join(text.split())[:200]
