"""A release with one fault in it: canary, then promote or rollback, each again until it ends with 0; and a verdict."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bgci.engine.lock import LEASE
from virtual.clock import Deadlock
from virtual.commands import Commands, Ended, seams
from virtual.faults import ANSWERS, EVENTS, FAULTS, KILLS, LAG, ONLY_AT_CHANGES, REPLICAS, STALE, Exchange, Fault
from virtual.world import CLUSTER, FAST, Pace, World, world

GROUP, PORT = "web", 14000
MOST_TRIES = 4
VIAS = ("direct", "job")
LONGER = 10.0  # seconds: 5 beyond the --timeout, and 5 in which strangers are looked for before it begins
SETTLED = 3.0  # seconds after the last command, until killed tasks are gone and jobs have ended
# Codes that a command may end with when something failed on its way: the same command finishes what it left. Never 10:
# each revision here is good.
RIGHT_CODES = {
    "killed": (-9, 5, 6, 9),
    "failed": (0, 5, 6, 9),
}


@dataclass(frozen=True)
class Case:
    """``goal``: promote or rollback, after a canary. ``before``: what is wrong with the world from the start."""

    strategy: str = "bluegreen"
    goal: str = "promote"
    via: str = "direct"
    instances: int = 2
    canaries: int = 1
    replicas: int = 1
    pace: Pace = Pace()
    skew: float = 0.0
    stale: float = 0.0
    lag: float = 0.0
    timeout: float = 120.0
    down: float = 0.0  # seconds for which the last load balancer is down from the start

    def __str__(self) -> str:
        parts = [self.strategy, self.goal, self.via, f"N={self.instances}", f"canary={self.canaries}"]
        parts += [f"{self.replicas} replicas"] if self.replicas > 1 else []
        parts += ["fast tasks"] if self.pace == FAST else []
        parts += [f"{name}={value:g}" for name in ("skew", "stale", "lag", "down") if (value := getattr(self, name))]
        parts += [f"timeout={self.timeout:g}"] if self.timeout != Case.timeout else []
        return " ".join(parts)


@dataclass
class Story:
    """What happened. ``problems``: empty when all is as promised; ``lost``: whether the fault ended a command."""

    case: Case
    fault: str
    at: int
    exchanges: list[Exchange] = field(default_factory=list)
    ends: list[Ended] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def hit(self) -> Exchange | None:
        return self.exchanges[self.at] if 0 <= self.at < len(self.exchanges) else None

    @property
    def codes(self) -> tuple[int, ...]:
        return tuple(ended.code for ended in self.ends)

    def __str__(self) -> str:
        what = f"{self.fault} at {self.at} ({self.hit})"
        return f"{self.case}: {what}: codes {self.codes}: {'; '.join(self.problems) or 'fine'}"


def template(instances: int) -> dict[str, Any]:
    check = {"protocol": "HTTP", "path": "/", "portIndex": 0, "gracePeriodSeconds": 30, "intervalSeconds": 1}
    return {
        "id": "/web",
        "instances": instances,
        "cpus": 0.01,
        "mem": 32,
        "networks": [{"mode": "container/bridge"}],
        "container": {
            "type": "DOCKER",
            "docker": {"image": "{{ image }}"},
            "portMappings": [{"containerPort": 80, "servicePort": PORT}],
        },
        "env": {"RELEASE": "{{ revision }}"},
        "healthChecks": [{**check, "timeoutSeconds": 1, "maxConsecutiveFailures": 3}],
        "labels": {
            "HAPROXY_GROUP": "external",
            "HAPROXY_DEPLOYMENT_GROUP": GROUP,
            "HAPROXY_DEPLOYMENT_ALT_PORT": f"{PORT + 1}",
        },
    }


def play(case: Case, home: Path, fault: Fault | None = None, at: int = -1, name: str = "none") -> Story:
    """The release with this fault at the request of that number."""
    story = Story(case, name, at)
    with prepared(case, home) as (cluster, commands):
        _disturb(cluster, commands, case)
        commands.counting = True
        commands.exchanges = story.exchanges
        commands.faults = {at: fault} if fault else {}
        try:
            for command in ("canary", case.goal):
                _to_the_end(commands, story, case, command)
            back = max(replica.down_until for replica in cluster.replicas.values()) - cluster.clock.now
            run_on(cluster, SETTLED + max(0.0, back))
            _after_a_lock_that_was_left(cluster, commands, story, case)
            story.problems += _verdict(cluster, case)
            if any(story.codes) or story.hit is None or story.hit.changes:
                _once_more(cluster, commands, story, case)
        except Deadlock as error:
            story.problems.append(f"deadlock: {error}")
    return story


@contextmanager
def prepared(case: Case, home: Path) -> Iterator[tuple[World, Commands]]:
    """A cluster in which v1 serves and, by jobs, v2 is published; and the commands of v2."""
    documents = _documents(case.instances, case.strategy, case.canaries, case.via, case.replicas)
    with seams(), world(home, replicas=case.replicas, pace=case.pace) as cluster:
        commands = _commands(cluster, case)
        _prepare(cluster, documents)
        yield cluster, commands


def sizes(cluster: World) -> dict[str | None, int]:
    """Instances by revision; None: of a lock."""
    specs = [app.spec for app in cluster.marathon.store.apps.values()]
    return {spec["labels"].get("BGCI_REVISION"): spec["instances"] for spec in specs}


def _commands(cluster: World, case: Case) -> Commands:
    file = cluster.directory / "web.json"
    file.write_text(json.dumps(template(case.instances)))
    environment = {
        "BGCI_TEMPLATE": str(file),
        "BGCI_APP": "/web",
        "BGCI_REVISION": "v2",
        "BGCI_IMAGE": "image:v2",
        "BGCI_STRATEGY": case.strategy,
        "BGCI_VIA": case.via,
        "BGCI_TIMEOUT": f"{case.timeout:g}s",
        "BGCI_INSTANCES": str(case.canaries),
    }
    return Commands(cluster, **environment)


def _disturb(cluster: World, commands: Commands, case: Case) -> None:
    replica = cluster.last_replica
    commands.skew = case.skew
    replica.stale, replica.lag = case.stale, case.lag
    replica.down_until = cluster.clock.now + case.down


def _to_the_end(commands: Commands, story: Story, case: Case, command: str) -> None:
    """Run it, and the same again as long as it does not end with 0. A command ended by the fault must say why."""
    for attempt in range(MOST_TRIES):
        ended = commands.run(command)
        story.ends.append(ended)
        commands.restore()
        commands.hanging = False
        replica = commands.world.last_replica
        replica.stale = 0.0
        if math.isinf(replica.down_until):
            replica.down_until = commands.world.clock.now
        if "by somebody else" in ended.text:
            story.problems.append(f"{command} takes a change of its own for one of somebody else: {ended.text}")
        if ended.seconds > case.timeout + LONGER:
            story.problems.append(f"{command} took {ended.seconds:.0f} s")
        if ended.code == 0:
            return
        allowed: tuple[int, ...] = RIGHT_CODES["killed" if "SIGKILL" in story.fault else "failed"]
        # A load balancer is away for longer than the command waits: the canary can be launched at the very deadline.
        allowed += (8,) if case.down > case.timeout and "(--timeout)" in ended.text else ()
        if ended.code not in allowed or attempt > 1:
            story.problems.append(f"{command} ended with {ended.code}: {ended.text.strip().splitlines()[-2:]}")
            if ended.code not in allowed:
                return
    story.problems.append(f"{command} does not end with 0 in {MOST_TRIES} tries")


def run_on(cluster: World, seconds: float) -> None:
    import asyncio

    cluster.loop.run_until_complete(asyncio.sleep(seconds))


def _after_a_lock_that_was_left(cluster: World, commands: Commands, story: Story, case: Case) -> None:
    """A lock that could not be removed ends with its lease, and the next command removes it."""
    if not _locks(cluster):
        return
    lost = story.hit is not None and story.hit.method == "DELETE" and "-lock-" in story.hit.url
    if not (lost or story.fault in ("hangs", "leader changes") or (case.via == "job" and "SIGKILL" in story.fault)):
        story.problems.append("a lock is left")
    run_on(cluster, LEASE)
    _to_the_end(commands, story, case, case.goal)
    run_on(cluster, SETTLED)


def _locks(cluster: World) -> list[str]:
    return [app_id for app_id, app in cluster.marathon.store.apps.items() if "BGCI_LOCK_OF" in app.spec["labels"]]


def _once_more(cluster: World, commands: Commands, story: Story, case: Case) -> None:
    """The same command at its goal has nothing to do."""
    commands.exchanges, commands.faults = [], {}
    before = cluster.marathon.store.apps
    ended = commands.run(case.goal)
    after = cluster.marathon.store.apps
    if ended.code != 0 or after != before:
        changed = {app_id for app_id in before | after if before.get(app_id) != after.get(app_id)}
        story.problems.append(f"{case.goal} at its goal ended with {ended.code} and changed {changed or 'nothing'}")


def _verdict(cluster: World, case: Case) -> list[str]:
    """The violated guarantees at the end."""
    problems = []
    store, wanted, found = cluster.marathon.store, {"promote": "v2", "rollback": "v1"}[case.goal], sizes(cluster)
    if found != {wanted: case.instances}:
        problems.append(f"at the end: {found}")
    healthy = sum(bool(instance.healthy) and instance.wanted for instance in store.instances.values())
    if healthy != case.instances:
        problems.append(f"{healthy} healthy instances at the end")
    if cluster.ledger.cut:
        problems.append(f"cut: {', '.join(cluster.ledger.cut)}")
    if cluster.ledger.least < case.instances:
        problems.append(f"only {cluster.ledger.least} in rotation")
    for url, replica in cluster.replicas.items():
        up = len(replica.worker.up(cluster.clock.now))
        if up != case.instances:
            problems.append(f"{up} up at {url} at the end")
    active = [run.job_id for run in cluster.metronome.runs.values()]
    if active:
        problems.append(f"still running: {', '.join(active)}")
    return problems


# -- the state before: made once by the commands themselves, then copied ----------------------------------------------


def _prepare(cluster: World, documents: Iterable[tuple[str, bytes]]) -> None:
    """The baseline serves in full and, for a release by jobs, these are published."""

    async def post() -> None:
        for path, document in documents:
            status, _, body = await cluster.dispatch("POST", f"{CLUSTER}{path}", document)
            assert status == 201, body

    cluster.loop.run_until_complete(post())
    run_on(cluster, 3.0 + STALE)
    cluster.watch()


@cache
def _documents(instances: int, strategy: str, canaries: int, via: str, replicas: int) -> tuple[tuple[str, bytes], ...]:
    """What ``promote v1`` and ``publish v2`` post."""
    found: list[tuple[str, bytes]] = []
    home = Path(f"{_scratch()}-documents")
    case = Case(instances=instances, strategy=strategy, canaries=canaries, via=via, replicas=replicas)
    with seams(), world(home, replicas=replicas) as cluster:
        commands = _commands(cluster, case)
        dispatch = cluster.dispatch

        async def noted(method: str, url: str, body: bytes = b"") -> tuple[int, str, bytes]:
            if method == "POST" and b"BGCI_LOCK_OF" not in body:  # its lock is gone at its end
                found.append((url.removeprefix(CLUSTER), body))
            return await dispatch(method, url, body)

        cluster.dispatch = noted  # type: ignore[method-assign]
        for words in (
            ["promote", "--revision", "v1", "--image", "image:v1", "--via", "direct"],
            *([["publish"]] if via == "job" else []),
        ):
            ended = commands.run(*words)
            assert ended.code == 0, ended
    shutil.rmtree(home)
    return tuple(found)


def _scratch() -> Path:
    base = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path("/tmp")
    return base / f"bgci-faults-{os.getpid()}"


# -- all of it ---------------------------------------------------------------------------------------------------------

WAYS = [
    (strategy, goal, via) for strategy in ("bluegreen", "rolling") for goal in ("promote", "rollback") for via in VIAS
]
CASES = {str(case): case for case in [Case(strategy, goal, via) for strategy, goal, via in WAYS]}
FAST_CASES = {
    str(case): case
    for strategy, goal, via in WAYS
    for case in [Case(strategy, goal, via, pace=FAST), Case(strategy, goal, via, canaries=2, pace=FAST)]
    if via == "direct"
}
TWO_REPLICAS = {str(case): case for case in [Case(*way, replicas=2) for way in WAYS]}
WORLDS = {  # something is wrong from the start
    str(case): case
    for way in WAYS
    for case in (
        Case(*way, skew=6 * 3600.0),
        Case(*way, skew=-6 * 3600.0),
        Case(*way, stale=STALE, timeout=20.0),
        Case(*way, lag=LAG),
        Case(*way, replicas=2, down=10.0),
        Case(*way, replicas=2, down=30.0, timeout=20.0),  # longer than a command waits
    )
}
ALL_CASES = {**CASES, **FAST_CASES, **TWO_REPLICAS, **WORLDS}


def parts() -> Iterator[tuple[str, str]]:
    """Each case with each of its faults, by name."""
    for cases, faults in (
        (CASES, {**KILLS, **ANSWERS, **EVENTS}),
        (FAST_CASES, KILLS),
        (TWO_REPLICAS, REPLICAS),
        (WORLDS, KILLS),
    ):
        for name, case in cases.items():
            yield from ((name, fault) for fault in faults if fault != "Metronome restarts" or case.via == "job")


def requests_of(fault: str, exchanges: Iterable[Exchange], every: int = 1) -> list[int]:
    """The requests at which it is played: all; of those that only read, each n-th."""
    return [n for n, one in enumerate(exchanges) if one.changes or (n % every == 0 and fault not in ONLY_AT_CHANGES)]


def play_one(case: str, fault: str, at: int, home: Path) -> Story:
    return play(ALL_CASES[case], home, FAULTS[fault], at, fault)
