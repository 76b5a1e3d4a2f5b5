"""Sets up a secured DC/OS for a test: accounts, permissions, secrets. Sends plain requests, without code of bgci."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

Json = dict[str, Any]
API = "/acs/api/v1"


class Administrator:
    """A superuser of the cluster at ``url``. ``credentials``: the file with uid and password as JSON."""

    url: str
    ca_cert: str
    credentials: str

    @cached_property
    def superuser(self) -> Json:
        """``uid`` and ``password``."""
        found: Json = json.loads(Path(self.credentials).read_text())
        return found

    @cached_property
    def token(self) -> str:
        """The token of the superuser."""
        return self.login(self.superuser)

    @cached_property
    def accounts(self) -> dict[str, Json]:
        """The credentials of all created accounts, by uid."""
        return {}

    @cached_property
    def resources(self) -> list[str]:
        """The resources that were created for a permission."""
        return []

    def request(self, method: str, path: str, *, token: str = "", **options: Any) -> requests.Response:
        """One request as the superuser, or with another token. Does not follow redirects."""
        headers = {"Authorization": f"token={token or self.token}", **options.pop("headers", {})}
        return requests.request(
            method, self.url + path, headers=headers, verify=self.ca_cert, timeout=20, allow_redirects=False, **options
        )

    def login(self, body: Mapping[str, Any]) -> str:
        """The token of a login with a name and password, or with the credential of a service account."""
        reply = self.post_login(login_of(body))
        assert reply.status_code == 200, reply.text
        return str(reply.json()["token"])

    def post_login(self, body: Any) -> requests.Response:
        """One login request with this body."""
        return requests.post(f"{self.url}{API}/auth/login", json=body, verify=self.ca_cert, timeout=20)

    def grant(self, rid: str, uid: str, action: str = "full") -> None:
        """Grants a permission. A second grant of it is not an error."""
        acl = acl_path(rid)
        named = self.request("PUT", acl, json={"description": "of a test"}).status_code
        assert named in (201, 409)
        if named == 201:
            self.resources.append(rid)
        assert self.request("PUT", f"{acl}/users/{uid}/{action}").status_code in (204, 409)

    def user(self, uid: str, password: str = "a password") -> Json:
        """Creates a user. Returns uid and password, as a login needs them."""
        reply = self.request("PUT", f"{API}/users/{uid}", json={"password": password, "description": "of a test"})
        assert reply.status_code == 201, reply.text
        self.accounts[uid] = {"uid": uid, "password": password}
        return self.accounts[uid]

    def service_account(self, uid: str) -> Json:
        """Creates a service account without permissions at the first call. Returns its credential in the form of
        DC/OS."""
        if uid not in self.accounts:
            private, public = key_pair()
            reply = self.request("PUT", f"{API}/users/{uid}", json={"public_key": public, "description": "of a test"})
            assert reply.status_code == 201, reply.text
            about = {"login_endpoint": f"{self.url}{API}/auth/login", "scheme": "RS256"}
            self.accounts[uid] = {"uid": uid, "private_key": private, **about}
        return self.accounts[uid]

    def put_secret(self, path: str, value: str) -> None:
        """Creates or changes a secret."""
        where, body = f"/secrets/v1/secret/default/{path}", {"value": value}
        reply = self.request("PUT", where, json=body)
        if reply.status_code == 409:
            reply = self.request("PATCH", where, json=body)
        assert reply.status_code in (201, 204), reply.text

    def logins(self, uid: str) -> tuple[int, int]:
        """The numbers of successful and failed logins of the account. Only the sandbox has them."""
        found = self.request("GET", "/_sandbox/logins").json().get(uid, {"succeeded": 0, "failed": 0})
        return found["succeeded"], found["failed"]


def acl_path(rid: str) -> str:
    """The path of a resource. A slash in the resource is encoded twice."""
    return f"{API}/acls/{quote(quote(rid, safe=':'), safe=':')}"


def login_of(credential: Mapping[str, Any]) -> Json:
    """The body of a login with a password, or with a service account's key."""
    if "private_key" not in credential:
        return dict(credential)
    return {"uid": credential["uid"], "token": login_token(credential, exp=int(time.time()) + 300)}


def login_token(credential: Mapping[str, Any], **claims: Any) -> str:
    return jwt.encode({"uid": credential["uid"], **claims}, credential["private_key"], algorithm="RS256")


def key_pair() -> tuple[str, str]:
    """Private and public key, as PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
