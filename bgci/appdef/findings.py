"""The findings of a document's checks: all mistakes at once, each with its place and its remedy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from bgci.errors import InvalidError

MOST_LISTED = 100  # findings of a message


@dataclass(frozen=True)
class Finding:
    """One mistake: its JSON path (``$.labels.X``), the problem, and the remedy.

    marathon: the path in Marathon's own answer if it differs, such as ``/constraints``.
    advice: whether the document works nevertheless; advice is a warning, and an error only with ``--strict``.
    """

    path: str
    message: str
    remedy: str
    marathon: str = field(default="", kw_only=True)
    advice: bool = field(default=False, kw_only=True)

    def __str__(self) -> str:
        named = (
            f" Marathon names {self.marathon}." if self.marathon and self.marathon != marathon_path(self.path) else ""
        )
        return f"{self.path} {_sentence(self.message)}{named}\n    {_sentence(_capital(self.remedy))}"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def marathon_path(path: str) -> str:
    """``$.constraints[0]`` as Marathon writes it: ``/constraints(0)``."""
    return re.sub(r"\[([0-9]+)\]", r"(\1)", path.removeprefix("$").replace(".", "/")) or "/"


def require_valid(
    findings: Sequence[Finding], *, what: str, strict: bool = False, remedy: str = "Correct the template."
) -> list[Finding]:
    """Advice among the findings; raises InvalidError that lists the others, if there are any.

    what: such as ``The definition of /web``. strict: whether advice is an error, too.
    """
    refused = [finding for finding in findings if strict or not finding.advice]
    if not refused:
        return [finding for finding in findings if finding.advice]
    number = "1 finding" if len(refused) == 1 else f"{len(refused)} findings"
    listed = "\n".join(f"  - {finding}" for finding in refused[:MOST_LISTED])
    if len(refused) > MOST_LISTED:
        listed += f"\n  and {len(refused) - MOST_LISTED} more."
    raise InvalidError(f"{what} is not valid ({number}); nothing was sent.\n{listed}", remedy=remedy)


def at(path: str, key: str | int) -> str:
    """The JSON path of a member."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if re.fullmatch(r"[A-Za-z0-9_-]+", key) else f"{path}[{key!r}]"
