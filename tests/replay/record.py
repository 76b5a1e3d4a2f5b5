"""Records the journals beside this file. Run it after a change of what an observation holds:

    .venv/bin/python tests/replay/record.py [NAME ...]

``SCENES`` run on a sandbox, under load where nothing may be lost. ``STORIES`` run on the virtual cluster: a release
with one fault, at a request that the release without the fault tells. A new defect of the engine gets a row of either.
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
LEFT_OUT = {"HAPROXY_0_BACKEND_HTTP_OPTIONS": "  timeout server 5s nonsense\n"}
HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from e2e.conftest import app_maker  # noqa: E402
from e2e.lab import App, Lab, until  # noqa: E402
from virtual.clock import Program  # noqa: E402
from virtual.commands import Commands  # noqa: E402
from virtual.faults import ANSWERS, EVENTS, KILLS, REPLICAS, Answer, Exchange, Fault, Send  # noqa: E402
from virtual.scenario import Case, play  # noqa: E402
from virtual.world import CLUSTER, FAST  # noqa: E402

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


def bad_in_waves(app: App) -> None:
    """The same in waves of one: the tasks crash one after the other, and each is back soon."""
    app.write("v1", instances=4)
    app.promote("v1")
    app.write("v2", env={"SANDBOX_CRASH_AFTER": "7"}, instances=4)
    app.promote("v2", "--strategy", "rolling", "--wave", "1", expect=10)


def left_not_serving(app: App) -> None:
    """The same, left where it is; the rollback brings back the baseline that was kept."""
    app.promote("v1")
    app.write("v2", labels=LEFT_OUT)
    app.promote("v2", "--preview", "never", "--check-config", "never", "--on-degraded", "leave", expect=8)
    app.rollback("v2")


def fell_out(app: App) -> None:
    """A first deployment that HAProxy takes out of rotation again, by checks that fail under its own settings."""
    for running in app.apps():
        app.lab.marathon.delete(running["id"])
    until(lambda: not app.apps())
    app.write("v1", labels={"HAPROXY_0_BACKEND_SERVER_OPTIONS": f"{SERVER} ssl verify none\n"})
    app.promote("v1", "--timeout", "60s", expect=8)


SCENES: dict[str, Callable[[App], None]] = {
    scene.__name__: scene
    for scene in (
        bluegreen,
        back,
        rolling,
        resumed,
        unhealthy,
        restored,
        turned_bad,
        bad_in_waves,
        left_not_serving,
        fell_out,
    )
}
LOSING = (
    "restored",
    "turned_bad",
    "bad_in_waves",
    "left_not_serving",
    "fell_out",
)  # requests, until the baseline is back


# -- on the virtual cluster -------------------------------------------------------------------------------------------


def scaled_by_hand(app_id: str, instances: int) -> Fault:
    """An outside scaling of the app just before this request."""

    async def fault(commands: Commands, program: Program, send: Send, timeout: float, url: str) -> Answer:
        path = f"{CLUSTER}/service/marathon/v2/apps{app_id}?force=true"
        status, _, body = await commands.world.dispatch("PUT", path, b'{"instances": %d}' % instances)
        assert status == 200, body
        return await send()

    return fault


def deaf_for(seconds: float) -> Fault:
    """From this request on Marathon accepts changes and carries none out."""

    async def fault(commands: Commands, program: Program, send: Send, timeout: float, url: str) -> Answer:
        sent, until = commands._sent, commands.world.clock.now + seconds

        async def accepted(method: str, url: str, body: bytes) -> Answer:
            if method == "GET" or "-lock-" in url or commands.world.clock.now > until:
                return await sent(method, url, body)
            return 200, "application/json", b"{}"

        commands._sent = accepted  # type: ignore[method-assign]
        return await accepted("PUT", "", b"")

    return fault


def first(word: str, before: int = 0) -> Callable[[list[Exchange]], int]:
    """The first request to change something that has this word in its method or URL, or so many before it."""
    return lambda all_of_them: next(n for n, one in enumerate(all_of_them) if _changes(one, word)) - before


def last(word: str, *, of: int = 1, after: int = 0) -> Callable[[list[Exchange]], int]:
    """The last such request, or the last but one (``of`` 2), or so many after it."""
    return lambda all_of_them: [n for n, one in enumerate(all_of_them) if _changes(one, word)][-of] + after


def _changes(one: Exchange, word: str) -> bool:
    return one.changes and "-lock-" not in one.url and word in f"{one.method} {one.url}"


Story = tuple[Case, Fault, str, Callable[[list[Exchange]], int]]
ROLLING, BACK = Case("rolling", "promote"), Case("bluegreen", "rollback")
STORIES: dict[str, Story] = {
    # Killed after the placeholder was asked for: it serves, and is drained beside a stand-in.
    "surplus": (
        Case("rolling", "rollback", canaries=2, pace=FAST),
        KILLS["SIGKILL after"],
        "SIGKILL",
        last("PUT", of=2),
    ),
    "kill_without_effect": (ROLLING, ANSWERS["empty without effect"], "empty", first("/tasks/delete")),
    "lost_answer": (ROLLING, ANSWERS["reset after"], "reset", first("/tasks/delete")),
    "locked": (ROLLING, ANSWERS["409 lock"], "409", first("/tasks/delete")),
    "new_leader": (ROLLING, EVENTS["leader changes"], "leader", first("/tasks/delete", before=1)),
    "old_look": (Case("rolling", "rollback"), ANSWERS["time-out"], "time-out", first("/tasks/delete", before=3)),
    "replica_lost": (Case(replicas=2), REPLICAS["replica lost for 10 s"], "lost", first("DELETE", before=3)),
    "deaf": (Case(), deaf_for(8.0), "deaf", first("DELETE")),
    "hand_adds_to_the_baseline": (BACK, scaled_by_hand("/web-blue", 4), "hand", last("PUT", after=8)),
    "hand_stops_the_canary": (Case(), scaled_by_hand("/web-green", 0), "hand", last("PUT", after=20)),
}


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        for name in names or list(STORIES):
            if name in STORIES:
                record_story(name, home / "virtual")
        scenes = [name for name in names or list(SCENES) if name in SCENES]
        if not scenes:
            return
        lab = Lab(home, control.up(home, replicas=2, server_options=["--offer-delay", "0.1"]))
        try:
            for name in scenes:
                record(name, lab, home)
        finally:
            control.down(home)


def record_story(name: str, home: Path) -> None:
    case, fault, word, at = STORIES[name]
    number = at(play(case, home).exchanges)
    story = play(case, home, fault, number, word)
    print(story.codes, story.problems, story.hit)
    keep(name, (home / "artifacts" / "journal.jsonl").read_bytes())


def keep(name: str, text: bytes) -> None:
    (HERE / "journals" / f"{name}.jsonl.gz").write_bytes(gzip.compress(text, mtime=0))
    print(name, len(text), "bytes,", text.count(b"\n"), "lines")


def record(name: str, lab: Lab, home: Path) -> None:
    makers = app_maker(lab, home)
    app = next(makers)(2)
    app.promote("v0")
    (app.directory / "bgci-artifacts" / "journal.jsonl").unlink()
    with nullcontext() if name in LOSING else app.load():
        SCENES[name](app)
    keep(name, (app.directory / "bgci-artifacts" / "journal.jsonl").read_bytes())
    next(makers, None)


if __name__ == "__main__":
    main(sys.argv[1:])
