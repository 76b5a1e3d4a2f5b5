"""Differences between the Marathon versions that the sandbox simulates."""

from __future__ import annotations

from dataclasses import dataclass

from bgci.sandbox.marathon.app_type import APP_1_7, APP_1_11
from bgci.sandbox.marathon.raml import Object

DEFAULT_ROLE = "*"
"""``--mesos_role``."""


@dataclass(frozen=True)
class Dialect:
    """One version. ``modern``: the features added after 1.7: roles, checks, resource limits, task statistics."""

    version: str
    app: Object
    modern: bool


DIALECTS = {"1.11": Dialect("1.11.24", APP_1_11, modern=True), "1.7": Dialect("1.7.202", APP_1_7, modern=False)}
