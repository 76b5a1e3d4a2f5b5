"""Who is logged in, by which credentials, and until when."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any

from bgci.dcos import jwt
from bgci.dcos.credentials import Credentials, Password, ServiceAccount
from bgci.doctor.finding import CheckResult, ok, warning

TOO_SHORT = 600.0  # seconds: a token that ends sooner may not outlive a release


def session(credentials: Credentials | None, header: str, now: float) -> CheckResult:
    """The row for a login that succeeded. header: the Authorization that it led to; now: seconds since the epoch."""
    if credentials is None:
        return ok("login", "no credentials are given, and none are asked for")
    who = _named(credentials)
    claimed = claims(header)
    uid, end = str(claimed.get("uid", "")), float(claimed.get("exp", math.inf))
    found = who if not uid or uid in who else f"{who}, which is {uid}"
    if end == math.inf:
        return ok("login", found)
    found += f", until {datetime.fromtimestamp(end, timezone.utc):%Y-%m-%d %H:%M} UTC"
    if isinstance(credentials, Password | ServiceAccount):
        return ok("login", f"{found}, renewed when needed")
    if end - now < TOO_SHORT:
        return warning("login", found, "A token cannot be renewed: log in again, or give a service account.")
    return ok("login", found)


def _named(credentials: Credentials) -> str:
    if isinstance(credentials, ServiceAccount):
        return f"service account {credentials.uid} ({credentials.origin})"
    if isinstance(credentials, Password):
        return f"user {credentials.username} ({credentials.origin})"
    return f"the token of {credentials.origin}"


def claims(header: str) -> dict[str, Any]:
    """What the token in an Authorization header says of itself; nothing for one that is no JWT."""
    return jwt.claims(header.removeprefix("token=").removeprefix("Bearer "))
