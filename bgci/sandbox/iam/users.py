"""Accounts and their login attempts: people have passwords, service accounts have public keys."""

from __future__ import annotations

import hashlib
import hmac
import os
from dataclasses import asdict, dataclass
from typing import Any

from bgci.sandbox.iam.tokens import rsa_public_key, service_uid

Json = dict[str, Any]
API = "/acs/api/v1"
MIN_PASSWORD = 5


@dataclass(frozen=True)
class User:
    """One account. ``password``: salted and hashed, empty for a service account, which has a public key instead."""

    uid: str
    description: str = ""
    password: str = ""
    public_key: str = ""

    def as_json(self) -> Json:
        key = {"is_service": True, "public_key": self.public_key} if self.public_key else {}
        about = {"uid": self.uid, "url": f"{API}/users/{self.uid}", "description": self.description}
        return {**about, "is_remote": False, "provider_type": "internal", "provider_id": "", **key}


@dataclass
class Logins:
    """Counts of an account's logins. A real cluster locks accounts by these counts."""

    succeeded: int = 0
    failed: int = 0


class Users:
    """All accounts, by uid."""

    def __init__(self) -> None:
        self.all: dict[str, User] = {}
        self.logins: dict[str, Logins] = {}

    def add(self, uid: str, *, description: str = "", password: str = "", public_key: str = "") -> None:
        """Adds an account. Raises ValueError for an invalid password or key."""
        if public_key:
            rsa_public_key(public_key)
        elif len(password) < MIN_PASSWORD:
            raise ValueError(f"Must be at least {MIN_PASSWORD} characters long.")
        self.all[uid] = User(uid, description, "" if public_key else hashed(password), public_key)

    def login(self, uid: str, *, password: str | None = None, token: str | None = None) -> bool:
        """Whether these are the credentials of that account; the attempt is counted."""
        user, ok = self.all.get(uid), False
        if user is not None and password is not None and user.password:
            ok = hmac.compare_digest(hashed(password, user.password.partition("$")[0]), user.password)
        elif user is not None and token is not None and user.public_key:
            ok = service_uid(token, user.public_key) == uid
        count = self.logins.setdefault(uid, Logins())
        count.succeeded += ok
        count.failed += not ok
        return ok

    def saved(self) -> list[Json]:
        return [asdict(user) for user in self.all.values()]

    def load(self, saved: list[Json]) -> None:
        self.all |= {user["uid"]: User(**user) for user in saved}


def hashed(password: str, salt: str = "") -> str:
    """``salt$hash``, with a new salt unless one is given."""
    salt = salt or os.urandom(16).hex()
    digest = hashlib.scrypt(password.encode("utf-8", "surrogatepass"), salt=salt.encode(), n=1024, r=8, p=1)
    return f"{salt}${digest.hex()}"
