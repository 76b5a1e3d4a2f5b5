"""The clients of one cluster, from the URLs in the settings."""

from __future__ import annotations

from dataclasses import dataclass

from bgci.dcos.credentials import Credentials
from bgci.dcos.http import Auth, Http
from bgci.dcos.http_failure import HttpFailure
from bgci.dcos.login import Login, PlainLogin
from bgci.dcos.marathon import Marathon
from bgci.dcos.metronome import Metronome
from bgci.dcos.task_log import TaskLog
from bgci.dcos.tls import confidential, fingerprint, pinned, require_confidential
from bgci.errors import DeniedError, UnavailableError, UsageError

ELECTION = 12.0  # seconds; limit of the time without a leader of Marathon


@dataclass(frozen=True)
class Cluster:
    """``variant``: "enterprise" or "open" DC/OS ("unknown" if it does not report it), or "plain" Mesos/Marathon.

    ``version``: of DC/OS, empty for a plain one. ``http``: the cluster itself (its admin
    router), None for a plain one. ``metronome``: a client; ``available()`` shows whether Metronome exists.
    ``login``: shared by all clients.
    """

    marathon: Marathon
    metronome: Metronome | None
    task_log: TaskLog | None
    variant: str
    version: str
    login: Login | PlainLogin
    http: Http | None = None


def connect(
    *,
    cluster_url: str = "",
    marathon_url: str = "",
    metronome_url: str = "",
    credentials: Credentials | None = None,
    ca_cert: str | None = None,
    insecure: bool = False,
) -> Cluster:
    """The clients of a DC/OS cluster (``cluster_url``; the others override where its services are) or of a plain one.

    For DC/OS one request checks the URL. A token of DC/OS is also sent to the other URLs with a confidential
    connection. Raises UsageError without any URL, or if credentials would be sent unencrypted; UnavailableError for the
    URL of another server.
    """
    if not (cluster_url or marathon_url):
        raise UsageError(
            "--cluster-url is missing.", remedy="Give --cluster-url (DC/OS) or --marathon-url (Marathon alone)."
        )
    if credentials:
        for url in [cluster_url] if cluster_url else [marathon_url, metronome_url]:
            require_confidential(url, insecure)

    def http(url: str, auth: Auth | None) -> Http:
        return Http(url, auth=auth, ca_cert=ca_cert, insecure=insecure, retry_for=ELECTION, name="DC/OS")

    if not cluster_url:
        plain = PlainLogin(credentials)
        metronome = Metronome(http(metronome_url, plain)) if metronome_url else None
        return Cluster(Marathon(http(marathon_url, plain)), metronome, None, "plain", "", plain)
    bare = http(cluster_url, None)
    variant, version = _dcos_version(bare)
    login = Login(credentials, bare, variant=variant)
    root = http(cluster_url, login)

    def service(url: str, path: str) -> Http:
        return http(url, login if insecure or confidential(url) else None) if url else root.below(path)

    marathon, jobs = service(marathon_url, "/service/marathon"), service(metronome_url, "/service/metronome")
    return Cluster(Marathon(marathon), Metronome(jobs), TaskLog(root), variant, version, login, root)


def pinned_ca(cluster_url: str, sha256: str) -> str:
    """The cluster's own CA as PEM text, if its certificate has this fingerprint.

    Fetches it without verification and without credentials. Raises UsageError or UnavailableError.
    """
    wanted = fingerprint(sha256)
    if not cluster_url.startswith("https://"):
        raise UsageError(
            "--ca-sha256 needs a --cluster-url that begins with https://: bgci fetches the CA from there.",
            remedy="Remove --ca-sha256, or give a CA's file with --ca-cert.",
        )
    http = Http(cluster_url, insecure=True, name="The cluster's CA")
    try:
        bundle = http.text("/ca/dcos-ca.crt")
    except (HttpFailure, DeniedError) as error:
        raise UnavailableError(
            f"{http.base_url} does not serve its CA at /ca/dcos-ca.crt, as DC/OS Enterprise does.",
            remedy="Give the CA's file with --ca-cert instead.",
        ) from error
    return pinned(bundle, wanted, f"{http.base_url}/ca/dcos-ca.crt")


def _dcos_version(root: Http) -> tuple[str, str]:
    """Variant and version of DC/OS. The request needs no login."""
    path = "/dcos-metadata/dcos-version.json"
    stranger = UnavailableError(
        f"{root.base_url} is not a DC/OS cluster: {path} does not exist there.",
        remedy="Check --cluster-url; for a Marathon without DC/OS give --marathon-url instead.",
    )
    try:
        found = root.get(path, credentials=False)
    except (HttpFailure, DeniedError) as error:
        raise stranger from error
    if not isinstance(found, dict) or "version" not in found:
        raise stranger
    return str(found.get("dcos-variant") or "unknown"), str(found["version"])
