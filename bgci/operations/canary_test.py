"""Tests of the canary: a suite of checks, test programs, and the canary analysis; reported as JUnit."""

from __future__ import annotations

import contextlib
import glob
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from bgci.bounded import file_bytes, reason
from bgci.checks import runner, test_program
from bgci.checks.model import CANARY, LOAD_BALANCER, Suite
from bgci.checks.test_result import Case, Folding, Outcome, require_some
from bgci.dcos.credentials import CREDENTIAL_VARIABLES, without_credentials
from bgci.dcos.tls import verification
from bgci.errors import AbortedError, BgciError, ConflictError, InconclusiveError, RejectedError, UsageError
from bgci.interruption import SLACK, within
from bgci.operations import canary_analysis
from bgci.operations.canary_watch import CanaryLostError, CanaryWatch
from bgci.operations.concealment import conceal
from bgci.operations.context import Context
from bgci.operations.outside_watch import OutsideWatch
from bgci.operations.same_release import require_same_image
from bgci.operations.suites import canary_suite, read_suite, suite_file
from bgci.operations.topology import RunningPair, balancer_places, described, healthy_hybrid
from bgci.reporting import junit
from bgci.reporting.artifacts import ci_run

REPORT = "junit/bgci.xml"
NAMED = 3  # failures that the last line names


@dataclass(frozen=True)
class Planned:
    """The suite, the test programs and the canary analysis of a command."""

    suite: Path | None
    commands: Sequence[str]
    judgements: int = 0  # number of verdicts on this canary until its promotion
    granted: int = 0  # number of requests that it can fail beyond the baseline; 0: no limit

    def __bool__(self) -> bool:
        return bool(self.suite or self.commands or self.judgements)


def planned(context: Context, steps: int = 1) -> Planned:
    """The tests of this command. The suite is read once, to find its mistakes. Raises UsageError or InvalidError.

    ``steps``: how often the tests run on one canary.
    """
    with contextlib.suppress(OSError):  # from an earlier build in the same workspace
        context.artifacts.remove(REPORT)
    if not all(command.strip() for command in context.settings.test_command):
        raise UsageError("--test-command is empty.", remedy="Name a program, or leave it out.")
    suite = suite_file(context)
    if suite and not canary_suite(read_suite(context, suite, context.settings.image)):
        suite = None
    judgements = steps if context.settings.judge_for > 0 else 0
    return Planned(suite, tuple(context.settings.test_command), judgements, context.settings.max_failed_requests)


def carry_out(
    context: Context, tests: Planned, outside: OutsideWatch, *, step: str = "", earlier: list[Case] | None = None
) -> None:
    """Run the tests and report.

    ``outside``: notes the changes by others meanwhile. A revision that serves alone, without a baseline, is tested too.
    ``step``: the canary's size in a release by steps; ``earlier``: the cases of the earlier steps; the new ones are
    added. Raises RejectedError when one fails or none was executed.
    """
    with within(context.settings.timeout + SLACK):
        hybrid = healthy_hybrid(context)
    require_same_image(hybrid.canary, context.settings.image)
    if hybrid.baseline is None:
        context.console.info(f"{context.revision} serves alone: there is no baseline to compare it with.")
    cases: list[Case] = []
    earlier = [] if earlier is None else earlier
    began = f"{datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%S}"
    try:
        with within(math.inf):  # each kind of test has its own limit
            for case in _watched(context, tests, hybrid, cases):
                cases.append(case)
        cases = require_some(cases)
    except (BgciError, AbortedError) as error:
        # All tests so far may have passed, but the report must not be green.
        cases.append(_not_to_the_end(error.message))
        raise
    finally:
        at = f" at {step}" if step else ""
        earlier += [replace(case, suite=f"{case.suite}{at}", began=began) for case in cases]
        _report(context, hybrid, earlier)
    outside.poll()
    _conclude(context, cases, outside)


def _not_to_the_end(why: str) -> Case:
    return Case("bgci", "the tests end without an interruption", outcome=Outcome.ERROR, message=why)


def _watched(context: Context, tests: Planned, hybrid: RunningPair, cases: list[Case]) -> Iterator[Case]:
    """The cases, and whether the canary stayed healthy. The tests end early when no tested instance is left."""
    watch = CanaryWatch(context, hybrid)
    try:
        yield from _carried_out(context, tests, hybrid, cases, watch)
    except (CanaryLostError, ConflictError):
        if not watch.is_lost():  # a conflict of another kind
            raise
        context.console.warn("The tests end early: no tested instance of the canary is left.")
        yield _not_to_the_end("no tested instance of the canary is left")
    yield from watch.cases()


def _carried_out(
    context: Context, tests: Planned, hybrid: RunningPair, cases: list[Case], watch: CanaryWatch
) -> Iterator[Case]:
    """The cases. Raises CanaryLostError when no tested instance is left."""
    balancers = balancer_places(context, hybrid)
    if tests.suite:
        yield from _suite(context, tests.suite, hybrid, balancers, cases, watch)
    for command in tests.commands:
        yield from _command(context, command, hybrid, balancers, watch)
    rejected = bool(watch.health.lost) or any(case.bad for case in cases)
    if tests.judgements and rejected:  # no live traffic for a canary that is already rejected
        context.result = replace(context.result, judge=None)
        why = "the canary is rejected already"
        yield Case(canary_analysis.SUITE, "error rate", outcome=Outcome.SKIPPED, message=why)
    else:
        yield from canary_analysis.judged(context, hybrid, tests.judgements, tests.granted, watch.poll)


# -- the suite --------------------------------------------------------------------------------------------------------


def _suite(
    context: Context,
    file: Path,
    hybrid: RunningPair,
    balancers: Sequence[runner.Place],
    cases: list[Case],
    watch: CanaryWatch,
) -> Iterator[Case]:
    """The cases in the suite's order."""
    suite = canary_suite(read_suite(context, file, described(hybrid, context)["image"]))
    if suite is None:  # it has been changed since it was planned
        return
    if not balancers and any(check.target == LOAD_BALANCER for check in suite.checks):
        raise UsageError(
            f"{file} has checks for the load balancer, but no load balancer is given.",
            remedy="Give --service-url, or --marathon-lb-url.",
        )
    places = hybrid.places(balancers)
    count = len(places[CANARY])
    context.console.step(f"{len(suite.checks)} checks of {file} on {count} canary instance{'s' * (count != 1)}.")
    alone = hybrid.baseline is None
    yield from _run(context, _without_shares(suite) if alone else suite, places, cases, watch)
    if alone:
        yield from _nothing_to_share(suite)


def _run(
    context: Context, suite: Suite, places: runner.Places, cases: list[Case], watch: CanaryWatch
) -> Sequence[Case]:
    """The cases of the checks at these places; when the suite ends early, ``cases`` gets the completed ones."""
    ended: list[Case] = []

    def report(case: Case) -> None:
        ended.append(case)
        _log(context, case)

    try:
        return runner.run(
            suite,
            places,
            timeout=context.settings.timeout,
            verify=verification(context.ca_cert, context.settings.insecure),
            report=report,
            poll=watch.poll,
        )
    except (AbortedError, CanaryLostError):
        cases += ended
        raise


def _without_shares(suite: Suite) -> Suite:
    return Suite(suite.file, tuple(check for check in suite.checks if not check.expect.share), suite.secrets)


def _nothing_to_share(suite: Suite) -> Iterator[Case]:
    for check in suite.checks:
        if check.expect.share:
            why = "the revision serves alone, without a baseline"
            yield Case(LOAD_BALANCER, check.name, outcome=Outcome.SKIPPED, message=why)


# -- test programs ----------------------------------------------------------------------------------------------------


def _command(
    context: Context, command: str, hybrid: RunningPair, balancers: Sequence[runner.Place], watch: CanaryWatch
) -> Iterator[Case]:
    places = hybrid.places(balancers)
    urls = {target: [place.urls[0] for place in found if place.urls] for target, found in places.items()}
    variables = test_program.variables(context.app_id, context.revision, urls)
    context.console.step(f"Test program: {command}")
    conceal(CREDENTIAL_VARIABLES)
    before = _written(context.settings.junit_glob)
    case = test_program.run(
        command,
        {**without_credentials(os.environ), **variables},
        timeout=context.settings.command_timeout,
        show=lambda line: context.console.foreign("test", line),
        poll=watch.poll,
    )
    _log(context, case)
    yield case
    after = _written(context.settings.junit_glob)
    fresh = sorted(path for path, state in after.items() if before.get(path) != state)
    if context.settings.junit_glob and not fresh:
        patterns = ", ".join(context.settings.junit_glob)
        yield _no_results(command, f"it wrote no JUnit file that matches {patterns}")
    merged = Folding()
    for path in fresh:
        for case in _merged(command, Path(path)):
            merged.add(case)
    for case in merged.cases():
        _log(context, case)
        yield case
    if merged.count and not merged.executed:
        yield _no_results(command, f"none of the {merged.count} tests in its JUnit files was executed")


def _written(patterns: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The files that exist, each with its time and size: results of an earlier run must not count."""
    found = {path for pattern in patterns for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)}
    states = {path: os.stat(path) for path in found}
    return {path: (state.st_mtime_ns, state.st_size) for path, state in states.items()}


def _merged(command: str, path: Path) -> Iterator[Case]:
    try:
        cases = junit.read(file_bytes(path, junit.MOST_BYTES), suite=test_program.SUITE)
    except OSError as error:
        yield _no_results(command, f"{path} cannot be read: {reason(error)}")
        return
    except ValueError as error:
        yield _no_results(command, f"{path} is not a JUnit file: {error}")
        return
    if not cases:
        yield _no_results(command, f"{path} has no test: none was executed")
    yield from cases


def _no_results(command: str, why: str) -> Case:
    return Case(test_program.SUITE, f"{command}: results", outcome=Outcome.ERROR, message=why)


# -- the report ------------------------------------------------------------------------------------------------------


def _log(context: Context, case: Case) -> None:
    if case.bad:
        context.console.warn(f"{case.title}: {case.message}")


def _report(context: Context, hybrid: RunningPair, cases: Sequence[Case]) -> None:
    """JUnit and ``result.json``."""
    ci = {f"ci.{key}": value for key, value in (ci_run(os.environ) or {}).items()}
    path = context.artifacts.write_bytes(REPORT, junit.report(cases, {**described(hybrid, context), **ci}))
    context.console.info(f"Wrote {path}")
    bad = [case for case in cases if case.bad]
    report = {
        "total": len(cases),
        "passed": sum(case.outcome is Outcome.PASSED for case in cases),
        "failed": len(bad),
        "skipped": sum(not case.executed for case in cases),
        "failures": [{"test": case.title, "why": case.message} for case in bad[:20]],
        "junit": REPORT,
    }
    context.result = replace(context.result, tests=report)


def _conclude(context: Context, cases: Sequence[Case], outside: OutsideWatch) -> None:
    bad = [case for case in cases if case.bad]
    back = "; `bgci rollback` brings the baseline back" if context.command == "test" else ""
    if bad:
        named = "; ".join(f"{case.title}: {case.message.rstrip('.')}" for case in bad[:NAMED])
        more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        raise RejectedError(
            outside.named(f"{context.revision} is rejected, {len(bad)} of {len(cases)} tests failed: {named}{more}."),
            remedy=f"{REPORT} in the artifacts has requests and answers{back}.",
        )
    judge = context.result.judge or {}
    if judge.get("outcome") == "inconclusive":
        cost = ", --max-failed-requests" if context.settings.max_failed_requests else ""
        raise InconclusiveError(
            outside.named(f"The judge has no verdict yet: {judge['reason']}."),
            remedy=f"Give it more time (--judge-for{cost}) or traffic (--judge-traffic), or decide by hand.",
        )
    skipped = sum(not case.executed for case in cases)
    message = f"{context.revision} passed {len(cases) - skipped} tests" + (f", {skipped} skipped" if skipped else "")
    message = outside.named(message)
    context.result = replace(context.result, message=message)
    context.console.result(message)
