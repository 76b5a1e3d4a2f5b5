"""The variables of templates and test suites."""

from __future__ import annotations

import os
from typing import Any

from bgci.dcos.credentials import CREDENTIAL_VARIABLES
from bgci.errors import UsageError
from bgci.operations.context import app_id_of, revision_of
from bgci.options import Settings


def variables(settings: Settings) -> dict[str, Any]:
    """The variables of a template."""
    pairs = [text.partition("=") for text in settings.set]
    wrong = [key for key, sign, _ in pairs if not sign or not key.isidentifier()]
    if wrong:
        raise UsageError(f"--set {wrong[0]} is not KEY=VALUE.", remedy="Write --set name=value; a name has no dashes.")
    reserved = [key for key, _, _ in pairs if key in ("image", "app", "revision", "env")]
    if reserved:
        raise UsageError(f"--set cannot set {reserved[0]}: it has a separate option.", remedy=f"Use --{reserved[0]}.")
    logins = [name for name in settings.template_env if name in CREDENTIAL_VARIABLES]
    if logins:  # the checkout chooses the names, and its suite could send the values to the canary
        raise UsageError(
            f"--template-env cannot name {logins[0]}: no template or test suite can read bgci's own login.",
            remedy="Put the value for the app or its tests into another variable; put a secret of the app into a DC/OS "
            "secret (docs/secrets.md).",
        )
    return {
        **{key: value for key, _, value in pairs},
        "image": settings.image,
        "app": app_id_of(settings),
        "revision": revision_of(settings),
        "env": {name: os.environ[name] for name in settings.template_env if name in os.environ},
    }
