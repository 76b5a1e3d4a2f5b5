"""Command ``render``."""

from __future__ import annotations

from bgci.operations.context import stage
from bgci.operations.rendering import render
from bgci.options import Settings


def run(settings: Settings) -> None:
    """Render, and write the definitions into the artifacts directory."""
    with stage("render", settings) as context:
        render(context)
