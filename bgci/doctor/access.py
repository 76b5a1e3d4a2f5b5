"""Judgements about the access to the cluster: certificate, clock, login, permissions, the job's secret. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from bgci.appdef.names import job_secret, may_use
from bgci.dcos import jwt
from bgci.dcos.credentials import Credentials, Password, ServiceAccount
from bgci.dcos.permissions import Permission
from bgci.doctor.finding import CheckResult, Status, failure, ok, skipped, warning
from bgci.errors import DeniedError, InvalidError, UnavailableError

CLOCK_TOLERANCE = 30.0  # seconds; the JWT of a service account's login is valid only for some minutes
EXPIRES_SOON = timedelta(days=30)
TOO_SHORT = 600.0  # seconds; a token with less time left can expire during a release
SUPERUSER = "dcos:superuser"
ACCOUNT = "<account>"  # in place of an unknown account


def certificate(end: datetime, trust: str, now: datetime, *, verified: bool) -> CheckResult:
    """The row for the server's certificate and its expiry. trust: the CAs that verify it, as text."""
    left = end - now
    until = f"certificate until {end:%Y-%m-%d} ({left.days} days)"
    if left <= timedelta(0):
        found = f"the certificate expired on {end:%Y-%m-%d %H:%M} UTC"
        return failure("tls", UnavailableError, found, "Renew it on the cluster.")
    if not verified:
        remedy = "Give the cluster's CA with --ca-cert or --ca-sha256: others on the network can read the credentials."
        return warning("tls", f"not verified: --insecure is given; {until}", remedy)
    if left < EXPIRES_SOON:
        return warning("tls", f"{trust}; {until}", "Renew it on the cluster before it stops every release.")
    return ok("tls", f"{trust}; {until}")


def clock(offset: float, uncertainty: float) -> CheckResult:
    """The row for this machine's clock. Seconds ahead of the cluster's, and their uncertainty."""
    off = abs(offset)
    if off <= CLOCK_TOLERANCE + uncertainty:
        return ok("clock", f"within {max(1.0, off + uncertainty):.0f} s of the cluster's")
    way = "ahead of" if offset > 0 else "behind"
    found = f"{off:.0f} s {way} the cluster's: a service account's login and the times of logs depend on it"
    return warning("clock", found, "Set the clock of this machine by NTP.")


def session(credentials: Credentials | None, header: str, now: float) -> CheckResult:
    """The row for a successful login. header: its Authorization; now: seconds since the epoch."""
    if credentials is None:
        return ok("login", "no credentials are given, and the cluster needs none")
    account = _named(credentials)
    claimed = claims(header)
    uid, end = str(claimed.get("uid", "")), float(claimed.get("exp", math.inf))
    found = account if not uid or uid in account else f"{account}, which is {uid}"
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
    """The claims of the token in an Authorization header; empty if it is not a JWT."""
    return jwt.claims(header.removeprefix("token=").removeprefix("Bearer "))


def permissions(known: Mapping[Permission, bool | None], account: str = ACCOUNT) -> list[CheckResult]:
    """A row for each missing permission, one for the granted ones, one for those that cannot be probed.

    known: whether each is granted; None if only a change would show it. account: of CI.
    """
    have = [one for one, there in known.items() if there]
    unknown = [one for one, there in known.items() if there is None]
    checks = [_lacking(one, account) for one, there in known.items() if there is False]
    if have:
        checks.append(ok("permissions", "; ".join(map(str, have))))
    if unknown:
        found = f"cannot be probed without a change: {'; '.join(map(str, unknown))}"
        remedy = "Ask an administrator to check the account's permissions. A release names a missing one."
        checks.append(skipped("permissions", found, remedy))
    return checks


def grant(permission: Permission | str, account: str = ACCOUNT) -> str:
    """The command for an administrator."""
    return f"dcos security org users grant {account} {permission}"


def _lacking(lack: Permission, account: str) -> CheckResult:
    remedy, command = f"Grant it to the account that CI logs in with, to {lack.why}.", grant(lack, account)
    if lack.optional:
        return CheckResult("permissions", Status.WARNING, f"not granted: {lack}", remedy, command)
    return failure("permissions", DeniedError, f"not granted: {lack}", remedy, command)


def granted(permission: Permission, own: Iterable[tuple[str, str]]) -> bool:
    """Whether the permissions of an account (resource and action of each) include a permission."""
    return any(
        rid == SUPERUSER or (action in (permission.action, "full") and covers(rid, permission.rid))
        for rid, action in own
    )


def covers(rid: str, wanted: str) -> bool:
    """Whether a permission for the one resource holds for the other: the same, or above it on its path."""
    have, want = _parts(rid), _parts(wanted)
    return want[: len(have)] == have


def _parts(rid: str) -> list[str]:
    """A resource as a path. Its last part has several spellings, mostly for jobs: ``a/b``, ``/a.b``."""
    head, colon, tail = rid.rpartition(":")
    jobs = head.endswith(":jobs")
    path = tail.replace(".", "/") if jobs else tail
    return [*head.split(":"), *[part for part in path.split("/") if part]] if colon else [rid]


def space(secret: str, app_id: str) -> CheckResult | None:
    """The spaces rule: a job can use a secret of its own folder, of one above it, or without a folder."""
    if may_use(app_id, secret):
        return None
    found = f"the jobs of {app_id} cannot use {secret}: DC/OS gives a secret only to its own folder and below"
    remedy = f"Store the service account in {job_secret(app_id)}, or name another secret with --job-secret."
    return failure("secret", InvalidError, found, remedy)
