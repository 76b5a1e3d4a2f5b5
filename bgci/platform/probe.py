"""A task's own word on whether it is idle."""

from __future__ import annotations

import requests

TIMEOUT = 2.0  # seconds


def answers_ok(url: str) -> bool:
    """Whether GET ``url`` answers 200 now; anything else, and no answer, is no."""
    try:
        return requests.get(url, timeout=TIMEOUT, allow_redirects=False).status_code == 200
    except requests.RequestException:
        return False
