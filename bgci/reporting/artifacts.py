"""The artifacts directory: files for users, CI systems and the next stage."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bgci import __version__
from bgci.bounded import json_value, own_file
from bgci.errors import NAMES, UsageError
from bgci.redaction import redacted, redacted_json, redacted_markup, redacted_values, without_login


@dataclass(frozen=True)
class CiSystem:
    """sign: the variable that identifies it. names: variables that describe the run. They are listed one by one: none
    contains a secret.

    Of one job, as formats with variables: ``key``, the same when the job is run again; ``title`` and ``urls`` (the
    first with a value), for messages.
    """

    sign: str
    names: str
    key: str
    title: str
    urls: tuple[str, ...]


CI_SYSTEMS = {
    "github": CiSystem(
        "GITHUB_ACTIONS",
        "GITHUB_SERVER_URL GITHUB_REPOSITORY GITHUB_WORKFLOW GITHUB_RUN_ID GITHUB_RUN_ATTEMPT GITHUB_REF GITHUB_SHA "
        "GITHUB_ACTOR",
        "{GITHUB_REPOSITORY}/{GITHUB_RUN_ID}/{GITHUB_JOB}",
        "GitHub run {GITHUB_RUN_ID} of {GITHUB_REPOSITORY}",
        ("{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}/actions/runs/{GITHUB_RUN_ID}",),
    ),
    "gitlab": CiSystem(
        "GITLAB_CI",
        "CI_PROJECT_PATH CI_PIPELINE_ID CI_PIPELINE_URL CI_JOB_ID CI_COMMIT_REF_NAME CI_COMMIT_SHA",
        "{CI_PROJECT_PATH}/{CI_PIPELINE_ID}/{CI_JOB_NAME}",
        "GitLab pipeline {CI_PIPELINE_ID} of {CI_PROJECT_PATH}",
        ("{CI_JOB_URL}", "{CI_PIPELINE_URL}"),
    ),
    "jenkins": CiSystem(
        "JENKINS_URL",
        "JOB_NAME BUILD_NUMBER BUILD_URL GIT_BRANCH GIT_COMMIT",
        "{BUILD_URL}",
        "Jenkins build {BUILD_NUMBER} of {JOB_NAME}",
        ("{BUILD_URL}",),
    ),
}
MOST_OF_AN_ARTIFACT = 16 << 20  # bytes; limit of a file of an earlier stage

# By suffix: how to redact without making the file invalid.
FORMATS = {".json": redacted_json, ".xml": redacted_markup, ".html": redacted_markup, ".env": redacted_values}


class Artifacts:
    """Files in ``directory``, which the first file creates. Each write replaces the whole file atomically.

    No file contains a secret: ``***`` replaces it. Every method raises UsageError (``--artifacts``) when the directory
    cannot be written to.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._whole: dict[str, bool] = {}  # by name: whether the written file has no mask

    def write_json(self, name: str, value: Any) -> Path:
        """The same value gives the same bytes: sorted keys, two spaces, UTF-8, one line break at the end."""
        text = json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)
        kept = redacted_json(text)
        self._whole[name] = kept == text
        return self._write(name, (kept + "\n").encode("utf-8", "backslashreplace"))

    def write_bytes(self, name: str, content: bytes) -> Path:
        """``name``: a file name, or a path below the directory such as ``junit/canary.xml``."""
        text, redact = content.decode("utf-8", "surrogateescape"), FORMATS.get(Path(name).suffix, redacted)
        return self._write(name, redact(text).encode("utf-8", "surrogateescape"))

    def _write(self, name: str, content: bytes) -> Path:
        path = self._inside(name)
        passing = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            refuse_links(self.directory, path.parent)
            try:
                # Another user of the workspace could have created a link here.
                passing.unlink(missing_ok=True)
                with open(passing, "xb") as file:
                    file.write(content)
                passing.replace(path)  # a link in its place is replaced, not followed
            finally:
                passing.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(
                f"The artifacts directory {self.directory} cannot be written to: {error.strerror or error}",
                remedy="Give another one with --artifacts.",
            ) from error
        return path

    def read_json(self, name: str) -> Any:
        """The file of an earlier stage; None when it is missing or cannot be read."""
        try:
            return json_value(self.read_bytes(name))
        except (OSError, ValueError):
            return None

    def read_bytes(self, name: str, most: int = MOST_OF_AN_ARTIFACT) -> bytes:
        """The file, without following links. Raises OSError, also for more than ``most`` bytes."""
        path = self._inside(name)
        refuse_links(self.directory, path.parent)
        return own_file(path, most)

    def find(self, *patterns: str) -> list[str]:
        """The names of the matching files, without links and without files in linked directories."""
        found = {path for pattern in patterns for path in self.directory.glob(pattern)}
        own = (path for path in found if path.is_file() and not path.is_symlink() and not _linked(self.directory, path))
        return sorted(path.relative_to(self.directory).as_posix() for path in own)

    def remove(self, name: str) -> None:
        """Remove the file if it exists. Raises OSError, also for a file in a linked directory."""
        path = self._inside(name)
        refuse_links(self.directory, path.parent)
        path.unlink(missing_ok=True)

    def _inside(self, name: str) -> Path:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{name} lies outside the artifacts directory")
        return self.directory / name

    def manifest(
        self,
        *,
        app: str,
        revision: str,
        image: str,
        files: Iterable[Path] = (),
        template: tuple[str, bytes] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> Path:
        """Writes manifest.json. ``files``: artifacts whose SHA-256 it lists; ``template``: its name and content.

        Its list ``redacted`` names the files in which ``***`` replaces a secret; their SHA-256 is of the redacted file.
        Files that an earlier stage of the same app and revision listed stay, while they exist, with a new SHA-256.
        """
        earlier = self.read_json("manifest.json")
        same = isinstance(earlier, dict) and (earlier.get("app"), earlier.get("revision")) == (app, revision)
        known = earlier if same else {}
        named = {path.resolve().relative_to(self.directory.resolve()).as_posix() for path in files}
        digests = self._digests(sorted(named | _names(known.get("files"))))
        earlier_redacted = _names(known.get("redacted"))
        value = {
            "app": app,
            "revision": revision,
            "image": image,
            "bgci": __version__,
            "ci": ci_run(environ),
            "files": digests,
            "redacted": [name for name in digests if not self._whole.get(name, name not in earlier_redacted)],
            "template": known.get("template"),
        }
        if template:
            value["template"] = {"name": template[0], "sha256": sha256(template[1])}
        return self.write_json("manifest.json", value)

    def _digests(self, names: Iterable[str]) -> dict[str, str]:
        """The digest of each of these files that exists and is readable."""
        found = {}
        for name in names:
            with suppress(OSError, ValueError):
                found[name] = sha256(self.read_bytes(name))
        return found

    def result(self, *, command: str, code: int, **details: Any) -> Path:
        """Writes result.json: command, exit code and its name, and ``details`` (state, colours, timings ...)."""
        return self.write_json(
            "result.json",
            {**details, "command": command, "code": code, "name": NAMES.get(code, "internal"), "bgci": __version__},
        )


def refuse_links(directory: Path, place: Path) -> None:
    """Raises OSError for a symbolic link at ``directory``, or below it on the way to ``place``."""
    for folder in (place, *place.parents):
        if folder.is_symlink() and folder.is_relative_to(directory):
            raise OSError(errno.ELOOP, f"{folder} is a symbolic link")


def _linked(directory: Path, path: Path) -> bool:
    try:
        refuse_links(directory, path.parent)
    except OSError:
        return True
    return False


def _names(value: object) -> set[str]:
    """The names in a list or an object of an earlier manifest; none in any other value."""
    return {str(name) for name in value} if isinstance(value, list | dict) else set()


def no_link(path: str, flags: int) -> int:
    """Opener for ``open``: follows no symbolic link, and does not wait for the other end of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)


def ci_run(environ: Mapping[str, str]) -> dict[str, str] | None:
    """The CI system and its run; None outside of a CI system."""
    for system, known in CI_SYSTEMS.items():
        if environ.get(known.sign):
            found = {name: environ[name] for name in known.names.split() if environ.get(name)}
            return {"system": system, **{name: _shown(name, value) for name, value in found.items()}}
    return None


def _shown(name: str, value: str) -> str:
    """An address without its login and query, which can hold a token; any other value unchanged."""
    return without_login(value) if name.endswith("URL") else value


def ci_job(environ: Mapping[str, str]) -> tuple[str, str, str]:
    """The job of the CI system that runs this process: key, title and URL (``CiSystem``); empty outside of one."""
    run = ci_run(environ)
    if run is None:
        return "", "", ""
    known = CI_SYSTEMS[run["system"]]
    values = defaultdict(str, {name: _shown(name, value) for name, value in environ.items()})
    urls = (url.format_map(values) for url in known.urls)
    title = known.title.format_map(values)
    return f"{run['system']}:{known.key.format_map(values)}", title, next(filter(None, urls), "")


def sha256(content: bytes) -> str:
    """The digest as manifest.json has it: hexadecimal."""
    return hashlib.sha256(content).hexdigest()
