"""Evaluates the patterns of a suite in child processes with a time and a memory limit.

A regular expression or a JSONPath can take years (``(a+)+$``) or all memory (``$..*..*``). Python's engines hold the
interpreter lock all that time, so neither a timeout nor SIGTERM would have an effect. So a child process evaluates
them, and the kernel kills it when it has used up its processor time, which a busy machine does not shorten.
"""

from __future__ import annotations

import contextlib
import json
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

TRY_SECONDS = 2.0  # of processor time, for one evaluation
HANG_SECONDS = 60.0  # without an answer, for any reason
MEMORY_BYTES = 64 << 20  # of the child's data
MOST_VALUES = 10_000  # of one JSONPath
CHILDREN = 2  # at a time: more would share the same cores


class TooCostly(Exception):
    """The pattern takes too long or too much memory; the message says which."""


class Confined:
    """Evaluates patterns in child processes. They are started when needed; ``close`` kills them."""

    def __init__(self) -> None:
        self._idle: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        for _ in range(CHILDREN):
            self._idle.put(None)
        self._closed = threading.Event()

    def search(self, pattern: str, text: str, flags: int = 0) -> bool:
        """Whether the pattern is found in the text. Raises TooCostly."""
        return bool(self._ask({"pattern": pattern, "text": text, "flags": flags}))

    def values(self, path: str, document: str) -> list[Any]:
        """The values that the JSONPath finds in a JSON text. Raises TooCostly."""
        found: list[Any] = self._ask({"path": path, "document": document})
        return found

    def close(self) -> None:
        """Kill the child processes."""
        self._closed.set()
        with contextlib.suppress(queue.Empty):
            while True:
                child = self._idle.get_nowait()
                if child:
                    child.kill()

    def _ask(self, request: dict[str, Any]) -> Any:
        child = self._idle.get() or _Child()
        try:
            answer = child.ask({**request, "seconds": TRY_SECONDS})
        except BaseException:
            child.kill()
            raise
        finally:
            if self._closed.is_set():
                child.kill()
            self._idle.put(child if child.alive else None)
        if "problem" in answer:
            raise TooCostly(answer["problem"])
        return answer["found"]


class _Child:
    """One child process. It gets no environment, so no credential is in it."""

    def __init__(self) -> None:
        code = "import sys; sys.path[:] = sys.argv[1:]; from bgci.checks.confined import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LANG": "C.UTF-8"},
            start_new_session=True,
        )
        self._read()  # wait for the start, which is not part of an evaluation
        self.alive = True

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The child's answer; a problem if there is none in time or the child ends."""
        writer = threading.Thread(target=self._write, args=(json.dumps(request).encode() + b"\n",), daemon=True)
        writer.start()  # a busy child does not read
        line = self._read()
        if not line:
            self.kill()
            return {"problem": f"it takes longer than {request['seconds']:g} s or too much memory"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def kill(self) -> None:
        self.alive = False
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()

    def _write(self, line: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):  # the child was killed
            assert self._process.stdin is not None  # noqa: S101 - a pipe
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _read(self) -> bytes:
        """One line; empty if there is none in time, or the child has ended."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe
        stream, parts, until = self._process.stdout, [], time.monotonic() + HANG_SECONDS
        while True:
            ready, _, _ = select.select([stream], [], [], max(0.0, until - time.monotonic()))
            part = stream.read1(1 << 16) if ready else b""  # type: ignore[attr-defined]
            if not part:
                return b""
            parts.append(part)
            if part.endswith(b"\n"):
                return b"".join(parts)


# -- in the child ---------------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests, one JSON line each, until stdin ends."""
    import resource

    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, also while the interpreter lock is held
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    print("{}", flush=True)
    for line in sys.stdin:
        try:
            request = json.loads(line)
            if "path" in request:
                import jsonpath  # noqa: F401 - loading it is not part of an evaluation
            with _limited(request["seconds"]):
                found = _searched(request) if "pattern" in request else _found(request)
            answer = json.dumps({"found": found})
        except MemoryError:
            answer = json.dumps({"problem": "it takes too much memory"})
        except _TooMany:
            answer = json.dumps({"problem": f"it finds more than {MOST_VALUES} values"})
        print(answer, flush=True)


class _TooMany(Exception):
    pass


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """End the process when the block has used so many seconds of processor time."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _searched(request: dict[str, Any]) -> bool:
    import re

    return bool(re.search(request["pattern"], request["text"], request["flags"]))


def _found(request: dict[str, Any]) -> list[Any]:
    from bgci.checks.json_path import iterate

    found: list[Any] = []
    for value in iterate(request["path"], json.loads(request["document"])):
        found.append(value)
        if len(found) > MOST_VALUES:
            raise _TooMany
    return found
