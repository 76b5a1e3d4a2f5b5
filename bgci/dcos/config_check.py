"""``haproxy -c``: whether HAProxy accepts a load balancer's configuration with marathon-lb's sections for an app.

marathon-lb checks each configuration this way, and leaves out the apps that make it invalid. The local program and the
load balancer's can have different versions, and certificates are files of the load balancer. So only errors that the
app's sections add count, without those caused by a missing file or by the version.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bgci.appdef.app_definition import labels
from bgci.appdef.findings import Finding, at
from bgci.appdef.haproxy_sections import Sections, haproxy_sections
from bgci.interruption import call

# What every configuration of marathon-lb has, for a check without a load balancer.
MINIMAL = "global\ndefaults\n  timeout connect 3s\n  timeout client 30s\n  timeout server 30s\n"

_SECTION = re.compile(
    r"(global|defaults|frontend|backend|listen|userlist|peers|resolvers|cache|program|mailers)\b\s*(\S*)"
)
_ALERT = re.compile(r"^\[ALERT\][^:]*: (?:config : )?(.*)$", re.MULTILINE)
_SUMMARY = re.compile(r"(Error\(s\)|Fatal errors) found in configuration")
# Errors that are caused by this machine or this version, not by the app.
_ENVIRONMENT = re.compile(
    r"unable to (stat|load|open|read|find the default)|failed to open|cannot open|error (reading|opening)"
    r"|No such file|could not resolve|\blua\b|not (built|compiled) with|support (is )?not|No Private Key",
    re.IGNORECASE,
)
# The load balancer's own head can define these: user lists, resolvers, caches. Only the live configuration shows them.
_REFERENCE = re.compile(r"(unable to|could not|cannot) find|no such (?!ACL)", re.IGNORECASE)
# The keyword of a line, after a negation. HAProxy accepts no other blanks.
_KEYWORD = re.compile(r"[ \t\v\f\r]*(?:(?:no|default)[ \t\v\f\r]+)?([^ \t\v\f\r#]*)")
_FILTER = re.compile(r"\s*filter\s+(compression|cache|spoe|trace|bwlim-in|bwlim-out)(\s|$)")
_REMOVED_KEYWORD = "not supported anymore"
_ROUNDS = 20  # each round finds at least one line to leave out
_TIMEOUT = 30.0


@dataclass(frozen=True)
class ConfigError:
    """One error: HAProxy's message, and the line of the app's sections that causes it ("" if unknown)."""

    message: str
    line: str = ""


def _run(words: list[str], **more: Any) -> subprocess.CompletedProcess[bytes]:
    """Run it to its end, or until a signal comes. Raises OSError or subprocess.TimeoutExpired."""
    return call(lambda: subprocess.run(words, capture_output=True, timeout=_TIMEOUT, **more), 2 * _TIMEOUT)


class ConfigCheck:
    """The program ``haproxy`` on this machine."""

    def __init__(self, program: str) -> None:
        self._program = program

    @cached_property
    def version(self) -> str:
        """Its version, such as ``2.6.12``; empty if unknown. Raises OSError or subprocess.TimeoutExpired."""
        found = re.search(r"version (\d+\.\d+\.\d+)", _run([self._program, "-v"]).stdout.decode(errors="replace"))
        return found[1] if found else ""

    def findings(
        self, definition: Mapping[str, Any], *, live: str = MINIMAL, replica: str = "", version: str = ""
    ) -> list[Finding]:
        """HAProxy's errors in the app's part of the configuration, as findings: the first for each label.

        live: the configuration that runs; replica: where it runs, for the message; version: of HAProxy there, empty if
        unknown. The labels have to be free of findings (appdef.haproxy_labels). Raises OSError or
        subprocess.TimeoutExpired.
        """
        where = f" of {replica}" if replica else ""
        found: dict[str, Finding] = {}
        for error in self.errors(live, haproxy_sections(definition), version=version):
            path = _label_of(error.line, definition)
            secret = error.line.startswith("user ")  # of a user list, with a password
            line = f", in the line {error.line!r}" if error.line and not secret else ""
            message = (
                f"makes HAProxy refuse the configuration{where}, and marathon-lb leaves the app out: {error.message}"
            )
            remedy = "correct it; if the load balancer's HAProxy accepts it, give --check-config never"
            found.setdefault(path, Finding(path, f"{message}{line}", remedy))
        return list(found.values())

    def errors(self, live: str, sections: Sections, *, version: str = "") -> list[ConfigError]:
        """The errors that the sections add to the live configuration. ``version``: of HAProxy there."""
        base = self._accepted(_without(live, sections.names))
        known = {alert.message for alert in self._alerts(base)}
        own = sections.text.split("\n")
        opened = (line.strip() for line in own if _runs_code(line) and line.split()[:1] != ["filter"])
        found = {ConfigError("it could run code", line): None for line in opened}
        for _ in range(_ROUNDS):
            removed = False
            for alert in self._alerts([*base, *own]):
                index = alert.line - len(base) - 1
                line = own[index].strip() if 0 <= index < len(own) else ""
                ignored = self._is_irrelevant(alert.message, version)
                ignored = ignored or (live is MINIMAL and bool(_REFERENCE.search(alert.message)))
                if ignored and alert.parsing and line:
                    own[index], removed = "", True  # it would hide the errors that come after parsing
                elif not ignored and alert.message not in known:
                    found[ConfigError(alert.message, line)] = None
            if not removed:
                break
        return list(found)

    def _is_irrelevant(self, message: str, version: str) -> bool:
        """Whether this machine causes the error. The load balancer's HAProxy may know a keyword that this one has
        dropped."""
        same = bool(version) and version.split(".")[:2] == self.version.split(".")[:2]
        return bool(_ENVIRONMENT.search(message)) or (_REMOVED_KEYWORD in message and not same)

    def _accepted(self, lines: list[str]) -> list[str]:
        """The configuration without the lines that the local program refuses."""
        lines = list(lines)
        for _ in range(_ROUNDS):
            refused = [alert.line for alert in self._alerts(lines) if alert.parsing and 0 < alert.line <= len(lines)]
            if not refused:
                break
            for number in refused:
                lines[number - 1] = ""
        return lines

    def _alerts(self, lines: Iterable[str]) -> list[_Alert]:
        with tempfile.TemporaryDirectory(prefix="bgci-") as directory:
            file = Path(directory, "haproxy.cfg")
            harmless = ("" if _runs_code(line) else line for line in lines)
            file.write_text("\n".join(harmless) + "\n", encoding="utf-8")
            # HAProxy replaces variables of the environment in its configuration, and quotes lines in its messages.
            environment = {"PATH": os.environ.get("PATH", os.defpath)}
            done = _run([self._program, "-c", "-f", str(file)], cwd=directory, env=environment)
            text = done.stderr.decode(errors="replace")
            return [_alert(found, str(file)) for found in _ALERT.findall(text) if not _SUMMARY.match(found)]


@dataclass(frozen=True)
class _Alert:
    """An error of HAProxy. ``line`` counts from 1, 0 if it names none; ``parsing``: the line itself cannot be read."""

    message: str
    line: int
    parsing: bool


def find_program() -> ConfigCheck | None:
    """The check with this machine's haproxy; None without the program."""
    program = shutil.which("haproxy")
    return ConfigCheck(program) if program else None


def _alert(text: str, file: str) -> _Alert:
    place = re.search(rf"{re.escape(file)}:(\d+)", text)
    parsing = re.match(rf"parsing \[{re.escape(file)}:\d+\][\s:]*", text, re.IGNORECASE)
    message = text[parsing.end() :] if parsing else re.sub(rf"\s*[\[(]{re.escape(file)}:\d+[\])]", "", text)
    return _Alert(message.strip(" :."), int(place[1]) if place else 0, parsing is not None)


def _without(live: str, names: Iterable[str]) -> list[str]:
    """The configuration without these sections, without rules that lead to them, and without the global settings.

    Those settings belong to the machine of the load balancer; ``lua-load`` would even run code.
    """
    dropped, kept, keep = set(names), [], True
    for line in live.splitlines():
        words = line.split()
        if section := _SECTION.match(line.strip()):
            keep = section[1] not in ("global", "program") and section[2] not in dropped
        leads = words[:1] in (["use_backend"], ["default_backend"]) and words[1:2] and words[1] in dropped
        kept.append(line if keep and not leads else "")
    return kept


def _runs_code(line: str) -> bool:
    """Whether HAProxy could run code of the checkout for this line or for those below it, even for a mere check.

    ``lua-load`` of the global section does, and some filters load libraries. Labels and a load balancer's answer are
    not trusted, so a keyword in an obscured spelling counts as such a line.
    """
    found = _KEYWORD.match(line)
    keyword = found[1] if found else ""
    hidden = not set(keyword).isdisjoint("\"'\\$")
    return hidden or keyword in ("global", "program") or (keyword == "filter" and not _FILTER.match(line))


def _label_of(line: str, definition: Mapping[str, Any]) -> str:
    """The path of the label that generated the line; of all labels if unknown."""
    for name, value in labels(definition).items():
        if not (name.startswith("HAPROXY_") and isinstance(value, str) and value.strip() and line):
            continue
        for part in filter(None, (one.strip() for one in value.splitlines())):
            literal = re.sub(r"\\\{\w+\\\}", ".*", re.escape(part).replace(r"\{\{", r"\{").replace(r"\}\}", r"\}"))
            if re.match(literal, line) or (len(part) > 3 and part in line):
                return at("$.labels", name)
    return "$.labels"
