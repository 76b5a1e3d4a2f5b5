"""What action.yml runs: installs bgci and becomes it. Only Python's standard library, for nothing else is there yet.

An input becomes the environment variable of its option, but for those that are about the action itself. Bgci takes the
place of this process, so that the runner's signals on a cancelled run reach it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OWN = ("command", "python-path", "wheels")


def main() -> None:
    """Never returns: runs bgci, or ends with the exit code of a usage error (2) or of a failed installation (1)."""
    inputs = {name: value for name, value in json.loads(os.environ.pop("BGCI_ACTION_INPUTS")).items() if value}
    unknown = sorted(set(inputs) - declared())
    if unknown:
        stop(2, f"the action has no input {', '.join(unknown)}; it has {', '.join(sorted(declared()))}")
    bgci = installed() or install(inputs.get("wheels", ""))
    options = {f"BGCI_{name.upper().replace('-', '_')}": inputs[name] for name in inputs.keys() - set(OWN)}
    sys.stdout.flush()
    os.execve(bgci, [str(bgci), inputs.get("command", "--help")], os.environ | options)  # noqa: S606


def declared() -> set[str]:
    """The inputs of action.yml: GitHub itself only warns of others."""
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    return set(re.findall(r"^  ([a-z-]+):$", text.partition("\ninputs:\n")[2].partition("\noutputs:\n")[0], re.M))


def version() -> str:
    found = re.search(r'__version__ = "(.+)"', (ROOT / "bgci" / "__init__.py").read_text(encoding="utf-8"))
    return found[1] if found else ""


def installed() -> Path | None:
    """The bgci of this very version that this Python has, if it has one."""
    script = Path(sysconfig.get_path("scripts"), "bgci")
    try:
        same = importlib.metadata.version("bgci") == version()
    except importlib.metadata.PackageNotFoundError:
        return None
    return script if same and script.exists() else None


def install(wheels: str) -> Path:
    """Into a virtual environment that the steps of a job share. ``wheels``: a directory, instead of the network."""
    home = Path(os.environ["RUNNER_TEMP"]) / f"bgci-{hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]}"
    script, ready = home / "bin" / "bgci", home / "ready"
    if ready.exists():
        return script
    print(f"::group::Install bgci {version()}", flush=True)
    has_pip = importlib.util.find_spec("pip") is not None
    venv.EnvBuilder(clear=True, symlinks=True, with_pip=not has_pip).create(home)
    pip = (
        [sys.executable, "-m", "pip", "--python", str(home)] if has_pip else [str(home / "bin" / "python"), "-m", "pip"]
    )
    what = ["--no-index", "--find-links", wheels, f"bgci=={version()}"] if wheels else [str(ROOT)]
    done = subprocess.run([*pip, "--disable-pip-version-check", "install", "--quiet", *what], check=False)
    print("::endgroup::", flush=True)
    if done.returncode:
        stop(1, "bgci could not be installed; pip says why. Without a network, give the input wheels")
    ready.touch()
    return script


def stop(code: int, message: str) -> None:
    print(f"::error title=bgci action::{message}")
    if os.environ.get("GITHUB_OUTPUT"):
        with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
            file.write(f"result={'usage' if code == 2 else 'internal'}\nexit-code={code}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
