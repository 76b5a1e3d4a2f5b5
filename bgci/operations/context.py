"""Execution context of one command: console, artifacts, result, signals."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from bgci.appdef.names import check_revision, parse_app
from bgci.errors import NAMES, AbortedError, BgciError, Failure, UsageError, exit_code
from bgci.options import LogFormat, Settings, effective
from bgci.redaction import redacted, redacted_json
from bgci.reporting.artifacts import Artifacts
from bgci.reporting.ci_systems import PLAN, Ci, Masks, detect, escaped, fenced, outputs
from bgci.reporting.console import Console, bare
from bgci.reporting.journal import Journal
from bgci.reporting.live_line import live_line

if TYPE_CHECKING:
    from bgci.dcos.cluster import Cluster
    from bgci.dcos.credentials import Credentials
    from bgci.dcos.marathon_lb import LoadBalancer


# How a job's last line begins, for Metronome itself tells success from failure and no more; and its journal's lines.
RESULT_LINE = "bgci-result: "
JOURNAL_LINE = "bgci-journal: "
# The stages that a revision's page tells of, and what of their results.
TOLD = ("render", "publish", "canary", "test", "promote", "rollback", "release")
RECORDED = ("message", "remedy", "cause", "step", "seconds", "timings", "tests", "judge")
REPEATED = 2.0  # seconds in which further signals are the same one


class Context:
    """Execution context of one command. ``result`` becomes ``result.json`` and, inside a DC/OS job, the last line."""

    def __init__(self, command: str, settings: Settings) -> None:
        self.settings = settings
        # An answer has stdout for itself; everything else is a log, which a DC/OS job's reader follows.
        stream = sys.stderr if command in ("status", "doctor") else sys.stdout
        # A log of JSON lines is nothing else.
        system, mixed = detect(os.environ), settings.log_format is not LogFormat.JSON
        masks = Masks(system) if mixed else _Beside(Masks(system))
        self.console = Console(stream, settings.log_format.value, live=live_line(stream, os.environ), masks=masks)
        self.console.mask()
        self.artifacts = Artifacts(Path(settings.artifacts))
        self.ci = Ci(system, os.environ, self.console.command if mixed else None)
        self.command = command
        self.result: dict[str, Any] = {"dry_run": True, "plan": []} if settings.dry_run else {}
        if settings.dry_run:
            self.console.info("dry run: nothing is changed")
        if settings.insecure:
            self.result["insecure"] = True
            self.console.warn(
                "--insecure: nobody checks who answers, and whoever is in between can read the credentials"
            )
        self._began = time.monotonic()

    @cached_property
    def app_id(self) -> str:
        return parse_app(_needed(self.settings.app, "--app"))

    @cached_property
    def revision(self) -> str:
        return check_revision(_needed(self.settings.revision, "--revision"))

    @cached_property
    def cluster(self) -> Cluster:
        """The cluster, looked at now. Raises UsageError, UnavailableError or DeniedError."""
        from bgci.dcos.cluster import connect

        given = self.settings
        if not (given.cluster_url or given.marathon_url):
            raise UsageError(
                "no cluster is named", remedy="give --cluster-url (DC/OS) or --marathon-url (Marathon alone)"
            )
        return connect(
            cluster_url=given.cluster_url,
            marathon_url=given.marathon_url,
            metronome_url=given.metronome_url,
            credentials=self.credentials,
            ca_cert=self.ca_cert,
            insecure=given.insecure,
        )

    @cached_property
    def credentials(self) -> Credentials | None:
        """Who we are at the cluster. Raises UsageError."""
        from bgci.dcos.credentials import read_credentials

        return read_credentials(os.environ)

    @cached_property
    def ca_cert(self) -> str | None:
        """The CA certificates to trust, as a path or as PEM text; None: as this machine does. Raises UsageError, or
        UnavailableError when the cluster's own CA is not the one that is wanted."""
        given = self.settings
        if given.ca_sha256 and given.ca_cert:
            raise UsageError("--ca-cert and --ca-sha256 are both given", remedy="keep one: a CA, or how to know it")
        if given.ca_sha256 and not given.insecure:
            from bgci.dcos.cluster import pinned_ca

            return pinned_ca(given.cluster_url, given.ca_sha256)
        # DC/OS Enterprise puts the cluster's CA into each task's sandbox.
        bundle = Path(os.environ.get("MESOS_SANDBOX", ""), ".ssl", "ca-bundle.crt")
        return given.ca_cert or (str(bundle) if in_job() and bundle.is_file() else None)

    @cached_property
    def balancers(self) -> list[LoadBalancer]:
        """Every load balancer replica. Raises UsageError where none is named: nothing could be proven drained."""
        from bgci.dcos.marathon_lb import LoadBalancer, resolve_replicas

        if not self.settings.marathon_lb_url:
            raise UsageError(
                "no load balancer is named, and without it nobody knows what is in rotation",
                remedy="give --marathon-lb-url, such as http://marathon-lb.example.com:9090, once per replica",
            )
        urls = resolve_replicas(self.settings.marathon_lb_url)
        return [LoadBalancer(url, ca_cert=self.ca_cert, insecure=self.settings.insecure) for url in urls]

    @cached_property
    def journal(self) -> Journal:
        path = self.artifacts.directory / "journal.jsonl"
        return Journal(path, warn=self.console.warn, echo=_print_journal if in_job() else lambda line: None)

    def finish(self, error: Failure | None) -> None:
        """Write down how it ended. What cannot be written is a warning: it must not spoil a good release."""
        code = exit_code(error) if error else 0
        if error:
            self.result |= {"message": error.message, "remedy": error.remedy}
        if self.settings.app and self.settings.revision:
            self.result |= {"app": self.settings.app, "revision": self.settings.revision}
        self.result["seconds"] = round(time.monotonic() - self._began, 3)
        self.result["options"] = dict(sorted(self.settings.origins.items()))
        told = self.record(self.command, code, self.result)
        if "journal" in self.__dict__:
            self.journal.close()
        if in_job():
            _tell_follower(RESULT_LINE, json.dumps({"exit_code": code, **self.result}))
        self._write_result(code)
        if told:
            self._page()
            self._write_result(code)
        self._tell_ci(code)

    def plan(self, text: str, details: str = "") -> None:
        """One line of a dry run's plan: for the log, ``plan.md``, and the output ``plan``. details: a difference."""
        self.console.info(f"plan: {text}")
        self.result["plan"].append(f"- {escaped(text)}")
        if details:
            self.console.info(details)
            self.result["plan"] += ["", *fenced(details), ""]

    def _write_result(self, code: int) -> None:
        told = {**self.result, "command": self.command}
        self.result["outputs"] = outputs(told, code, self.artifacts.directory)
        try:
            if self.result["outputs"]["plan"]:
                self.artifacts.write_bytes(PLAN, f"{self.result['outputs']['plan']}\n".encode())
            self.artifacts.result(command=self.command, code=code, **self.result)
        except BgciError as problem:
            self.console.warn(problem.message)

    def _tell_ci(self, code: int) -> None:
        """Decoration: whatever goes wrong with it, the stage ended as it did."""
        self.console.mask()  # of what was read from a file, or obtained by a login, since the last line
        told = {**self.result, "command": self.command, "code": code, "name": NAMES.get(code, "internal")}
        try:
            self.ci.finish(told, effective(self.settings), self.artifacts)
        except Exception as problem:
            self.console.warn(f"the CI system could not be told: {type(problem).__name__}: {problem}")

    def answer(self, text: str) -> None:
        """What a command was asked for (``--output``), on stdout: the log goes elsewhere."""
        as_json = self.settings.output is LogFormat.JSON
        print(redacted_json(text) if as_json else "\n".join(bare(line) for line in redacted(text).splitlines()))

    @contextmanager
    def part(self, name: str, step: str = "") -> Iterator[None]:
        """One stage of a command of several: a group of the log, and a row in ``result["stages"]``.

        ``step``: the size of the canary, where the stage is carried out for more than one.
        """
        began, code, before, said = time.monotonic(), BgciError.code, dict(self.result), {}
        self.ci.open(name)
        try:
            yield
            code = 0
        except (BgciError, AbortedError) as error:
            code, said = exit_code(error), {"message": error.message}
            raise
        finally:
            self.ci.close(name)
            sized = {"step": step} if step else {}
            row = {"command": name, "code": code, "name": NAMES.get(code, "internal"), **sized}
            seconds = round(time.monotonic() - began, 3)
            self.result.setdefault("stages", []).append({**row, "seconds": seconds})
            own = {key: value for key, value in self.result.items() if key != "stages" and before.get(key) is not value}
            self.record(name, code, {**own, **said, **sized, "seconds": seconds})

    def record(self, command: str, code: int, result: Mapping[str, Any]) -> bool:
        """How a stage, or one part of a release, ended: a line in the journal, if there is one or something to tell.

        Whether it was written. Not inside a job: whoever follows it does.
        """
        path = self.artifacts.directory / "journal.jsonl"
        known = "journal" in self.__dict__ or "tests" in result or path.is_file()
        if in_job() or self.settings.dry_run or command not in TOLD or not known:
            return False
        kept = {key: result[key] for key in RECORDED if key in result}
        if "stages" in result:
            kept.pop("timings", None)  # its last part's, not its own
        about = {"app": self.settings.app, "revision": self.settings.revision}
        how = {"command": command, "code": code, "name": NAMES.get(code, "internal")}
        self.journal.result({**about, **how, **kept})
        return True

    def _page(self) -> None:
        """Pictures of what happened. Decoration: whatever goes wrong with it, the stage ended as it did."""
        try:
            from bgci.reporting.page import write

            write(self.artifacts)
        except Exception as problem:
            self.console.warn(f"no report.html: {type(problem).__name__}: {problem}")


def in_job() -> bool:
    """Whether this process is a Mesos task, such as a run of one of our jobs."""
    return "MESOS_TASK_ID" in os.environ


def _print_journal(line: str) -> None:
    _tell_follower(JOURNAL_LINE, line)


def _tell_follower(mark: str, document: str) -> None:
    """A line of a job's log for who follows it: JSON, no secret in it."""
    print(mark + redacted_json(document), flush=True)


class _Beside:
    """Masks on stderr, which GitHub reads as well, where stdout is for something else."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks

    def __call__(self) -> tuple[str, ...]:
        for line in self._masks():
            print(line, file=sys.stderr, flush=True)
        return ()


def _needed(value: str, flag: str) -> str:
    if not value:
        raise UsageError(f"{flag} is missing", remedy=f"give {flag}, or set BGCI_{flag[2:].upper().replace('-', '_')}")
    return value


@contextmanager
def stage(command: str, settings: Settings) -> Iterator[Context]:
    """Run a stage: its result is written whatever happens; only errors of ``bgci.errors`` come out."""
    context = Context(command, settings)
    with _signals() as signals:
        try:
            with closing(context.console):
                yield context
        except (BgciError, AbortedError) as error:
            signals.over = error.told = True
            context.finish(error)
            raise
        except Exception as error:
            signals.over = True
            text = "".join(traceback.format_exception(error))
            where = context.artifacts.write_bytes("traceback.txt", text.encode())
            bug = BgciError(
                f"a bug in bgci: {type(error).__name__}: {error}",
                remedy=f"please report it with {where}; running the same command again is safe",
            )
            bug.told = True
            context.finish(bug)
            raise bug from error
        signals.over = True
        context.finish(None)


class _Signals:
    """SIGINT and SIGTERM as AbortedError, from wherever the stage is waiting.

    A cancelled run gets more than one: at the same moment from several senders (a process group's and `timeout`'s),
    and some seconds later from a CI system that is losing patience. ``over``: the result is being written.
    """

    def __init__(self) -> None:
        self.over = False
        self._last: float | None = None

    @property
    def aborted(self) -> bool:
        return self._last is not None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.over or (self._last is not None and now - self._last < REPEATED):
            return
        self._last = now
        raise AbortedError(
            f"aborted by {signal.Signals(number).name}",
            signal_number=number,
            remedy="run the same command again to go on, or the rollback to go back",
        )


@contextmanager
def _signals() -> Iterator[_Signals]:
    handler = _Signals()
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield handler
    finally:
        if not handler.aborted:  # else the process ends now, with its own exit code
            for number, earlier in before.items():
                signal.signal(number, earlier)
