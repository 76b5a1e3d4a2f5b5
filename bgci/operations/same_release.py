"""Refuses a stage whose image or definition differs from those of the running revision."""

from __future__ import annotations

from collections.abc import Iterable

from bgci.appdef.app_definition import instances
from bgci.appdef.colour import fingerprint
from bgci.dcos.running_app import RunningApp
from bgci.engine.decisions import Release
from bgci.errors import ConflictError
from bgci.reporting.diff import NO_DIFFERENCE, definition_difference


def require_same_release(apps: Iterable[RunningApp], release: Release, version: str) -> None:
    """Raises ConflictError when the release's revision runs with another image, or from another definition.

    The number of instances can differ: a promotion scales the app. version: of Marathon.
    """
    for app in apps:
        if release.definition is None or app.revision != release.revision:
            continue
        require_same_image(app, release.image)
        target = instances(release.definition) if app.app.target is None else app.app.target
        definition = {**release.definition, "instances": target}
        if app.labels.get("BGCI_DEFINITION") == fingerprint(definition):
            continue
        shown = definition_difference(app.definition, definition, version)
        if shown != NO_DIFFERENCE:
            raise ConflictError(
                f"{release.revision} runs as {app.id} with another definition than the given one:\n{shown}",
                remedy="Give the definition a new revision; or omit the template's options, roll this "
                "revision back and release it again.",
            )


def require_same_image(app: RunningApp, image: str) -> None:
    """Raises ConflictError when the app runs another image."""
    runs = app.labels.get("BGCI_IMAGE", "")
    if image and runs and image != runs:
        raise ConflictError(
            f"{app.revision} runs with the image {runs} ({app.id}), not with {image}.",
            remedy="Omit --image, or give the other image a new revision.",
        )
