"""Clients of the cluster and of the load balancers, created when a command needs them first."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bgci.appdef.job_document import VARIABLE
from bgci.errors import UsageError
from bgci.options import FILE, FROM_FILE, Settings

if TYPE_CHECKING:
    from bgci.dcos.cluster import Cluster
    from bgci.dcos.credentials import Credentials
    from bgci.dcos.marathon_lb import LoadBalancer


def in_job() -> bool:
    """Whether this process is a Mesos task, such as a run of one of our jobs."""
    return "MESOS_TASK_ID" in os.environ


# Destinations of a login: bgci's own, and that of the jobs.
LOGIN_ADDRESSES = ("cluster_url", "marathon_url", "metronome_url", "job_cluster_url", "job_marathon_url")
# The certificates by which a server proves that it is the cluster.
TRUST_ANCHORS = ("ca_cert", "ca_sha256", "job_ca_cert")
# The services of DC/OS below its own address.
SERVICE_PATHS = {
    "marathon_url": "/service/marathon",
    "job_marathon_url": "/service/marathon",
    "metronome_url": "/service/metronome",
}


def from_file(settings: Settings, name: str) -> bool:
    """Whether only ``bgci.toml`` gives this setting, and the runner does not trust that file."""
    return settings.origins.get(name) == FROM_FILE and not settings.allow_config_addresses


def require_trusted_addresses(settings: Settings) -> None:
    """Raises UsageError for a destination of the login that only ``bgci.toml`` names.

    A change of the checkout could send the login to a foreign server, or unencrypted over the network. An address is
    trusted if an option or a variable names the same scheme, host, port and path, or the cluster that the service is
    part of; or with --allow-config-addresses.
    """
    if settings.origins.get("allow_config_addresses") == FROM_FILE:
        raise UsageError(
            f"{FILE} has allow-config-addresses, which only an option or a variable can set.",
            remedy="Give --allow-config-addresses or BGCI_ALLOW_CONFIG_ADDRESSES=true where CI itself is configured.",
        )
    _require_trusted_verification(settings)
    given = {name: getattr(settings, name) for name in LOGIN_ADDRESSES if getattr(settings, name)}
    trusted = {_place_of(url) for name, url in given.items() if not from_file(settings, name)}
    for name, url in given.items():
        if from_file(settings, name) and not _is_trusted(name, url, trusted):
            raise UsageError(
                f"The login of this environment would go to {_flag(name)} of {FILE}; only the checkout names this "
                "address.",
                remedy=f"Set BGCI_{name.upper()} where CI keeps its variables; or give --allow-config-addresses where "
                "only reviewed changes run (docs/identity.md).",
            )


def _require_trusted_verification(settings: Settings) -> None:
    """Raises UsageError if only ``bgci.toml`` names the trusted certificates or turns verification off."""
    if settings.insecure and from_file(settings, "insecure"):
        raise UsageError(
            f"The login of this environment would go to an unverified server: only {FILE} has insecure.",
            remedy="Remove it there, and give --ca-cert or --ca-sha256; or set BGCI_INSECURE=true where CI keeps its "
            "variables (docs/identity.md).",
        )
    for name in TRUST_ANCHORS:
        if getattr(settings, name) and from_file(settings, name):
            raise UsageError(
                f"The login of this environment would go to any server that has a certificate of {_flag(name)} of "
                f"{FILE}; only the checkout names this CA.",
                remedy=f"Set BGCI_{name.upper()} where CI keeps its variables; or give --allow-config-addresses where "
                "only reviewed changes run (docs/identity.md).",
            )


def _is_trusted(name: str, url: str, trusted: set[tuple[str, str, str]]) -> bool:
    """Whether it is a trusted address, the root of its host, or DC/OS's own service below a trusted one. Any other path
    can be a service of another team: the cluster's router forwards requests to it with their login."""
    scheme, host, path = _place_of(url)
    paths = {known for *place, known in trusted if place == [scheme, host]}
    own = {known + SERVICE_PATHS[name] for known in paths} if name in SERVICE_PATHS else set()
    return bool(paths) and path in {"", *paths, *own}


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _place_of(url: str) -> tuple[str, str, str]:
    """Scheme, host with a port that is not the scheme's own, and path."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    host = parts.netloc.lower().removesuffix(":443" if scheme == "https" else ":80")
    return scheme, host, parts.path.rstrip("/")


class Connections:
    """The clients of one command, from its settings and its environment."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @cached_property
    def cluster(self) -> Cluster:
        """The clients of the cluster. Raises UsageError, UnavailableError or DeniedError."""
        from bgci.dcos.cluster import connect

        given = self.settings
        return connect(
            cluster_url=given.cluster_url,
            marathon_url=given.marathon_url,
            metronome_url=given.metronome_url,
            credentials=self.credentials,
            ca_cert=self.ca_cert,
            insecure=given.insecure,
        )

    @cached_property
    def credentials(self) -> Credentials | None:
        """The login at the cluster. Raises UsageError."""
        from bgci.dcos.credentials import read_credentials

        found = read_credentials(os.environ)
        # A CI agent can be a Mesos task too, in a checkout. Only a job of bgci has its addresses from its document.
        if found and not (in_job() and VARIABLE in os.environ):
            require_trusted_addresses(self.settings)
        return found

    @cached_property
    def ca_cert(self) -> str | None:
        """The CA certificates to trust, as a path or as PEM text; None: those of this machine.

        Raises UsageError, or UnavailableError when the cluster's own CA has another fingerprint.
        """
        given = self.settings
        if given.ca_sha256 and given.ca_cert:
            raise UsageError("--ca-cert and --ca-sha256 are both given.", remedy="Give only one of them.")
        if given.ca_sha256 and not given.insecure:
            from bgci.dcos.cluster import pinned_ca

            return pinned_ca(given.cluster_url, given.ca_sha256)
        # DC/OS Enterprise puts the cluster's CA into each task's sandbox.
        bundle = Path(os.environ.get("MESOS_SANDBOX", ""), ".ssl", "ca-bundle.crt")
        return given.ca_cert or (str(bundle) if in_job() and bundle.is_file() else None)

    @cached_property
    def balancers(self) -> list[LoadBalancer]:
        """Every load balancer replica. Raises UsageError without one: the end of a drain could not be detected."""
        from bgci.dcos.marathon_lb import LoadBalancer, resolve_replicas

        if not self.settings.marathon_lb_url:
            raise UsageError(
                "--marathon-lb-url is missing: only a load balancer shows which instances are in rotation.",
                remedy="Give --marathon-lb-url, such as http://marathon-lb.example.com:9090, once per replica.",
            )
        urls = resolve_replicas(self.settings.marathon_lb_url)
        return [LoadBalancer(url, ca_cert=self.ca_cert, insecure=self.settings.insecure) for url in urls]
