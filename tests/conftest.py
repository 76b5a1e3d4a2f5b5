"""State that is reset between tests, the tests that CI can skip, and the settings of Hypothesis.

The same examples in each run, so that what lands does not depend on luck.

``HYPOTHESIS_PROFILE=explore`` draws new ones, more of them: for the nights, and after a change of what they test.
``HYPOTHESIS_PROFILE=quick`` shrinks nothing: to see at once whether a change holds.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
import skips
from hypothesis import HealthCheck, Phase, settings

from bgci import redaction

IN_CI = os.environ.get("CI", "").lower() in ("1", "true")

# Tests do not measure durations: a busy machine is slow.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
patient = settings.get_profile("patient")
settings.register_profile("settled", patient, derandomize=True)
settings.register_profile("quick", settings.get_profile("settled"), max_examples=8, phases=[Phase.generate])
settings.register_profile("explore", patient, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "settled"))


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resets the process's redactor, so that it knows no secrets of earlier tests."""
    monkeypatch.setattr(redaction._THE_ONE, "_secrets", ())
    monkeypatch.setattr(redaction._THE_ONE, "_forms", ())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skipped test is a failure, except the tests in tests/skips.py."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail") and not skips.allowed(report.nodeid):
        report.outcome = "failed"
        report.longrepr = (
            f"Skipped in CI: {reason(report)}. Remedy: install what it needs, or list it in tests/skips.py."
        )
    return report


def reason(report: pytest.TestReport) -> str:
    text = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
