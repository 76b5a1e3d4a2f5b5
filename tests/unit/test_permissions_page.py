"""docs/permissions.md grants exactly the permissions that bgci lists."""

from __future__ import annotations

import re
from pathlib import Path

from bgci.dcos.permissions import Permission, needed

PAGE = (Path(__file__).parents[2] / "docs" / "permissions.md").read_text()
SECRET = "team/bgci-service-account"


def granted(chapter: str, level: str = "## ") -> list[tuple[str, str]]:
    """Account and permission of each command in a chapter, which ends where another begins."""
    text = re.split(rf"^(?:## |{level})", PAGE.partition(f"{level}{chapter}\n")[2], flags=re.MULTILINE)[0]
    found = re.findall(r"^dcos security org users grant (\S+) '?([^\s']+)'? (\w+) ", text, flags=re.MULTILINE)
    return [(account, f"{rid} {action}") for account, rid, action in found]


def of(account: str, permissions: list[Permission]) -> list[tuple[str, str]]:
    return [(account, str(one)) for one in permissions]


def test_the_page_lists_the_permissions_for_jobs() -> None:
    both = needed("/team/web", via_job=True, secret=SECRET, strict=True)
    assert sorted(granted("By jobs (`--via job`)")) == sorted(of("team-ci", both.ci) + of("team-job", both.job))
    assert f"team-job {SECRET}\n" in PAGE


def test_the_page_lists_optional_permissions_separately() -> None:
    optional = [one for one in needed("/team/web", via_job=True, secret=SECRET, strict=True).ci if one.optional]
    assert sorted(granted("Optional", "### ")) == sorted(of("team-ci", optional))


def test_the_page_lists_the_permissions_for_via_direct() -> None:
    assert granted("In CI's own process (`--via direct`)") == of("team-ci", needed("/team/web", via_job=False).ci)


def test_the_page_lists_the_permissions_for_an_app_at_the_root() -> None:
    both = needed("/web", via_job=True)
    wanted = [one for one in both.ci if not one.optional]
    assert granted("An app at the root") == of("team-ci", wanted) + of("team-job", both.job)
