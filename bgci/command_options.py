"""Reads the settings of a command from flags, environment, a job's document and ``bgci.toml``.

Order: flag > environment (``BGCI_<OPTION>``) > job > ``bgci.toml`` > default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_click_param
from typer.models import ParamMeta

from bgci import configuration, redaction
from bgci.appdef.job_document import VARIABLE, decode_job
from bgci.bounded import json_value
from bgci.dcos.credentials import CREDENTIAL_VARIABLES
from bgci.errors import InvalidError, UsageError
from bgci.option import Option
from bgci.options import FILE, OPTIONS, Settings


def default_values(path: str) -> dict[str, Any]:
    """The values of options from neither flags nor environment, in the form of click's default map.

    Inside a job its document takes precedence over the file. Raises UsageError or InvalidError.
    """
    text = os.environ.get(VARIABLE)
    return read_file(path) | (_of_job(text) if text else {})


def _of_job(text: str) -> dict[str, Any]:
    """The values of options in a job's document. Raises InvalidError."""
    found = decode_job(text).defaults
    for option in (OPTIONS[name] for name in found if name in OPTIONS):
        value = found[option.key]
        if isinstance(value, dict) or (isinstance(value, list) and not option.repeatable):
            raise InvalidError(
                f"{VARIABLE} has {type(value).__name__} as the option {option.name}.",
                remedy="Publish the jobs again with `bgci publish`.",
            )
    return found


class SettingsCommand(TyperCommand):
    """A command whose options are settings.

    run: called with the Settings. keys: the settings that the command takes.
    """

    def __init__(self, name: str, text: str, run: Callable[[Settings], None], keys: Sequence[str]) -> None:
        super().__init__(name, help=text, params=[_click_option(key) for key in keys])
        self._run = run

    def invoke(self, ctx: Any) -> None:
        self._run(_settings(ctx))


def group_of(commands: Iterable[SettingsCommand]) -> type[TyperGroup]:
    """The class of a group with these commands, before those of the Typer app itself."""

    of_settings = {str(one.name): one for one in commands}

    class Group(TyperGroup):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            self.commands = {**of_settings, **self.commands}

    return Group


@cache
def _click_option(key: str) -> Any:
    option = OPTIONS[key]
    flags = option.flags or (f"--{option.name}",)
    given = typer.Option(option.initial, *flags, envvar=option.variable, help=option.help, **option.more)
    return get_click_param(ParamMeta(name=key, default=given, annotation=option.kind))[0]


def _settings(context: typer.Context) -> Settings:
    """The settings of a command. Raises UsageError."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    origins = {name: source.name for name, source in sources.items() if source and source.name != "DEFAULT"}
    given = {name: _value(OPTIONS[name], value, origins.get(name)) for name, value in context.params.items()}
    _require_no_nul(given)
    _require_addresses(given)
    _require_paths(given)
    return Settings(**_one_size(given, origins), origins=origins, taken=tuple(given))


def _value(option: Option, value: Any, origin: str | None) -> Any:
    if option.lines and origin == "ENVIRONMENT":
        return [line.strip() for line in os.environ.get(option.variable, "").splitlines() if line.strip()]
    return list(value) if option.repeatable else value


_RANKS = ("COMMANDLINE", "ENVIRONMENT", "DEFAULT_MAP")


def _one_size(given: dict[str, Any], origins: dict[str, str]) -> dict[str, Any]:
    """The values with one size of the canary: the one from the source with precedence.

    Raises UsageError for two from the same source. A job's document always has both; a share of 0 means none there.
    """
    sized = {name: given[name] for name in ("steps", "percent", "instances") if name in origins and given[name]}
    if not sized or os.environ.get(VARIABLE):
        return given
    strongest = min(_RANKS.index(origins[name]) for name in sized)
    chosen, *others = (name for name in sized if _RANKS.index(origins[name]) == strongest)
    if others:
        raise UsageError(
            f"--{chosen} and --{others[0]} are both given, and both set the size of the canary.",
            remedy=f"Omit one of them: --{chosen} {given[chosen]}, or --{others[0]} {given[others[0]]}.",
        )
    weaker = {"steps": "", "percent": 0, "instances": 1}
    for name in sized.keys() - {chosen}:
        del origins[name]
    return {**given, **{name: value for name, value in weaker.items() if name in given and name != chosen}}


def _require_no_nul(given: Mapping[str, Any]) -> None:
    """Raises UsageError for a NUL character, which a file can write as ``\\u0000``: no program takes one."""
    for name, value in given.items():
        texts = value if isinstance(value, list) else [value]
        if not OPTIONS[name].place and any(isinstance(text, str) and "\0" in text for text in texts):
            raise UsageError(f"--{OPTIONS[name].name} has a NUL character.", remedy="Remove it.")


def _require_addresses(given: Mapping[str, Any]) -> None:
    """Raises UsageError for an address that cannot be read, such as ``http://[``, and for one with a login in it: jobs,
    artifacts and answers would show it.

    Only the tests use the address of the service, so it can contain a login; it is redacted.
    """
    for name in (name for name in given if name.endswith("_url")):
        for url in [given[name]] if isinstance(given[name], str) else given[name]:
            redaction.hide_login_in(url)
            if not _is_readable(url):
                raise UsageError(
                    f"--{name.replace('_', '-')} is not a usable URL.",
                    remedy="Write it as https://host or http://host:port.",
                )
            if name != "service_url" and re.match(r"(?:[^:/?#]+://)?[^/?#]*@", url):
                raise UsageError(
                    f"--{name.replace('_', '-')} contains a login in its address.",
                    remedy="Remove it from the address. Set BGCI_USERNAME and BGCI_PASSWORD, or another login "
                    "(docs/identity.md).",
                )


def _is_readable(url: str) -> bool:
    with suppress(ValueError):
        return (urlsplit(url if "://" in url else f"//{url}").port or 0) >= 0
    return False


def _require_paths(given: Mapping[str, Any]) -> None:
    """Raises UsageError for an invalid path, and for a directory option that is not a directory."""
    for option in (OPTIONS[name] for name in given if OPTIONS[name].place):
        values = given[option.key] if option.repeatable else [given[option.key]]
        for path in (value for value in values if "-----BEGIN" not in value):  # the value can be the certificate itself
            require_path(path, f"--{option.name}")
            if option.place == "directory" and os.path.lexists(path) and not os.path.isdir(path):
                raise UsageError(f"--{option.name} is not a directory: {path}.", remedy="Give the path of a directory.")


def require_path(path: str, name: str) -> None:
    """Raises UsageError for an invalid path. name: of the option or variable."""
    if "\0" in path or any(len(os.fsencode(part)) > 255 for part in path.split("/")) or len(path) > 4000:
        raise UsageError(
            f"{name} is not a path: it has a NUL character, or a name of more than 255 bytes.",
            remedy="Give a path such as build/bgci-artifacts.",
        )


def read_file(path: str) -> dict[str, Any]:
    """The settings of a configuration file, in the form of click's default map. Raises UsageError."""
    file = Path(path or FILE)
    if not path and not os.path.lexists(file):  # a link to nowhere is a mistake, and not a missing file
        return {}
    kinds = {name: option.kind for name, option in OPTIONS.items()}
    return configuration.read(file, kinds, shares=("percent",), lists=("steps",))


def expand_lists(environ: MutableMapping[str, str]) -> None:
    """Rewrite each repeatable option that is a JSON list as one value per line, which all of them accept.

    GitLab passes an input of type array in that form. Raises UsageError for an item of several lines.
    """
    for name in (option.variable for option in OPTIONS.values() if option.repeatable):
        text = environ.get(name, "")
        try:
            items = json_value(text) if text.lstrip().startswith("[") else None
        except ValueError:
            continue
        if items is not None:
            lines = [str(item) for item in items]
            if any("\n" in line for line in lines):
                raise UsageError(f"{name} has an item of several lines.", remedy="Write each item on one line.")
            environ[name] = "\n".join(lines)


# Variables beside the options: logins, the job's document, the variables of a test program, the outputs of an earlier
# GitLab job, and the internal variables of the wrappers and of the sandbox.
OWN_VARIABLES = (
    *("BGCI_CONFIG", VARIABLE, *CREDENTIAL_VARIABLES),
    *("BGCI_CANARY_URL", "BGCI_CANARY_URLS", "BGCI_BASELINE_URLS", "BGCI_LB_URL"),
    *("BGCI_RESULT", "BGCI_EXIT_CODE", "BGCI_STATE", "BGCI_ACTIVE_COLOUR", "BGCI_CANARY_PERCENT", "BGCI_URL"),
    *("BGCI_PLAN_FILE", "BGCI_JUNIT", "BGCI_REPORT", "BGCI_STAGE", "BGCI_EXECUTABLE", "BGCI_SANDBOX_BODY"),
    *("BGCI_WORKING_DIRECTORY", "BGCI_ID_TOKEN", "BGCI_PREVIEW_URL"),
)
OWN_PREFIXES = ("BGCI_X_", "BGCI_ACTION_", "BGCI_CONTRACT_")


def require_known_variables(environ: Mapping[str, str]) -> None:
    """Raises UsageError for a set variable ``BGCI_*`` that is not an option: it would have no effect."""
    known = {option.variable for option in OPTIONS.values()} | set(OWN_VARIABLES)
    for name in sorted(environ):
        if name.startswith("BGCI_") and environ[name] and name not in known and not name.startswith(OWN_PREFIXES):
            raise UsageError(
                f"{name} is not a variable of bgci.{configuration.nearest(name, known)}",
                remedy="Correct or unset it. docs/options.md lists the options; bgci ignores variables that begin with "
                "BGCI_X_.",
            )
