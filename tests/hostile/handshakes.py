"""Hostile handshakes of TLS: bytes in place of a handshake, and certificates."""

from __future__ import annotations

from collections.abc import Iterator

from hostile.answers import HOSTILE, MEGABYTE, TRICKLE, endless, said
from hostile.cluster import Answer
from hostile.tls import message, record

# A server's first message of TLS 1.2, by which it chooses a cipher that the client offers.
_CHOICE = b"\x03\x03" + bytes(32) + b"\0" + b"\xc0\x2f" + b"\0" + b"\0\x05\xff\x01\0\x01\0"
HELLO = record(message(2, _CHOICE))


def _handshakes() -> Iterator[tuple[str, Answer]]:
    for label in ("nothing", "silence", "no HTTP", "a body without an end", "a body that trickles"):
        yield label, HOSTILE[label]
    yield "a record that trickles", endless(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"\0", TRICKLE)
    yield "a hello of 16 MB", endless(record(message(2, b"", 0xFFFFFF)), record(MEGABYTE[: 1 << 14]))
    yield "silence after the hello", endless(HELLO, b"", 0.5)
    yield "a certificate that trickles", endless(HELLO + b"\x16\x03\x03\x40\x00\x0b\x01\x86\xa0", b"\0", TRICKLE)
    yield (
        "a certificate in records that trickle",
        endless(HELLO + record(message(11, b"", 90_000)), record(b"\0"), TRICKLE),
    )
    yield "a certificate of 16 MB", endless(HELLO + record(message(11, b"", 0xFFFFFF)), record(MEGABYTE[: 1 << 14]))
    yield "requests for a hello without an end", endless(b"", record(message(0, b"")) * 1000)
    yield "requests for a hello that trickle", endless(b"", record(message(0, b"")), TRICKLE)
    yield "requests after the hello without an end", endless(HELLO, record(message(0, b"")) * 1000)
    yield "warnings without an end", endless(b"", record(b"\x01\x00", 21) * 1000)
    yield "empty records without an end", endless(b"", record(b"") * 1000)
    yield "a cipher change without an end", endless(b"", record(b"\x01", 20) * 1000)
    yield "an unknown record", said(record(b"x", 99))
    yield "a fatal alert", said(record(b"\x02\x28", 21))
    yield "half of a record", said(b"\x16\x03\x03\x40\x00\x02")


HANDSHAKES: dict[str, Answer] = dict(_handshakes())
