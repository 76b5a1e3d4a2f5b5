"""Routing by virtual host, on the ports for http and https (marathon-lb: ``generateHttpVhostAcl``)."""

from __future__ import annotations

import re
from typing import Any

from bgci.sandbox.loadbalancer.services import Service


class Routes:
    """The rules for one service.

    Each template is formatted only with the values that marathon-lb passes at that place: an app's template with
    another placeholder raises KeyError."""

    def __init__(self, service: Service, backend: str, bind_addr: str) -> None:
        self._settings = service.settings
        hosts = (service.settings.hostname or "").split(",")
        self._hosts = hosts
        self._realm = service.settings.auth[0]
        self._values: dict[str, Any] = {
            "appId": service.app_id,
            "backend": backend,
            "bindAddr": bind_addr,
            "cleanedUpHostname": f"{safe(hosts[0])}_{service.app_id[1:].replace('/', '_')}",
            "hostname": hosts[0],
            "path": service.settings.path,
            "realm": self._realm,
        }

    def http(self) -> str:
        """The rules for the http port."""
        return self._several_http() if len(self._hosts) > 1 else self._one_http()

    def https(self) -> str:
        """The rules for the https port."""
        path, realm, several = self._settings.path, self._realm, len(self._hosts) > 1
        text = ""
        if path:
            text += self._format(
                "HTTPS_FRONTEND_ACL_ONLY_WITH_PATH",
                "path backend cleanedUpHostname hostname realm" if several and realm else "path backend",
            )
        for host in self._hosts:
            if not path and not realm:
                text += self._format("HTTPS_FRONTEND_ACL", "cleanedUpHostname hostname appId backend", host)
            elif not realm:
                text += self._format("HTTPS_FRONTEND_ACL_WITH_PATH", "cleanedUpHostname hostname appId backend", host)
            else:
                name = f"HTTPS_FRONTEND_ACL_WITH_AUTH{'_AND_PATH' if path else ''}"
                given = "cleanedUpHostname hostname appId realm backend" + (" path" if path and not several else "")
                text += self._format(name, given, host)
        return text

    def _one_http(self) -> str:
        path, realm = self._settings.path, self._realm
        if self._settings.redirect:
            if not path:
                acl = self._format("HTTP_FRONTEND_ACL", "cleanedUpHostname hostname backend")
                return acl + self._redirect()
            acl = self._format("HTTP_FRONTEND_ACL_ONLY", "cleanedUpHostname hostname")
            acl += self._format("HTTP_FRONTEND_ACL_ONLY_WITH_PATH", "cleanedUpHostname hostname path backend")
            return acl + self._redirect()
        parts = [part for part, present in (("AUTH", realm), ("PATH", path)) if present]
        name = "HTTP_FRONTEND_ACL" + (f"_WITH_{'_AND_'.join(parts)}" if parts else "")
        given = "cleanedUpHostname hostname appId backend" + " path" * bool(path) + " realm" * bool(realm)
        return self._format(name, given)

    def _several_http(self) -> str:
        path, realm = self._settings.path, self._realm
        text = ""
        if path and realm:
            given = "path cleanedUpHostname hostname realm backend"
            text += self._format("HTTP_FRONTEND_ACL_ONLY_WITH_PATH_AND_AUTH", given)
        elif path:
            text += self._format("HTTP_FRONTEND_ACL_ONLY_WITH_PATH", "path backend")
        for host in self._hosts:
            text += self._format("HTTP_FRONTEND_ACL_ONLY", "cleanedUpHostname hostname", host)
        if self._settings.redirect:
            return text + self._redirect()
        parts = [part for part, present in (("PATH", path), ("AUTH", realm)) if present]
        name = "HTTP_FRONTEND_ROUTING_ONLY" + (f"_WITH_{'_AND_'.join(parts)}" if parts else "")
        return text + self._format(name, "cleanedUpHostname backend" + " realm" * bool(realm))

    def _redirect(self) -> str:
        if self._settings.path:
            return self._format("BACKEND_REDIRECT_HTTP_TO_HTTPS_WITH_PATH", "bindAddr cleanedUpHostname backend")
        return self._format("BACKEND_REDIRECT_HTTP_TO_HTTPS", "bindAddr cleanedUpHostname")

    def _format(self, name: str, given: str, host: str | None = None) -> str:
        values = self._values if host is None else {**self._values, "hostname": host}
        return self._settings.template(name).format(**{key: values[key] for key in given.split()})


def safe(text: str) -> str:
    """A name that HAProxy accepts."""
    return re.sub(r"[^a-zA-Z0-9\-]", "_", text)
