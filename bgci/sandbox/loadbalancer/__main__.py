"""``python -m bgci.sandbox.loadbalancer``: one replica of the sandbox's load balancer."""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import IO

import aiohttp

from bgci.errors import BgciError, exit_code
from bgci.sandbox.iam import private
from bgci.sandbox.iam.tls import certificates
from bgci.sandbox.loadbalancer.balancer import Balancer, control_app, control_site
from bgci.sandbox.loadbalancer.haproxy import HAProxy
from bgci.sandbox.loadbalancer.haproxy_config import LOG_SOCKET, Listen
from bgci.sandbox.loadbalancer.marathon import Marathon
from bgci.sandbox.loadbalancer.ports import claim

READY = "ready.json"
REQUESTS = "requests.log"
TLS = "tls"


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bgci.sandbox.loadbalancer", description=__doc__)
    parser.add_argument("--marathon", required=True, metavar="URL")
    parser.add_argument("--marathon-credentials", type=Path, help="JSON file with uid and password for Marathon")
    parser.add_argument("--address", default="127.0.0.1", help="address of the service ports")
    parser.add_argument("--stats-port", type=int, default=0, help="statistics and endpoints; 0: a free port")
    parser.add_argument("--appid-port", type=int, default=0, help="routing by X-Marathon-App-Id; 0: a free port")
    parser.add_argument("--http-port", type=int, default=0, help="routing by HAPROXY_{n}_VHOST; 0: a free port")
    parser.add_argument("--https-port", type=int, default=0, help="the same over TLS; 0: a free port")
    parser.add_argument("--dont-bind-http-https", action="store_true", help="open neither of these two ports")
    parser.add_argument("--log-requests", action="store_true", help=f"log failed requests in {REQUESTS}")
    parser.add_argument("--state-dir", type=Path, required=True)
    parser.add_argument("--health-check", action="store_true", help="serve only tasks with a passed check in Marathon")
    parser.add_argument("--group", action="append", help="HAPROXY_GROUP to serve; repeatable; default: * (all)")
    parser.add_argument("--max-backoff", type=float, default=300.0, metavar="SECONDS")
    return parser.parse_args(argv)


async def serve(options: argparse.Namespace) -> None:
    """Serves until SIGTERM or SIGINT; HAProxy and all its workers have ended by then."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        wanted = [options.stats_port, options.appid_port]
        wanted += [] if options.dont_bind_http_https else [options.http_port, options.https_port]
        claimed = [stack.enter_context(claim(options.address, port)) for port in wanted]
        stats, appid, *hosts = [sock.getsockname()[1] for sock in claimed]
        http, https = hosts or (None, None)
        certificate = str(certificates(Path(TLS).resolve(), [options.address]).server)
        listen = Listen(options.address, stats, appid, http, https, certificate, options.log_requests)
        session = await stack.enter_async_context(aiohttp.ClientSession(headers=basic(options.marathon_credentials)))
        if options.log_requests:
            await stack.enter_async_context(request_log())
        marathon = Marathon(options.marathon, session, max_backoff=options.max_backoff)
        haproxy = HAProxy()
        stack.push_async_callback(haproxy.stop)
        balancer = Balancer(marathon, haproxy, listen, groups=options.group or ["*"], health_check=options.health_check)
        loop.add_signal_handler(signal.SIGHUP, balancer.poll_soon)
        loop.add_signal_handler(signal.SIGUSR1, balancer.reload_soon)
        await stack.enter_async_context(control_site(control_app(balancer, haproxy)))
        await balancer.start()
        announce(listen)
        stack.callback(Path(READY).unlink, missing_ok=True)
        jobs = [balancer.run(), balancer.supervise(), marathon.follow(balancer.poll_soon), stop.wait()]
        release = asyncio.ensure_future(release_claims(balancer, claimed))
        stack.callback(release.cancel)
        tasks = [asyncio.ensure_future(job) for job in jobs]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        while pending:  # until Python 3.12 wait_for loses a cancellation that arrives together with the awaited result
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=0.2)
        for task in done:
            task.result()


class RequestLog(asyncio.DatagramProtocol):
    """Writes HAProxy's log lines, each with its time of arrival."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._file.write(f"{time.time():.3f} {data.decode(errors='replace').strip()}\n")


@contextlib.asynccontextmanager
async def request_log() -> AsyncIterator[None]:
    """Listens on HAProxy's log socket."""
    Path(LOG_SOCKET).unlink(missing_ok=True)
    with open(REQUESTS, "a", buffering=1, encoding="utf-8") as file:
        make = asyncio.get_running_loop().create_datagram_endpoint
        transport, _ = await make(lambda: RequestLog(file), local_addr=LOG_SOCKET, family=socket.AF_UNIX)
        try:
            yield
        finally:
            transport.close()


async def release_claims(balancer: Balancer, claimed: Sequence[socket.socket]) -> None:
    """Closes the sockets that reserve the ports for HAProxy, as soon as HAProxy has bound them."""
    await balancer.opened.wait()
    for sock in claimed:
        sock.close()


def basic(file: Path | None) -> dict[str, str]:
    """The header for the credentials in that file."""
    if file is None:
        return {}
    given = ":".join(private.read_credentials(file)).encode()
    return {"Authorization": f"Basic {base64.b64encode(given).decode()}"}


def announce(listen: Listen) -> None:
    """Writes ``ready.json`` with this replica's addresses."""
    ready = {
        "url": f"http://{listen.address}:{listen.stats_port}",
        "appid_url": f"http://{listen.address}:{listen.appid_port}",
        "pid": os.getpid(),
    }
    if listen.http_port is not None:
        ready["http_url"] = f"http://{listen.address}:{listen.http_port}"
        ready["https_url"] = f"https://{listen.address}:{listen.https_port}"
    Path(f"{READY}.new").write_text(json.dumps(ready))
    Path(f"{READY}.new").replace(READY)


def main(argv: list[str] | None = None) -> int:
    """Runs one replica; the exit codes are those of bgci."""
    options = arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    options.state_dir.mkdir(parents=True, exist_ok=True)
    # All files are relative to it: the path of a Unix socket holds 107 bytes only.
    os.chdir(options.state_dir)
    Path(READY).unlink(missing_ok=True)
    try:
        asyncio.run(serve(options))
    except BgciError as error:
        print(error, file=sys.stderr)
        return exit_code(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
