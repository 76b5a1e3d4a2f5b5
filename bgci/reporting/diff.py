"""The difference of two definitions, as people read it."""

from __future__ import annotations

import difflib
import json
from typing import Any


def difference(before: Any, after: Any) -> str:
    """A unified diff of two JSON values; a sentence when there is none."""
    old, new = (json.dumps(value, indent=2, sort_keys=True).splitlines() for value in (before, after))
    lines = list(difflib.unified_diff(old, new, "now", "then", lineterm="", n=2))
    return "\n".join(lines) or "no difference"
