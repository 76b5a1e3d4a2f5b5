"""A lab whose sandbox is a secured DC/OS: with users, permissions and secrets that the tests choose.

Commands run in it as the superuser, by token, unless a test gives them credentials."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from e2e.lab import Json, Lab

CREDENTIALS = ("TOKEN", "USERNAME", "PASSWORD", "SERVICE_ACCOUNT", "DCOS_")
API = "/acs/api/v1"


@dataclass
class SecuredLab(Lab):
    """``accounts``: the credentials of the service accounts that the tests have made, by uid."""

    accounts: dict[str, Json] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return str(self.where["cluster_url"])

    @property
    def ca_cert(self) -> str:
        """The path of the CA's certificate."""
        return str(self.where["ca_cert"])

    @cached_property
    def superuser(self) -> Json:
        """``uid`` and ``password``."""
        found: Json = json.loads(Path(self.where["iam"]).read_text())
        return found

    @cached_property
    def token(self) -> str:
        """The superuser's."""
        return self.login(self.superuser)

    @property
    def options(self) -> Json:
        return {"headers": {"Authorization": f"token={self.token}"}, "verify": self.ca_cert}

    @property
    def marathon_url(self) -> str:
        return f"{self.url}/service/marathon"

    @property
    def metronome_url(self) -> str:
        return f"{self.url}/service/metronome"

    def environment(self, **more: str) -> dict[str, str]:
        given = any(part in name for name in more for part in CREDENTIALS)
        own = {"BGCI_CA_CERT": self.ca_cert, **({} if given else {"BGCI_TOKEN": self.token})}
        return super().environment(**(own | more))

    # -- what an administrator does ------------------------------------------------------------------------------------

    def request(self, method: str, path: str, *, token: str = "", **options: Any) -> requests.Response:
        """As the superuser, or with another token."""
        headers = {"Authorization": f"token={token or self.token}", **options.pop("headers", {})}
        return requests.request(
            method, self.url + path, headers=headers, verify=self.ca_cert, timeout=20, allow_redirects=False, **options
        )

    def login(self, body: Mapping[str, Any]) -> str:
        """The token for a name and password, or for the credential of a service account."""
        if "private_key" in body:
            claims = {"uid": body["uid"], "exp": int(time.time()) + 300}
            body = {"uid": body["uid"], "token": jwt.encode(claims, body["private_key"], algorithm="RS256")}
        reply = requests.post(f"{self.url}{API}/auth/login", json=dict(body), verify=self.ca_cert, timeout=20)
        assert reply.status_code == 200, reply.text
        return str(reply.json()["token"])

    def grant(self, rid: str, uid: str, action: str = "full") -> None:
        """A permission; granting it twice is no error."""
        acl = f"{API}/acls/{quote(quote(rid, safe=':'), safe=':')}"
        assert self.request("PUT", acl, json={"description": "of a test"}).status_code in (201, 409)
        assert self.request("PUT", f"{acl}/users/{uid}/{action}").status_code in (204, 409)

    def user(self, uid: str, password: str) -> Json:
        """A new person; name and password, as a login wants them."""
        reply = self.request("PUT", f"{API}/users/{uid}", json={"password": password, "description": "of a test"})
        assert reply.status_code == 201, reply.text
        return {"uid": uid, "password": password}

    def service_account(self, uid: str) -> Json:
        """A service account, new at the first call: its credential as DC/OS writes it, without any permission."""
        if uid not in self.accounts:
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
            private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
            reply = self.request("PUT", f"{API}/users/{uid}", json={"public_key": public, "description": "of a test"})
            assert reply.status_code == 201, reply.text
            about = {"login_endpoint": f"{self.url}{API}/auth/login", "scheme": "RS256"}
            self.accounts[uid] = {"uid": uid, "private_key": private, **about}
        return self.accounts[uid]

    def put_secret(self, path: str, value: str) -> None:
        """Creates or changes a secret."""
        reply = self.request("PUT", f"/secrets/v1/secret/default/{path}", json={"value": value})
        if reply.status_code == 409:
            reply = self.request("PATCH", f"/secrets/v1/secret/default/{path}", json={"value": value})
        assert reply.status_code in (201, 204), reply.text

    def logins(self, uid: str) -> tuple[int, int]:
        """How many logins of that account succeeded and failed."""
        found = self.request("GET", "/_sandbox/logins").json().get(uid, {"succeeded": 0, "failed": 0})
        return found["succeeded"], found["failed"]
