"""A failed check of `bgci doctor` is a row of its table; the checks that do not depend on it still run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bgci.dcos.http_failure import HttpFailure
from bgci.doctor.examination import Check, Examination
from bgci.doctor.finding import CheckResult, Status, ok
from bgci.errors import AbortedError, BgciError, DeniedError
from bgci.operations.context import Context
from bgci.options import Settings


@pytest.fixture
def examination(tmp_path: Path) -> Examination:
    return Examination(
        Context("doctor", Settings(app="/team/web", template_dir=str(tmp_path), artifacts=str(tmp_path)))
    )


def rows_of(examination: Examination, error: BaseException) -> list[CheckResult]:
    """The rows of a check that fails after its first row, of two that depend on it (one indirectly), and of another."""

    def failing(_: Examination) -> Iterator[CheckResult]:
        yield ok("one", "found before")
        raise error

    examination._run(Check("one", (), False, failing))
    for name, needs in (("two", ("one",)), ("three", ("two",)), ("four", ())):
        examination._run(Check(name, needs, False, lambda _, name=name: [ok(name, "")]))
    return examination.checks


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ZeroDivisionError("0"), BgciError), (DeniedError("no"), DeniedError), (HttpFailure(500, "x", "/y"), None)],
)
def test_after_a_failed_check_the_independent_checks_still_run(
    examination: Examination, error: Exception, kind: type[BgciError] | None
) -> None:
    before, failed, two, three, four = rows_of(examination, error)
    assert before.found == "found before"
    assert failed.status is Status.FAILURE
    assert kind is None or failed.error is kind
    assert [two.status, three.status, four.status] == [Status.SKIPPED, Status.SKIPPED, Status.OK]
    assert two.found == three.found == "not checked: one failed"


def test_a_signal_is_not_a_finding(examination: Examination) -> None:
    with pytest.raises(AbortedError):
        rows_of(examination, AbortedError("aborted", signal_number=15))


def test_a_refusal_has_the_command_that_grants_the_missing_permission(examination: Examination) -> None:
    refused = DeniedError("Not permitted")
    refused.__cause__ = HttpFailure(403, "Forbidden", "https://dcos/service/metronome/ping")
    failed = rows_of(examination, refused)[1]
    assert failed.command == "dcos security org users grant <account> dcos:adminrouter:service:metronome full"


def test_without_any_setting_every_check_has_a_row(examination: Examination) -> None:
    rows = {check.name: check for check in examination.run()}
    assert rows["url"].status is Status.FAILURE
    assert rows["load-balancer"].status is Status.FAILURE
    assert rows["template"].status is Status.SKIPPED
    assert rows["ports"].found == "not checked: url failed"
