"""JSON Web Tokens of the cluster, and login tokens of service accounts (bouncer: bouncer/app/crypt.py)."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from jwt.algorithms import RSAAlgorithm

from bgci.sandbox.iam import private

Json = dict[str, Any]
ALGORITHM = "RS256"
LIFE_SECONDS = 5 * 86400.0


class Signer:
    """Issues and verifies the cluster's tokens. ``life``: seconds."""

    def __init__(self, key_file: Path, life: float = LIFE_SECONDS) -> None:
        self._key = _private_key(key_file)
        self._life = life

    def issue(self, uid: str, exp: float | None = None) -> str:
        """A new token. ``exp``: a Unix time, 0 for never; by default the usual life."""
        payload: Json = {"uid": uid}
        if exp is None or exp:
            payload["exp"] = int(time.time() + self._life if exp is None else exp)
        return jwt.encode(payload, self._key, algorithm=ALGORITHM)

    def uid(self, token: str) -> str | None:
        """The uid in a token of this cluster; None if the token is invalid or has expired."""
        return _uid(token, self._key.public_key())

    def jwks(self) -> Json:
        """The public key, for everybody who verifies tokens."""
        public = self._key.public_key()
        numbers = public.public_numbers()
        key_id = hashlib.sha256(f"{numbers.e}{numbers.n}RSA".encode()).hexdigest()
        parts: Json = RSAAlgorithm.to_jwk(public, as_dict=True)
        return {
            "keys": [
                {"kid": key_id, "kty": "RSA", "n": parts["n"], "e": parts["e"], "alg": ALGORITHM, "use": "sig"},
            ]
        }


def service_uid(token: str, public_key: str) -> str | None:
    """The uid in a service login token; None if this public key does not verify it, or if it has expired."""
    return _uid(token, rsa_public_key(public_key))


def rsa_public_key(pem: str) -> rsa.RSAPublicKey:
    """The RSA key in the PEM text. Raises ValueError."""
    try:
        key = load_pem_public_key(pem.encode("ascii"))
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("Key must be of type RSA")
    return key


def _uid(token: str, key: rsa.RSAPublicKey) -> str | None:
    try:
        payload = jwt.decode(token, key, algorithms=[ALGORITHM])
    except (jwt.InvalidTokenError, ValueError):
        return None
    uid = payload.get("uid")
    return uid if isinstance(uid, str) else None


def _private_key(path: Path) -> rsa.RSAPrivateKey:
    """The key in that file; a missing file is written with a new key."""
    if not path.exists():
        new = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private.write(path, new.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
    key = load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"{path} does not contain an RSA key")
    return key
