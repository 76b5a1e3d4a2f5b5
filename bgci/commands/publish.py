"""Command ``publish``."""

from __future__ import annotations

from bgci.operations.context import stage
from bgci.operations.publishing import publish
from bgci.operations.rendering import render
from bgci.options import Settings


def run(settings: Settings) -> None:
    """Render, then replace the jobs of the same names in the cluster."""
    with stage("publish", settings) as context:
        publish(context, render(context))
