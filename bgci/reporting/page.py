"""``report.html``: the release of a revision in charts: one file without scripts and without external files.

Every stage writes it again; the journal has the earlier stages. The same input gives the same bytes. ``page_model``
decides the content; the template only draws it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bgci.checks.test_result import Case
from bgci.reporting import junit
from bgci.reporting.artifacts import Artifacts, no_link
from bgci.reporting.chart import duration
from bgci.reporting.journal_reader import lines_of
from bgci.reporting.page_model import page_model

NAME = "report.html"
MAX_JOURNAL = 5_500_000  # bytes that are read from the end of the journal
MAX_FILES = 100


def write(artifacts: Artifacts) -> Path:
    """Write the page from the artifacts directory. Raises UsageError when it cannot be written."""
    directory = artifacts.directory
    result, manifest = artifacts.read_json("result.json"), artifacts.read_json("manifest.json")
    cases = list(_all_cases(artifacts))
    page = page_model(
        _journal(directory / "journal.jsonl"),
        result if isinstance(result, dict) else {},
        manifest=manifest if isinstance(manifest, dict) else {},
        cases=cases,
        files=_files(artifacts),
    )
    return artifacts.write_bytes(NAME, render(page).encode("utf-8", "replace"))


def render(page: Mapping[str, Any]) -> str:
    """The page as HTML."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("bgci.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = duration
    return environment.get_template("page.html.j2").render(page=page)


def _all_cases(artifacts: Artifacts) -> Iterator[Case]:
    """The cases of the JUnit files, in the suites of bgci's names. An unreadable file has none, nor has one that makes
    all of them together larger than the limit of one."""
    left = junit.MOST_BYTES
    for name in artifacts.find("junit/*.xml"):
        try:
            content = artifacts.read_bytes(name, left)
            found = junit.read(content, suite=Path(name).stem)
        except (OSError, ValueError):
            continue
        left -= len(content)
        yield from map(_ours, found)


def _ours(case: Case) -> Case:
    """The parts of a name that ``junit.report`` composed: ``name [place]`` and ``bgci.suite``."""
    if not case.place.startswith("bgci."):
        return case
    name, bracket, place = case.name.rpartition(" [")
    split = bool(bracket) and place.endswith("]")
    return Case(
        case.place.removeprefix("bgci."),
        name if split else case.name,
        place[:-1] if split else "",
        case.outcome,
        case.message,
        seconds=case.seconds,
    )


def _journal(path: Path) -> Iterable[str]:
    try:
        with open(path, "rb", opener=no_link) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - MAX_JOURNAL))
            return lines_of(file.read(MAX_JOURNAL))
    except OSError:
        return []


def _files(artifacts: Artifacts) -> list[str]:
    names = artifacts.find("*", "junit/*")
    return [name for name in names if not Path(name).name.startswith(".") and name != NAME][:MAX_FILES]
