"""The sandbox of the end-to-end tests, for the pipelines that are really run."""

from e2e.conftest import app, lab, make_app, make_secured_app, secured_lab

__all__ = ["app", "lab", "make_app", "make_secured_app", "secured_lab"]
