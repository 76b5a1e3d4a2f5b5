"""Which certificates are trusted, and to which addresses secrets are sent.

Certificates are always verified: with ``--ca-cert``, with the cluster's own CA by its fingerprint (``--ca-sha256``),
otherwise with the CAs of the environment's variables or of the system. Only ``--insecure`` changes that.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import os
import re
import ssl
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import urllib3

from bgci.bounded import MOST_OF_A_FILE, file_text, reason, require_file
from bgci.errors import UnavailableError, UsageError
from bgci.interruption import at_end

CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
PIN_REMEDY = "Print it with `openssl x509 -in dcos-ca.crt -noout -fingerprint -sha256`."


def verification(ca_cert: str | None, insecure: bool, environ: Mapping[str, str] = os.environ) -> bool | str:
    """The argument ``verify`` of requests: False, True for its own bundle, or a file or folder of CA certificates.

    ca_cert: a path, or the PEM text itself. Raises UsageError for one without a certificate.
    """
    if insecure:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the user has asked for it
        return False
    if ca_cert:
        return _usable(_file_of(ca_cert) if is_pem(ca_cert) else ca_cert, "--ca-cert", is_pem(ca_cert))
    name = next((name for name in CA_VARIABLES if environ.get(name)), "")
    return _usable(environ[name], name) if name else True


def is_pem(ca_cert: str) -> bool:
    """Whether it is the text of the certificates, not a path."""
    return "-----BEGIN" in ca_cert


def _usable(path: str, origin: str, text: bool = False) -> str:
    try:
        folder = Path(path).is_dir()
        if not folder:
            require_file(Path(path), MOST_OF_A_FILE)
        ssl.create_default_context(cafile=None if folder else path, capath=path if folder else None)
    except OSError as error:  # ssl.SSLError is one
        shown = "The text of the CA certificate" if text else f"The CA certificate {path}"
        raise UsageError(
            f"{shown} cannot be used: {reason(error)}.", remedy=f"Give a PEM file with {origin}."
        ) from error
    return path


@functools.cache
def _file_of(pem: str) -> str:
    """A file with this text until the end of the process, because requests accepts only a file."""
    # Some CI systems replace line breaks by a backslash and an n.
    handle, path = tempfile.mkstemp(prefix="bgci-ca-", suffix=".pem")
    at_end(functools.partial(_remove, path))
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(pem.replace("\\n", "\n"))
    return path


def _remove(path: str) -> None:
    with suppress(OSError):
        Path(path).unlink()


def pem_text(ca_cert: str) -> str:
    """The certificates of ``ca_cert`` as text, for a process without access to its path. Raises UsageError."""
    path = Path(ca_cert)
    try:
        if is_pem(ca_cert):
            text = ca_cert.replace("\\n", "\n")
        else:
            files = sorted(path.iterdir()) if path.is_dir() else [path]
            text = "\n".join(file_text(file) for file in files if file.is_file())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The CA certificates cannot be read: {reason(error)}.", remedy="Check --ca-cert.") from None
    found: list[str] = list(dict.fromkeys(CERTIFICATE.findall(text)))
    if not found:
        where = "the text of the CA certificates" if is_pem(ca_cert) else ca_cert
        raise UsageError(f"{where[0].upper()}{where[1:]} contains no certificate.", remedy="Give PEM with --ca-cert.")
    return "\n".join(found) + "\n"


def fingerprint(text: str) -> str:
    """64 hexadecimal digits of a fingerprint: in any case, with or without colons, after ``sha256:`` or ``=``.

    Raises UsageError.
    """
    digits = re.sub(r"(?i)^.*=|^sha-?256:|[:\s]", "", text.strip()).lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise UsageError(f"--ca-sha256 is not a SHA-256 fingerprint: {text[:100]!r}.", remedy=PIN_REMEDY)
    return digits


def pinned(bundle: str, wanted: str, url: str) -> str:
    """The one certificate of a bundle that has this fingerprint (SHA-256 of its DER form), as PEM.

    Only this one is trusted, because an attacker on the network could add another to the bundle. Raises
    UnavailableError.
    """
    found: dict[str, str] = {_sha256(pem): pem for pem in CERTIFICATE.findall(bundle)}
    if wanted in found:
        return found[wanted] + "\n"
    there = ", ".join(_colons(each) for each in found) or "no certificate at all"
    raise UnavailableError(
        f"{url} has another CA than --ca-sha256: wanted {_colons(wanted)}, found {there}.",
        remedy="Ask the administrators for the fingerprint if the cluster has a new CA. Otherwise another server "
        f"answers in its place; no secret was sent. {PIN_REMEDY}",
    )


def _sha256(pem: str) -> str:
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
    except ValueError:
        return ""


def _colons(digits: str) -> str:
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2)).upper()


def failure(reason: str, base_url: str) -> tuple[str, str]:
    """The cause of a failed handshake, and the remedy."""
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        why = re.search(r"certificate verify failed: ([^(\"']*)", reason)
        return (
            f"its certificate is not trusted ({why.group(1).strip() if why else reason})",
            f"Give the cluster's CA with --ca-cert (DC/OS Enterprise serves it at {base_url}/ca/dcos-ca.crt), or its "
            "fingerprint with --ca-sha256; "
            "--insecure turns verification off and is for test clusters only.",
        )
    return (
        f"TLS fails: {reason}",
        "Write http:// in the URL if the server uses plain http; otherwise check --ca-cert.",
    )


def confidential(url: str) -> bool:
    """Whether a request to this URL is unreadable for others: https, or a connection on this machine."""
    parts = urlsplit(url)
    return parts.scheme != "http" or is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Whether it is this machine, by its name or address."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_confidential(url: str, insecure: bool) -> None:
    """Raises UsageError before a secret would be sent in the clear."""
    if insecure or confidential(url):
        return
    raise UsageError(
        f"Credentials would be sent unencrypted to {urlsplit(url).netloc}.",
        remedy="Write https:// in the URL, or unset the credentials if the server needs none; "
        "--insecure sends them unencrypted.",
    )
