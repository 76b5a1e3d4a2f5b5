"""Addresses and CA certificates for the jobs: inside the cluster they differ from those outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bgci.errors import UsageError
from bgci.options import Settings

MAX_JOB_CA_BYTES = 32 * 1024  # an environment variable has room for 128 KiB


def job_urls(settings: Settings) -> tuple[str, str | None]:
    """The addresses of the cluster and its Marathon inside the job; None for the cluster's root Marathon.

    A Marathon below the cluster's address outside is also below its address inside. Without DC/OS outside, the job
    uses none.
    """
    inside, outside = settings.job_cluster_url.rstrip("/"), settings.cluster_url.rstrip("/")
    if settings.marathon_url and not outside:
        return "", settings.job_marathon_url or settings.marathon_url
    below = settings.marathon_url.removeprefix(outside)
    derived = inside + below if below.startswith("/") else None
    return inside, settings.job_marathon_url or derived


def job_ca(settings: Settings) -> str | None:
    """The CA certificates that the job trusts, as PEM text in one line; None: those of its image and its cluster.

    Raises UsageError for more than fits into an environment variable, such as those of a whole system.
    """
    if not (settings.job_ca_cert or settings.ca_cert):
        return None
    from bgci.dcos.tls import pem_text

    text = pem_text(settings.job_ca_cert or settings.ca_cert).replace("\n", "\\n")
    if len(text) > MAX_JOB_CA_BYTES:
        raise UsageError(
            f"The CA certificates for the job have {len(text)} bytes; the limit of a job is {MAX_JOB_CA_BYTES}.",
            remedy="Give --job-ca-cert with only the CA of the cluster.",
        )
    return text


def job_pin(settings: Settings) -> str | None:
    """The fingerprint by which the job recognises the cluster's own CA; None if the job has a CA, or without DC/OS."""
    inside, _ = job_urls(settings)
    needed = inside.startswith("https://") and not (settings.job_ca_cert or settings.ca_cert)
    return settings.ca_sha256 or None if needed else None


# By option of a job's connections: the options of the command from which it is derived, and how.
CONNECTION: dict[str, tuple[tuple[str, ...], Callable[[Settings], Any]]] = {
    "cluster_url": (("job_cluster_url",), lambda settings: job_urls(settings)[0]),
    "marathon_url": (("job_marathon_url",), lambda settings: job_urls(settings)[1] or ""),
    "marathon_lb_url": (("job_marathon_lb_url",), lambda settings: list(settings.job_marathon_lb_url)),
    "ca_cert": (("job_ca_cert", "ca_cert"), lambda settings: job_ca(settings) or ""),
    "ca_sha256": (("ca_sha256",), lambda settings: job_pin(settings) or ""),
    "insecure": (("insecure",), lambda settings: settings.insecure),
}


def job_connection(settings: Settings) -> dict[str, Any]:
    """The options of the job's connections, by name."""
    return {name: derived(settings) for name, (_, derived) in CONNECTION.items()}


def require_confidential_jobs(settings: Settings, *, logs_in: bool) -> None:
    """Raises UsageError for jobs that would send their login unencrypted, before the jobs fail in the cluster."""
    from bgci.dcos.tls import confidential

    cluster_url, marathon_url = job_urls(settings)
    url = cluster_url or marathon_url or ""
    if logs_in and not settings.insecure and not confidential(url):
        raise UsageError(
            f"The jobs would send their login unencrypted to {url}.",
            remedy="Write https:// in --job-cluster-url, or give --job-service-account none if they need no login.",
        )
