"""Runs a command in this process like the console. Returns its exit code and its output."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from bgci import cli, redaction
from bgci.dcos import http, marathon_lb
from bgci.errors import NAMES

CODES = frozenset(NAMES) - {1}  # 1 is a bug


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str
    seconds: float

    @property
    def within_contract(self) -> bool:
        return self.code in CODES and "Traceback" not in self.out + self.err and "bug in bgci" not in self.err


def run(directory: Path, words: list[str], environment: Mapping[str, str]) -> Ended:
    """The command in this directory, with nothing but this environment."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8", "replace"), io.TextIOWrapper(io.BytesIO(), "utf-8", "replace")
    home, began = Path.cwd(), time.monotonic()
    redactor = redaction.Redactor()
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    with (
        mock.patch.dict(os.environ, {**kept, "HOME": str(directory), **environment}, clear=True),
        mock.patch.object(sys, "argv", ["bgci", *words]),
        mock.patch.dict(redaction._THE_ONE.__dict__, redactor.__dict__),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        os.chdir(directory)
        try:
            code = cli._run()
        finally:
            os.chdir(home)
    return Ended(code, _written(out), _written(err), time.monotonic() - began)


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


@contextmanager
def impatient(read: float = 0.3, pause: float = 0.01) -> Iterator[None]:
    """Shortens the timeouts of requests and the pauses between attempts, because the tests are about their ends."""
    begin = http.Http.__init__

    def hurried(self: http.Http, base_url: str, **options: object) -> None:
        begin(self, base_url, **{**options, "connect_timeout": read, "read_timeout": read, "backoff": pause})  # type: ignore[arg-type]

    with (
        mock.patch.object(http.Http, "__init__", hurried),
        mock.patch.object(http, "MAX_PAUSE", pause),
        mock.patch.object(marathon_lb, "RESOLVE_SECONDS", read),
    ):
        yield
