"""Records the journals beside this file from real runs on a sandbox, under load. Run it after a change of what an
observation holds:  .venv/bin/python tests/replay/record.py [NAME ...]
"""

from __future__ import annotations

import gzip
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

SERVER = "  server {serverName} {host_ipv4}:{port} id {serverId}{cookieOptions}{healthCheckOptions}{otherOptions}"
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from e2e.conftest import app_maker  # noqa: E402
from e2e.lab import App, Lab, until  # noqa: E402

from bgci.sandbox import control  # noqa: E402


def bluegreen(app: App) -> None:
    app.promote("v1")
    app.canary("v2")
    app.promote("v2")


def back(app: App) -> None:
    app.promote("v1")
    app.canary("v2")
    app.rollback("v2")


def rolling(app: App) -> None:
    app.promote("v1")
    app.promote("v2", "--strategy", "rolling")


def resumed(app: App) -> None:
    """A promote that is killed while the baseline drains, and the same command again."""
    app.promote("v1")
    running = app.start("promote", "v2")
    until(lambda: app.healthy().get("v2") == 2)
    time.sleep(0.3)
    running.kill()
    app.promote("v2")


def unhealthy(app: App) -> None:
    """A canary whose health check fails until the deadline, and its rollback."""
    app.promote("v1")
    app.write("v2", env={"SANDBOX_HEALTH": "fail"})
    app.canary("v2", "--timeout", "10s", expect=8)
    app.rollback("v2")


def restored(app: App) -> None:
    """A revision whose own load-balancer settings do not serve: the promote brings the baseline back."""
    app.promote("v1")
    app.write("v2", labels={"HAPROXY_0_BACKEND_SERVER_OPTIONS": f"{SERVER} ssl verify none\n"})
    app.promote("v2", "--preview", "never", "--check-config", "never", expect=10)


def turned_bad(app: App) -> None:
    """A revision whose tasks crash after their first passing check."""
    app.promote("v1")
    app.write("v2", env={"SANDBOX_CRASH_AFTER": "4"})
    with app.long_session(20):  # the baseline cannot be drained before v2 turns bad
        app.promote("v2", expect=10)


SCENES: dict[str, Callable[[App], None]] = {
    scene.__name__: scene for scene in (bluegreen, back, rolling, resumed, unhealthy, restored, turned_bad)
}


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        lab = Lab(home, control.up(home, replicas=2, server_options=["--offer-delay", "0.1"]))
        try:
            for name in names or list(SCENES):
                record(name, lab, home)
        finally:
            control.down(home)


def record(name: str, lab: Lab, home: Path) -> None:
    makers = app_maker(lab, home)
    app = next(makers)(2)
    app.promote("v0")
    (app.directory / "bgci-artifacts" / "journal.jsonl").unlink()
    # A revision that does not serve loses requests until the baseline is back: no load there, which fails on a loss.
    with nullcontext() if name in ("restored", "turned_bad") else app.load():
        SCENES[name](app)
    text = (app.directory / "bgci-artifacts" / "journal.jsonl").read_bytes()
    (HERE / "journals" / f"{name}.jsonl.gz").write_bytes(gzip.compress(text, mtime=0))
    print(name, len(text), "bytes,", text.count(b"\n"), "lines")
    next(makers, None)


if __name__ == "__main__":
    main(sys.argv[1:])
