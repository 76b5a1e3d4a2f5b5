"""Evaluates the patterns of a suite in child processes with a time and a memory limit.

A regular expression or a JSONPath can take years (``(a+)+$``) or all memory (``$..*..*``). Python's engines hold the
interpreter lock all that time, so neither a timeout nor SIGTERM would have an effect. So a child process evaluates
them, and the kernel kills it when it has used up its processor time, which a busy machine does not shorten.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from bgci.bounded import UnusableJsonError, json_value

TRY_SECONDS = 2.0  # of processor time, for one evaluation
HANG_SECONDS = 60.0  # without an answer, for any reason
MEMORY_BYTES = 64 << 20  # of the child's data
MOST_VALUES = 10_000  # of one JSONPath
END_SECONDS = 1.0  # until the kernel has ended a killed child
CHILDREN = 2  # at a time: more would share the same cores


class TooCostly(Exception):
    """The pattern takes too long or too much memory; the message says which."""


class Closed(Exception):
    """``Confined.close`` was called: there is no result, and the run no longer needs one."""


class Confined:
    """Evaluates patterns in child processes. They are started when needed; ``close`` kills them.

    No call waits for ever: for a child until ``close``, and for its answer until it has used up its time.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._idle: list[_Child | None] = [None] * CHILDREN  # None: not started
        self._children: set[_Child] = set()
        self._closed = False

    def search(self, pattern: str, text: str, flags: int = 0) -> bool:
        """Whether the pattern is found in the text. Raises TooCostly, and Closed."""
        subject = text.encode("utf-8", "surrogatepass")
        return bool(self._evaluate({"pattern": pattern, "flags": flags}, subject))

    def values(self, path: str, content: bytes) -> list[Any]:
        """The values that the JSONPath finds in a JSON text. Raises ValueError for other content, UnusableJsonError as
        `json_value` does, TooCostly, and Closed."""
        found: list[Any] = self._evaluate({"path": path}, content)
        return found

    def close(self) -> None:
        """Kill the child processes. Every call ends with Closed: those that wait, and later ones."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for child in self._children:
                child.kill()  # the one that uses it notices
            for idle in filter(None, self._idle):
                idle.end()

    def _evaluate(self, request: dict[str, Any], subject: bytes) -> Any:
        child = self._taken()
        try:
            answer = child.ask({**request, "seconds": TRY_SECONDS}, subject)
        finally:
            with self._changed:
                if self._closed or not child.answers:
                    child.end()
                    self._children.discard(child)
                self._idle.append(child if child.answers else None)
                self._changed.notify()
        if self._closed:  # which can have killed the child
            raise Closed
        if "problem" in answer:
            raise TooCostly(answer["problem"])
        if "unusable" in answer:
            raise UnusableJsonError(answer["unusable"])
        if not answer:
            raise ValueError("it is not JSON")
        return answer["found"]

    def _taken(self) -> _Child:
        """An idle child; a new one if it was not started."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle or self._closed)
            if self._closed:
                raise Closed
            try:
                child = self._idle[-1] or _Child()
            except OSError as error:
                raise TooCostly(f"the system starts no process for it: {error.strerror}") from None
            self._idle.pop()
            self._children.add(child)
            return child


class _Child:
    """One child process. It gets no environment, so no credential is in it. ``answers``: it can be asked again."""

    def __init__(self) -> None:
        code = "import sys; sys.path[:] = sys.argv[1:]; from bgci.checks.confined import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, *sys.path],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"LANG": "C.UTF-8"},
            start_new_session=True,
        )
        assert self._process.stdin  # noqa: S101 - a pipe
        assert self._process.stdout  # noqa: S101 - a pipe
        self._input, self._output = self._process.stdin, self._process.stdout
        os.set_blocking(self._input.fileno(), False)
        self.answers = True

    def ask(self, request: dict[str, Any], subject: bytes) -> dict[str, Any]:
        """The child's answer; a problem if there is none in time or the child ends."""
        self.answers = False
        line = self._answer_to(json.dumps({**request, "size": len(subject)}).encode() + b"\n", subject)
        if not line:
            return {"problem": f"it takes longer than {request['seconds']:g} s or too much memory"}
        answer: dict[str, Any] = json.loads(line)
        self.answers = True
        return answer

    def kill(self) -> None:
        """Kill the process; a call that waits for its answer gets none. Another thread can still use the pipes."""
        self._process.kill()

    def end(self) -> None:
        """Kill the process and free what belongs to it."""
        self.answers = False
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # the kernel ends it later
            self._process.wait(END_SECONDS)
        self._input.close()
        self._output.close()

    def _answer_to(self, line: bytes, subject: bytes) -> bytes:
        """The child's line for this one; empty if there is none in time, or the child has ended."""
        later, unsent = memoryview(subject), memoryview(line)
        parts, until = [b""], time.monotonic() + HANG_SECONDS
        while not parts[-1].endswith(b"\n"):
            poll = select.poll()
            poll.register(self._output, select.POLLIN)
            if unsent:  # a busy child does not read
                poll.register(self._input, select.POLLOUT)
            ready = dict(poll.poll(1000 * max(0.0, until - time.monotonic())))
            if not ready:
                return b""
            if self._input.fileno() in ready:
                try:
                    unsent = unsent[os.write(self._input.fileno(), unsent) :]
                except BrokenPipeError:  # the child has ended: its output ends too
                    unsent = later = later[:0]
                if not unsent:
                    unsent, later = later, later[:0]
            if self._output.fileno() in ready:
                parts.append(os.read(self._output.fileno(), 1 << 16))
                if not parts[-1]:
                    return b""
        return b"".join(parts)


# -- in the child ---------------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests until stdin ends. Each is a JSON line, then as many bytes as its ``size``: sent as they are,
    because a megabyte of accents would take ten as JSON in JSON."""
    import resource

    signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, also while the interpreter lock is held
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line)
        print(json.dumps(_answer(request, sys.stdin.buffer.read(request["size"]))), flush=True)


def _answer(request: dict[str, Any], subject: bytes) -> dict[str, Any]:
    try:
        if "pattern" in request:
            return {"found": _searched(request, subject.decode("utf-8", "surrogatepass"))}
        try:
            with _limited(request["seconds"]):
                document = json_value(subject)
        except UnusableJsonError as error:
            return {"unusable": str(error)}
        except ValueError:
            return {}
        return {"found": _found(request, document)}
    except MemoryError:
        return {"problem": "it takes too much memory"}
    except _TooMany:
        return {"problem": f"it finds more than {MOST_VALUES} values"}


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


def _searched(request: dict[str, Any], text: str) -> bool:
    import re

    with _limited(request["seconds"]):
        return bool(re.search(request["pattern"], text, request["flags"]))


def _found(request: dict[str, Any], document: Any) -> list[Any]:
    import jsonpath  # noqa: F401 - loading it is not part of an evaluation

    from bgci.checks.json_path import iterate

    found: list[Any] = []
    with _limited(request["seconds"]):
        for value in iterate(request["path"], document):
            found.append(value)
            if len(found) > MOST_VALUES:
                raise _TooMany
    return found
