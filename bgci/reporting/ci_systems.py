"""What a CI system is told. Pure functions make the texts; ``Ci`` hands them over.

GitHub: groups in the log, an annotation for an error, step outputs, a summary. GitLab: sections, a dotenv file.
Jenkins reads ``result.json``, which has the same outputs.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from bgci.errors import NAMES, Failure, exit_code
from bgci.redaction import hidden, redacted, redacted_values
from bgci.reporting.artifacts import Artifacts, ci_run
from bgci.reporting.console import plain, plain_lines

DOTENV = "bgci.env"
MOST = 4000  # characters of a message: GitHub cuts an annotation off at about that
Option = tuple[str, str, str]  # name, value, where it came from


class System(Enum):
    """The values are those of ``artifacts.CI_SYSTEMS``."""

    GITHUB = "github"
    GITLAB = "gitlab"
    JENKINS = "jenkins"
    NONE = "none"


def detect(environ: Mapping[str, str]) -> System:
    """Whose job this process is. A DC/OS job is nobody's: its log reaches the CI system through another bgci."""
    run = None if "MESOS_TASK_ID" in environ else ci_run(environ)
    return System(run["system"]) if run else System.NONE


class Masks:
    """For ``Console``: what must stand in the log before its next line, so that GitHub hides each secret that we know,
    in what other programs write too (runner: AddMaskCommandExtension)."""

    def __init__(self, system: System, secrets: Callable[[], Sequence[str]] = hidden) -> None:
        self._secrets = secrets if system is System.GITHUB else lambda: ()
        self._told: set[str] = set()

    def __call__(self) -> list[str]:
        new = [secret for secret in self._secrets() if secret not in self._told]
        self._told.update(new)
        return [f"::add-mask::{secret.replace('%', '%25').replace(chr(13), '%0D')}" for secret in new]


class Ci:
    """The CI system at hand. ``say`` writes a line of the log as it is; None where a log must have no such lines."""

    def __init__(self, system: System, environ: Mapping[str, str], say: Callable[[str], None] | None) -> None:
        self.system = system
        self._environ = environ
        self._say = say or (lambda line: None)

    def open(self, name: str) -> None:
        """A part of the log begins."""
        if self.system is System.GITHUB:
            self._say(f"::group::{name}")
        elif self.system is System.GITLAB:
            self._say(f"\x1b[0Ksection_start:{int(time.time())}:bgci_{name}\r\x1b[0K{name}")

    def close(self, name: str) -> None:
        if self.system is System.GITHUB:
            self._say("::endgroup::")
        elif self.system is System.GITLAB:
            self._say(f"\x1b[0Ksection_end:{int(time.time())}:bgci_{name}\r\x1b[0K")

    def finish(self, result: Mapping[str, Any], options: Sequence[Option], artifacts: Artifacts) -> None:
        """``result``: what ``result.json`` has, with its ``outputs``. Raises OSError or BgciError."""
        if self.system is System.GITHUB:
            if result["code"]:
                self._say(annotation(result))
            self._append("GITHUB_OUTPUT", (f"{name}={value}" for name, value in result["outputs"].items()))
            self._append("GITHUB_STEP_SUMMARY", summary(result, options), redacted)
        elif self.system is System.GITLAB:
            artifacts.write_bytes(DOTENV, "".join(f"{line}\n" for line in dotenv(result["outputs"])).encode())

    def _append(self, variable: str, lines: Iterable[str], redact: Callable[[str], str] = redacted_values) -> None:
        """To the file that the runner named; it may hold what an earlier command of the same step wrote."""
        if self._environ.get(variable):
            with Path(self._environ[variable]).open("a", encoding="utf-8", errors="replace") as file:
                file.write("".join(f"{redact(line)}\n" for line in lines))


def refused(error: Failure, command: str, environ: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Tell the CI system of a failure before any stage began, such as a wrong option. Raises OSError or BgciError."""
    system, code = detect(environ), exit_code(error)
    if system is System.NONE:
        return
    told = {"message": error.message, "remedy": error.remedy, "seconds": 0.0}
    told["outputs"] = {"result": error.name, "exit-code": str(code)}
    artifacts = Artifacts(Path(environ.get("BGCI_ARTIFACTS") or "bgci-artifacts"))
    artifacts.result(command=command, code=code, **told)
    Ci(system, environ, say).finish({**told, "command": command, "code": code, "name": error.name}, (), artifacts)


def outputs(result: Mapping[str, Any], code: int, directory: Path) -> dict[str, str]:
    """What later steps may ask for, each a single line; empty what is not known.

    ``state``: none, full or hybrid; ``active-colour``: of the baseline; ``canary-urls``: of its healthy instances,
    parted by blanks, and ``canary-percent``: its share of the instances in rotation, both while the state is hybrid.
    """
    state = result.get("state")
    apps: Sequence[Mapping[str, Any]] = state.get("apps", ()) if state else ()
    hybrid = len(apps) > 1
    values = {
        "result": NAMES.get(code, "internal"),
        "exit-code": code,
        "state": "" if state is None else "hybrid" if hybrid else "full" if apps else "none",
        "active-colour": (apps[0].get("colour") if apps else None) or "",
        "canary-urls": " ".join(apps[-1].get("urls", ())) if hybrid else "",
        "canary-percent": "" if state is None else _percent(apps) if hybrid else 0,
        "artifacts": directory,
        "junit": f"{directory}/junit/*.xml" if any(directory.glob("junit/*.xml")) else "",
        "report": f"{directory}/report.html" if (directory / "report.html").is_file() else "",
    }
    return {name: " ".join(plain_lines(str(value))) for name, value in values.items()}


def _percent(apps: Sequence[Mapping[str, Any]]) -> int:
    up = [sum(tally.get("up", 0) for tally in app.get("serving", {}).values()) for app in apps]
    return round(100 * up[-1] / sum(up)) if any(up) else 0


def dotenv(values: Mapping[str, str]) -> list[str]:
    """Variables for later GitLab jobs. Without the artifacts directory: it would be read as that option there."""
    return [f"BGCI_{name.upper().replace('-', '_')}={value}" for name, value in values.items() if name != "artifacts"]


def annotation(result: Mapping[str, Any]) -> str:
    """An error that GitHub shows on the run's page, its lines kept together (runner: ActionCommand.TryParseV2)."""
    title = f"bgci {result['command']}: {result['name']}".replace(":", "%3A").replace(",", "%2C")
    text = "\n".join(filter(None, (str(result.get("message", "")), str(result.get("remedy", "")))))
    data = "\n".join(plain_lines(redacted(text)[:MOST])).replace("%", "%25").replace("\n", "%0A")
    return f"::error title={title}::{data}"


# -- the summary ------------------------------------------------------------------------------------------------------


def summary(result: Mapping[str, Any], options: Sequence[Option]) -> list[str]:
    """Lines of Markdown: the stages with their times, the verdict, why and what to do, what runs, the options."""
    about = " ".join(_cell(result[name]) for name in ("command", "app", "revision") if result.get(name))
    lines = [f"## bgci {about}: {_verdict(result)}", "", *_stages(result), ""]
    message, cause = str(result.get("message") or ""), str((result.get("cause") or {}).get("message", ""))
    for label, value in (
        ("", message.removesuffix(f": {cause}")),
        ("**What led to it:** ", "" if cause == message else cause),
        ("**What to do:** ", result.get("remedy")),
    ):
        lines += [f"{label}{_cell(value)}", ""] if value else []
    judge = result.get("judge")
    if judge and judge["reason"] not in f"{message} {cause}":
        lines += [f"**Judge:** {_cell(judge['outcome'])}: {_cell(judge['reason'])}", ""]
    return [*lines, *_tests(result), *_apps(result), *_options(options)]


def _verdict(result: Mapping[str, Any]) -> str:
    if result["code"] == 0:
        return "✅ ok"
    return f"❌ {_cell(result['name'])} (exit code {result['code']})"


def _stages(result: Mapping[str, Any]) -> list[str]:
    rows = result.get("stages") or [{"command": result["command"], **{key: result[key] for key in ("name", "seconds")}}]
    return _table(
        ("stage", "result", "time"),
        [(_stage(row), row.get("name", row.get("code")), f"{row['seconds']:.1f} s") for row in rows],
    )


def _stage(row: Mapping[str, Any]) -> str:
    return f"{row['command']} at {row['step']}" if row.get("step") else str(row["command"])


def _tests(result: Mapping[str, Any]) -> list[str]:
    tests = result.get("tests")
    if not tests:
        return []
    counted = ", ".join(f"{tests[kind]} {kind}" for kind in ("passed", "failed", "skipped"))
    failures = [(failure["test"], failure["why"]) for failure in tests.get("failures", ())]
    return [f"**Tests:** {counted}", "", *([*_table(("test", "why it failed"), failures), ""] if failures else ())]


def _apps(result: Mapping[str, Any]) -> list[str]:
    apps = (result.get("state") or {}).get("apps")
    if not apps:
        return []
    rows = [
        (app["id"], app["revision"] or "unknown", app["colour"] or "", f"{app['healthy']} of {app['instances']}")
        for app in apps
    ]
    return [*_table(("what runs", "revision", "colour", "healthy"), rows), ""]


def _options(options: Sequence[Option]) -> list[str]:
    if not options:
        return []
    return ["<details><summary>Options</summary>", "", *_table(("option", "value", "from"), options), "", "</details>"]


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *([_cell(value) for value in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cell(value: object) -> str:
    """A text that is no Markdown and no HTML, on one line: what could be either becomes character references."""
    text = " ".join(plain(line).strip() for line in plain_lines(redacted(str(value))[:MOST]))
    return re.sub(r"[^\w\s.,:;/=%'?()@-]|_", lambda sign: f"&#{ord(sign[0])};", text)
