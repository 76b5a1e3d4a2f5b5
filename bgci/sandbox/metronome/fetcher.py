"""Mesos' fetcher, as far as jobs need it: files by URL or path into the task's sandbox, before its command starts."""

from __future__ import annotations

import asyncio
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FETCH_SECONDS = 60  # Mesos' default (--fetcher_stall_timeout)


async def fetch(artifacts: Iterable[Mapping[str, Any]], directory: Path) -> None:
    """Fetch each artifact. Raises OSError or ValueError: the task fails without having started."""
    for artifact in artifacts:
        await asyncio.to_thread(_fetch, str(artifact["uri"]), directory, bool(artifact.get("executable")))


def _fetch(uri: str, directory: Path, executable: bool) -> None:
    url = urllib.parse.urlsplit(uri if "://" in uri else f"file://{uri}")
    if url.scheme not in ("http", "https", "file"):
        raise ValueError(f"Failed to fetch '{uri}': the scheme is not supported")
    target = directory / Path(url.path).name
    with (
        urllib.request.urlopen(url.geturl(), timeout=FETCH_SECONDS) as answer,  # noqa: S310 - files too, as Mesos does
        target.open("wb") as file,
    ):
        shutil.copyfileobj(answer, file)
    if executable:
        target.chmod(0o755)
