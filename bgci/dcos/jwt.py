"""JSON Web Tokens (RFC 7519): creates them for the login of a service account, and reads those of a cluster."""

from __future__ import annotations

import base64
import json
from typing import Any

from bgci.bounded import json_value
from bgci.dcos import openssl


def signed(claims: dict[str, Any], private_key: str) -> str:
    """A token with these claims, signed as RS256. Raises the errors of ``openssl.signature``."""
    parts = ({"typ": "JWT", "alg": "RS256"}, claims)
    text = ".".join(_encoded(json.dumps(part, separators=(",", ":")).encode()) for part in parts)
    return f"{text}.{_encoded(openssl.signature(text.encode(), private_key))}"


def claims(token: str) -> dict[str, Any]:
    """The claims of a token, which only the cluster can verify; empty for a text that is not a token."""
    try:
        found = json_value(base64.urlsafe_b64decode(token.split(".")[1] + "==="))
    except (IndexError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
