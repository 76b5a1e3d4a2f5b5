"""The command line: a table of the commands. Parses, runs the command, and turns its error into the exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from contextlib import suppress
from functools import partial
from importlib import import_module
from types import FrameType
from typing import Annotated, Any

import typer

from bgci import __version__, early_signals, interruption
from bgci.command_options import (
    SettingsCommand,
    default_values,
    expand_lists,
    group_of,
    require_known_variables,
    require_path,
)
from bgci.dcos.credentials import hide_credential_files, hide_credentials
from bgci.errors import AbortedError, BgciError, Failure, UsageError, exit_code
from bgci.options import CANARY, CLUSTER, DEFINE, DOCTOR, GOAL, JOB, JUDGE, RELEASE, ROLLBACK, TEST, Settings
from bgci.redaction import redacted

_APP = ("app", "artifacts", "log_format", *CLUSTER)
_STAGE = (*RELEASE, *DEFINE, *CLUSTER, *JOB, *GOAL)
_TEST = (*RELEASE, "image", "template_dir", "set", "template_env", *CLUSTER, "timeout", *TEST, *JUDGE)
_RELEASE = (*_STAGE, *TEST, *JUDGE, *CANARY, "on_rejected", "on_failure", "on_inconclusive", "steps")
_REMOVE = (*_APP, "via", "timeout", "drain_timeout", "on_drain_timeout", "lock_timeout", "yes", "dry_run")
_SANDBOX = ("state_dir", "replicas", "agents", "agent_attributes", "marathon_version", "persist", "secured")

# Each command: its help and its options. ``run`` in its module of bgci/commands carries it out.
COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "render": (
        "Render the template for an image: the app definition and its three jobs. Contacts no cluster.",
        (*_STAGE, *CANARY),
    ),
    "publish": ("Replace the three DC/OS Jobs of this revision.", (*_STAGE, *CANARY)),
    "canary": ("Put canary instances of the revision in rotation beside the baseline.", (*_STAGE, *CANARY)),
    "test": ("Test the canary with a suite, test programs and the judge; write the results as JUnit.", _TEST),
    "promote": ("Promote the revision: it serves alone, and the baseline is deleted.", _STAGE),
    "rollback": ("Remove the canary, so that the baseline serves alone again.", (*_STAGE, *ROLLBACK)),
    "release": ("Render, publish, canary, test and promote; roll back when a stage fails.", _RELEASE),
    "undo": (
        "Promote the revision that served before this one. Needs no template and no image.",
        (*_APP, "via", *GOAL),
    ),
    "remove": ("Remove the app: drain a canary, then delete the app and its jobs.", _REMOVE),
    "status": ("Show the app's colours, revisions, instances, health, share of traffic and jobs.", (*_APP, "output")),
    "doctor": (
        "Check connections, permissions, load balancers and labels; print each finding with its remedy.",
        (*RELEASE, *DEFINE, "allow_no_health_check", *CLUSTER, "via", *DOCTOR),
    ),
    "prune": ("Remove the jobs of old revisions.", (*_APP, "keep", "lock_timeout", "dry_run")),
    "demo": ("Run a whole release against a new sandbox, under load.", ("artifacts", "log_format")),
}
# The commands of the sandbox: each is a function of bgci/commands/sandbox.py.
SANDBOX_COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "up": ("Start a DC/OS on this machine: Marathon, Metronome, and marathon-lb's rules on a real HAProxy.", _SANDBOX),
    "down": ("Stop the sandbox and everything that runs on it.", ("state_dir", "keep_state")),
    "status": ("Show whether the sandbox runs, and its addresses.", ("state_dir", "output")),
}


def _call(module: str, function: str, settings: Settings) -> None:
    """Run a command. Imports it only now, because the start-up time is part of every CI stage."""
    getattr(import_module(f"bgci.commands.{module}"), function)(settings)


app = typer.Typer(
    cls=group_of(
        SettingsCommand(name, text, partial(_call, name, "run"), keys) for name, (text, keys) in COMMANDS.items()
    ),
    help="Release an app on DC/OS or Mesos/Marathon behind marathon-lb with zero downtime: canary first, then all.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
sandbox_app = typer.Typer(
    cls=group_of(
        SettingsCommand(name, text, partial(_call, "sandbox", name), keys)
        for name, (text, keys) in SANDBOX_COMMANDS.items()
    ),
    help="Run a DC/OS on this machine, to try bgci.",
    no_args_is_help=True,
)
app.add_typer(sandbox_app, name="sandbox")


NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # of an answer that is written to a file

_ClickError: type[Exception] = typer.BadParameter.__mro__[2]  # click's error for every usage error


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bgci {__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    context: typer.Context,
    config: Annotated[
        str, typer.Option(envvar="BGCI_CONFIG", help="Read the settings from this file; default: bgci.toml.")
    ] = "",
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    require_known_variables(os.environ)
    require_path(config, "--config")
    expand_lists(os.environ)
    values = default_values(config)
    context.default_map = {**dict.fromkeys(COMMANDS, values), "sandbox": dict.fromkeys(SANDBOX_COMMANDS, values)}


@app.command()
def replay(
    journal: Annotated[
        str, typer.Argument(help="The journal.jsonl of an artifacts directory.")
    ] = "bgci-artifacts/journal.jsonl",
) -> None:
    """Show each observation and decision of a journal, and where this version would decide otherwise."""
    from bgci.commands import replay as command

    command.run(journal)


@app.command()
def slug(
    text: Annotated[str, typer.Argument(help="A branch, a tag, what git describe prints, or a version with +.")],
) -> None:
    """Print a text as a revision: a valid one unchanged, any other with dashes and six digits of its hash."""
    from bgci.appdef import names

    if not text.strip():
        raise UsageError(
            "The text is empty.", remedy='Give a branch, a tag or a version, such as: bgci slug "$(git describe)"'
        )
    typer.echo(names.slug(text.strip()))


@sandbox_app.callback()
def _sandbox_options() -> None:
    for number in early_signals.NUMBERS:
        signal.signal(number, _abort)


def _report_to_ci(error: Failure) -> None:
    """Report to the CI system an error that no command has reported."""
    from bgci.reporting.ci_systems import refused
    from bgci.reporting.console import write_error

    command = next((word for word in sys.argv[1:] if word in (*COMMANDS, "replay", "slug")), "command line")
    try:
        refused(error, command, os.environ, lambda line: write_error(redacted(line) + "\n"))
    except (OSError, BgciError) as problem:
        write_error(redacted(f"bgci: bgci could not report to the CI system. {problem}\n"))


def _abort(number: int, frame: FrameType | None) -> None:
    """The signal handler of the sandbox's commands, which stop the processes that they started."""
    raise AbortedError(f"Aborted by {signal.Signals(number).name}.", signal_number=number)


def _closed() -> int:
    """The exit code of a program that writes to a closed pipe. It prints nothing."""
    from bgci.reporting.console import PIPE_CLOSED, abandon

    abandon(sys.stdout)
    return PIPE_CLOSED


def main() -> None:
    """The entry point. Ends the process, even if libraries or threads still run."""
    early_signals.begin()  # until a stage installs its own handler
    code = BgciError.code
    try:
        code = _run()
    finally:
        interruption.end(code)


def _run() -> int:
    """Run the command; its exit code. An expected failure shows no traceback, and no traceback shows a secret."""
    hide_credentials(os.environ)
    hide_credential_files(os.environ)
    try:
        code = app(standalone_mode=False)
        return code if isinstance(code, int) else 0
    except _ClickError as error:
        return _refused(error)
    except BrokenPipeError:  # only answers go to a pipe, so no change is cut off
        return _closed()
    except (BgciError, AbortedError) as error:
        from bgci.reporting.console import plain_lines, write_error

        # A message can quote an app or a server, so CI commands in it are broken up.
        write_error("".join(f"bgci: {error.name}: {line}\n" for line in plain_lines(str(error))))
        if not error.reported:
            _report_to_ci(error)
        return exit_code(error)
    except OSError as error:
        if error.errno not in NO_ROOM:
            return _bug()
        from bgci.reporting.console import abandon, unwritable, write_error

        abandon(sys.stdout)
        write_error("".join(f"bgci: usage: {line}\n" for line in str(unwritable(error)).splitlines()))
        return UsageError.code
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):
            return _closed()
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except Exception:
        return _bug()


def _bug() -> int:
    """Show the traceback of a bug outside of any stage."""
    from bgci.reporting.console import write_error

    write_error(redacted(traceback.format_exc()))
    return BgciError.code


def _refused(error: Any) -> int:
    """Show a wrong flag or variable, without its value, which can be a misplaced secret."""
    from typer.rich_utils import rich_format_error

    error.message = redacted(error.message)
    with suppress(OSError, SystemExit):  # the reader of stderr is gone: rich ends the process then
        rich_format_error(error)
    if error.message:  # without a message it is the help, not an error
        _report_to_ci(UsageError(error.format_message(), remedy="See `bgci COMMAND --help`."))
    return UsageError.code
