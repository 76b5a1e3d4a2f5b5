"""The login at the cluster: read from the environment and from files, never from flags (docs/platform.md, Login)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bgci import redaction
from bgci.bounded import file_bytes, reason
from bgci.errors import UsageError

# Every variable that can contain a credential or its path: test programs run without them.
CREDENTIAL_VARIABLES = (
    *("BGCI_TOKEN", "BGCI_TOKEN_FILE", "DCOS_ACS_TOKEN"),
    *("BGCI_USERNAME", "BGCI_PASSWORD", "BGCI_PASSWORD_FILE"),
    *("BGCI_SERVICE_ACCOUNT", "BGCI_SERVICE_ACCOUNT_FILE", "DCOS_SERVICE_ACCOUNT_CREDENTIAL"),
)
# Their URLs can contain a password.
PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
SERVICE_ACCOUNT_REMEDY = (
    "It is the JSON of `dcos security secrets create-sa-secret`: "
    '{"uid": ..., "private_key": "-----BEGIN ..."} and more.'
)


@dataclass(frozen=True)
class Token:
    """A DC/OS token, from an earlier login. ``origin``: the variable that it came from."""

    value: str = field(repr=False)
    origin: str = "BGCI_TOKEN"

    def environment(self) -> dict[str, str]:
        """The variables that carry it to another bgci."""
        return {"BGCI_TOKEN": self.value}


@dataclass(frozen=True)
class Password:
    """A user's name and password."""

    username: str
    value: str = field(repr=False)
    origin: str = "BGCI_USERNAME"

    def environment(self) -> dict[str, str]:
        """The variables that carry it to another bgci."""
        return {"BGCI_USERNAME": self.username, "BGCI_PASSWORD": self.value}


@dataclass(frozen=True)
class ServiceAccount:
    """``private_key``: PEM, PKCS#1 or PKCS#8. Its ``login_endpoint`` is not used, because outside of the cluster it
    names a host that does not exist."""

    uid: str
    private_key: str = field(repr=False)
    origin: str = "BGCI_SERVICE_ACCOUNT"

    def environment(self) -> dict[str, str]:
        """The variables that carry it to another bgci."""
        value = {"uid": self.uid, "private_key": self.private_key, "scheme": "RS256"}
        return {"BGCI_SERVICE_ACCOUNT": json.dumps(value)}


Credentials = Token | Password | ServiceAccount


def hide_credentials(environ: Mapping[str, object]) -> None:
    """Hide each secret in these variables from every output, also one of a login that is not used."""
    for name in CREDENTIAL_VARIABLES:
        value = environ.get(name)
        if isinstance(value, str) and name != "BGCI_USERNAME" and not name.endswith("_FILE"):
            redaction.hide(value)
            with suppress(ValueError, TypeError, KeyError, RecursionError):
                redaction.hide(str(json.loads(value, strict=False)["private_key"]))
    for name in PROXY_VARIABLES:
        redaction.hide_login_in(str(environ.get(name, "")))


def hide_credential_files(environ: Mapping[str, str]) -> None:
    """Hide the secrets in the files that these variables name, before anything can be written about them.

    A pipe can be read only once, so ``read_credentials`` reads it and reports every problem.
    """
    for name in CREDENTIAL_VARIABLES:
        path = environ.get(name, "")
        if name.endswith("_FILE") and path:
            with suppress(OSError, ValueError, UsageError):
                if Path(path).is_file():
                    hide_credentials({name.removesuffix("_FILE"): _file_text(path, name)})


def without_credentials(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without credentials, for test programs."""
    return {name: value for name, value in environ.items() if name not in CREDENTIAL_VARIABLES}


def read_credentials(environ: Mapping[str, str]) -> Credentials | None:
    """The given credentials, None without any; hides their secret parts from every output.

    ``BGCI_...`` takes precedence over ``DCOS_...``; an empty variable counts as not given. Raises UsageError for more
    than one of either kind, or for an incomplete one; its message never contains a value.
    """
    given = {name: value for name in CREDENTIAL_VARIABLES if (value := environ.get(name, ""))}
    ours = [name for name in given if name.startswith("BGCI_") and not name.startswith("BGCI_PASSWORD")]
    found = ours or [name for name in given if name.startswith("DCOS_")]
    passwords = [name for name in given if name.startswith("BGCI_PASSWORD")]
    if len(found) > 1 or len(passwords) > 1:
        names = found if len(found) > 1 else passwords
        raise UsageError(f"Two logins are given: {' and '.join(names)} are set.", remedy="Keep one of them.")
    if passwords and ours != ["BGCI_USERNAME"]:
        raise UsageError(
            f"{passwords[0]} is set without BGCI_USERNAME{f', beside {ours[0]}' if ours else ''}.",
            remedy="Set BGCI_USERNAME too, or unset the password.",
        )
    if not found:
        return None
    if found == ["BGCI_USERNAME"] and not passwords:
        raise UsageError(
            "BGCI_USERNAME is set without a password.", remedy="Set BGCI_PASSWORD or BGCI_PASSWORD_FILE too."
        )
    if found == ["BGCI_USERNAME"]:
        return _password(given["BGCI_USERNAME"], _value(given, passwords[0]))
    value = _value(given, found[0])
    return _token(value, found[0]) if "TOKEN" in found[0] else _service_account(value, found[0])


def _value(given: Mapping[str, str], name: str) -> str:
    """The variable's value, or the text of the file that it names."""
    value = given[name]
    if name.endswith("_FILE"):
        return _file_text(value, name)
    if name == "DCOS_SERVICE_ACCOUNT_CREDENTIAL" and value.startswith("file:"):
        return _file_text(value.removeprefix("file:").replace("///", "/", 1), name)
    return value


def _file_text(path: str, name: str) -> str:
    """The file without one newline at its end."""
    try:
        text = file_bytes(Path(path)).decode("utf-8-sig")
    except (OSError, ValueError) as error:  # UnicodeDecodeError is one
        # Only the variable's name: its value can be the secret itself by mistake.
        raise UsageError(
            f"The file that {name} names cannot be read: {reason(error)}.",
            remedy=f"{name} must be a path; put the value itself into {name.removesuffix('_FILE')}.",
        ) from None
    text = re.sub(r"\r?\n\Z", "", text)
    if not text:
        raise UsageError(f"The file that {name} names is empty.", remedy="Check the step that writes it.")
    return text


def _token(value: str, origin: str) -> Token:
    value = value.strip()
    if not value:
        raise UsageError(f"{origin} contains only blanks.", remedy="Check the step that sets it.")
    redaction.hide(value)
    return Token(value, origin)


def _password(username: str, value: str) -> Password:
    redaction.hide(value)
    return Password(username, value)


def _service_account(value: str, origin: str) -> ServiceAccount:
    try:
        found: Any = json.loads(value, strict=False)  # a key pasted with its line breaks is not strict JSON
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        redaction.hide(value)
        raise UsageError(f"{origin} is not a service account: it is not a JSON object.", remedy=SERVICE_ACCOUNT_REMEDY)
    uid, given = found.get("uid"), found.get("private_key")
    # After several copies the line breaks of a key can be written as \n.
    key = re.sub(r"\\r|\r", "", given).replace("\\n", "\n").strip() + "\n" if isinstance(given, str) else ""
    redaction.hide(key, str(given or ""))
    problem = ""
    if not isinstance(uid, str) or not uid:
        problem = "it has no uid"
    elif "PRIVATE KEY-----" not in key:
        problem = "its private_key is not PEM text"
    elif found.get("scheme", "RS256") != "RS256":
        problem = "its scheme is not RS256"
    if problem:
        raise UsageError(f"{origin} is not a service account: {problem}.", remedy=SERVICE_ACCOUNT_REMEDY)
    return ServiceAccount(str(uid), key, origin)
