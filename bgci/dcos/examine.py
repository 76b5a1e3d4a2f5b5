"""Requests of `bgci doctor`. None of them changes the cluster."""

from __future__ import annotations

import socket
import ssl
import time
import uuid
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from bgci.appdef.names import app_slug
from bgci.dcos import openssl, tls
from bgci.dcos.http import Http, Params
from bgci.dcos.http_address import proxied
from bgci.dcos.http_failure import HttpFailure
from bgci.dcos.json_answer import JsonAnswer
from bgci.dcos.marathon import Marathon
from bgci.dcos.metronome import Metronome
from bgci.dcos.permissions import folder_of
from bgci.errors import BgciError, DeniedError, UnavailableError
from bgci.interruption import call

CONNECT_SECONDS, HANDSHAKE_SECONDS = 5.0, 10.0  # to connect to one address; with its name, and until it is secured


def certificate_end(url: str) -> datetime | None:
    """When the certificate of an https server expires; None behind a proxy, because only the proxy gets it.

    Sends no request and verifies nothing: the requests verify it. Raises UnavailableError.
    """
    if proxied(url):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        found = _handshake(url, context)
    except OSError as error:
        raise UnavailableError(
            f"{urlsplit(url).netloc} does not speak TLS: {error}",
            remedy="Check the URL: its host, its port, https or http.",
        ) from error
    try:
        return openssl.certificate_end(found)
    except ValueError as error:
        raise UnavailableError(
            f"{urlsplit(url).netloc} has a certificate without a readable date of expiry.",
            remedy="Renew the certificate on the cluster.",
        ) from error


def require_trusted(url: str, verify: bool | str) -> None:
    """Raises UnavailableError for a certificate that is not trusted with this ``verify``."""
    bundle = verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH
    folder = Path(bundle).is_dir()
    context = ssl.create_default_context(cafile=None if folder else bundle, capath=bundle if folder else None)
    try:
        _handshake(url, context)
    except OSError as error:  # ssl.SSLError is one
        problem, remedy = tls.failure(str(error), url)
        raise UnavailableError(f"{urlsplit(url).netloc}: {problem}", remedy=remedy) from error


def _handshake(url: str, context: ssl.SSLContext) -> bytes:
    """The server's certificate, in DER form. Raises OSError."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443

    def shaken() -> bytes:
        with (
            socket.create_connection((host, port), CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host) as secured,
        ):
            return secured.getpeercert(binary_form=True) or b""

    try:
        return call(shaken, HANDSHAKE_SECONDS)
    except TimeoutError as error:
        raise TimeoutError(str(error) or "no handshake in time") from error


def clock_offset(http: Http, path: str) -> tuple[float, float] | None:
    """(how far this machine's clock is ahead of the server's, how uncertain that is), in seconds; None if it has no
    Date header, which counts whole seconds. Raises the errors of a request."""
    before = time.time()
    reply = http.request("GET", path, credentials=False)
    after = time.time()
    try:
        there = parsedate_to_datetime(reply.headers.get("Date", "")).astimezone(timezone.utc).timestamp()
    except (TypeError, ValueError):
        return None
    return (before + after) / 2 - (there + 0.5), (after - before) / 2 + 0.5


def metronome_version(metronome: Metronome) -> str:
    """Metronome's version, empty if unknown. Raises the errors of a request."""
    with suppress(HttpFailure, UnavailableError):
        return JsonAnswer(metronome.http.get("/info"), "Metronome", metronome.http.base_url)["version"].text()
    return ""


def own_permissions(http: Http, uid: str) -> list[tuple[str, str]] | None:
    """(resource, action) of all permissions of the account and its groups; None if they are not readable."""
    path = f"/acs/api/v1/users/{quote(uid, safe='')}/permissions"
    try:
        found = http.get(path)
    except (BgciError, HttpFailure):
        return None
    account = JsonAnswer(found, "DC/OS", http.base_url)
    return [
        (entry["rid"].text(), action["name"].text() if isinstance(action.value, dict) else action.text())
        for kind in ("direct", "groups")
        for entry in account[kind].items()
        for action in entry["actions"].items()
    ]


def may_update_app(marathon: Marathon, app_id: str) -> bool | None:
    """Whether this account can kill tasks of this running app; None if the answer does not show it.

    Requests the kill of a task that cannot exist, without scaling: Marathon checks the permission first and then finds
    no such task (marathon: TaskKiller.kill).
    """
    task = f"{app_slug(app_id).replace('.', '_')}.{uuid.uuid4()}"
    return _allowed(marathon.http, "DELETE", f"/v2/apps/{quote(app_id.strip('/'), safe='/')}/tasks/{task}")


def may_update_jobs(metronome: Metronome, app_id: str) -> bool | None:
    """Whether this account can change and run jobs of the app's folder; None if the answer does not show it.

    Updates a job that cannot exist: Metronome checks the permission first, and an update does not create a job
    (metronome: JobSpecController.updateJob, JobSpecServiceActor.updateJobSpec).
    """
    folder = app_slug(folder_of(app_id))
    job = f"{folder}{'.' if folder else ''}bgci-doctor-{uuid.uuid4().hex}"
    body = {"id": job, "run": {"cmd": "true", "cpus": 0.01, "mem": 32, "disk": 0}}
    return _allowed(metronome.http, "PUT", f"/v1/jobs/{job}", body)


def _allowed(http: Http, method: str, path: str, body: Any = None) -> bool | None:
    """Whether an impossible change is permitted; None if the answer does not show it."""
    return {(403, True): False, (404, True): True}.get(_answer_to(http, method, path, json=body))


def answers(http: Http, path: str) -> bool | None:
    """Whether the router permits a request for this path, with any answer of the service; None without an answer."""
    status, by_service = _answer_to(http, "GET", path)
    if (status, by_service) == (403, False):
        return False
    return None if status in (0, 401, 403) else True


def secrets_listed(http: Http, secret: str) -> bool | None:
    """Whether this account can list the names of the secret's folder; None without an answer."""
    status, _ = _answer_to(http, "GET", _secret_path(secret.strip("/").rpartition("/")[0]), params=[("list", "true")])
    return {200: True, 404: True, 401: False, 403: False}.get(status)


def _answer_to(http: Http, method: str, path: str, *, params: Params = (), json: Any = None) -> tuple[int, bool]:
    """(status, whether the service itself answered rather than a proxy); 200 for each success, 0 without an answer."""
    try:
        http.request(method, path, params=params, json=json)
    except DeniedError as error:
        cause = error.__cause__
        return (cause.status, cause.is_api) if isinstance(cause, HttpFailure) else (0, False)
    except HttpFailure as failure:
        return failure.status, failure.is_api
    except UnavailableError:
        return 0, False
    return 200, True


def secret_there(http: Http, secret: str) -> bool | None:
    """Whether the secret exists; None if this account cannot see that.

    Reads the list of names of its folder, without values. If that is not permitted, reads the secret and drops its
    value at once. Raises UnavailableError.
    """
    folder, _, name = secret.strip("/").rpartition("/")
    try:
        try:
            found = http.get(_secret_path(folder), params=[("list", "true")])
            names = JsonAnswer(found, "the secret store", http.base_url)["array"].items()
            return name in [one.text() for one in names]
        except DeniedError:
            http.request("GET", _secret_path(secret))
            return True
    except DeniedError:
        return None
    except HttpFailure as failure:
        if failure.status == 404:
            return False
        raise failure.unavailable("The secret store fails") from failure


def _secret_path(path: str) -> str:
    return f"/secrets/v1/secret/default/{quote(path.strip('/'), safe='/')}"
