"""Builds of Jenkins pipelines: Groovy 2.4.21 and Jenkins' own transformation, with real shell steps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HARNESS = Path(__file__).parent / "jenkins"
JARS = sorted((ROOT / ".tools" / "jenkins").glob("*.jar"))
SECONDS = 240
QUICK_START = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"

needs_groovy = pytest.mark.skipif(
    not (shutil.which("groovy") and shutil.which("java") and JARS),
    reason="Groovy or groovy-cps is missing: make ci-tools",
)


@dataclass(frozen=True)
class Build:
    """The result of a build. ``trace``: each step with its details, and whether an agent was occupied."""

    result: str
    error: str | None
    trace: list[dict[str, Any]]
    log: str

    def steps(self, name: str) -> list[dict[str, Any]]:
        return [step for step in self.trace if step["step"] == name]

    @property
    def commands(self) -> list[tuple[str, int | None]]:
        """The commands of bgci in their order, with their exit codes; None where the agent was lost."""
        return [(step["details"]["label"].removeprefix("bgci "), step.get("code")) for step in self.steps("sh")]

    @property
    def stages(self) -> list[str]:
        return [step["details"] for step in self.steps("stage")]


def build(
    home: Path,
    pipeline: str | Path,
    environment: Mapping[str, str] | None = None,
    *,
    scm: Path | None = None,
    sandbox: bool = True,
    **wanted: Any,
) -> Build:
    """Run a pipeline. Its agents begin with an empty workspace each, below ``home``; all find what ``home`` has of
    programs, and a checkout brings what is in ``scm``.

    ``sandbox``: as a folder's library runs; a global one is trusted. ``wanted``: params, credentials, input (refuse,
    timeout, swap: other artifacts), abort and lose (the agent: a text in the output that is waited for).
    """
    file = home / "pipeline.Jenkinsfile"
    file.write_text(pipeline.read_text() if isinstance(pipeline, Path) else f"@Library('bgci') _\n{pipeline}\n")
    for left in home.glob("agent-*"):
        shutil.rmtree(left)
    repository = scm or home / "scm"
    repository.mkdir(exist_ok=True)
    description = home / "build.json"
    places = {"home": str(home), "scm": str(repository)}
    description.write_text(json.dumps({**places, "sandbox": sandbox, "credentials": {}, **wanted}))
    java = Path(shutil.which("java") or "").resolve().parents[1]
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    path = f"{home}{os.pathsep}{os.environ['PATH']}"
    classpath = os.pathsep.join(map(str, [*JARS, HARNESS]))
    ran = subprocess.run(
        ["groovy", "-cp", classpath, str(HARNESS / "run.groovy"), str(ROOT), str(file), str(description)],
        env={**kept, "PATH": path, "JAVA_HOME": str(java), "JAVA_OPTS": QUICK_START, **(environment or {})},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    ended = json.loads(ran.stdout.splitlines()[-1])
    return Build(ended["result"], ended["error"], ended["trace"], ran.stderr)


def stand_in(workspace: Path, **codes: int | str) -> None:
    """A replacement for ``bgci`` that records its environment, writes the usual result.json and ends with the given
    code."""
    cases = "\n".join(f"    {stage}) code={code};;" for stage, code in codes.items())
    script = rf"""#!/bin/sh
env > "{workspace}/env.$1"
ls > "{workspace}/files.$1"
code=0
case "$1" in
{cases}
    *) ;;
esac
mkdir -p bgci-artifacts
result() {{
    printf '{{"command": "%s", "code": %s, "message": "told by %s", "stages": [%s]}}' "$1" "$2" "$1" "$3" \
        > bgci-artifacts/result.json
}}
case "$1" in
    render|publish) echo "{{\"revision\": \"$BGCI_REVISION\"}}" > bgci-artifacts/manifest.json ;;
    *) ;;
esac
if [ "$code" = unfinished ]; then
    trap 'result "$1" 143 ""; exit 143' TERM
fi
if [ "$code" = abort ]; then
    trap 'result "$1" 143 "{{\"command\": \"rollback\", \"code\": 0}}"; exit 143' TERM
fi
case "$code" in
    abort|unfinished) echo waiting; while :; do sleep 0.1; done ;;
    *) ;;
esac
result "$1" "$code" ""
exit "$code"
"""
    file = workspace / "bgci"
    file.write_text(script)
    file.chmod(0o755)


def environment_of(workspace: Path, stage: str) -> dict[str, str]:
    """The BGCI_ variables of the replacement, without values of several lines."""
    lines = (workspace / f"env.{stage}").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line.startswith("BGCI_"))


def files_of(workspace: Path, stage: str) -> set[str]:
    """The files in the working directory of the replacement."""
    return set((workspace / f"files.{stage}").read_text().split())
