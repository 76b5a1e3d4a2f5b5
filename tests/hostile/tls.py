"""Certificates for the canned cluster, and hostile TLS: handshakes, certificates and session tickets."""

from __future__ import annotations

import atexit
import base64
import hashlib
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path

NAMES = "IP:127.0.0.1,IP:127.0.0.2,IP:192.0.2.1"


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate. Its file has the key too. ``tickets``: session tickets after the handshake."""

    file: Path
    tickets: int = 2

    @property
    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file)
        context.num_tickets = self.tickets
        return context

    @property
    def der(self) -> bytes:
        return ssl.PEM_cert_to_DER_cert(self.file.read_text().partition("-----BEGIN PRIVATE KEY")[0])

    @property
    def pin(self) -> str:
        """Its fingerprint for --ca-sha256."""
        return hashlib.sha256(self.der).hexdigest()


@cache
def _directory() -> Path:
    made = Path(tempfile.mkdtemp(prefix="bgci-certificates-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


_NUMBERS = count()


@cache
def certificate(names: str = NAMES, days: int = 30) -> Certificate:
    """A new certificate for these names."""
    file = _directory() / f"{next(_NUMBERS)}.pem"
    key = file.with_suffix(".key")
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=canned", "-days", str(days)]
    config = file.with_suffix(".conf")  # an argument has not enough room for many names
    config.write_text(f"[req]\ndistinguished_name=dn\nx509_extensions=x\n[dn]\n[x]\nsubjectAltName={names}\n")
    words += ["-config", str(config), "-keyout", str(key), "-out", str(file)]
    subprocess.run(words, check=True, capture_output=True)
    file.write_text(file.read_text() + key.read_text())
    return Certificate(file)


def _with_end(end: bytes, days: int = 30) -> Certificate:
    """A certificate whose expiry has these bytes. Its signature is wrong."""
    good = certificate(days=days)
    der = good.der
    at = der.index(b"Z", der.index(b"Z") + 1) - len(end) + 1  # the second date
    changed = base64.encodebytes(der[:at] + end + der[at + len(end) :]).decode()
    file = good.file.with_name(f"{next(_NUMBERS)}.pem")
    key = good.file.with_suffix(".key").read_text()
    file.write_text(f"-----BEGIN CERTIFICATE-----\n{changed}-----END CERTIFICATE-----\n{key}")
    return Certificate(file)


def _certificates() -> Iterator[tuple[str, Callable[[], Certificate]]]:
    yield "a certificate of another name", lambda: certificate("DNS:other.invalid")
    yield "a certificate of 90 kB", lambda: certificate(",".join(f"DNS:{n}.{'a' * 20}.invalid" for n in range(2700)))
    yield "a certificate of 1 MB", lambda: certificate(",".join(f"DNS:{n}.{'a' * 50}.invalid" for n in range(16_000)))
    yield "a certificate of an untrusted CA", lambda: certificate(f"{NAMES},DNS:again.invalid")
    yield "a certificate that has expired", lambda: _with_end(b"010101000000Z")
    yield "a certificate that ends in 9999", lambda: _with_end(b"99991231235959Z", days=2_000_000)
    yield "a certificate that ends in the year 0", lambda: _with_end(b"00000101000000Z", days=2_000_000)
    yield "a certificate whose end is no date", lambda: _with_end(b"xxxxxxxxxxxxZ")
    yield "a certificate that ends on February 31", lambda: _with_end(b"300231000000Z")
    yield "100000 session tickets", lambda: Certificate(certificate().file, tickets=100_000)


CERTIFICATES = dict(_certificates())


def record(content: bytes, kind: int = 22) -> bytes:
    return bytes([kind, 3, 3]) + len(content).to_bytes(2, "big") + content


def message(kind: int, content: bytes, length: int = -1) -> bytes:
    """A message of a handshake."""
    return bytes([kind]) + (len(content) if length < 0 else length).to_bytes(3, "big") + content
