"""The sandbox's cluster: ``python -m bgci.sandbox.server --state-dir DIR``.

One process that is Marathon, Metronome and the DC/OS paths around them. It writes ``DIR/cluster.json`` when it is
ready, runs in the foreground, and at SIGTERM kills everything it has started. It starts the apps and jobs of
``DIR/state.json`` again."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import secrets
import signal
import ssl
from collections.abc import Sequence
from pathlib import Path

from aiohttp import web

from bgci.sandbox import dcos
from bgci.sandbox.iam import private
from bgci.sandbox.iam.core import Iam
from bgci.sandbox.iam.gate import basic_gate
from bgci.sandbox.iam.tokens import LIFE_SECONDS
from bgci.sandbox.marathon import api as marathon_api
from bgci.sandbox.marathon.core import Marathon
from bgci.sandbox.marathon.dialect import DIALECTS
from bgci.sandbox.marathon.store import Options
from bgci.sandbox.mesos import Mesos
from bgci.sandbox.metronome import api as metronome_api
from bgci.sandbox.metronome.core import Metronome
from bgci.sandbox.processes import Ports, Processes

ADDRESS = "127.0.0.1"
SAVE_SECONDS = 1.0


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line. Durations are seconds."""
    parser = argparse.ArgumentParser(prog="python -m bgci.sandbox.server")
    parser.add_argument("--state-dir", type=Path, required=True)
    for name in ("cluster", "marathon", "metronome"):
        parser.add_argument(f"--{name}-port", type=int, default=0, help="0: a free port")
    parser.add_argument("--hosts", default=ADDRESS, help="comma-separated loopback addresses, one agent on each")
    text = "attributes of one agent, such as rack:r1;disk:ssd; repeat for each agent, in the order of --hosts"
    parser.add_argument("--attributes", action="append", type=attributes, default=[], help=text)
    parser.add_argument("--marathon-version", choices=tuple(DIALECTS), default="1.11", help="the version to imitate")
    for name, seconds, text in (
        ("fetch-delay", Options.fetch_delay, "from a task's launch to its start"),
        ("offer-delay", Options.offer_delay, "until Marathon gets an offer for a task"),
        ("health-delay", Options.health_delay, "until a task's first health check"),
        ("kill-grace", Options.kill_grace, "between a task's SIGTERM and SIGKILL"),
        ("history-gap", 0.014, "between a run's end and its entry in the history"),
        ("token-life", LIFE_SECONDS, "lifetime of a login token"),
    ):
        parser.add_argument(f"--{name}", type=float, default=seconds, metavar="SECONDS", help=text)
    parser.add_argument("--cpus", type=float, default=Options.cpus, help="CPUs of each agent")
    parser.add_argument("--mem", type=float, default=Options.mem, help="memory of each agent in MiB")
    parser.add_argument("--persist", action="store_true", help="save apps and jobs every second, not only at the end")
    file = "JSON file with uid and password"
    parser.add_argument("--marathon-credentials", type=Path, help=f"{file} for Marathon's own port")
    parser.add_argument(
        "--secured", action="store_true", help="imitate DC/OS Enterprise: https, logins, permissions, secrets"
    )
    parser.add_argument("--strict", action="store_true", help="with --secured: Mesos requires permissions too")
    parser.add_argument("--iam", type=Path, help=f"{file} of the superuser; created if missing")
    return parser.parse_args(arguments)


def attributes(text: str) -> dict[str, str]:
    """``rack:r1;disk:ssd``, as ``mesos-agent --attributes``. Raises ValueError."""
    pairs = [pair.partition(":") for pair in text.split(";") if pair]
    if not all(name and colon for name, colon, _ in pairs):
        raise ValueError(f"not name:value pairs: {text}")
    return {name.strip(): value.strip() for name, _, value in pairs}


async def listen(app: web.Application, port: int, context: ssl.SSLContext | None = None) -> tuple[web.AppRunner, int]:
    """Serves it on that port, or on any if 0; the port is returned."""
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, ADDRESS, port, backlog=512, reuse_address=True, ssl_context=context)
    await site.start()
    return runner, int(runner.addresses[0][1])


class Server:
    """All parts, opened and closed in order."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._state: Path = options.state_dir
        hosts = tuple(options.hosts.split(","))
        iam = options.iam and options.iam.resolve()
        self._iam = Iam(self._state / "iam", iam, options.token_life) if options.secured else None
        self._processes = Processes()
        self._mesos = Mesos(self._state / "sandboxes", hosts, tuple(options.attributes))
        chosen = Options(
            hosts,
            options.offer_delay,
            options.fetch_delay,
            options.health_delay,
            options.kill_grace,
            options.cpus,
            options.mem,
            tuple(options.attributes),
            DIALECTS[options.marathon_version],
        )
        store = self._iam.secrets if self._iam else None
        self._marathon = Marathon(chosen, self._processes, Ports(), self._mesos, store)
        self._metronome = Metronome(self._processes, self._mesos, options.history_gap, store)
        self._runners: list[web.AppRunner] = []

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT."""
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        saver: asyncio.Task[None] | None = None
        try:
            await self._open()
            if self._options.persist:
                saver = asyncio.ensure_future(self._save_often())
            await stopped.wait()
        finally:
            if saver is not None:
                saver.cancel()
            self._save()
            await self._close()

    async def _open(self) -> None:
        iam, credentials = self._iam, self._credentials()
        gate = basic_gate(*private.read_credentials(credentials)) if credentials else None
        marathon_url = await self._serve("marathon", marathon_api.application(self._marathon, gate))
        # Metronome has no authentication: on a secured cluster only Admin Router reaches it.
        metronome_url = "" if iam else await self._serve("metronome", metronome_api.application(self._metronome))
        cluster = dcos.application(self._marathon, self._metronome, self._mesos, iam, strict=self._options.strict)
        cluster_url = await self._serve("cluster", cluster, iam.certificates.context() if iam else None)
        self._marathon.leader = marathon_url.removeprefix("http://")
        await self._marathon.open()
        self._load()
        urls = {"marathon_url": marathon_url, "metronome_url": metronome_url, "cluster_url": cluster_url}
        files = {"ca_cert": iam.certificates.ca, "iam": iam.seed, "password_file": iam.password_file} if iam else {}
        if credentials:
            files["marathon_credentials"] = credentials
        paths = {name: str(path) for name, path in files.items()}
        write_json(self._state / "cluster.json", {**urls, **paths, "pid": os.getpid()})

    async def _serve(self, name: str, app: web.Application, context: ssl.SSLContext | None = None) -> str:
        """Starts serving and returns the URL."""
        runner, port = await listen(app, getattr(self._options, f"{name}_port"), context)
        self._runners.append(runner)
        return f"{'https' if context else 'http'}://{ADDRESS}:{port}"

    def _credentials(self) -> Path | None:
        """The file with the credentials of Marathon's own port: as given, or a new one for the load balancer only."""
        given: Path | None = self._options.marathon_credentials
        if given or not self._iam:
            return given and given.resolve()
        path = self._state / "iam" / "marathon.json"
        private.write_credentials(path, "marathon-lb", secrets.token_urlsafe(24))
        return path

    def _load(self) -> None:
        path = self._state / "state.json"
        if path.exists():
            saved = json.loads(path.read_text())
            self._marathon.load(saved["marathon"])
            self._metronome.load(saved["metronome"])

    def _save(self) -> None:
        state = {"marathon": self._marathon.saved(), "metronome": self._metronome.saved()}
        write_json(self._state / "state.json", state)
        if self._iam:
            self._iam.save()

    async def _save_often(self) -> None:
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            self._save()

    async def _close(self) -> None:
        (self._state / "cluster.json").unlink(missing_ok=True)
        await self._marathon.close()
        await self._metronome.close()
        await self._processes.close()
        for runner in self._runners:
            await runner.cleanup()


def write_json(path: Path, value: object) -> None:
    """Writes it atomically: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    scratch.write_text(json.dumps(value, indent=2))
    scratch.replace(path)


def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    options.state_dir = options.state_dir.resolve()
    options.state_dir.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Server(options).run())


if __name__ == "__main__":
    main()
