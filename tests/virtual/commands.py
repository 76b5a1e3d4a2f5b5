"""Commands of bgci as programs of a virtual world: the command line itself, with its requests through the world."""

from __future__ import annotations

import asyncio
import io
import json as encoder
import shutil
import time
import types
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO, TypeVar
from unittest import mock
from urllib.parse import urlencode

import requests
import typer
import urllib3

import bgci.appdef.template
import bgci.cli
import bgci.dcos.cluster
import bgci.dcos.config_check
import bgci.dcos.http
import bgci.dcos.http_session
import bgci.dcos.marathon_lb
import bgci.operations.app_lock
import bgci.operations.context
import bgci.operations.exclusion
import bgci.operations.process_identity
from bgci import interruption
from bgci.dcos import tls
from bgci.errors import AbortedError, BgciError, exit_code
from bgci.operations.connections import Connections
from bgci.reporting import page
from bgci.reporting.journal import Journal
from bgci.sandbox import clock as sandbox_clock
from virtual.clock import Killed, Program, current
from virtual.faults import Exchange, Fault
from virtual.world import CLUSTER, LATENCY, World

T = TypeVar("T")
_OPEN_JOURNAL = Journal._open
_COMMAND = typer.main.get_command(bgci.cli.app)


class Commands:
    """Runs commands in one world. ``exchanges``: every request so far, in order; ``faults``: by its number."""

    def __init__(self, world: World, **environment: str) -> None:
        self.world = world
        self.exchanges: list[Exchange] = []
        self.faults: dict[int, Fault] = {}
        self.counting = False
        self.hanging = False  # nobody answers any more
        self.skew = 0.0
        self._restored: tuple[Path, Path] | None = None
        self.artifacts = world.directory / "artifacts"
        self.environment = {
            "PATH": "/nonexistent",
            "BGCI_CLUSTER_URL": CLUSTER,
            "BGCI_MARATHON_LB_URL": " ".join(world.replicas),
            "BGCI_JOB_CLUSTER_URL": CLUSTER,
            "BGCI_JOB_MARATHON_LB_URL": " ".join(world.replicas),
            "BGCI_JOB_IMAGE": "bgci:latest",
            "BGCI_ARTIFACTS": str(self.artifacts),
            "BGCI_CHECK_CONFIG": "never",
            "BGCI_TIMEOUT": "120s",
            "BGCI_DRAIN_TIMEOUT": "60s",
            **environment,
        }
        world.job = self._job

    def run(self, *words: str) -> Ended:
        """A command, to its end."""
        return self.world.loop.run_until_complete(self._run(words, self.artifacts))

    def both(self, one: Sequence[str], other: Sequence[str], delay: float) -> tuple[Ended, Ended]:
        """Two commands to their ends; the other one begins ``delay`` seconds later, with artifacts of its own."""

        async def later() -> Ended:
            await asyncio.sleep(delay)
            return await self._run(other, self.artifacts.with_name("others"))

        async def together() -> Any:
            return await asyncio.gather(self._run(one, self.artifacts), later())

        first, second = self.world.loop.run_until_complete(together())
        return first, second

    async def _run(self, words: Sequence[str], artifacts: Path) -> Ended:
        out = io.StringIO()
        program = self._program(words, {**self.environment, "BGCI_ARTIFACTS": str(artifacts)}, out)
        program.skew = self.skew
        began = self.world.clock.now
        try:
            code = await program.run()
        finally:
            self.world.programs.remove(program)
        return Ended(" ".join(words), code, out.getvalue(), self.world.clock.now - began)

    def _job(self, words: Sequence[str], env: Mapping[str, str], directory: Path) -> Program:
        artifacts = directory / "bgci-artifacts"
        out = Appended(directory / "stdout")
        return self._program(words, {**env, "BGCI_ARTIFACTS": str(artifacts), "PATH": "/nonexistent"}, out)

    def _program(self, words: Sequence[str], environment: dict[str, str], out: TextIO) -> Program:
        program = Program(lambda: _invoked(words, out), environment, out, self.world.clock)
        program.commands = self  # type: ignore[attr-defined]
        self.world.programs.append(program)
        return program

    def kill(self, program: Program) -> None:
        """SIGKILL: what it has written stays, and what its unwinding writes is undone."""
        program.die()
        artifacts = Path(program.environment["BGCI_ARTIFACTS"])
        kept = artifacts.with_name(artifacts.name + ".killed")
        if artifacts.is_dir():
            shutil.copytree(artifacts, kept)
        self._restored = artifacts, kept
        raise Killed

    def restore(self) -> None:
        """The artifacts as they were at the SIGKILL."""
        if self._restored:
            artifacts, kept = self._restored
            shutil.rmtree(artifacts, ignore_errors=True)
            if kept.is_dir():
                kept.rename(artifacts)
            self._restored = None

    def limited(self, exchange: Awaitable[Any], limit: float) -> Awaitable[Any]:
        """It, with its time limit where that can be met."""
        slow = self.hanging or limit < 1.0 or (self.counting and len(self.exchanges) in self.faults)
        return asyncio.wait_for(exchange, limit) if slow else exchange

    async def exchange(self, program: Program, method: str, url: str, body: bytes, read_timeout: float) -> Any:
        """One request with its fault, if it has one; its status, content type and body."""
        fault = None
        if self.counting:
            fault = self.faults.get(len(self.exchanges))
            self.exchanges.append(Exchange(method, url, "BGCI_JOB" in program.environment))
        if self.hanging:
            await asyncio.sleep(read_timeout)
            raise requests.ReadTimeout("Read timed out.")
        if fault is None:
            return await self._sent(method, url, body)
        return await fault(self, program, lambda: self._sent(method, url, body), read_timeout, url)

    async def _sent(self, method: str, url: str, body: bytes) -> tuple[int, str, bytes]:
        await asyncio.sleep(LATENCY)
        answer = await self.world.dispatch(method, url, body)
        await asyncio.sleep(LATENCY)
        return answer


class Appended(io.StringIO):
    """A job's output. It holds no file open: a job that is killed would leave it to the garbage collector, which warns
    in whatever test runs then."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def write(self, text: str, /) -> int:
        with self._path.open("a") as file:
            return file.write(text)


class Ended:
    """How a command ended. ``seconds``: virtual ones."""

    def __init__(self, command: str, code: int, text: str, seconds: float) -> None:
        self.command = command
        self.code = code
        self.text = text
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"{self.command}: {self.code} after {self.seconds:.1f} s\n{self.text}"


def _invoked(words: Sequence[str], out: TextIO) -> int:
    """As ``bgci.cli._run``."""
    try:
        code = _COMMAND.main(args=list(words), standalone_mode=False)
        return code if isinstance(code, int) else 0
    except (BgciError, AbortedError) as error:
        out.write(f"bgci: {error.name}: {error}\n")
        return exit_code(error)


def _request(
    session: Any, method: str, url: str, *, params: Any, json: Any, timeout: Any = None, **_: Any
) -> requests.Response:
    """``requests.Session.request`` through the world of the program whose turn it is. requests itself would take
    longer to prepare the request than the cluster to answer it."""
    program = current()
    commands: Commands = program.commands  # type: ignore[attr-defined]
    url += f"?{urlencode(params)}" if params else ""
    body = b"" if json is None else encoder.dumps(json).encode()
    read_timeout = timeout[1] if isinstance(timeout, tuple) else 30.0
    try:
        status, kind, text = program.ask(
            lambda: commands.limited(commands.exchange(program, method, url, body, read_timeout), program.limit)
        )
    except asyncio.TimeoutError:
        raise TimeoutError from None
    except ConnectionRefusedError as error:
        refused = urllib3.exceptions.NewConnectionError(mock.sentinel.pool, "refused")
        refused.__cause__ = error
        raise requests.ConnectionError(urllib3.exceptions.MaxRetryError(mock.sentinel.pool, url, refused)) from None
    response = requests.Response()
    response.status_code, response.url, response.raw = status, url, _Body(text)
    response.headers["Content-Type"] = kind
    response.headers["Date"] = f"{sandbox_clock.utc_now():%a, %d %b %Y %H:%M:%S} GMT"
    return response


class _Body(io.BytesIO):
    """As urllib3's."""

    def read(self, size: int | None = None, decode_content: bool = False) -> bytes:
        return super().read(size)

    def release_conn(self) -> None: ...


def _wait(self: Any, seconds: float, reader: int | None = None) -> None:
    program = current()
    program.ask(lambda: asyncio.sleep(seconds))
    if program.terminated:
        program.terminated = False
        raise AbortedError("Aborted by SIGTERM.", signal_number=15, remedy="Run it again.")


def _call(work: Callable[[], T], limit: float, *, settle: float = 0.0) -> T:
    program = current()
    program.limit = min(limit, interruption.left())
    if program.limit <= 0:
        raise TimeoutError
    return work()


def _open_journal(self: Journal, path: Path) -> None:
    _OPEN_JOURNAL(self, path)
    assert self._file
    current().files.append(self._file)


def _has_ended(machine: str, process: str) -> bool:
    """As for programs on one machine, and each job on one of its own."""
    me = current()
    (owner,) = [one for one in me.commands.world.programs if str(id(one)) == process] or [None]  # type: ignore[attr-defined]
    if "BGCI_JOB" in me.environment or (owner and "BGCI_JOB" in owner.environment):
        return False  # Mesos knows
    return owner is None or owner.dead or owner.code is not None


@contextmanager
def _no_signals() -> Iterator[Any]:
    yield types.SimpleNamespace(check=lambda: None, over=False)


@contextmanager
def seams() -> Iterator[None]:
    """Replaces what touches the machine: sockets, signals, pauses. Everything else is what ships."""
    with ExitStack() as stack:
        for target, name, value in (
            (bgci.dcos.http_session._Session, "request", _request),
            (bgci.dcos.http, "call", _call),
            (bgci.dcos.marathon_lb, "_addresses", lambda host, port: [host]),
            (interruption.Signals, "_wait", _wait),
            (interruption.Signals, "check", lambda self: None),
            (bgci.operations.context, "noted_signals", _no_signals),
            (bgci.operations.exclusion, "process", lambda pid: str(id(current()))),
            (bgci.operations.app_lock, "RENEW_EVERY", 1e6),  # of real time, for a thread that is no program
            (bgci.operations.process_identity, "has_ended", _has_ended),
            (page, "write", lambda artifacts: None),
            (Journal, "_open", _open_journal),
            (tls, "verification", lambda ca_cert, insecure: True),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        # Before Python 3.12 one lock is held for all programs of this process while one of them finds such a value.
        for one in (*vars(Connections).values(), *vars(bgci.operations.context.Context).values()):
            if isinstance(one, cached_property):
                stack.enter_context(mock.patch.object(one, "lock", nullcontext(), create=True))
        yield


__all__ = ["Commands", "Ended", "seams", "time"]
