"""Clients of the cluster and of the load balancers, created when a command needs them first."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from bgci.errors import UsageError
from bgci.options import Settings

if TYPE_CHECKING:
    from bgci.dcos.cluster import Cluster
    from bgci.dcos.credentials import Credentials
    from bgci.dcos.marathon_lb import LoadBalancer


def in_job() -> bool:
    """Whether this process is a Mesos task, such as a run of one of our jobs."""
    return "MESOS_TASK_ID" in os.environ


class Connections:
    """The clients of one command, from its settings and its environment."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def cluster(self) -> Cluster:
        """The clients of the cluster. Raises UsageError, UnavailableError or DeniedError."""
        from bgci.dcos.cluster import connect

        given = self._settings
        if not (given.cluster_url or given.marathon_url):
            raise UsageError(
                "No cluster is named.", remedy="Give --cluster-url (DC/OS) or --marathon-url (Marathon alone)."
            )
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

        return read_credentials(os.environ)

    @cached_property
    def ca_cert(self) -> str | None:
        """The CA certificates to trust, as a path or as PEM text; None: as this machine does.

        Raises UsageError, or UnavailableError when the cluster's own CA is not the one that is wanted.
        """
        given = self._settings
        if given.ca_sha256 and given.ca_cert:
            raise UsageError("--ca-cert and --ca-sha256 are both given.", remedy="Keep one: a CA, or how to know it.")
        if given.ca_sha256 and not given.insecure:
            from bgci.dcos.cluster import pinned_ca

            return pinned_ca(given.cluster_url, given.ca_sha256)
        # DC/OS Enterprise puts the cluster's CA into each task's sandbox.
        bundle = Path(os.environ.get("MESOS_SANDBOX", ""), ".ssl", "ca-bundle.crt")
        return given.ca_cert or (str(bundle) if in_job() and bundle.is_file() else None)

    @cached_property
    def balancers(self) -> list[LoadBalancer]:
        """Every load balancer replica. Raises UsageError where none is named: no task could be proven drained."""
        from bgci.dcos.marathon_lb import LoadBalancer, resolve_replicas

        if not self._settings.marathon_lb_url:
            raise UsageError(
                "No load balancer is named, and only a load balancer shows which instances are in rotation.",
                remedy="Give --marathon-lb-url, such as http://marathon-lb.example.com:9090, once per replica.",
            )
        urls = resolve_replicas(self._settings.marathon_lb_url)
        return [LoadBalancer(url, ca_cert=self.ca_cert, insecure=self._settings.insecure) for url in urls]
