"""What no test hands to the next, and how Hypothesis works here.

The same examples in each run, so that what lands does not depend on luck.

``HYPOTHESIS_PROFILE=explore`` draws new ones, more of them: for the nights, and after a change of what they test.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from bgci import redaction

# How long something takes is no test's business: a busy machine is slow.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
patient = settings.get_profile("patient")
settings.register_profile("settled", patient, derandomize=True)
settings.register_profile("explore", patient, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "settled"))


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's redactor starts without any."""
    monkeypatch.setattr(redaction._THE_ONE, "_secrets", ())
    monkeypatch.setattr(redaction._THE_ONE, "_forms", ())
