"""The sandboxes of the end-to-end tests, for the pipelines that these tests execute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.conftest import app, lab, make_app, make_secured_app, secured_lab
from e2e.lab import Lab

from bgci.sandbox import control

__all__ = ["app", "lab", "make_app", "make_secured_app", "secured_lab"]


@pytest.fixture
def production(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A second cluster, for a test that releases to both in turn."""
    home: Path = tmp_path_factory.mktemp("production")
    yield Lab(home, control.up(home, server_options=["--offer-delay", "0.1"]))
    control.down(home)
