"""Addresses of HTTP: which URLs are usable, which share an origin, where a redirect leads, and through which proxy."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from requests.utils import get_environ_proxies, select_proxy

from bgci.dcos import tls
from bgci.dcos.http_failure import shown
from bgci.errors import UsageError

CREDENTIALS_REMEDY = (
    "Set BGCI_TOKEN, or BGCI_USERNAME and BGCI_PASSWORD, or BGCI_SERVICE_ACCOUNT (or the ..._FILE form of them) "
    "and check that they are meant for this cluster and have not expired."
)


def proxies(url: str) -> dict[str, str]:
    """The environment's proxies (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY); none for this machine itself."""
    return {} if tls.is_loopback(urlsplit(url).hostname or "") else get_environ_proxies(url, no_proxy=None)


def proxied(url: str) -> bool:
    """Whether a request for it goes through a proxy."""
    return select_proxy(url, proxies(url)) is not None


def checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{shown(url)!r} is not a usable URL.", remedy="Write it as https://host or http://host:port.")
    if "@" in parts.netloc:
        raise UsageError(f"The URL {shown(url)} contains credentials.", remedy=f"Remove them. {CREDENTIALS_REMEDY}")
    return url.rstrip("/")


def origin(url: str) -> tuple[str, str | None, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def redirect_target(url: str, location: str) -> str:
    """The target of a redirect; empty for an unusable address."""
    try:
        target = urljoin(url, location)
        return checked_url(target) if "@" not in urlsplit(target).netloc else ""
    except (ValueError, UsageError):
        return ""
