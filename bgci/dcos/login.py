"""Authentication of requests: a login at DC/OS, made once and renewed in time, or a header for a plain Marathon.

Reference: docs/platform.md, Login (bouncer: bouncer/app/auth.py; dcos: AR/lib/auth/common.lua).
"""

from __future__ import annotations

import base64
import math
import time
from collections.abc import Callable, MutableMapping
from datetime import datetime, timezone
from functools import partial
from typing import Any

from bgci import redaction
from bgci.bounded import json_value
from bgci.dcos import jwt, permissions
from bgci.dcos.credentials import Credentials, Password, ServiceAccount, Token
from bgci.dcos.http import Http
from bgci.dcos.http_address import CREDENTIALS_REMEDY
from bgci.dcos.http_failure import HttpFailure
from bgci.errors import DeniedError, UnavailableError, UsageError

PATH = "/acs/api/v1/auth/login"
PROOF_SECONDS = 300  # seconds; validity of a service account's JWT: for one login
MARGIN_SECONDS = 60.0  # seconds before its end at which a token is renewed; a short-lived one in its last quarter
SETTLED_SECONDS = 1.0  # seconds; a token that is refused this soon after its login has not expired
OPEN_REMEDY = (
    "This cluster is an open DC/OS with a login: set BGCI_TOKEN to the output of "
    "`dcos config show core.dcos_acs_token` after `dcos auth login`, or, from DC/OS 1.13, BGCI_SERVICE_ACCOUNT."
)


class Login:
    """The ``auth`` of every Http of one DC/OS cluster.

    A token is sent unchanged; a password or a service account logs in at the first request that needs it, and again
    before the token expires. A refusal is final: it is raised again, without another attempt that could lock the
    account. ``http``: the cluster itself. ``clock``: seconds since the epoch. Not for use by several threads.
    """

    def __init__(
        self, credentials: Credentials | None, http: Http, clock: Callable[[], float] = time.time, *, variant: str = ""
    ) -> None:
        self._credentials = credentials
        self._http = http
        self._clock = clock
        self._variant = variant
        self._token = credentials.value if isinstance(credentials, Token) else ""
        self._since = -math.inf
        self._until = math.inf
        self._refusal: Callable[[], DeniedError] | None = None

    def __call__(self, headers: MutableMapping[str, str]) -> None:
        """Sets the header. Raises DeniedError or UnavailableError when the login fails, UsageError for a bad key."""
        if isinstance(self._credentials, Password | ServiceAccount):
            if self._refusal:
                raise self._refusal()
            if not self._token or self._clock() >= self._until:
                self._log_in(self._credentials)
        if self._token:
            headers["Authorization"] = f"token={self._token}"

    def renew(self) -> bool:
        """After a 401: whether another attempt with a new login can succeed."""
        now = self._clock()
        if self._refusal or not isinstance(self._credentials, Password | ServiceAccount):
            return False
        if 0 <= now - self._since < SETTLED_SECONDS:
            return False
        self._token = ""
        return True

    def remedy(self) -> str:
        """The remedy when the cluster refuses the login."""
        if isinstance(self._credentials, Token):
            ended = _ended(self._credentials.value, self._clock())
            return f"The token of {self._credentials.origin} is refused: {ended}. {self._other_ways()}"
        return self._other_ways()

    def missing(self, method: str, path: str, sent: Any, *, by_router: bool) -> str:
        """The missing permission of a refused request, by the documentation of DC/OS Enterprise."""
        return "" if self._variant == "open" else permissions.of_request(method, path, body=sent, by_router=by_router)

    def _other_ways(self) -> str:
        return OPEN_REMEDY if self._variant == "open" else CREDENTIALS_REMEDY

    def _log_in(self, credentials: Password | ServiceAccount) -> None:
        now = self._clock()
        body = _body(credentials, now)
        try:
            reply = self._http.request("POST", PATH, json=body, credentials=False, harmless=True)
        except (DeniedError, HttpFailure) as error:
            failure = error if isinstance(error, HttpFailure) else error.__cause__
            if isinstance(failure, HttpFailure) and failure.status >= 500:
                raise failure.unavailable("The login fails") from failure
            self._refusal = partial(_refusal, credentials, failure, self._variant)
            raise self._refusal() from failure
        token = _token_of(reply.content)
        if not token:
            raise UnavailableError(
                f"{self._http.base_url}{PATH} answers without a token.",
                remedy="Give the cluster's own address in --cluster-url, not that of a proxy with a login page.",
            )
        redaction.hide(token)
        life = _end(token) - now
        self._token, self._since = token, now
        # Without a usable expiry, for example with a wrong clock, a 401 shows that it has expired.
        self._until = now + life - min(MARGIN_SECONDS, life / 4) if life > 0 else math.inf


class PlainLogin:
    """The ``auth`` of a Marathon without DC/OS: basic authentication, or a token for a proxy in front of it."""

    def __init__(self, credentials: Credentials | None) -> None:
        self._header = ""
        if isinstance(credentials, ServiceAccount):
            raise UsageError(
                f"{credentials.origin} is set, but a Marathon without DC/OS has no service accounts.",
                remedy="Give --cluster-url if this is DC/OS; else BGCI_USERNAME and BGCI_PASSWORD.",
            )
        if isinstance(credentials, Password):
            self._header = _basic(credentials)
        elif credentials:
            self._header = f"Bearer {credentials.value}"  # RFC 6750; DC/OS's own routers take it too

    def __call__(self, headers: MutableMapping[str, str]) -> None:
        if self._header:
            headers["Authorization"] = self._header

    def renew(self) -> bool:
        """Cannot renew anything."""
        return False

    def remedy(self) -> str:
        """The remedy when Marathon refuses the login."""
        if self._header:
            return "Check that the credentials belong to this Marathon. If it is DC/OS, give --cluster-url instead."
        return "Set BGCI_USERNAME and BGCI_PASSWORD (or BGCI_PASSWORD_FILE). If it is DC/OS, give --cluster-url."

    def missing(self, method: str, path: str, sent: Any, *, by_router: bool) -> str:
        """Unknown: each plug-in of Marathon names its own permissions."""
        return ""


def _basic(credentials: Password) -> str:
    if ":" in credentials.username:
        raise UsageError(
            "BGCI_USERNAME contains a colon, which basic authentication does not allow (RFC 7617).",
            remedy="Use a user name without a colon.",
        )
    encoded = base64.b64encode(f"{credentials.username}:{credentials.value}".encode()).decode("ascii")
    redaction.hide(encoded)
    return f"Basic {encoded}"


def _refusal(credentials: Password | ServiceAccount, cause: BaseException | None, variant: str) -> DeniedError:
    """Why the cluster refused a login."""
    reason = cause.message.rstrip(".") if isinstance(cause, HttpFailure) else ""
    if isinstance(cause, HttpFailure) and cause.status == 404:
        reason = "it does not support this kind of login"
    if isinstance(credentials, ServiceAccount):
        account = f"service account {credentials.uid}"
        check = f"that the key of {credentials.origin} belongs to it, and that this machine's clock is right"
    else:
        account, check = f"user {credentials.username}", "the name and the password"
    return DeniedError(
        f"The cluster refuses the login of {account}: {reason or 'without a reason'}.",
        remedy=f"Check {check}; bgci did not try again. {OPEN_REMEDY if variant == 'open' else ''}".rstrip(),
    )


def _body(credentials: Password | ServiceAccount, now: float) -> dict[str, str]:
    """The body of the login."""
    if isinstance(credentials, Password):
        return {"uid": credentials.username, "password": credentials.value}
    claims = {"uid": credentials.uid, "exp": int(now) + PROOF_SECONDS}
    try:
        proof = jwt.signed(claims, credentials.private_key)
    except ValueError:
        raise UsageError(
            f"The private_key of {credentials.origin} is not an RSA key in PEM form without a passphrase.",
            remedy="Use the JSON that `dcos security secrets create-sa-secret` stored.",
        ) from None  # the original error can show a part of it
    redaction.hide(proof)
    return {"uid": credentials.uid, "token": proof}


def _token_of(content: bytes) -> str:
    """The token of a login's answer, empty if it has none."""
    try:
        found = json_value(content)
    except ValueError:
        return ""
    token = found.get("token") if isinstance(found, dict) else None
    return token if isinstance(token, str) else ""


def _end(token: str) -> float:
    """The expiry of a token in seconds since the epoch; infinite without one."""
    try:
        return float(jwt.claims(token).get("exp", math.inf))
    except (TypeError, ValueError):
        return math.inf


def _ended(token: str, now: float) -> str:
    end = _end(token)
    if end <= now:
        return f"it ended at {datetime.fromtimestamp(end, timezone.utc):%Y-%m-%d %H:%M} UTC"
    return "it may belong to another cluster, or be revoked"
