"""Judgements about the way to the cluster: certificate, clock, permissions, the job's secret. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from bgci.appdef.names import job_secret, may_use
from bgci.dcos.permissions import Permission
from bgci.doctor.finding import CheckResult, Status, failure, ok, skipped, warning
from bgci.errors import DeniedError, InvalidError, UnavailableError

CLOCK_TOLERANCE = 30.0  # seconds; the JWT of a service account's login is good for some minutes only
EXPIRES_SOON = timedelta(days=30)
SUPERUSER = "dcos:superuser"
ACCOUNT = "<account>"  # who it is nobody knows


def certificate(end: datetime, trust: str, now: datetime, *, verified: bool) -> CheckResult:
    """How long the server's certificate is good for. trust: what it is verified against, in words."""
    left = end - now
    until = f"certificate until {end:%Y-%m-%d} ({left.days} days)"
    if left <= timedelta(0):
        return failure(
            "tls", UnavailableError, f"the certificate expired on {end:%Y-%m-%d %H:%M} UTC", "Renew it on the cluster."
        )
    if not verified:
        return warning(
            "tls",
            f"not verified: --insecure is given; {until}",
            "Whoever is in between can read the credentials: give the cluster's CA with --ca-cert, or --ca-sha256.",
        )
    if left < EXPIRES_SOON:
        return warning("tls", f"{trust}; {until}", "Renew it on the cluster before it stops every release.")
    return ok("tls", f"{trust}; {until}")


def clock(offset: float, uncertainty: float) -> CheckResult:
    """This machine's clock against the cluster's, in seconds: positive where ours is ahead."""
    off = abs(offset)
    if off <= CLOCK_TOLERANCE + uncertainty:
        return ok("clock", f"within {max(1.0, off + uncertainty):.0f} s of the cluster's")
    way = "ahead of" if offset > 0 else "behind"
    return warning(
        "clock",
        f"{off:.0f} s {way} the cluster's: a service account's login and the times of logs depend on it",
        "Set the clock of this machine by NTP.",
    )


def permissions(needed: Sequence[Permission], known: Mapping[str, bool], account: str = ACCOUNT) -> list[CheckResult]:
    """A row for each permission that is lacking, one for those that are there, one for those that nobody can tell.

    known: by ``rid action``, whether it is there; missing where it could not be found out without changing anything.
    account: whose they are.
    """
    there = [one for one in needed if known.get(str(one)) is True]
    unknown = [one for one in needed if str(one) not in known]
    checks = [_lacking(one, account) for one in needed if known.get(str(one)) is False]
    if there:
        checks.append(ok("permissions", "; ".join(map(str, there))))
    if unknown:
        checks.append(
            skipped(
                "permissions",
                f"could not be probed without changing something: {'; '.join(map(str, unknown))}",
                "An administrator sees them in the account's permissions; a release names the one that it lacks.",
            )
        )
    return checks


def grant(permission: Permission | str, account: str = ACCOUNT) -> str:
    """The command of an administrator."""
    return f"dcos security org users grant {account} {permission}"


def _lacking(lack: Permission, account: str) -> CheckResult:
    remedy, command = f"grant it to the account that CI logs in with, to {lack.why}", grant(lack, account)
    if lack.optional:
        return CheckResult("permissions", Status.WARNING, f"not granted: {lack}", remedy, command)
    return failure("permissions", DeniedError, f"not granted: {lack}", remedy, command)


def granted(permission: Permission, own: Iterable[tuple[str, str]]) -> bool:
    """Whether what an account has (resource and action of each) covers a permission."""
    return any(
        rid == SUPERUSER or (action in (permission.action, "full") and covers(rid, permission.rid))
        for rid, action in own
    )


def covers(rid: str, wanted: str) -> bool:
    """Whether a permission for the one resource holds for the other: the same, or above it on its path."""
    have, want = _parts(rid), _parts(wanted)
    return want[: len(have)] == have


def _parts(rid: str) -> list[str]:
    """A resource as a path. The last part is spelled in several ways, of jobs above all: ``a/b``, ``/a.b``."""
    head, colon, tail = rid.rpartition(":")
    jobs = head.endswith(":jobs")
    path = tail.replace(".", "/") if jobs else tail
    return [*head.split(":"), *[part for part in path.split("/") if part]] if colon else [rid]


def space(secret: str, app_id: str) -> CheckResult | None:
    """The spaces rule: a job may use a secret of its own folder, of one above it, or without a folder."""
    if may_use(app_id, secret):
        return None
    found = f"{secret} cannot be used by the jobs of {app_id}: DC/OS gives it to its own folder and below only"
    remedy = f"Store the service account in {job_secret(app_id)}, or name another secret with --job-secret."
    return failure("secret", InvalidError, found, remedy)
