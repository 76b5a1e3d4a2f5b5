"""The login of the jobs at the cluster: a service account in a DC/OS secret, a login in the job, or none."""

from __future__ import annotations

from typing import Any

from bgci.appdef.names import job_secret, may_use
from bgci.dcos.credentials import CREDENTIAL_VARIABLES, hide_credentials
from bgci.dcos.metronome import Job
from bgci.errors import InvalidError, UsageError
from bgci.operations.connections import from_file
from bgci.operations.context import Context
from bgci.options import FILE, JobServiceAccount, Settings

VARIABLE = "BGCI_SERVICE_ACCOUNT"
TO_LOG_IN = "publish it with --job-service-account secret, or embed without a secret store (docs/secrets.md)"
STORELESS = ("open", "plain")  # variants of a cluster


def way(context: Context) -> JobServiceAccount:
    """The value of --job-service-account. ``auto`` is ``secret`` if this command has a login and the cluster can have
    a secret store. `render` contacts no cluster and assumes a secret store.
    """
    asked = context.settings.job_service_account
    if asked != "auto":
        return asked
    if context.settings.job_secret:
        return "secret"
    if not context.credentials or (context.command != "render" and context.cluster.variant in STORELESS):
        return "none"
    return "secret"


def login(context: Context) -> dict[str, Any]:
    """The fields of ``JobSettings`` with the login. Raises UsageError; InvalidError for a secret of another folder."""
    chosen = way(context)
    if chosen == "secret":
        return {"secret_env": {VARIABLE: secret(context)}}
    if chosen == "embed":
        return {"env": _embedded(context)}
    return {}


def secret(context: Context) -> str:
    """The path of the secret. Raises InvalidError for a secret of another folder."""
    path = context.settings.job_secret.strip("/") or job_secret(context.app_id)
    if may_use(context.app_id, path):
        return path
    folder = path.rpartition("/")[0]
    raise InvalidError(
        f"The jobs of {context.app_id} cannot use the secret {path}: DC/OS gives it only to jobs in {folder}.",
        remedy=f"Keep the service account in {job_secret(context.app_id)}, or name another one with --job-secret.",
    )


def has_login(job: Job) -> bool:
    """Whether a published job can log in."""
    return not set(CREDENTIAL_VARIABLES).isdisjoint(job.env)


def _embedded(context: Context) -> dict[str, str]:
    if context.credentials is None:
        raise UsageError(
            "--job-service-account embed needs credentials, but none are given.",
            remedy=f"Set {VARIABLE}, or another login (docs/identity.md); or choose secret or none.",
        )
    _require_trusted_job(context.settings)
    environment = context.credentials.environment()
    hide_credentials(environment)
    context.console.warn(
        f"--job-service-account embed: every account with read permission for the jobs of {context.app_id} can read "
        "this login in them; with `secret` no account can. The artifacts have *** in its place."
    )
    return environment


def _require_trusted_job(settings: Settings) -> None:
    """Raises UsageError where only ``bgci.toml`` hands the login of this environment to the jobs, or names the program
    that would get it there."""
    for name in ("job_service_account", "job_image", "job_artifact", "job_template"):
        if getattr(settings, name) and from_file(settings, name):
            flag = name.replace("_", "-")
            raise UsageError(
                f"This environment's login would be embedded in the jobs; only the checkout has {flag} ({FILE}).",
                remedy=f"Set BGCI_{name.upper()} where CI keeps its variables; or give --job-service-account secret, "
                "or --allow-config-addresses where only reviewed changes run (docs/secrets.md).",
            )


def require_secret(context: Context) -> None:
    """Check that the secret exists, if it is readable.

    Raises UsageError without a secret store, InvalidError without the secret: a run would never start.
    """
    if way(context) != "secret":
        return
    http, path = context.cluster.http, secret(context)
    if http is None or context.cluster.variant in STORELESS:
        raise UsageError(
            "This cluster has no secret store for the login of the jobs.",
            remedy="Give --job-service-account embed, or none if Marathon needs no login.",
        )
    from bgci.dcos.examine import secret_there

    there = secret_there(http, path)
    if there is None:
        context.console.info(f"The secret {path} is not readable with these credentials; bgci assumes that it exists.")
    if there is False:
        raise InvalidError(
            f"The secret {path} for the login of the jobs does not exist.",
            remedy=f"Create it: `dcos security secrets create-sa-secret PRIVATE-KEY.pem ACCOUNT {path}`; "
            "or name another one with --job-secret, or see docs/secrets.md.",
        )
