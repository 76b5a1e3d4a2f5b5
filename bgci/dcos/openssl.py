"""Calls the system's program openssl to sign and to read certificates, because Python's standard library cannot.

The package cryptography can too, but it is compiled: without it bgci.pyz runs on every platform and Python, and a login
starts a third of a second sooner.
"""

from __future__ import annotations

import os
import ssl
import subprocess
from datetime import datetime, timezone

from bgci.errors import UsageError

_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "OPENSSL_CONF", "OPENSSL_MODULES")  # no credential is among them
_SECONDS = 30
_MOST_CHARACTERS = 32_768  # a pipe holds 64 KiB; a key of 16384 bits has 13,000 characters


def signature(text: bytes, private_key: str) -> bytes:
    """The RS256 signature of ``text`` (RFC 7518: RSASSA-PKCS1-v1_5 with SHA-256).

    ``private_key``: PEM text. openssl gets it through a pipe, never in a file or in an argument.
    Raises ValueError when it is not an RSA key without a passphrase; UsageError without the program openssl.
    """
    if len(private_key) > _MOST_CHARACTERS:
        raise ValueError("the key is too long")
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as pipe:
        pipe.write(private_key)
    options = ("-sigopt", "rsa_padding_mode:pkcs1", "-passin", "pass:")
    try:
        return _run("dgst", "-sha256", "-sign", f"/dev/fd/{reader}", *options, text=text, pass_fds=(reader,))
    finally:
        os.close(reader)


def certificate_end(certificate: bytes) -> datetime:
    """The expiry of a certificate in DER form. Raises ValueError for other bytes."""
    line = _run("x509", "-inform", "DER", "-noout", "-enddate", text=certificate).decode().strip()
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(line.removeprefix("notAfter=")), timezone.utc)


def _run(*words: str, text: bytes, pass_fds: tuple[int, ...] = ()) -> bytes:
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    try:
        done = subprocess.run(
            ["openssl", *words],
            input=text,
            capture_output=True,
            env=environment,
            pass_fds=pass_fds,
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise UsageError(
            "The program openssl is not installed. It signs the login of a service account and reads certificates.",
            remedy="Install it (Debian, Ubuntu, Alpine: the package openssl), or log in with BGCI_TOKEN.",
        ) from None
    if done.returncode:
        raise ValueError("openssl refuses it")  # its message can show a part of a key
    return done.stdout
