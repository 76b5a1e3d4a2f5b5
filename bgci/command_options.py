"""From flags, environment, a job's document and ``bgci.toml`` to the settings of a command.

Order: flag > environment (``BGCI_<OPTION>``) > job > ``bgci.toml`` > default.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from bgci import configuration, redaction
from bgci.appdef.job_document import VARIABLE, decode_job
from bgci.errors import UsageError
from bgci.options import FILE, Settings, default_of, field_of, kinds


def default_values(path: str) -> dict[str, Any]:
    """The values of options that are neither flags nor in the environment, in the form of click's default map.

    Inside a job those of its document come before those of the file. Raises UsageError or InvalidError.
    """
    text = os.environ.get(VARIABLE)
    return read_file(path) | (decode_job(text).defaults if text else {})


def option_kinds() -> dict[str, Any]:
    """The types of the options."""
    return {name: kind for name, kind in kinds().items() if name not in ("origins", "taken")}


def takes(*names: str) -> Callable[[Callable[[Settings], None]], Callable[..., None]]:
    """A command with these settings as its options."""

    def decorate(function: Callable[[Settings], None]) -> Callable[..., None]:
        def command(context: typer.Context, **given: Any) -> None:
            _require_no_login_in(given)
            _require_paths(given)
            origins = _origins(context, given)
            function(Settings(**_one_size(given, origins), origins=origins, taken=tuple(given)))

        command.__name__ = function.__name__
        command.__doc__ = function.__doc__
        first = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
        parameters = [first, *(_parameter(name) for name in names)]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


_RANKS = ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP")


def _one_size(given: dict[str, Any], origins: dict[str, str]) -> dict[str, Any]:
    """The values with one size of the canary: the one from the stronger source.

    Raises UsageError for two from the same source. A job's document always has both: a share of 0 is none there.
    """
    sized = {name: given[name] for name in ("steps", "percent", "instances") if name in origins and given[name]}
    if not sized or os.environ.get(VARIABLE):
        return given
    strongest = min(_RANKS.index(origins[name]) for name in sized)
    chosen, *others = (name for name in sized if _RANKS.index(origins[name]) == strongest)
    if others:
        raise UsageError(
            f"--{chosen} and --{others[0]} are both given, and each says how large the canary is.",
            remedy=f"Leave one of them out: --{chosen} {given[chosen]}, or --{others[0]} {given[others[0]]}.",
        )
    weaker = {"steps": "", "percent": 0, "instances": 1}
    for name in sized.keys() - {chosen}:
        del origins[name]
    return {**given, **{name: value for name, value in weaker.items() if name in given and name != chosen}}


def _require_no_login_in(given: Mapping[str, Any]) -> None:
    """Raises UsageError for an address with a login in it: jobs, artifacts and answers would show it.

    That of the service is the tests' own, and may hold one; it is hidden.
    """
    for name in (name for name in given if name.endswith("_url")):
        for url in [given[name]] if isinstance(given[name], str) else given[name]:
            redaction.hide_login_in(url)
            if name != "service_url" and re.match(r"(?:[^:/?#]+://)?[^/?#]*@", url):
                raise UsageError(
                    f"--{name.replace('_', '-')} holds a login in its address.",
                    remedy="Leave it out; credentials come from BGCI_USERNAME and BGCI_PASSWORD or their like "
                    "(docs/identity.md).",
                )


def _require_paths(given: Mapping[str, Any]) -> None:
    """Raises UsageError for a path that no file system can have."""
    for name in ("template", "template_dir", "job_template", "suite", "artifacts", "state_dir"):
        path = str(given.get(name, ""))
        if "\0" in path or any(len(os.fsencode(part)) > 255 for part in path.split("/")) or len(path) > 4000:
            raise UsageError(
                f"--{name.replace('_', '-')} is not a path: it has a NUL character, or a name of more than 255 bytes.",
                remedy="Give a path such as build/bgci-artifacts.",
            )


def _parameter(name: str) -> inspect.Parameter:
    found = field_of(name)
    more = {"flags": (f"--{name.replace('_', '-')}",), **found.metadata["more"]}
    flags = more.pop("flags")
    option = typer.Option(*flags, envvar=f"BGCI_{name.upper()}", help=found.metadata["help"], **more)
    kind = kinds()[name]
    default = default_of(found)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _origins(context: typer.Context, given: dict[str, Any]) -> dict[str, str]:
    """Where each value came from, other than defaults: COMMANDLINE, ENVIRONMENT or DEFAULT_MAP (the file)."""
    sources = {name: context.get_parameter_source(name) for name in given}
    return {name: source.name for name, source in sources.items() if source and source.name != "DEFAULT"}


def read_file(path: str) -> dict[str, Any]:
    """The settings of a configuration file, in the form of click's default map. Raises UsageError."""
    file = Path(path or FILE)
    if not path and not file.exists():
        return {}
    return configuration.read(file, option_kinds(), shares=("percent",), lists=("steps",))


# Variables beside the options that bgci reads or sets itself: logins, what a job carries, what a test program is told,
# the outputs of an earlier GitLab job, what the wrappers and the sandbox use among themselves.
OWN_VARIABLES = (
    *("BGCI_CONFIG", VARIABLE),
    *("BGCI_TOKEN", "BGCI_TOKEN_FILE", "BGCI_USERNAME", "BGCI_PASSWORD", "BGCI_PASSWORD_FILE"),
    *("BGCI_SERVICE_ACCOUNT", "BGCI_SERVICE_ACCOUNT_FILE"),
    *("BGCI_CANARY_URL", "BGCI_CANARY_URLS", "BGCI_BASELINE_URLS", "BGCI_LB_URL"),
    *("BGCI_RESULT", "BGCI_EXIT_CODE", "BGCI_STATE", "BGCI_ACTIVE_COLOUR", "BGCI_CANARY_PERCENT", "BGCI_URL"),
    "BGCI_PREVIEW_URL",
    *("BGCI_PLAN_FILE", "BGCI_JUNIT", "BGCI_REPORT", "BGCI_STAGE", "BGCI_EXECUTABLE", "BGCI_SANDBOX_BODY"),
    *("BGCI_WORKING_DIRECTORY", "BGCI_ID_TOKEN"),
)
OWN_PREFIXES = ("BGCI_X_", "BGCI_ACTION_", "BGCI_CONTRACT_")


def require_known_variables(environ: Mapping[str, str]) -> None:
    """Raises UsageError for a variable ``BGCI_*`` with a value that is none of the options: it would do nothing."""
    known = {f"BGCI_{name.upper()}" for name in option_kinds()} | set(OWN_VARIABLES)
    for name in sorted(environ):
        if name.startswith("BGCI_") and environ[name] and name not in known and not name.startswith(OWN_PREFIXES):
            raise UsageError(
                f"bgci knows no variable {name}.{configuration.nearest(name, known)}",
                remedy="Correct or unset it. The options are in docs/options.md; variables of your own that begin with "
                "BGCI_X_ are left alone.",
            )
