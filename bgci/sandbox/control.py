"""Starts and stops a sandbox in the background: the cluster, and load balancer replicas in front of its apps.

Imports only the standard library, so that `sandbox status` is fast. The entry points are ``up``, ``down``,
``status``."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bgci.errors import UnavailableError

DESCRIPTION = "sandbox.json"
STATE = "state.json"
READY_SECONDS = 30.0
STOP_SECONDS = 10.0
_FILES = ("ca_cert", "iam", "password_file")
_LEFTOVERS = (DESCRIPTION, "cluster.json", "cluster.log", STATE)

_started: dict[int, subprocess.Popen[bytes]] = {}
"""The children of this process, whose ends it must collect."""


def up(
    state_dir: Path,
    *,
    replicas: int = 1,
    persist: bool = False,
    addresses: Sequence[str] = (),
    secured: bool = False,
    iam: Path | None = None,
    agents: int = 1,
    agent_attributes: Sequence[str] = (),
    marathon_version: str = "1.11",
    server_options: Sequence[str] = (),
    balancer_options: Sequence[str] = (),
) -> dict[str, Any]:
    """Starts a sandbox, waits until it is ready, and describes it: ``cluster_url``, ``marathon_url``,
    ``metronome_url``, ``marathon_lb_urls``, ``addresses``, ``pids``. A running one stays unchanged.

    ``replicas``: how many load balancers; each binds the service ports on its own address: 127.0.0.1, 127.0.0.2 ...
    ``addresses``: other loopback addresses for them, one per replica.
    ``persist``: saves apps and jobs every second. Apps and jobs kept by an earlier ``down`` start in any case.
    ``secured``: a DC/OS Enterprise with https, logins, permissions and secrets. The description then has the paths
    ``ca_cert`` (the CA's certificate), ``iam`` (user and password of the superuser, as JSON) and ``password_file``
    (the password alone); Metronome's own port is closed. ``iam``: such a file, to choose the superuser.
    ``agents``: how many; two or more are at 127.0.0.11, 127.0.0.12 ..., away from the load balancers' addresses.
    ``agent_attributes``: of each in turn, such as ``rack:r1;disk:ssd``; by default its number and one of two racks.
    ``marathon_version``: 1.11 or 1.7.
    ``server_options``: further options of ``python -m bgci.sandbox.server``; ``balancer_options``: of each
    ``python -m bgci.sandbox.loadbalancer``. Raises UnavailableError.
    """
    state_dir = state_dir.resolve()
    known = status(state_dir)
    if known["running"]:
        return _read(state_dir / DESCRIPTION) or {}
    addresses = list(addresses) or [f"127.0.0.{number}" for number in range(1, replicas + 1)]
    _require_tools(load_balancer=bool(addresses))
    down(state_dir, keep_state=True)
    state_dir.mkdir(parents=True, exist_ok=True)
    pids: list[int] = []
    try:
        options = [*server_options, *["--persist"] * persist, *["--secured"] * secured]
        options += ["--iam", str(iam.resolve())] if iam else []
        options += ["--marathon-version", marathon_version, *_agents(agents, agent_attributes)]
        description = _launch(state_dir, addresses, options, balancer_options, pids)
    except BaseException:
        _stop(pids, state_dir)
        raise
    scratch = state_dir / f"{DESCRIPTION}.tmp"
    scratch.write_text(json.dumps(description, indent=2) + "\n")
    scratch.replace(state_dir / DESCRIPTION)
    return description


def _agents(count: int, attributes: Sequence[str]) -> list[str]:
    """The server's options for that many agents."""
    given = list(attributes) or [f"agent:{number};rack:r{2 - number % 2}" for number in range(1, count + 1)]
    hosts = [] if count == 1 else ["--hosts", ",".join(f"127.0.0.{10 + number}" for number in range(1, count + 1))]
    return [*hosts, *(part for one in given for part in ("--attributes", one))]


def _launch(
    state_dir: Path,
    addresses: Sequence[str],
    options: Sequence[str],
    balancer_options: Sequence[str],
    pids: list[int],
) -> dict[str, Any]:
    """Starts the cluster, then the load balancers all at once, and waits for them; notes each process in ``pids``."""
    log = state_dir / "cluster.log"
    pids.append(_start(["bgci.sandbox.server", "--state-dir", str(state_dir), *options], log))
    cluster = _await(state_dir / "cluster.json", pids[0], log)
    homes = [state_dir / f"lb{number}" for number in range(1, len(addresses) + 1)]
    for home, address in zip(homes, addresses, strict=True):
        home.mkdir(exist_ok=True)
        command = ["bgci.sandbox.loadbalancer", "--marathon", cluster["marathon_url"], "--address", address]
        if "marathon_credentials" in cluster:
            command += ["--marathon-credentials", cluster["marathon_credentials"]]
        pids.append(_start([*command, "--state-dir", str(home), "--health-check", *balancer_options], home / "lb.log"))
    balancers = [_await(h / "ready.json", pid, h / "lb.log") for h, pid in zip(homes, pids[1:], strict=True)]
    names = ["cluster_url", "marathon_url", "metronome_url", *(name for name in _FILES if name in cluster)]
    urls = {name: cluster[name] for name in names}
    lb_urls = [balancer["url"] for balancer in balancers]
    return {**urls, "marathon_lb_urls": lb_urls, "addresses": list(addresses), "pids": pids}


def down(state_dir: Path, *, keep_state: bool = False) -> None:
    """Stops all of that sandbox and removes its files; ``keep_state`` keeps apps and jobs for the next ``up``."""
    state_dir = state_dir.resolve()
    description = _read(state_dir / DESCRIPTION) or {}
    cluster = _read(state_dir / "cluster.json") or {}
    balancers = [_read(path) or {} for path in state_dir.glob("lb*/ready.json")]
    pids = [*description.get("pids", []), *(part["pid"] for part in (cluster, *balancers) if "pid" in part)]
    _stop(dict.fromkeys(pids), state_dir)
    for path in [*state_dir.glob("lb[0-9]*"), state_dir / "sandboxes", *[state_dir / "iam"] * (not keep_state)]:
        shutil.rmtree(path, ignore_errors=True)
    for name in _LEFTOVERS:
        if not (keep_state and name == STATE):
            (state_dir / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        state_dir.rmdir()


def status(state_dir: Path) -> dict[str, Any]:
    """The description of the sandbox, ``running``, and which of its processes have ended (``dead_pids``)."""
    state_dir = state_dir.resolve()
    description = _read(state_dir / DESCRIPTION) or {}
    dead = [pid for pid in description.get("pids", []) if not _is_alive(pid, state_dir)]
    return {**description, "running": bool(description) and not dead, "dead_pids": dead}


def variables(where: Mapping[str, Any]) -> dict[str, str]:
    """Variables of the environment with which every command finds the sandbox, inside and outside of jobs.

    ``where``: the description of ``up``.
    """
    replicas = " ".join(where["marathon_lb_urls"])
    secured = {"BGCI_CA_CERT": "ca_cert", "BGCI_PASSWORD_FILE": "password_file"}
    login = {variable: str(where[name]) for variable, name in secured.items() if name in where}
    return {
        "BGCI_CLUSTER_URL": where["cluster_url"],
        "BGCI_MARATHON_LB_URL": replicas,
        "BGCI_JOB_CLUSTER_URL": where["cluster_url"],
        "BGCI_JOB_MARATHON_LB_URL": replicas,
        "BGCI_JOB_IMAGE": "bgci:latest",  # any: a job of the sandbox is a process of this machine
        **login,
        **({"BGCI_USERNAME": "bootstrapuser"} if login else {}),
    }


def _require_tools(*, load_balancer: bool) -> None:
    if importlib.util.find_spec("aiohttp") is None:
        raise UnavailableError(
            "The sandbox needs aiohttp, which is not installed.", remedy="Run: pip install 'bgci[sandbox]'"
        )
    search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin"])
    if load_balancer and shutil.which("haproxy", path=search) is None:
        raise UnavailableError(
            "The sandbox's load balancer needs HAProxy, which is not installed.",
            remedy="Install the Debian package `haproxy`: apt-get install haproxy",
        )


def _start(module_and_options: Sequence[str], log: Path) -> int:
    """Starts a Python module in a separate session. Returns its process id."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *module_and_options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _started[process.pid] = process
    return process.pid


def _await(path: Path, pid: int, log: Path) -> dict[str, Any]:
    """The file that the process writes when it is ready. Raises UnavailableError if it ends or times out."""
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        ready = _read(path)
        if ready is not None:
            return ready
        code = _started[pid].poll()
        if code is not None:
            last = log.read_text(errors="replace").strip()[-2000:]
            raise UnavailableError(f"A part of the sandbox ended with code {code}:\n{last}", remedy=f"See {log}.")
        time.sleep(0.02)
    raise UnavailableError(f"A part of the sandbox is not ready after {READY_SECONDS:g} s.", remedy=f"See {log}.")


def _read(path: Path) -> dict[str, Any] | None:
    """The JSON object in that file; None without one."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _stop(pids: Iterable[int], state_dir: Path) -> None:
    """SIGTERM, then SIGKILL to processes that have not ended; the load balancers first."""
    alive = [pid for pid in reversed(list(pids)) if _is_alive(pid, state_dir)]
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, STOP_SECONDS)):
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while alive and time.monotonic() < deadline:
            alive = [pid for pid in alive if _is_alive(pid, state_dir)]
            time.sleep(0.02)


def _is_alive(pid: int, state_dir: Path) -> bool:
    """Whether it runs and is ours: the process id may have been reused."""
    if pid in _started:
        return _started[pid].poll() is None
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    if not Path("/proc/self").exists():
        return True
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"bgci.sandbox." in command and os.fsencode(state_dir) in command
