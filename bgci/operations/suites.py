"""The test suite of a revision: its file, and its checks with the values of variables."""

from __future__ import annotations

from os.path import lexists
from pathlib import Path

from bgci.appdef.names import suite_candidates
from bgci.checks.model import PREVIEW, Suite
from bgci.checks.suite import parse
from bgci.operations.context import Context, text_of
from bgci.operations.variables import variables

MOST_OF_A_SUITE = 1 << 20  # bytes: a YAML document takes many times its size in memory


def suite_file(context: Context) -> Path | None:
    """The file of --suite, else the one in --template-dir; None without one.

    A link to nowhere counts: the error says so, and no canary is promoted without its tests.
    """
    given, directory = context.settings.suite, Path(context.settings.template_dir)
    candidates = [directory / name for name in suite_candidates(context.app_id, context.revision)]
    return Path(given) if given else next((path for path in candidates if lexists(path)), None)


def read_suite(context: Context, file: Path, image: str) -> Suite:
    """The suite in that file, for this revision and image. Raises UsageError or InvalidError."""
    return _parsed(context, suite_text(file), str(file), image)


def suite_text(file: Path) -> str:
    """The text of the file. Raises UsageError."""
    return text_of(file, "The test suite", "--suite", MOST_OF_A_SUITE)


def preview_suite(context: Context, image: str) -> Suite | None:
    """The checks with ``target: preview``, from the document of the job or from the file; None without any."""
    if context.job:
        text, name = context.job.suite, "the suite"
        suite = _parsed(context, text, name, image) if text else None
    else:
        file = suite_file(context)
        suite = read_suite(context, file, image) if file else None
    return _only(suite, preview=True) if suite else None


def canary_suite(suite: Suite) -> Suite | None:
    """The checks of all targets except the preview; None without any."""
    return _only(suite, preview=False)


def _only(suite: Suite, *, preview: bool) -> Suite | None:
    checks = tuple(check for check in suite.checks if (check.target == PREVIEW) is preview)
    return Suite(suite.file, checks, suite.secrets) if checks else None


def _parsed(context: Context, text: str, name: str, image: str) -> Suite:
    known = variables(context.settings)
    if context.job:
        known = {**known, **context.job.variables}
    environment = {f"env.{name}": value for name, value in known.pop("env").items()}
    return parse(text, file=name, variables={**known, "image": image}, secret=environment)
