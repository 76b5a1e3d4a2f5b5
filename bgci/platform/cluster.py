"""From the URLs that a user gives to the clients of one cluster."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bgci.errors import DeniedError, UnavailableError, UsageError
from bgci.platform.http import Auth, Http, HttpFailure
from bgci.platform.marathon import Marathon
from bgci.platform.metronome import Metronome
from bgci.platform.task_log import TaskLog


@dataclass(frozen=True)
class Cluster:
    """``variant``: "enterprise" or "open" DC/OS ("unknown" when it does not say), or "plain" Mesos/Marathon.

    ``version``: of DC/OS, empty for a plain one. ``http``: the cluster itself (its admin
    router), None for a plain one. ``metronome`` is a client, not yet a promise: ask ``available()``.
    """

    marathon: Marathon
    metronome: Metronome | None
    task_log: TaskLog | None
    variant: str
    version: str
    http: Http | None = None


def connect(
    *,
    cluster_url: str = "",
    marathon_url: str = "",
    metronome_url: str = "",
    auth: Auth | None = None,
    ca_cert: str | None = None,
    insecure: bool = False,
    cancelled: Callable[[], bool] | None = None,
) -> Cluster:
    """The clients of a DC/OS cluster (``cluster_url``; the others override where its services are) or of a plain one.

    For DC/OS one request is made, to learn that the URL is right. ``auth`` is sent to whichever URLs are given.
    Raises UsageError without any URL, UnavailableError when the one that counts leads elsewhere.
    """
    if not (cluster_url or marathon_url):
        raise UsageError(
            "No cluster is given.", remedy="Give --cluster-url (DC/OS) or --marathon-url (plain Marathon)."
        )

    def http(url: str) -> Http:
        return Http(url, auth=auth, ca_cert=ca_cert, insecure=insecure, cancelled=cancelled, name="DC/OS")

    metronome = Metronome(http(metronome_url)) if metronome_url else None
    if not cluster_url:
        marathon = Marathon(http(marathon_url))
        return Cluster(marathon, metronome, None, "plain", "")
    root = http(cluster_url)
    variant, version = _dcos_version(root)
    return Cluster(
        marathon=Marathon(http(marathon_url) if marathon_url else root.below("/service/marathon")),
        metronome=metronome or Metronome(root.below("/service/metronome")),
        task_log=TaskLog(root),
        variant=variant,
        version=version,
        http=root,
    )


def _dcos_version(root: Http) -> tuple[str, str]:
    """Variant and version of DC/OS, which it tells to everybody."""
    path = "/dcos-metadata/dcos-version.json"
    stranger = UnavailableError(
        f"{root.base_url} is no DC/OS cluster: it has no {path}.",
        remedy="Check --cluster-url; for a Marathon without DC/OS give --marathon-url instead.",
    )
    try:
        found = root.get(path, credentials=False)
    except (HttpFailure, DeniedError) as error:
        raise stranger from error
    if not isinstance(found, dict) or "version" not in found:
        raise stranger
    return str(found.get("dcos-variant") or "unknown"), str(found["version"])
