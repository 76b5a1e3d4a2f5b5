"""Execution context of one command: console, artifacts, result, signals."""

from __future__ import annotations

import json
import math
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bgci.appdef.job_document import VARIABLE, JobDocument, decode_job
from bgci.appdef.names import check_revision, parse_app
from bgci.bounded import MOST_OF_A_FILE, file_text, reason
from bgci.engine.outside_changes import compared
from bgci.errors import NAMES, AbortedError, BgciError, DeadlineError, Failure, UnavailableError, UsageError, exit_code
from bgci.interruption import SLACK, noted_signals, within
from bgci.operations.app_lock import DELETED, DELETED_ABORTED, DELETED_LATE, AppLock
from bgci.operations.connections import Connections, in_job
from bgci.operations.result import Result
from bgci.options import Settings, effective
from bgci.redaction import redacted, redacted_json
from bgci.reporting.artifacts import Artifacts
from bgci.reporting.ci_systems import PLAN, Ci, Masks, detect, escaped, fenced, outputs
from bgci.reporting.console import PIPE_CLOSED, Console, abandon, bare, plain, unwritable, write_error
from bgci.reporting.journal import Journal
from bgci.reporting.live_line import live_line
from bgci.reporting.rollout_record import encoded

if TYPE_CHECKING:
    from bgci.engine.observation import App, Observation

# Prefixes of a job's last line and of its journal lines. Metronome itself reports only success or failure.
RESULT_LINE = "bgci-result: "
JOURNAL_LINE = "bgci-journal: "
# The stages on a revision's page, and the fields of their results.
REPORTED = ("render", "publish", "canary", "test", "promote", "rollback", "release")
# Seconds of a command without --timeout for all its requests together.
LIMITS = {"status": 60.0, "prune": 60.0, "demo": math.inf}
RECORDED = ("message", "remedy", "cause", "step", "seconds", "timings", "tests", "judge", "balancer_changes")


class Context(Connections):
    """Execution context of one command.

    Only ``go_on_with`` changes ``settings``. The command replaces ``result`` as it progresses; the last one becomes
    ``result.json`` and, inside a DC/OS job, the last line of the log.
    """

    def __init__(self, command: str, settings: Settings) -> None:
        super().__init__(settings)
        # stdout of status and doctor has only the answer. A DC/OS job's log is its stdout.
        stream = sys.stderr if command in ("status", "doctor") else sys.stdout
        # A log of JSON lines has only JSON lines.
        system, mixed = detect(os.environ), settings.log_format != "json"
        masks = Masks(system) if mixed else partial(_beside, Masks(system))
        self.console = Console(stream, settings.log_format, live=live_line(stream, os.environ), masks=masks)
        self.console.mask()
        self.artifacts = Artifacts(Path(settings.artifacts))
        self.ci = Ci(system, os.environ, self.console.command if mixed else None)
        self.command = command
        self.planned: Observation | None = None  # state at the end of a dry run's plan, for the next goal
        self.known: tuple[App, ...] = ()  # the apps as this command has left or observed them; empty if unknown
        self.noticed: tuple[str, ...] = ()  # the changes by others until now, as sentences
        self.lock: AppLock | None = None  # of the app, once this command has taken it
        self.reader_gone = False  # the reader of the answer has closed the pipe
        self.result = Result(insecure=True if settings.insecure else None)
        if settings.dry_run:
            self.result = replace(self.result, dry_run=True, plan=())
            self.console.info("Dry run: bgci changes nothing.")
        if settings.insecure:
            self.console.warn(
                "--insecure: bgci does not verify the server, and others on the network can read the credentials."
            )
        self._began = time.monotonic()

    @cached_property
    def app_id(self) -> str:
        return app_id_of(self.settings)

    @cached_property
    def revision(self) -> str:
        return revision_of(self.settings)

    def go_on_with(self, **values: Any) -> None:
        """Replace settings by values from the cluster, such as the revision of `undo`."""
        self.settings = replace(self.settings, **values)
        self.__dict__.pop("revision", None)

    @cached_property
    def job(self) -> JobDocument | None:
        """The document of the DC/OS job around this process; None outside of a job. Raises InvalidError."""
        text = os.environ.get(VARIABLE)
        return decode_job(text) if text else None

    @cached_property
    def journal(self) -> Journal:
        path = self.artifacts.directory / "journal.jsonl"
        return Journal(path, warn=self.console.warn, echo=_print_journal if in_job() else lambda line: None)

    def finish(self, error: Failure | None) -> None:
        """Write the result. An unwritable file is only a warning, because it must not fail a good release."""
        code = exit_code(error) if error else 0
        if error:
            self.result = replace(self.result, message=error.message, remedy=error.remedy)
        if self.settings.app and self.settings.revision:
            self.result = replace(self.result, app=self.settings.app, revision=self.settings.revision)
        seconds = round(time.monotonic() - self._began, 3)
        self.result = replace(self.result, seconds=seconds, options=dict(sorted(self.settings.origins.items())))
        recorded = self.record(self.command, code, self.result)
        if "journal" in self.__dict__:
            self.journal.close()
        if in_job():
            known = encoded(tuple(compared(app, self.settings.revision) for app in self.known))
            found = {"exit_code": code, "known": known, "noticed": self.noticed, **self.result.document()}
            _print_for_follower(RESULT_LINE, json.dumps(found))
        self._write_result(code)
        if recorded or self.result.plan:
            self._page()
            self._write_result(code)
        self._report_to_ci(code)

    def notice(self, changes: Iterable[str]) -> None:
        """Remember changes by others, for the last message of the command."""
        self.noticed = tuple(dict.fromkeys([*self.noticed, *changes]))

    def unlock(self, seconds: float = DELETED) -> None:
        """Remove the lock of the app within so many seconds."""
        if self.lock:
            self.lock.release(seconds)

    def plan(self, text: str, details: str = "") -> None:
        """Add one line to a dry run's plan: for the log, ``plan.md``, and the output ``plan``. details: a
        difference."""
        self.console.info(f"Plan: {text}")
        lines = [f"- {escaped(text)}"]
        if details:
            self.console.info(details)
            lines += ["", *fenced(details), ""]
        self.result = replace(self.result, plan=(*(self.result.plan or ()), *lines))

    def _write_result(self, code: int) -> None:
        document = {**self.result.document(), "command": self.command}
        self.result = replace(self.result, outputs=outputs(document, code, self.artifacts.directory))
        try:
            plan = (self.result.outputs or {}).get("plan")
            if plan:
                self.artifacts.write_bytes(PLAN, f"{plan}\n".encode())
            self.artifacts.result(command=self.command, code=code, **self.result.document())
        except BgciError as problem:
            self.console.warn(problem.message)

    def _report_to_ci(self, code: int) -> None:
        """Report to the CI system. A failure here is a warning and does not change the command's exit code."""
        self.console.mask()  # masks of secrets from files and logins since the last line
        name = NAMES.get(code, "internal")
        document = {**self.result.document(), "command": self.command, "code": code, "name": name}
        try:
            self.ci.finish(document, effective(self.settings), self.artifacts)
        except Exception as problem:
            self.console.warn(f"bgci could not report to the CI system. {type(problem).__name__}: {problem}")

    def answer(self, document: Mapping[str, Any], lines: Iterable[str]) -> None:
        """Print the answer of a command on stdout: by --output the document as JSON, or the lines."""
        if self.settings.output == "json":
            text = redacted_json(json.dumps(document, indent=2, sort_keys=True))
        else:
            text = "\n".join(bare(line) for line in redacted("\n".join(map(plain, lines))).splitlines())
        try:
            print(text, flush=True)
        except BrokenPipeError:
            abandon(sys.stdout)
            self.reader_gone = True
        except OSError as error:  # such as a full disk
            abandon(sys.stdout)
            raise unwritable(error) from None

    @contextmanager
    def part(self, name: str, step: str = "") -> Iterator[None]:
        """One stage of a command with several: a group of the log, and a row in ``result.stages``.

        ``step``: the size of the canary in a release by steps. Within the block ``result`` is the stage's own;
        afterwards it is that of the whole command again, with the stage's additions.
        """
        began, code, before = time.monotonic(), BgciError.code, self.result
        self.result = Result()
        self.ci.open(name)
        try:
            yield
            code = 0
        except (BgciError, AbortedError) as error:
            code, self.result = exit_code(error), replace(self.result, message=error.message)
            raise
        finally:
            self.ci.close(name)
            seconds = round(time.monotonic() - began, 3)
            sized = {"step": step} if step else {}
            row = {"command": name, "code": code, "name": NAMES.get(code, "internal"), **sized, "seconds": seconds}
            self.record(name, code, replace(self.result, seconds=seconds), step)
            added = self.result if code == 0 else replace(self.result, message=None)
            self.result = replace(before.followed_by(added), stages=(*(before.stages or ()), row))

    def record(self, command: str, code: int, result: Result, step: str = "") -> bool:
        """Write the end of a command, or of a stage of a release, into the journal, if there is one or are test
        results.

        Returns whether the line was written. A job writes none: the command that follows the job does.
        """
        path = self.artifacts.directory / "journal.jsonl"
        known = "journal" in self.__dict__ or result.tests is not None or path.is_file()
        if in_job() or self.settings.dry_run or command not in REPORTED or not known:
            return False
        found = result.document() | ({"step": step} if step else {})
        # The timings of a command with several stages are those of its last stage.
        kept = {key: found[key] for key in RECORDED if key in found and not (key == "timings" and result.stages)}
        about = {"app": self.settings.app, "revision": self.settings.revision}
        how = {"command": command, "code": code, "name": NAMES.get(code, "internal")}
        self.journal.result({**about, **how, **kept})
        return True

    def _page(self) -> None:
        """Write report.html. A failure here is a warning and does not change the command's exit code."""
        try:
            from bgci.reporting.page import write

            write(self.artifacts)
        except Exception as problem:
            self.console.warn(f"bgci could not write report.html. {type(problem).__name__}: {problem}")


def _print_journal(line: str) -> None:
    _print_for_follower(JOURNAL_LINE, line)


def _print_for_follower(mark: str, document: str) -> None:
    """Print a line for the command that follows this job: JSON without secrets."""
    try:
        print(mark + redacted_json(document), flush=True)
    except BrokenPipeError:
        abandon(sys.stdout)


def _beside(masks: Masks) -> tuple[str, ...]:
    """Print GitHub's masks on stderr, which GitHub reads too, where stdout has the answer or a log of JSON lines."""
    for line in masks():
        write_error(f"{line}\n")
    return ()


def app_id_of(settings: Settings) -> str:
    """The app's id. Raises UsageError without a valid one."""
    return parse_app(_needed(settings.app, "--app"))


def revision_of(settings: Settings) -> str:
    """The revision. Raises UsageError without a valid one."""
    return check_revision(_needed(settings.revision, "--revision"))


def text_of(file: Path, what: str, option: str, most: int = MOST_OF_A_FILE) -> str:
    """The text of a file that the user names. Raises UsageError. what: the file is, such as ``The template``."""
    try:
        return file_text(file, most)
    except (OSError, ValueError) as error:
        raise UsageError(f"{what} {file} cannot be read: {reason(error)}.", remedy=f"Check {option}.") from None


def _needed(value: str, flag: str) -> str:
    if not value:
        raise UsageError(
            f"{flag} is missing.", remedy=f"Give {flag}, or set BGCI_{flag[2:].upper().replace('-', '_')}."
        )
    return value


@contextmanager
def stage(command: str, settings: Settings) -> Iterator[Context]:
    """Run a command: always write its result, and raise only errors of ``bgci.errors``.

    All its requests together have the limit of the command, beside those of its parts with a limit of their own.
    """
    context, limit = Context(command, settings), LIMITS.get(command, settings.timeout + SLACK)
    with noted_signals() as signals:
        try:
            with closing(context.console):
                try:
                    with within(limit):
                        yield context
                    signals.check()  # one that came where nothing waited
                except (UnavailableError, DeadlineError, AbortedError) as error:
                    context.unlock(DELETED_ABORTED if isinstance(error, AbortedError) else DELETED_LATE)
                    raise
                finally:
                    context.unlock()
        except (BgciError, AbortedError) as error:
            signals.over = error.reported = True
            context.finish(error)
            raise
        except Exception as error:
            signals.over = True
            where = context.artifacts.write_bytes("traceback.txt", "".join(traceback.format_exception(error)).encode())
            bug = BgciError(
                f"A bug in bgci: {type(error).__name__}: {error}.",
                remedy=f"Please report it with {where}; running the same command again is safe.",
            )
            bug.reported = True
            context.finish(bug)
            raise bug from error
        signals.over = True
        context.finish(None)
        if context.reader_gone:
            raise SystemExit(PIPE_CLOSED)
