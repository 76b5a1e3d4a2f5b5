"""The parts of a secured cluster, and their persistent state."""

from __future__ import annotations

import contextlib
import json
import secrets
from pathlib import Path

from bgci.sandbox.iam import private
from bgci.sandbox.iam.acls import SUPERUSER, Acls
from bgci.sandbox.iam.secrets import Secrets
from bgci.sandbox.iam.tls import certificates
from bgci.sandbox.iam.tokens import LIFE_SECONDS, Signer
from bgci.sandbox.iam.users import Users

SUPERUSER_UID = "bootstrapuser"
ADDRESSES = tuple(f"127.0.0.{number}" for number in range(1, 9))


class Iam:
    """Users, permissions, tokens, secrets and certificates, all in one directory that only its owner can read.

    ``seed``: a file with user and password of the superuser; a missing file is written with a random password.
    ``life``: seconds that a token lives.
    """

    def __init__(self, directory: Path, seed: Path | None = None, life: float = LIFE_SECONDS) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._state = directory / "state.json"
        self.seed = seed or directory / "superuser.json"
        self.password_file = directory / "password"
        self.users, self.acls, self.secrets = Users(), Acls(), Secrets()
        self.signer = Signer(directory / "token.key", life)
        self.certificates = certificates(directory, ADDRESSES)
        self._load()
        self._add_superuser()

    def _load(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            saved = json.loads(self._state.read_text())
            self.users.load(saved["users"])
            self.acls.load(saved["acls"])
            self.secrets.load(saved["secrets"])

    def _add_superuser(self) -> None:
        if not self.seed.exists():
            private.write_credentials(self.seed, SUPERUSER_UID, secrets.token_urlsafe(24))
        uid, password = private.read_credentials(self.seed)
        private.write(self.password_file, password)
        self.users.add(uid, description="Initial superuser", password=password)
        self.acls.grant(SUPERUSER, uid, "full")

    def save(self) -> None:
        parts = {"users": self.users.saved(), "acls": self.acls.saved(), "secrets": self.secrets.saved()}
        private.write(self._state, json.dumps(parts))
