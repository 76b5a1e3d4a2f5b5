"""Output for CI systems. Pure functions make the texts; ``Ci`` writes them.

GitHub: groups in the log, an annotation for an error, step outputs, a summary. GitLab: sections, a dotenv file.
Jenkins reads ``result.json``, which has the same outputs.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from bgci.errors import NAMES, Failure, exit_code
from bgci.redaction import hidden, redacted, redacted_values
from bgci.reporting.artifacts import Artifacts, ci_run
from bgci.reporting.console import plain, plain_lines

DOTENV = "bgci.env"
PLAN = "plan.md"
PATHS = ("artifacts", "junit", "plan-file", "report")
MOST_DOTENV = 5 * 1024  # bytes
MOST = 4000  # characters of a message: GitHub truncates annotations at about this length
COUNTED = ("passed", "failed", "skipped")
Option = tuple[str, str, str]  # name, value, source


System = Literal["github", "gitlab", "jenkins", ""]


def detect(environ: Mapping[str, str]) -> System:
    """The CI system of this process; empty inside a DC/OS job, because the bgci that follows the job reports for it."""
    run = None if "MESOS_TASK_ID" in environ else ci_run(environ)
    return cast(System, run["system"]) if run else ""


class Masks:
    """Commands for the log. After them GitHub hides each registered secret in the log, also in the output of other
    programs (runner: AddMaskCommandExtension)."""

    def __init__(self, system: System, secrets: Callable[[], Sequence[str]] = hidden) -> None:
        self._secrets = secrets if system == "github" else lambda: ()
        self._reported: set[str] = set()

    def __call__(self) -> list[str]:
        new = [secret for secret in self._secrets() if secret not in self._reported]
        self._reported.update(new)
        return [f"::add-mask::{secret.replace('%', '%25').replace(chr(13), '%0D')}" for secret in new]


class Ci:
    """The CI system of this process. ``write`` writes a raw line to the log; None if the log cannot have one."""

    def __init__(self, system: System, environ: Mapping[str, str], write: Callable[[str], None] | None) -> None:
        self.system = system
        self._environ = environ
        self._write = write or (lambda line: None)

    def open(self, name: str) -> None:
        """Begin a part of the log."""
        if self.system == "github":
            self._write(f"::group::{name}")
        elif self.system == "gitlab":
            self._write(f"\x1b[0Ksection_start:{int(time.time())}:bgci_{name}\r\x1b[0K{name}")

    def close(self, name: str) -> None:
        if self.system == "github":
            self._write("::endgroup::")
        elif self.system == "gitlab":
            self._write(f"\x1b[0Ksection_end:{int(time.time())}:bgci_{name}\r\x1b[0K")

    def finish(self, result: Mapping[str, Any], options: Sequence[Option], artifacts: Artifacts) -> None:
        """Write outputs and summary. ``result``: as in ``result.json``. Raises OSError or BgciError."""
        if self.system == "github":
            if result["code"]:
                self._write(annotation(result))
            self._append("GITHUB_OUTPUT", github_output(result["outputs"], self._environ))
            self._append("GITHUB_STEP_SUMMARY", summary(result, options, links(self._environ)), redacted)
        elif self.system == "gitlab":
            lines, left_out = dotenv(result["outputs"])
            artifacts.write_bytes(DOTENV, "".join(f"{line}\n" for line in lines).encode())
            if left_out:
                self._write(
                    f"bgci: BGCI_CANARY_URLS lacks {left_out} of the canary's URLs: GitLab takes 5 KB of variables "
                    "from a job. result.json has them all."
                )

    def _append(self, variable: str, lines: Iterable[str], redact: Callable[[str], str] = redacted_values) -> None:
        """Append to the file that the runner named: an earlier command of the same step can have written to it."""
        if self._environ.get(variable):
            with Path(self._environ[variable]).open("a", encoding="utf-8", errors="replace") as file:
                file.write("".join(f"{redact(line)}\n" for line in lines))


def refused(error: Failure, command: str, environ: Mapping[str, str], write: Callable[[str], None]) -> None:
    """Report a failure before any stage began, such as a wrong option. Raises OSError or BgciError."""
    system, code = detect(environ), exit_code(error)
    if not system:
        return
    result = {"message": error.message, "remedy": error.remedy, "seconds": 0.0}
    result["outputs"] = {"result": error.name, "exit-code": str(code)}
    artifacts = Artifacts(Path(environ.get("BGCI_ARTIFACTS") or "bgci-artifacts"))
    artifacts.result(command=command, code=code, **result)
    Ci(system, environ, write).finish({**result, "command": command, "code": code, "name": error.name}, (), artifacts)


def outputs(result: Mapping[str, Any], code: int, directory: Path) -> dict[str, str]:
    """The outputs for later steps, each a single line but the plan; an unknown one is empty.

    ``state``: none, full or hybrid; ``active-colour``: of the baseline; ``canary-urls``: of its healthy instances,
    separated by blanks, and ``canary-percent``: its share of the instances in rotation, both only in a hybrid;
    ``plan``: of a dry run, in Markdown.
    """
    state = result.get("state")
    apps: Sequence[Mapping[str, Any]] = state.get("apps", ()) if state else ()
    hybrid = len(apps) > 1
    plan = result.get("plan") if result.get("dry_run") else None
    values = {
        "result": NAMES.get(code, "internal"),
        "exit-code": code,
        "state": "" if state is None else "hybrid" if hybrid else "full" if apps else "none",
        "active-colour": (apps[0].get("colour") if apps else None) or "",
        "canary-urls": " ".join(apps[-1].get("urls", ())) if hybrid else "",
        "canary-percent": "" if state is None else _percent(apps) if hybrid else 0,
        "url": result.get("url", ""),
        "preview-url": next(iter((result.get("preview") or {}).get("urls", ())), ""),
        "dry-run": "true" if result.get("dry_run") else "",
        "plan-file": f"{directory}/{PLAN}" if plan else "",
        "artifacts": directory,
        "junit": f"{directory}/junit/*.xml" if any(directory.glob("junit/*.xml")) else "",
        "report": f"{directory}/report.html" if (directory / "report.html").is_file() else "",
    }
    lines = {name: " ".join(plain_lines(str(value))) for name, value in values.items()}
    return {**lines, "plan": "\n".join(plain_lines(plan_page(result))) if plan else ""}


def _percent(apps: Sequence[Mapping[str, Any]]) -> int:
    up = [sum(counts.get("up", 0) for counts in app.get("serving", {}).values()) for app in apps]
    return round(100 * up[-1] / sum(up)) if any(up) else 0


NOT_FOR_JOBS = (
    "artifacts",
    "dry-run",
    "plan",
)  # a later bgci would read the first two as options; the plan has several lines


def dotenv(values: Mapping[str, str]) -> tuple[list[str], int]:
    """Variables for later GitLab jobs, and how many of the canary's URLs are left out.

    GitLab refuses a file of more than 5 KB, and the job fails (gitlab: limits, dotenv variables).
    """
    named = {name: value for name, value in values.items() if name not in NOT_FOR_JOBS}
    urls = named.get("canary-urls", "").split()
    while True:
        lines = [f"BGCI_{name.upper().replace('-', '_')}={value}" for name, value in named.items()]
        left_out = len(urls) - len(named.get("canary-urls", "").split())
        if sum(len(line.encode()) + 1 for line in lines) <= MOST_DOTENV or not any(named.values()):
            return lines, left_out
        if kept := named.get("canary-urls", "").split():
            named["canary-urls"] = " ".join(kept[:-1])
        else:
            named[max(named, key=lambda name: len(named[name]))] = ""


def github_output(values: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[str]:
    """Lines for GITHUB_OUTPUT. Paths are relative to the workspace, where the next steps run."""
    for name, value in values.items():
        if "\n" in value:
            end = f"end-{secrets.token_hex(16)}"  # random, so that no text can end the value early
            yield f"{name}<<{end}\n{value}\n{end}"
        else:
            yield f"{name}={_from_workspace(value, environ) if name in PATHS else value}"


def _from_workspace(path: str, environ: Mapping[str, str]) -> str:
    workspace = environ.get("GITHUB_WORKSPACE")
    if not (path and workspace):
        return path
    found = os.path.relpath(path, workspace)
    return path if found.startswith("..") else found


def annotation(result: Mapping[str, Any]) -> str:
    """An error that GitHub shows on the run's page, its lines kept together (runner: ActionCommand.TryParseV2)."""
    title = f"bgci {result['command']}: {result['name']}{_dry(result)}".replace(":", "%3A").replace(",", "%2C")
    text = "\n".join(filter(None, (str(result.get("message", "")), str(result.get("remedy", "")))))
    data = "\n".join(plain_lines(redacted(text)[:MOST])).replace("%", "%25").replace("\n", "%0A")
    return f"::error title={title}::{data}"


# -- the summary ------------------------------------------------------------------------------------------------------


def summary(result: Mapping[str, Any], options: Sequence[Option], where: Sequence[str] = ()) -> list[str]:
    """Lines of Markdown: verdict, links, stages with their times, cause and remedy, plan, running apps, options.

    They begin and end with an empty line, because another summary or table can precede or follow them.
    """
    report = str((result.get("outputs") or {}).get("report") or "")
    message, cause = str(result.get("message") or ""), str((result.get("cause") or {}).get("message", ""))
    judge, tests = result.get("judge") or {}, result.get("tests") or {}
    if judge and judge["reason"] in f"{message} {cause}":
        judge = {}
    stages = result.get("stages") or [{key: result[key] for key in ("command", "name", "seconds")}]
    return [
        "",
        f"## bgci {_about(result)}: {_verdict(result)}{_dry(result)}",
        "",
        *_paragraph("", " · ".join([*where, *([f"report: {escaped(report)}, in the artifacts"] if report else ())])),
        *_table(("stage", "result", "time"), map(_stage, stages)),
        *_paragraph("", escaped(message.removesuffix(f": {cause}"))),
        *_paragraph("**Cause:** ", "" if cause == message else escaped(cause)),
        *_paragraph("**Remedy:** ", escaped(result.get("remedy") or "")),
        *_paragraph("**Judge:** ", escaped(f"{judge['outcome']}: {judge['reason']}") if judge else ""),
        *([*result["plan"], ""] if result.get("dry_run") and result.get("plan") else ()),
        *(line for text in result.get("advice", ()) for line in _paragraph("**Advice:** ", escaped(text))),
        *_balancer_changes(result.get("balancer_changes") or ()),
        *_paragraph("**Tests:** ", ", ".join(f"{tests[kind]} {kind}" for kind in COUNTED) if tests else ""),
        *_table(("test", "why it failed"), ((one["test"], one["why"]) for one in tests.get("failures", ()))),
        *_table(
            ("running apps", "revision", "colour", "healthy"), map(_app, (result.get("state") or {}).get("apps", ()))
        ),
        *_options(options),
        "",
    ]


def links(environ: Mapping[str, str]) -> list[str]:
    """The run and the commit on GitHub, as Markdown."""
    home = "/".join(filter(None, (environ.get("GITHUB_SERVER_URL"), environ.get("GITHUB_REPOSITORY"))))
    run, commit = environ.get("GITHUB_RUN_ID", ""), environ.get("GITHUB_SHA", "")
    if "/" not in home or not re.fullmatch(r"[\w.:/-]+", home):
        return []
    found = [f"[run {run}]({home}/actions/runs/{run})"] if run.isdecimal() else []
    return found + (
        [f"[commit {commit[:9]}]({home}/commit/{commit})"] if re.fullmatch("[0-9a-f]{40,64}", commit) else []
    )


def plan_page(result: Mapping[str, Any]) -> str:
    """The plan of a dry run, as a page of Markdown: ``plan.md`` and the output ``plan``."""
    return "\n".join([f"## Dry run of bgci {_about(result)}: nothing was changed", "", *result["plan"], ""])


def _about(result: Mapping[str, Any]) -> str:
    return " ".join(escaped(result[name]) for name in ("command", "app", "revision") if result.get(name))


def _dry(result: Mapping[str, Any]) -> str:
    return " (dry run: nothing was changed)" if result.get("dry_run") else ""


def _verdict(result: Mapping[str, Any]) -> str:
    return f"❌ {escaped(result['name'])} (exit code {result['code']})" if result["code"] else "✅ ok"


def _stage(row: Mapping[str, Any]) -> tuple[object, ...]:
    name = f"{row['command']} at {row['step']}" if row.get("step") else row["command"]
    return name, row.get("name", row.get("code")), f"{row['seconds']:.1f} s"


def _app(app: Mapping[str, Any]) -> tuple[object, ...]:
    return app["id"], app["revision"] or "unknown", app["colour"] or "", f"{app['healthy']} of {app['instances']}"


def _balancer_changes(changes: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [(one["name"], one["before"] or "none", one["after"] or "none") for one in changes]
    heading = _paragraph("", "**The load balancer changes after the promotion:**" if rows else "")
    return [*heading, *_table(("setting", "before", "after"), rows)]


def _options(options: Sequence[Option]) -> list[str]:
    table = _table(("option", "value", "from"), options)
    return ["<details><summary>Options</summary>", "", *table, "</details>"] if options else []


def _paragraph(label: str, text: str) -> list[str]:
    """The label and the text, with an empty line after them; nothing without a text."""
    return [f"{label}{text}", ""] if text else []


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The table, with an empty line after it; nothing without rows."""
    lines = [[escaped(value) for value in row] for row in rows]
    return [*(f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *lines)), ""] if lines else []


def escaped(value: object) -> str:
    """The text on one line, with character references for everything that Markdown or HTML would interpret."""
    text = " ".join(plain(line).strip() for line in plain_lines(redacted(str(value))[:MOST]))
    return re.sub(r"[^\w\s.,:;/=%'?()@-]|_", lambda sign: f"&#{ord(sign[0])};", text)


def fenced(text: str) -> list[str]:
    """A difference as a Markdown code block that its text cannot end."""
    lines = [line.rstrip() for line in plain_lines(redacted(text))]
    fence = "`" * max(3, 1 + max((len(found) for line in lines for found in re.findall("`+", line)), default=0))
    return [f"{fence}diff", *lines, fence]
