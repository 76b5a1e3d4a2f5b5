"""The parts of an app that several rules of Marathon read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bgci.appdef.findings import Finding

App = Mapping[str, Any]


def docker_of(app: App) -> App:
    docker: App = container_of(app).get("docker") or {}
    return docker


def container_of(app: App) -> App:
    return app.get("container") or {}


def engine_of(app: App) -> str:
    """The container's type, empty without a container."""
    return str(container_of(app).get("type", ""))


def refused(path: str, message: str, remedy: str, marathon: str = "") -> Finding:
    return Finding(path, message, remedy, marathon=marathon)
