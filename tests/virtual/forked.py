"""The process of a command: the replacements in it for the virtual time of its world.

See ``virtual.processes``. Everything else is what ships: the handlers, the threads of requests, the wake-up descriptor,
and the end of the process.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import io
import mmap
import os
import pickle
import pkgutil
import select
import signal
import socket
import struct
import sys
import threading
import time
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import requests
import urllib3
from requests.adapters import HTTPAdapter

import bgci.dcos.http_session
import bgci.dcos.marathon_lb
from bgci import cli, early_signals, interruption
from bgci.reporting import page

MOST_NOTED = 32
PR_SET_PDEATHSIG = 1
PAGE = "WITH_PAGE"  # the variable of a command that writes report.html


def die_with(parent: int) -> None:
    """In a fork: SIGKILL when the parent ends. A bench that is stopped leaves no process behind."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def import_all() -> None:
    """What commands import when they need it: a fork has it already."""
    for module in pkgutil.walk_packages(bgci.__path__, "bgci."):
        if not module.name.startswith("bgci.sandbox") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


class Here:
    """Which threads of this process wait."""

    def __init__(self, control: socket.socket, address: Any, page: mmap.mmap) -> None:
        self.control, self.address, self.page = control, address, page
        self.noted = self.taken = 0
        self._lock = threading.Lock()
        self._busy = 1
        self._sequence = 0
        self._deadline = 0.0
        self._noted = 0  # when the main thread began to wait
        self._watched: list[int] = []  # the descriptors that end the main thread's wait

    def begin(self) -> None:
        with self._lock:
            self._busy += 1

    def rest(self) -> None:
        """A thread waits or has ended."""
        with self._lock:
            self._busy -= 1
            if self._busy == 0 and not ready_of(self._watched):
                self.control.send(struct.pack("ddqq", self._sequence, self._deadline, self._noted, self.taken))

    def wait(self, descriptors: Sequence[int], seconds: float, noted: int) -> None:
        """The main thread: until one of them is readable, or so many virtual seconds have passed."""
        with self._lock:
            self._noted = noted
            self._sequence += 1
            self._deadline = time.monotonic() + seconds
            self._watched = [*descriptors, self.control.fileno()]
        self.rest()
        while True:
            ready = ready_of(self._watched, None)
            if self.control.fileno() in ready:
                (sequence,) = struct.unpack("d", self.control.recv(64))
                if sequence == self._sequence:
                    break
            if ready & set(descriptors):
                break
        with self._lock:
            self._busy += 1
            self._watched = []

    def exchange(self, method: str, url: str, body: bytes) -> tuple[int, str, bytes]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.address)
            connection.sendall(pickle.dumps((os.getpid(), self.noted, method, url, body)))
            self.rest()
            with connection.makefile("rb") as stream:
                answer: tuple[int, str, bytes] = pickle.load(stream)
        with self._lock:
            self._busy += 1
            self.taken += 1
        return answer

    def note(self, number: int, over: bool) -> None:
        at = self.page[0]
        if at < MOST_NOTED:
            self.page[2 * at + 1], self.page[2 * at + 2], self.page[0] = number, over, at + 1
        self.noted += 1


def ready_of(descriptors: Sequence[int], milliseconds: int | None = 0) -> set[int]:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(milliseconds)}


def become(
    control: socket.socket,
    address: Any,
    page: mmap.mmap,
    words: Sequence[str],
    environment: Mapping[str, str],
    out: Path,
) -> NoReturn:
    """In the fork: be this command."""
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["bgci", *words]
    faulthandler.register(signal.SIGUSR1)
    _replace(Here(control, address, page))
    early_signals.begin()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, early_signals.NUMBERS)
    cli.main()
    os._exit(99)


def _replace(here: Here) -> None:
    """The seams."""

    class Poll:  # in the place of select.poll
        def __init__(self) -> None:
            self._descriptors: list[int] = []
            self._real = select.poll()

        def register(self, one: Any, events: int) -> None:
            self._descriptors.append(one if isinstance(one, int) else one.fileno())
            self._real.register(one, events)

        def poll(self, milliseconds: float) -> object:
            if milliseconds == 0 or threading.current_thread() is not threading.main_thread():
                return self._real.poll(milliseconds)
            noted = here.noted  # before the look: a signal after it is in the next message
            if not self._real.poll(0):
                here.wait(self._descriptors, milliseconds / 1000, noted)
            return None

    class Thread(threading.Thread):
        """One that counts: the clock stands still while it computes."""

        def start(self) -> None:
            here.begin()
            super().start()

        def run(self) -> None:
            try:
                super().run()
            finally:
                here.rest()

    class Adapter(HTTPAdapter):
        def send(self, request: Any, *_: Any, **__: Any) -> requests.Response:
            body = request.body or b""
            status, kind, text = here.exchange(
                request.method, request.url, body.encode() if isinstance(body, str) else body
            )
            if not status:
                raise requests.ConnectionError("refused", request=request)
            raw = urllib3.HTTPResponse(
                io.BytesIO(text), headers={"Content-Type": kind}, status=status, preload_content=False
            )
            return self.build_response(request, raw)

    note = interruption.Signals.note

    def noted(self: interruption.Signals, number: int, frame: Any) -> None:
        note(self, number, frame)
        here.note(number, self.over)

    adapter = Adapter()
    polls = types.SimpleNamespace(poll=Poll, POLLIN=select.POLLIN, POLLOUT=select.POLLOUT)
    threads = types.SimpleNamespace(
        Thread=Thread,
        current_thread=threading.current_thread,
        main_thread=threading.main_thread,
        get_ident=threading.get_ident,
    )
    for target, name, value in (
        (interruption.Signals, "note", noted),
        (interruption, "select", polls),
        (interruption, "threading", threads),
        (bgci.dcos.http_session._Session, "get_adapter", lambda self, url: adapter),
        (bgci.dcos.marathon_lb, "_addresses", lambda host, port: [host]),
    ):
        setattr(target, name, value)
    if PAGE not in os.environ:  # it takes as much time as all the rest
        page.write = lambda artifacts: artifacts.directory
