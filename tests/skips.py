"""The tests that CI can skip, and why. Any other skipped test is a failure there (``CI=true``): tests/conftest.py.

On a developer's machine a test that lacks a program is skipped; its reason, at the end of the run, names the command
that installs it.
"""

from __future__ import annotations

from fnmatch import fnmatch

# The test's id, * for any text: the reason.
ALLOWED = {
    "tests/unit/reporting/test_junit.py::test_a_report_is_valid_by_the_schema_that_jenkins_uses*": (
        "Jenkins' schema is not ours to copy; it lies beside the clone where this project is developed"
    ),
    "tests/unit/appdef/test_job_definitions.py::*": (
        "Metronome's schemas are not ours to copy; they lie beside the clone where this project is developed"
    ),
}


def allowed(test: str) -> bool:
    return any(fnmatch(test, pattern) for pattern in ALLOWED)
