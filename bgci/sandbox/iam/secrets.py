"""The secret store, and the rule by which a service can use a secret (docs: api/secrets.yaml, security/ent: spaces)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


class SecretError(Exception):
    """A task cannot have a secret that it names."""


@dataclass(frozen=True)
class Secret:
    """``about``: author, created and the other fields that the store returns with the value."""

    value: bytes
    binary: bool
    about: Json


class Secrets:
    """The store ``default``, by path without a leading slash."""

    def __init__(self) -> None:
        self.all: dict[str, Secret] = {}

    def below(self, path: str) -> list[str]:
        """The paths of the secrets in a folder, relative to it."""
        folder = f"{path}/" if path else ""
        return sorted(one.removeprefix(folder) for one in self.all if one.startswith(folder))

    def of_task(self, path: str, service: str) -> str:
        """The value for a task of that service: ``/team/web``, also for a job. Raises SecretError."""
        path = path.strip("/")
        secret = self.all.get(path)
        if not usable(path, service):
            raise SecretError(f"secret '{path}' may not be used by '{service}': it is in another space")
        if secret is None:
            raise SecretError(f"secret '{path}' does not exist")
        return secret.value.decode("utf-8", "replace")

    def saved(self) -> dict[str, Json]:
        def one(secret: Secret) -> Json:
            return {"value": base64.b64encode(secret.value).decode(), "binary": secret.binary, "about": secret.about}

        return {path: one(secret) for path, secret in self.all.items()}

    def load(self, saved: dict[str, Json]) -> None:
        for path, one in saved.items():
            self.all[path] = Secret(base64.b64decode(one["value"]), one["binary"], one["about"])


def secret_environment(secrets: Secrets | None, spec: Mapping[str, Any], service: str) -> dict[str, str]:
    """Values of the variables ``{"secret": name}`` of an app's or a run's ``env``; empty without a secret store.

    Raises SecretError.
    """
    if secrets is None:
        return {}
    named = {name: value["secret"] for name, value in spec.get("env", {}).items() if isinstance(value, dict)}
    return {name: secrets.of_task(spec["secrets"][secret]["source"], service) for name, secret in named.items()}


def usable(path: str, service: str) -> bool:
    """Whether the service can use the secret (spaces). A secret without a folder is for all services; a secret in a
    folder is for the services of that name and below it."""
    folder = path.strip("/").split("/")[:-1]
    return service.strip("/").split("/")[: len(folder)] == folder
