"""The program of action.yml: installs bgci and becomes it. Uses only Python's standard library.

An input becomes the environment variable of its option, but for those that are about the action itself. Bgci takes the
place of this process, so that the runner's signals on a cancelled run reach it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
OWN = ("command", "python-path", "wheels", "pyz", "working-directory", "deployment", "comment")
# The environment of an installation: the address of the package index, and no credential of the deployment.
PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "NETRC", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
PASSED_TOO = re.compile(r"PIP_\w+|(http|https|all|no)_proxy|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE", re.I)
LAUNCHER = """\
import sys

sys.path.insert(0, {site!r})
from bgci.__main__ import main

main()
"""


def main() -> None:
    """Never returns: runs bgci, or ends with the exit code of a usage error (2) or of a failed installation (5)."""
    given = json.loads(os.environ.pop("BGCI_ACTION_INPUTS"))
    inputs = {name: text for name, value in given.items() if (text := value.rstrip("\r\n"))}
    unknown = sorted(set(inputs) - declared())
    if unknown:
        stop(2, f"the action has no input {', '.join(unknown)}; it has {', '.join(sorted(declared()))}")
    for name, text in inputs.items():
        if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
            stop(2, f"the input {name} has a NUL character or half of a character, which no program can be given")
    words = bgci(inputs)
    try:
        os.chdir(inputs.get("working-directory", "."))
    except OSError as error:
        stop(2, f"the input working-directory is not a directory of the workspace: {error.strerror}")
    options = {f"BGCI_{name.upper().replace('-', '_')}": inputs[name] for name in inputs.keys() - set(OWN)}
    sys.stdout.flush()
    if (
        "pyz" not in inputs
    ):  # this version takes them as soon as it can; the new Python would lose some (docs/install.md)
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    os.execve(words[0], [*words, inputs["command"]], os.environ | options)  # noqa: S606


def declared() -> set[str]:
    """The inputs of action.yml: GitHub itself only warns of others."""
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    return set(re.findall(r"^  ([a-z0-9-]+):$", text.partition("\ninputs:\n")[2].partition("\noutputs:\n")[0], re.M))


def version() -> str:
    found = re.search(r'__version__ = "(.+)"', (ROOT / "bgci" / "__init__.py").read_text(encoding="utf-8"))
    return found[1] if found else ""


def bgci(inputs: dict[str, str]) -> list[str]:
    """The words that run bgci: the given file, what is installed already, or what is installed now."""
    if "pyz" in inputs:
        file = Path(inputs["pyz"]).absolute()
        if not file.is_file():
            stop(2, f"the input pyz does not name a file: {file}")
        return [sys.executable, "-I", str(file)]
    found = installed()
    return [str(found)] if found else install(inputs.get("wheels", ""))


def installed() -> Path | None:
    """The bgci of this very version that this Python has, or that is on the PATH, as in bgci's own image."""
    for script in (Path(sysconfig.get_path("scripts"), "bgci"), Path(shutil.which("bgci") or "bgci")):
        if script.is_absolute() and os.access(script, os.X_OK):
            done = subprocess.run([script, "--version"], env=clean(), capture_output=True, text=True, check=False)
            if done.stdout.strip() == f"bgci {version()}":
                return script
    return None


def clean() -> dict[str, str]:
    """The environment of an installation: an allow list."""
    return {name: value for name, value in os.environ.items() if name in PASSED or PASSED_TOO.fullmatch(name)}


def install(wheels: str) -> list[str]:
    """The packages of requirements.lock, verified by their hashes, in a directory that the steps of a job share. The
    code of bgci itself stays where it is: it is that of the action's own ref.

    ``wheels``: a directory with the packages, in place of the package index.
    """
    name = hashlib.sha256(f"{ROOT} {sys.executable} {LOCK.read_text(encoding='utf-8')}".encode()).hexdigest()[:12]
    home = Path(os.environ["RUNNER_TEMP"]) / f"bgci-{name}"
    site, launcher = home / "site", home / "bgci"
    words = [sys.executable, "-I", "-u", str(launcher)]
    if launcher.exists():
        return words
    print(f"::group::Install bgci {version()}", flush=True)
    shutil.rmtree(home, ignore_errors=True)
    source = ["--no-index", "--find-links", wheels] if wheels else []
    options = ["--require-hashes", "--only-binary", ":all:", "--no-deps", "--no-compile", "--target", str(site)]
    pip = [*pip_of(home), "--disable-pip-version-check", "install", "--quiet"]
    environment = {**clean(), "PIP_ROOT_USER_ACTION": "ignore"}  # as an option it is unknown to Ubuntu 22.04's pip
    done = subprocess.run([*pip, *source, *options, "-r", str(LOCK)], env=environment, check=False)
    print("::endgroup::", flush=True)
    if done.returncode:
        stop(
            5,
            "bgci could not be installed; pip's output has the reason. Without a network, give the input pyz or wheels",
        )
    (site / "bgci").symlink_to(ROOT / "bgci")
    launcher.write_text(LAUNCHER.format(site=str(site)), encoding="utf-8")
    return words


def pip_of(home: Path) -> list[str]:
    """This Python's own pip, or one in an environment made for it."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-I", "-m", "pip"]
    venv.EnvBuilder(symlinks=True, with_pip=True).create(home / "pip")
    return [str(home / "pip" / "bin" / "python"), "-I", "-m", "pip"]


def stop(code: int, message: str) -> None:
    text = message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::error title=bgci action::{text}")
    if os.environ.get("GITHUB_OUTPUT"):
        with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
            file.write(f"result={'usage' if code == 2 else 'unavailable'}\nexit-code={code}\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
