"""Searches for secrets: in texts, in every form in which programs write them, and in the arguments of processes.

Shares no code with ``bgci.redaction``.
"""

from __future__ import annotations

import base64
import html
import json
import shlex
import threading
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PIECE = 12  # characters: a part of a secret of this length is a leak
SHORTEST = 8


def forms(secret: str) -> set[str]:
    """The secret as programs write it."""
    parts = [secret, *(line for line in secret.splitlines() if len(line) >= SHORTEST and "-----" not in line)]
    return {form for part in parts for form in _of(part)}


def _of(text: str) -> Iterator[str]:
    compact, readable = json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]
    plain = [text, compact, readable, repr(text)[1:-1], ascii(text)[1:-1], shlex.quote(text)[1:-1]]
    quoted = [
        urllib.parse.quote(text),
        urllib.parse.quote(text, safe=""),
        urllib.parse.quote(text, safe="").lower(),
        urllib.parse.quote_plus(text),
    ]
    escaped = [html.escape(text), html.escape(text, quote=False), html.escape(compact), json.dumps(compact)[1:-1]]
    yield from (*plain, *quoted, *escaped)
    for before in range(3):  # at each place of three; the digits at the ends hold bits of what stands beside
        digits = base64.b64encode(b"\0" * before + text.encode()).decode().rstrip("=")
        inner = digits[-(-8 * before // 6) : len(digits) - (len(text.encode()) + before) % 3 % 2 - 1]
        yield from (inner, inner.replace("+", "-").replace("/", "_"))


def pieces(secret: str) -> set[str]:
    """Enough of them that some stands whole in any 1.5 * PIECE characters of the secret.

    Of a token only its signature, behind the last dot: the rest is base64 of names and dates, which are none.
    """
    lines = [line for line in secret.rpartition(".")[2].splitlines() if "-----" not in line]
    return {line[at : at + PIECE] for line in lines for at in range(0, len(line) - PIECE + 1, PIECE // 2)}


class Secrets:
    """The secrets of the test, by name. More can be added while processes run."""

    def __init__(self) -> None:
        self._needles: dict[str, set[str]] = {}

    def add(self, name: str, secret: str) -> None:
        self._needles[name] = {needle for needle in forms(secret) | pieces(secret) if len(needle) >= SHORTEST}

    def found(self, text: str) -> list[str]:
        """The secrets in the text, and their forms there."""
        return [f"{name}: {one}" for name, needles in list(self._needles.items()) for one in needles if one in text]

    def found_in(self, files: Iterable[Path]) -> list[str]:
        texts = {file: file.read_bytes().decode("utf-8", "surrogateescape") for file in files}
        return [f"{file.name}: {one}" for file, text in texts.items() for one in self.found(text)]


class Arguments:
    """The arguments of every observed process."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._over.wait(0.05):
            for process in Path("/proc").iterdir():
                if process.name.isdigit():
                    try:
                        self.seen.add(
                            (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                        )
                    except OSError:
                        continue

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def arguments() -> Iterator[Arguments]:
    """Observes them within the block."""
    watched = Arguments()
    try:
        yield watched
    finally:
        watched.stop()


def files(directory: Path, but: Sequence[str] = ()) -> list[Path]:
    """Every file below the directory, except those with these names."""
    return [path for path in directory.rglob("*") if path.is_file() and path.name not in but]
