"""The baseline's definition as an artifact, from which bgci can restore it even after the commit."""

from __future__ import annotations

import json
from typing import Any

from bgci.appdef.app_definition import labels
from bgci.appdef.names import app_slug
from bgci.engine.observation import App
from bgci.operations.context import Context
from bgci.operations.observer import Observer
from bgci.redaction import MASK

LARGEST = 40_000  # bytes; the largest definition that fits into a job beside its own (hazard 58)


class KeptBaseline:
    """``<app>-<revision>-baseline.json`` in the artifacts directory."""

    def __init__(self, context: Context, observer: Observer) -> None:
        self._context = context
        self._observer = observer
        self._saved = ""

    def load(self) -> App | None:
        """The baseline that an earlier command kept; None without one, or if a secret in it was redacted."""
        found = dict(self._context.job.baseline) if self._context.job else kept_definition(self._context)
        if not found:
            return None
        try:
            self._observer.keep(found)
            return App(str(found["id"]), int(found["instances"]), revision=labels(found).get("BGCI_REVISION"))
        except (KeyError, TypeError, ValueError):
            return None

    def save(self, app: App | None) -> None:
        """Keep the definition of the baseline, once."""
        if app is None or app.name == self._saved:
            return
        self._saved = app.name
        if definition := self._observer.kept(app.id):
            self._context.artifacts.write_json(_name(self._context), definition)


def kept_definition(context: Context) -> dict[str, Any]:
    """The definition of the baseline from the artifacts; empty without one, or if a secret in it was redacted."""
    found = context.artifacts.read_json(_name(context))
    usable = isinstance(found, dict) and len(text := json.dumps(found)) <= LARGEST and MASK not in text
    return found if usable else {}


def keep_for_job(context: Context) -> None:
    """Keep the serving app's definition before a job changes the app: the artifacts of a job are lost with it."""
    running = context.cluster.marathon.colours(context.app_id)
    others = [one for one in running if one.app.revision != context.revision]
    if len(others) == 1 and kept_definition(context).get("id") != others[0].id:
        context.artifacts.write_json(_name(context), dict(others[0].definition))


def _name(context: Context) -> str:
    return f"{app_slug(context.app_id)}-{context.revision}-baseline.json"
