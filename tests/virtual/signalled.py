"""Stories of a signal at a random moment of a shipped command, and the verdict.

A ``Stage`` is a command in the state that it needs. Its world is made once; each story is played in a fork of it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import pickle
import random
import shutil
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from virtual.forked import PAGE, die_with, import_all
from virtual.processes import HANGS, Host, Process, SharedClock, hosted
from virtual.scenario import SETTLED, Case, play, template
from virtual.world import CLUSTER, World, world

NUMBERS = (signal.SIGTERM, signal.SIGINT)
OWN_SECONDS = 5.0
TRIES = 3
AT_ONCE = 0.02  # real seconds
PAGES = 0.05  # of the stories write report.html
BASELINE = ("promote", "--revision", "v1", "--image", "image:v1", "--via", "direct")


@dataclass(frozen=True)
class Stage:
    """``before``: commands that make the state; ``after``: those that must end with 0 after the signal. ``serves``:
    the revision that serves alone then, empty for none."""

    words: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = (BASELINE,)
    after: tuple[tuple[str, ...], ...] = ()
    serves: str = "v1"
    strategy: str = "bluegreen"
    via: str = "direct"
    on_abort: str = "leave"
    replicas: int = 1
    target: str = "command"  # or "job": the run in the cluster gets the signal
    more: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        parts = [" ".join(self.words), self.strategy, self.via]
        parts += [f"--on-abort {self.on_abort}"] if self.on_abort != "leave" else []
        parts += [f"{self.replicas} replicas"] if self.replicas > 1 else []
        parts += [f"to the {self.target}"] if self.target != "command" else []
        parts += [f"with {name}" for name, _ in self.more[:1]]
        return ", ".join(parts)

    @property
    def environment(self) -> dict[str, str]:
        balancers = " ".join(f"http://127.0.0.1:{9090 + number}" for number in range(self.replicas))
        return {
            "PATH": "/usr/bin:/bin",
            "BGCI_CLUSTER_URL": CLUSTER,
            "BGCI_JOB_CLUSTER_URL": CLUSTER,
            "BGCI_MARATHON_LB_URL": balancers,
            "BGCI_JOB_MARATHON_LB_URL": balancers,
            "BGCI_JOB_IMAGE": "bgci:latest",
            "BGCI_CHECK_CONFIG": "never",
            "BGCI_APP": "/web",
            "BGCI_REVISION": "v2",
            "BGCI_IMAGE": "image:v2",
            "BGCI_TIMEOUT": "120s",
            "BGCI_DRAIN_TIMEOUT": "60s",
            "BGCI_LOCK_TIMEOUT": "90s",
            "BGCI_STRATEGY": self.strategy,
            "BGCI_VIA": self.via,
            "BGCI_ON_ABORT": self.on_abort,
            **dict(self.more),
        }


def stages() -> Iterator[Stage]:
    """All stages, both strategies, directly and as jobs."""
    for strategy in ("bluegreen", "rolling"):
        for via in ("direct", "job"):
            yield from _stages(strategy, via)
    published = (BASELINE, ("publish",))
    yield Stage(("render",), after=(("render",),))
    yield Stage(("publish",), after=(("publish",),), via="job")
    yield Stage(("status",), after=(("status",),))
    yield Stage(("doctor",), after=(("doctor",),))
    yield Stage(("prune", "--keep", "1"), published, (("prune",),), via="job")
    for words in ("canary", "promote", "rollback"):
        before = (*published, *((("canary",),) if words != "canary" else ()))
        after = ((words,), ("rollback",)) if words == "canary" else ((words,),)
        yield Stage((words,), before, after, "v2" if words == "promote" else "v1", via="job", target="job")


def _stages(strategy: str, via: str) -> Iterator[Stage]:
    before = (BASELINE, ("publish",)) if via == "job" else (BASELINE,)
    canary, back = ("canary",), ("rollback",)
    with_canary = (*before, canary)

    def stage(*words: str, **given: object) -> Stage:
        return Stage(words, **{"strategy": strategy, "via": via, **given})  # type: ignore[arg-type]

    yield stage("canary", before=before, after=(canary, back))
    yield stage("promote", before=with_canary, after=(("promote",),), serves="v2")
    yield stage("rollback", before=with_canary, after=(back,))
    yield stage("release", before=(BASELINE,), after=(("release",),), serves="v2", replicas=2)
    yield stage("promote", before=with_canary, on_abort="rollback", after=(("promote",),), serves="v2")
    yield stage("release", before=(BASELINE,), on_abort="rollback", after=(("release",),), serves="v2")
    if strategy == "bluegreen":
        sleep = (("BGCI_TEST_COMMAND", "exec sleep 1000"), ("BGCI_COMMAND_TIMEOUT", "4s"))
        judge = (("BGCI_JUDGE_FOR", "4s"), ("BGCI_JUDGE_PATH", ""))
        yield stage("test", before=with_canary, after=(back,), more=sleep)
        yield stage("test", before=with_canary, after=(back,), more=judge)
        old = ("--revision", "v1", "--image", "image:v1")
        published = (("publish", *old),) if via == "job" else ()
        yield stage("undo", before=(*with_canary, *published, ("promote",)), after=(("promote", *old),))
        yield stage("remove", "--yes", before=with_canary, after=(("remove", "--yes"),), serves="")


@dataclass
class Story:
    """One signal. ``sent``: the signals that met a process; empty when it had ended before."""

    stage: str
    moment: str
    sent: list[int] = field(default_factory=list)
    code: int | None = None
    noted: list[tuple[int, bool]] = field(default_factory=list)
    seconds: float = 0.0  # virtual ones from the first signal to the end
    real: float = 0.0
    finished: list[int] = field(default_factory=list)  # exit codes of the commands after it
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        names = "+".join(signal.Signals(number).name for number in self.sent)
        return (
            f"{self.stage}: {names} at {self.moment}: {self.code} after {self.seconds:.2f} s, noted {self.noted}, "
            f"then {self.finished}: {'; '.join(self.problems) or 'fine'}"
        )


class Theatre:
    """The world of one stage, before its command."""

    def __init__(self, stage: Stage, cluster: World, host: Host, chance: random.Random) -> None:
        self.stage, self.cluster, self.host, self._chance = stage, cluster, host, chance
        self._kept = cluster.directory.with_name(cluster.directory.name + ".kept")
        for words in stage.before:
            process = host.run(*words)
            assert process.code == 0, (words, process.code, self.text())
        self._pause(SETTLED)
        shutil.rmtree(host.artifacts, ignore_errors=True)
        self.forget()
        shutil.rmtree(self._kept, ignore_errors=True)
        shutil.copytree(cluster.directory, self._kept)
        clean = self._in_fork(self._clean)
        assert isinstance(clean, tuple), clean
        self.said, self.virtual, self.real, self.code = clean

    def text(self) -> str:
        file = self.cluster.directory / "out"
        return file.read_text() if file.exists() else ""

    def forget(self) -> None:
        (self.cluster.directory / "out").unlink(missing_ok=True)

    def play(self, *, finish: bool) -> Story:
        """One story, in a fork. ``finish``: run the same command afterwards, which must reach the goal."""
        seed = self._chance.getrandbits(64)
        found = self._in_fork(lambda: self._played(random.Random(seed), finish))
        return found if isinstance(found, Story) else Story(str(self.stage), "?", problems=[str(found)])

    def close(self) -> None:
        shutil.rmtree(self._kept, ignore_errors=True)

    # -- in the fork ---------------------------------------------------------------------------------------------------

    def _in_fork(self, work: object) -> object:
        reader, writer = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            die_with(parent)
            os.close(reader)
            clock = self.cluster.clock
            assert isinstance(clock, SharedClock)
            clock.part()
            self.host.listen()
            try:
                found: object = work()  # type: ignore[operator]
            except BaseException:
                found = traceback.format_exc()
            for process in list(self.host.processes):
                process.abandon()
            with os.fdopen(writer, "wb") as stream:
                pickle.dump(found, stream)
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            text = stream.read()
        os.waitpid(pid, 0)
        shutil.rmtree(self.cluster.directory, ignore_errors=True)
        shutil.copytree(self._kept, self.cluster.directory)
        return pickle.loads(text) if text else "the world of this story ended"

    def _clean(self) -> tuple[int, float, float, int]:
        began, real = self.cluster.clock.now, time.perf_counter()
        process = self.host.run(*self.stage.words)
        target = self.host.jobs[-1] if self.stage.target == "job" else process
        assert process.code is not None
        assert process.code in (0, 7, 11), (str(self.stage), process.code, self.text())
        return target.said, self.cluster.clock.now - began, time.perf_counter() - real, process.code

    def _played(self, chance: random.Random, finish: bool) -> Story:
        story = Story(str(self.stage), "")
        command = self.host.start(*self.stage.words, **({PAGE: "yes"} if chance.random() < PAGES else {}))
        self._arm(command, chance, story)
        self.cluster.loop.run_until_complete(command.run())
        struck = self.host.jobs[-1] if self.stage.target == "job" and self.host.jobs else command
        self._pause(SETTLED)
        self.host.moment = float("inf")
        self.host.heard = lambda process: None
        story.sent = [number for number, _, _ in struck.sent]
        story.code, story.noted = struck.code, struck.noted
        if struck.sent:
            _, real, virtual = struck.sent[0]
            story.real, story.seconds = struck.ended[0] - real, struck.ended[1] - virtual
        story.problems = self._verdict(command, struck)
        if finish and not story.problems:
            self._finish(story)
        return story

    def _arm(self, command: Process, chance: random.Random, story: Story) -> None:
        """Choose the moments of the signal and of a second one."""
        host, loop, job = self.host, self.cluster.loop, self.stage.target == "job"
        first = chance.choice(NUMBERS)
        second = chance.choice(("", "", "", "at once", "later"))

        def target() -> Process | None:
            found = (host.jobs[-1] if host.jobs else None) if job else command
            return found if found and found.control is not None else None

        def strike() -> None:
            process = target()
            if process is None:
                if command.control is None and command.code is None:  # it is not forked yet
                    host.moment = time.perf_counter() + 0.0002
                return
            process.send(first)
            other = NUMBERS[1 - NUMBERS.index(first)]
            host.strike = lambda: again(other)
            if second == "at once":
                host.moment = time.perf_counter() + chance.uniform(0, 0.005)
            elif second == "later":
                loop.call_later(chance.uniform(0.1, 6.0), again, chance.choice(NUMBERS))

        def again(number: int) -> None:
            if process := target():
                process.send(number)

        host.strike = strike
        if chance.random() < 0.5:
            at, gap = chance.randint(0, self.said), 1.5 * self.real / max(1, self.said)
            story.moment = f"message {at}"
            armed: list[int] = []

            def heard(process: Process) -> None:
                if process is target() and process.said >= at and not armed:
                    armed.append(at)
                    host.moment = time.perf_counter() + chance.uniform(0, gap)

            host.heard = heard
            if at == 0:
                armed.append(at)
                host.moment = time.perf_counter() + chance.uniform(0, 0.02)
        else:
            after = chance.uniform(0, self.virtual)
            story.moment = f"{after:.2f} s"
            loop.call_later(after, strike)
        story.moment += f" {second}".rstrip()

    def _pause(self, seconds: float) -> None:
        self.cluster.loop.run_until_complete(asyncio.sleep(seconds))

    def _verdict(self, command: Process, struck: Process) -> list[str]:
        problems = []
        if not struck.sent:
            if command.code != self.code:
                problems.append(f"{command.code} without a signal: {self.text()[-500:]}")
            return problems
        problems += _right_end(struck, self.code if struck is command else 0)
        if struck is not command and command.code not in (0, 6):
            problems.append(f"the command that followed it ended with {command.code}")
        if "by somebody else" in self.text():
            problems.append("it takes a change of its own for one of others")
        problems += self._own_time(struck)
        problems += self._artifacts(command)
        if problems:
            problems.append(self.text()[-600:])
        return problems

    def _own_time(self, struck: Process) -> list[str]:
        _, real, virtual = struck.sent[0]
        limit = OWN_SECONDS
        if self.stage.on_abort == "rollback":  # health, load balancers and the ends of tasks
            limit = 120.0
        if struck.ended[1] - virtual > limit or struck.ended[0] - real > HANGS:
            return [f"ended {struck.ended[1] - virtual:.1f} s later, {struck.ended[0] - real:.1f} s real"]
        return []

    def _artifacts(self, command: Process) -> list[str]:
        """The journal and the result are whole."""
        problems = []
        directory, begun = self.host.artifacts, bool(command.noted) or command.code == self.code
        for number, line in enumerate(_lines(directory / "journal.jsonl")):
            try:
                json.loads(line)
            except ValueError:
                problems.append(f"line {number} of the journal is {line[:80]!r}")
        try:
            code = json.loads((directory / "result.json").read_text())["code"]
            if code != command.code:
                problems.append(f"result.json has {code}")
        except FileNotFoundError:
            if begun:
                problems.append("no result.json")
        except ValueError as error:
            problems.append(f"result.json: {error}")
        return problems

    def _finish(self, story: Story) -> None:
        for words in self.stage.after:
            for attempt in range(TRIES):
                self.forget()
                process = self.host.run(*words)
                assert process.code is not None
                story.finished.append(process.code)
                if "by somebody else" in self.text():
                    story.problems.append(f"then {words[0]} takes a change of its own for one of others: {self.text()}")
                if process.code == 0:
                    break
                if attempt == TRIES - 1 or process.code not in (5, 6, 9):
                    story.problems.append(f"then {words[0]} ended with {process.code}: {self.text()[-600:]}")
                    return
        self._pause(SETTLED)
        found = {
            app.spec["labels"].get("BGCI_REVISION"): app.spec["instances"]
            for app in self.cluster.marathon.store.apps.values()
        }
        if found != ({self.stage.serves: 2} if self.stage.serves else {}):
            story.problems.append(f"at the end: {found}")
        if self.stage.serves and self.cluster.ledger.cut:  # `remove` cuts the baseline in the end
            story.problems.append(f"cut: {self.cluster.ledger.cut}")
        if self.cluster.metronome.runs:
            story.problems.append(f"still running: {[run.job_id for run in self.cluster.metronome.runs.values()]}")


def _right_end(process: Process, clean: int) -> list[str]:
    """128 + the signal, or the command's own code if it was over."""
    first = process.sent[0][0]
    if not process.noted:  # before the command had its own way, or in its last instructions
        rights = {128 + number for number, _, _ in process.sent} | ({clean} if not process.said_after else set())
        return [] if process.code in rights else [f"{process.code}, and no handler ran (sent {first})"]
    (number, over), *_ = process.noted
    if over:
        return [] if process.code == clean else [f"{process.code} instead of {clean}: it was over"]
    # Of two at once either can be the first: handlers interrupt each other.
    firsts = {128 + number} | {128 + other for other, at, _ in process.sent if at - process.sent[0][1] < AT_ONCE}
    if process.code in firsts or (process.code == clean and not process.said_after):
        return []
    return [f"{process.code} instead of {128 + number}; {process.said_after} messages after it"]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


@cache
def warm(directory: Path) -> None:
    """Play one release here: what it imports and compiles, each fork has already."""
    import_all()
    for via in ("direct", "job"):
        play(Case(via=via), directory)
    shutil.rmtree(directory)
    gc.collect()
    gc.freeze()


@contextmanager
def theatre(stage: Stage, directory: Path, chance: random.Random) -> Iterator[Theatre]:
    warm(directory)
    with world(directory, replicas=stage.replicas, clock=SharedClock()) as cluster:
        file = directory / "web.json"
        file.write_text(json.dumps(template(2)))
        with hosted(cluster, BGCI_TEMPLATE=str(file), **stage.environment) as host:
            made = Theatre(stage, cluster, host, chance)
            try:
                yield made
            finally:
                made.close()
