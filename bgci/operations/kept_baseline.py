"""The baseline as it ran, kept as an artifact from the first command on: it can be restored after the commit, too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from bgci.engine.observation import App
from bgci.operations.context import Context
from bgci.operations.observer import Observer
from bgci.redaction import MASK


class KeptBaseline:
    """``<app>-<revision>-baseline.json`` in the artifacts directory."""

    def __init__(self, context: Context, observer: Observer) -> None:
        self._context = context
        self._observer = observer
        self._saved = ""

    @property
    def name(self) -> str:
        app = self._context.app_id.strip("/").replace("/", ".")
        return f"{app}-{self._context.revision}-baseline.json"

    def load(self) -> App | None:
        """The baseline that an earlier command kept; None without one, or when a secret was taken out of it."""
        found = self._context.artifacts.read_json(self.name)
        if not isinstance(found, dict) or MASK in json.dumps(found):
            return None
        try:
            self._observer.keep(found)
            return App(str(found["id"]), int(found["instances"]), revision=_revision(found))
        except (KeyError, TypeError, ValueError):
            return None

    def save(self, app: App | None) -> None:
        """Keep the definition of the baseline, once."""
        if app is None or app.name == self._saved:
            return
        self._saved = app.name
        if definition := self._observer.kept(app.id):
            self._context.artifacts.write_json(self.name, definition)


def _revision(definition: Mapping[str, Any]) -> str | None:
    labels = definition.get("labels")
    return labels.get("BGCI_REVISION") if isinstance(labels, dict) else None
