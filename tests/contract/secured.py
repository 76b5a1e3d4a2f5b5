"""A secured cluster to test, and users with the permissions that a test chooses."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

import requests
from administrator import API, Administrator, acl_path

from contract.client import Sandbox, web_app

MARATHON, METRONOME = "/service/marathon", "/service/metronome"
REACH_MARATHON = "dcos:adminrouter:service:marathon"
REACH_METRONOME = "dcos:adminrouter:service:metronome"
REACH_SECRETS = "dcos:adminrouter:secrets"
SERVICES = "dcos:service:marathon:marathon:services"
ADMIN = "dcos:service:marathon:marathon:admin"
JOBS = "dcos:service:metronome:metronome:jobs"
SECRET = "/secrets/v1/secret/default"


@dataclass
class Secured(Administrator):
    """The cluster for its superuser. ``clean_up`` removes all objects that tests create through it."""

    url: str
    ca_cert: str
    credentials: str
    made: list[tuple[str, str]] = field(default_factory=list)

    def person(self, *permissions: str) -> Person:
        """A new user with these permissions, each ``<resource> <action>``."""
        uid = f"bgci-{uuid.uuid4().hex[:10]}"
        person = Person(self, uid, self.login(self.user(uid)))
        for permission in permissions:
            person.may(permission)
        return person

    def app(self, app_id: str, instances: int = 0, **fields: Any) -> None:
        self.make(f"{MARATHON}/v2/apps", web_app(app_id.strip("/"), instances, **fields), f"{MARATHON}/v2/apps{app_id}")

    def job(self, job_id: str, cmd: str = "true", **run: Any) -> None:
        where = f"{METRONOME}/v1/jobs"
        spec = {"id": job_id, "run": {"cmd": cmd, "cpus": 0.01, "mem": 32, "disk": 0, **run}}
        self.make(where, spec, f"{where}/{job_id}?stopCurrentJobRuns=true")

    def secret(self, path: str, value: str = "a value") -> None:
        self.put_secret(path, value)
        self.made.append(("DELETE", f"{SECRET}/{path}"))

    def make(self, where: str, body: Any, path: str) -> None:
        reply = self.request("POST", where, json=body)
        assert reply.status_code == 201, reply.text
        self.made.append(("DELETE", path))

    def clean_up(self) -> None:
        for method, path in reversed(self.made):
            self.request(method, path)
        for uid in self.accounts:
            self.request("DELETE", f"{API}/users/{uid}")
        for rid in self.resources:
            self.request("DELETE", acl_path(rid))


def of_sandbox(server: Sandbox) -> Secured:
    return Secured(server.cluster_url, server.more["ca_cert"], server.more["iam"])


@dataclass
class Person:
    """A user with a token."""

    cluster: Secured
    uid: str
    token: str

    def may(self, permission: str) -> Person:
        """Grants one more permission: ``<resource> <action>``."""
        resource, _, action = permission.rpartition(" ")
        self.cluster.grant(resource, self.uid, action)
        return self

    def sends(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self.cluster.request(method, path, token=self.token, json=body, **options)

    def gets(self, method: str, path: str, body: Any = None, **options: Any) -> int:
        """The status of a GET request."""
        with self.sends(method, path, body, stream=True, **options) as reply:
            return reply.status_code
