"""Ports: two HAProxies silently share a port and its traffic (SO_REUSEPORT), so the sandbox checks before they bind."""

from __future__ import annotations

import ipaddress
import socket

from bgci.errors import UnavailableError


def claim(address: str, port: int) -> socket.socket:
    """A port (0: a free one) kept for a HAProxy of the same user, which can bind it while this socket is open.

    :raises UnavailableError: the port is taken
    """
    if port and is_taken(address, port):
        raise UnavailableError(f"{address}:{port} is taken", remedy="Give another port, or 0 for a free one.")
    claimed = socket.socket()
    try:
        claimed.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        claimed.bind((address, port))
    except OSError as error:
        claimed.close()
        raise UnavailableError(f"cannot listen on {address}:{port}: {error.strerror}") from error
    return claimed


def is_taken(address: str, port: int) -> bool:
    """Whether a process listens there, or HAProxy cannot; False if the text is not a plain IPv4 address."""
    try:
        ipaddress.IPv4Address(address)
    except ValueError:
        return False
    with socket.socket() as probe:
        # Without this option, connections that have just ended make the port look taken.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return True
    return False
