"""One HTTP session that handles failures of transport: timeouts, retries, TLS, redirects, HTML in place of JSON.

Expected failures become :mod:`bgci.errors`; a reply that only the caller can interpret (404, 409, 422, 500 ...) becomes
:class:`HttpFailure`. No message ever contains a request header.
"""

from __future__ import annotations

import copy
import random
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Protocol
from urllib.parse import urlsplit

import requests

from bgci.bounded import MOST_TEXT, UnusableJsonError, json_value, memory_of_text
from bgci.dcos import tls
from bgci.dcos.http_address import CREDENTIALS_REMEDY, checked_url, origin, proxies, redirect_target
from bgci.dcos.http_body import ENCODINGS, TooLarge, as_request_errors, read_body
from bgci.dcos.http_failure import HttpFailure, body_of, explained, not_sent, shortened, shown
from bgci.dcos.http_session import MAX_PAUSE, Sessions, retry_after
from bgci.errors import AbortedError, DeniedError, UnavailableError
from bgci.interruption import SETTLE, at_most, call, left, pause

Params = Sequence[tuple[str, str]]

TRY_AGAIN = frozenset({429, 502, 503, 504})
MAX_REDIRECTS = 5
LONGEST = 60.0  # seconds of a request with its login, redirects, pauses and repetitions


class Auth(Protocol):
    """Authenticates requests."""

    def __call__(self, headers: MutableMapping[str, str]) -> None:
        """Sets the headers of one request."""

    def renew(self) -> bool:
        """After a 401: whether another attempt can succeed."""

    def remedy(self) -> str:
        """The remedy if the server still asks for a login."""

    def missing(self, method: str, path: str, sent: Any, *, by_router: bool) -> str:
        """The missing permission of a refused request, empty if unknown. ``sent``: its JSON body;
        ``by_router``: whether a proxy refused it, rather than the service behind."""


@dataclass(frozen=True)
class Reply:
    """A successful reply."""

    status: int
    headers: Mapping[str, str]  # names are case-insensitive
    content: bytes
    url: str

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")


@dataclass(frozen=True)
class _Request:
    """One request. ``changes``: whether it can change something."""

    method: str
    url: str
    params: Params
    json: Any
    headers: Mapping[str, str]
    credentials: bool
    changes: bool


class Http:
    """``get``/``post``/``put``/``delete`` below ``base_url``.

    ``auth`` is called for each request, but never for one to another origin. After a 401, which means that the server
    has not carried out the request, it can renew itself once. ``name`` is for messages ("Marathon"). Timeouts and
    ``backoff`` (the first pause, doubled each time) are in seconds; the limit of an answer is two read timeouts in all,
    and that of a request `LONGEST`. ``retry_for``: seconds of retries after a 429 or 503, with any number of attempts.
    A signal ends a request and its pauses. Not for use by several threads.
    """

    def __init__(
        self,
        base_url: str,
        *,
        auth: Auth | None = None,
        ca_cert: str | None = None,
        insecure: bool = False,
        connect_timeout: float = 5.0,
        read_timeout: float = 30.0,
        retries: int = 4,
        backoff: float = 0.5,
        retry_for: float = 0.0,
        name: str = "",
    ) -> None:
        self.base_url = checked_url(base_url)
        self.name = name or "The server"
        self._auth = auth
        self._verify = tls.verification(ca_cert, insecure)
        self._timeouts = (connect_timeout, read_timeout)
        self._total = connect_timeout + 2 * read_timeout
        self._retries = retries
        self._backoff = backoff
        self._retry_for = retry_for
        self._sessions = Sessions()
        self.before_change: Callable[[], None] = lambda: None  # called before each request that changes something

    def below(self, path: str, *, name: str = "") -> Http:
        """The same session and settings for ``path`` below this base."""
        other = copy.copy(self)
        other.base_url = self.base_url + path.rstrip("/")
        other.name = name or self.name
        return other

    def with_limit(self, seconds: float) -> Http:
        """The same session, with so many seconds for an answer, and without another attempt."""
        other = self.below("")
        other._timeouts, other._total, other._retries = (seconds, seconds), seconds, 0
        return other

    def free(self) -> Http:
        """The same session and settings, without ``before_change``."""
        other = copy.copy(self)
        other.before_change = lambda: None
        return other

    def once(self) -> Http:
        """The same session and settings, without another attempt."""
        other = copy.copy(self)
        other._retries, other._retry_for = 0, 0.0
        return other

    def apart(self) -> Http:
        """The same server for another thread: a separate session, one more attempt, short time limits."""
        other = self.free()
        other._sessions, other._retries, other._timeouts, other._total = Sessions(), 1, (5.0, 10.0), 12.0
        return other

    def get(self, path: str, *, params: Params = (), credentials: bool = True) -> Any:
        """The JSON value at ``path``. Repeats the request once for an incomplete or empty body."""
        return self.got(path, params=params, credentials=credentials)[0]

    def got(self, path: str, *, params: Params = (), credentials: bool = True) -> tuple[Any, Reply]:
        """The JSON value at ``path``, and the reply."""
        reply = self.request("GET", path, params=params, credentials=credentials)
        if not _is_json(reply):
            pause(self._backoff)
            reply = self.request("GET", path, params=params, credentials=credentials)
        return self.value(reply), reply

    def text(self, path: str, *, params: Params = (), headers: Mapping[str, str] | None = None) -> str:
        """The text at ``path``. Raises UnavailableError for one that takes too much memory."""
        reply = self.request("GET", path, params=params, headers={"Accept": "text/plain, */*", **(headers or {})})
        if memory_of_text(reply.content) > MOST_TEXT:
            raise UnavailableError(
                f"{shown(reply.url)} answers with a text of more than {MOST_TEXT >> 20} MiB of memory.",
                remedy=f"Is {self.base_url} the URL of {self.name}?",
            )
        return reply.text

    def post(self, path: str, *, params: Params = (), json: Any = None) -> Any:
        return self.value(self.request("POST", path, params=params, json=json))

    def put(self, path: str, *, params: Params = (), json: Any = None) -> Any:
        return self.value(self.request("PUT", path, params=params, json=json))

    def delete(self, path: str, *, params: Params = ()) -> Any:
        return self.value(self.request("DELETE", path, params=params))

    @at_most(LONGEST)
    def request(
        self,
        method: str,
        path: str,
        *,
        params: Params = (),
        json: Any = None,
        headers: Mapping[str, str] | None = None,
        credentials: bool = True,
        harmless: bool = False,
    ) -> Reply:
        """One call with its retries. Repeats a POST only if the server certainly has not carried it out, or if it is
        ``harmless`` (changes nothing).

        Raises UnavailableError, DeniedError (401, 403) or HttpFailure (any other error status).
        """
        url, changes = self.base_url + path, method != "GET" and not harmless
        request = _Request(method, url, params, json, headers or {}, credentials, changes)
        repeatable = harmless or method != "POST"
        problem, remedy = "", ""
        began = time.monotonic()
        retry_until = began + self._retry_for
        for attempt in count():
            most = attempt >= self._retries
            wait = min(MAX_PAUSE, self._backoff * 2 ** min(attempt, self._retries)) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            if changes:
                self.before_change()
            try:
                response = self._exchange(request)
            except (requests.exceptions.InvalidHeader, UnicodeError):
                raise DeniedError(
                    "The credentials contain a character that is not allowed in an HTTP header.",
                    remedy=CREDENTIALS_REMEDY,
                ) from None  # the original error shows the header
            except (TooLarge, TimeoutError, requests.RequestException) as error:
                problem, remedy, again = self._unanswered(error, repeatable, began)
            else:
                if response.status_code not in TRY_AGAIN:
                    return self._judged(method, response, json)
                problem = f"it answers {response.status_code} {shortened(response)}".rstrip()
                wait = max(wait, retry_after(response))
                again = repeatable or response.status_code == 429
                most = most and time.monotonic() >= retry_until
            if not again or most or wait >= left():
                break
            pause(wait)
        if changes:
            problem += f" (the effect of the {method} is unknown)"
            remedy = remedy or "Run the command again: it continues from the current state."
        remedy = remedy or "Check the URL, the network and the service's health; then run the command again."
        raise UnavailableError(f"{self.name} cannot be reached at {shown(url)}: {problem}", remedy=remedy)

    def _unanswered(self, error: Exception, repeatable: bool, began: float) -> tuple[str, str, bool]:
        """Why there is no answer, the remedy, and whether the request can be sent again."""
        if isinstance(error, requests.RequestException):
            again = not_sent(error) or (repeatable and not isinstance(error, requests.exceptions.SSLError))
            return *explained(error, self.base_url, self._timeouts), again
        limit = self._total if left() > 0 else round(time.monotonic() - began)
        late = f"its answer is not complete within {limit:g} s" if limit else "the command's time limit has passed"
        return str(error) or late, "", False

    def _exchange(self, request: _Request) -> requests.Response:
        """The reply, after another login if the old one has expired."""
        response = self._follow(request)
        ours = request.credentials and origin(response.url) == origin(self.base_url)
        if response.status_code == 401 and ours and self._auth and self._auth.renew():
            return self._follow(request)
        return response

    def _follow(self, request: _Request) -> requests.Response:
        """The first reply that is not a redirect; credentials go to ``base_url``'s own origin only."""
        method = request.method
        if method == "POST":  # on an idle connection that the server closes at this moment the outcome would be unknown
            self._sessions.current.close()
        for _ in range(MAX_REDIRECTS):
            response = self._send(request)
            if not response.is_redirect:
                return response
            url = request.url
            target = redirect_target(url, response.headers["Location"])
            if method != "GET" or not target:
                target = target or response.headers["Location"][:200]
                raise UnavailableError(
                    f"{method} {shown(url)} is redirected to {shown(target)}.", remedy="Use that address as the URL."
                )
            ours = request.credentials and origin(target) == origin(self.base_url)
            request = replace(request, url=target, params=(), credentials=ours)
        raise UnavailableError(
            f"{shown(request.url)} redirects more than {MAX_REDIRECTS} times.", remedy="Check the URL."
        )

    def _send(self, request: _Request) -> requests.Response:
        sent = {"Accept": "application/json", "Accept-Encoding": ENCODINGS, "User-Agent": "bgci", **request.headers}
        if request.method in ("POST", "PUT"):
            sent["Content-Type"] = "application/json"  # Metronome requires it without a body too
        if request.credentials and self._auth:
            self._auth(sent)
        session, over = self._sessions.current, threading.Event()

        def exchanged() -> requests.Response:
            with (
                as_request_errors(),
                session.request(
                    request.method,
                    request.url,
                    params=list(request.params) or None,
                    json=request.json,
                    headers=sent,
                    timeout=self._timeouts,
                    verify=self._verify,
                    proxies=proxies(request.url),
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                read_body(response, over)
                return response

        try:
            # A change may be answered just now: a rollback after an abort should see its complete effect.
            return call(exchanged, self._total, settle=SETTLE if request.changes else 0.0)
        except (AbortedError, TimeoutError):
            over.set()
            self._sessions.replace()  # the abandoned thread still uses it
            raise

    def _judged(self, method: str, response: requests.Response, sent: Any) -> Reply:
        status, url = response.status_code, shown(response.url)
        if status < 300:
            return Reply(status, response.headers, response.content, response.url)
        failure = HttpFailure(status, body_of(response), url)
        if status == 401:
            hint = ""
            if origin(response.url) != origin(self.base_url):
                hint = f"bgci sends credentials only to {self.base_url}: give the address of the redirect. "
            remedy = self._auth.remedy() if self._auth else CREDENTIALS_REMEDY
            raise DeniedError(f"{self.name} asks for a login at {url}.", remedy=hint + remedy) from failure
        if status == 403:
            raise self._forbidden(method, response, sent, failure) from failure
        raise failure

    def _forbidden(self, method: str, response: requests.Response, sent: Any, failure: HttpFailure) -> DeniedError:
        """The error for a 403."""
        path = urlsplit(response.url).path
        missing = self._auth.missing(method, path, sent, by_router=not failure.is_api) if self._auth else ""
        detail = f" ({failure.message})" if failure.is_api else ""
        return DeniedError(
            f"Not permitted: {method} {path} at {self.name}{detail}." + (f" Missing: {missing}." if missing else ""),
            remedy=f"Grant {'it' if missing else 'the permission'}, or use other credentials; "
            "`bgci doctor` lists the permissions.",
        )

    def value(self, reply: Reply) -> Any:
        """The JSON value of a reply, None for an empty one. Raises UnavailableError for anything else."""
        if not reply.content.strip():
            return None
        kind = reply.headers.get("Content-Type", "")
        try:
            if "html" in kind:
                raise ValueError(kind)
            return json_value(reply.content)
        except UnusableJsonError as error:
            raise UnavailableError(
                f"{shown(reply.url)} answers with unusable JSON: {error}.",
                remedy=f"Is {self.base_url} the URL of {self.name}?",
            ) from None
        except ValueError as error:
            raise UnavailableError(
                f"{shown(reply.url)} answers {'HTML' if 'html' in kind else kind or 'something'} instead of JSON.",
                remedy=f"Is {self.base_url} the URL of {self.name}?",
            ) from error


def _is_json(reply: Reply) -> bool:
    try:
        json_value(reply.content)
    except ValueError as error:
        return isinstance(error, UnusableJsonError)  # it stays as it is
    return True
