"""How long a canary got requests after it was rejected, from the journal."""

from __future__ import annotations

import json
from pathlib import Path

from bgci.reporting.journal_reader import expanded


def served_on(journal: Path, revision: str, rejected_at: float) -> float | None:
    """Seconds from the verdict (seconds since the epoch) until no load balancer had the revision in rotation.

    None where the journal does not show it.
    """
    try:
        lines = journal.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for event in expanded(_events(lines)):
        if event.get("event") != "observed" or float(event.get("now", 0)) < rejected_at or "apps" not in event:
            continue
        serving = [tally for app in event["apps"] if app["revision"] == revision for tally in app["serving"].values()]
        if not any(tally.get("up") for tally in serving):
            return float(event["now"]) - rejected_at
    return None


def _events(lines: list[str]) -> list[dict[str, object]]:
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [event for event in found if isinstance(event, dict)]
