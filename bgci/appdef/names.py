"""The names of an app, of a revision, of its three jobs and of its files."""

from __future__ import annotations

import hashlib
import re

from bgci.errors import InvalidError
from bgci.redaction import redacted

COLOURS = ("blue", "green")

# marathon: PathId.scala. A segment is one or more DNS-like labels joined by dots.
_LABEL = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
SEGMENT = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_REVISION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_REVISION_LENGTH = 63
# marathon: PathId.scala (1.8): /v2/apps/x/tasks is not an app, so no app can have that name.
RESERVED = ("restart", "tasks", "versions")

_JOB_SUFFIXES = {
    "canary": "deploy-single-canary",
    "promote": "deploy-canary-completely",
    "rollback": "rollback-single-canary",
}


def is_app_id(text: str) -> bool:
    """Whether ``text`` is an absolute app id that Marathon accepts."""
    if not text.startswith("/"):
        return False
    segments = text[1:].split("/")
    return all(SEGMENT.fullmatch(segment) for segment in segments) and segments[-1] not in RESERVED


def parse_app(text: str) -> str:
    """The app id (``/team/web``) for ``/team/web``, ``team/web`` or ``team.web``; dots beside a slash remain.

    Raises InvalidError for an id that Marathon refuses.
    """
    path = text if "/" in text else text.replace(".", "/")
    app_id = "/" + path.removeprefix("/")
    if is_app_id(app_id):
        return app_id
    raise InvalidError(
        f"{text!r} is not a legal app id.",
        remedy="Use lower-case letters, digits and dashes, and / between folders, such as web or /team/web; "
        f"the last part cannot be {', '.join(RESERVED)}.",
    )


def app_slug(app_id: str) -> str:
    """``/team/web`` as ``team.web``: legal in a file name and as a job id."""
    return app_id.removeprefix("/").replace("/", ".")


def job_secret(app_id: str) -> str:
    """The default path of the secret with the service account of the app's jobs.

    It is ``team/bgci-service-account`` for ``/team/web``.
    """
    return "/".join([*_job_folder(app_id), "bgci-service-account"])


def may_use(app_id: str, secret: str) -> bool:
    """Whether the app's jobs can use this secret: DC/OS gives it to its own folder and below (``spaces``)."""
    folder = secret.strip("/").split("/")[:-1]
    return _job_folder(app_id)[: len(folder)] == folder


def _job_folder(app_id: str) -> list[str]:
    """The folders of the app's jobs. A dot separates folders in a job id."""
    folder = app_slug(app_id.rpartition("/")[0])
    return folder.split(".") if folder else []


def check_revision(text: str) -> str:
    """``text`` itself. Raises InvalidError unless it is legal in a file name, a label and (rewritten) a job id."""
    if is_revision(text):
        return text
    secret = redacted(text) != text  # the form of a slug would show most of it
    mapped = f" As `bgci slug` writes it: --revision {slug(text)}" if text and not secret else ""
    raise InvalidError(
        f"{text!r} is not a legal revision.",
        remedy=f"Use 1 to {_REVISION_LENGTH} letters, digits, dots, underscores and dashes, "
        f"with a letter or a digit at both ends, such as 1.4.2 or a commit's hash.{mapped}",
    )


def is_revision(text: str) -> bool:
    return bool(_REVISION.fullmatch(text)) and len(text) <= _REVISION_LENGTH


def slug(text: str) -> str:
    """A legal revision for any text, such as a branch or a semantic version with ``+``; a legal one is returned.

    Removes ``refs/heads/`` and ``refs/tags/``, replaces each run of other characters by a dash, and appends the first
    six hex digits of the text's SHA-256. So two texts never become one revision: the second one would count as
    released.
    """
    if is_revision(text):
        return text
    name = re.sub("^refs/(heads|tags)/", "", text)
    if is_revision(name):
        return name
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:6]
    stem = re.sub("[^A-Za-z0-9._]+", "-", name)[: _REVISION_LENGTH - len(mark) - 1].strip("._-")
    return f"{stem}-{mark}" if stem else f"r-{mark}"


def job_ids(app_id: str, revision: str) -> dict[str, str]:
    """The DC/OS job ids by goal: ``canary``, ``promote``, ``rollback``.

    A job id has no upper case, no underscore, and a dot between folders only (metronome: jobspec.schema.json), so
    ``V1.2`` is written ``v1-2``. The job's label BGCI_REVISION distinguishes two revisions with one job id.
    """
    written = re.sub(r"[._-]+", "-", check_revision(revision).lower())
    return {goal: f"{app_slug(app_id)}-{written}-{suffix}" for goal, suffix in _JOB_SUFFIXES.items()}


def artifact_names(app_id: str, revision: str) -> dict[str, str]:
    """The file names in the artifacts directory: ``definition`` and, by goal, the three jobs."""
    stem = f"{app_slug(app_id)}-{check_revision(revision)}"
    jobs = {goal: f"{stem}-{suffix}.json" for goal, suffix in _JOB_SUFFIXES.items()}
    return {"definition": f"{stem}-new-app-definition.json", **jobs}


def template_candidates(app_id: str, revision: str) -> list[str]:
    """The template's file names in the order of the search."""
    return [f"{stem}.template.{suffix}" for stem in _stems(app_id, revision) for suffix in ("json", "yaml")]


def suite_candidates(app_id: str, revision: str) -> list[str]:
    """The test suite's file names in the order of the search."""
    return [f"{stem}.canary.yaml" for stem in _stems(app_id, revision)]


def _stems(app_id: str, revision: str) -> list[str]:
    """The app's full name comes first, because another app can have the last part of ``/team/web`` as its name."""
    names = dict.fromkeys((app_slug(app_id), app_id.rpartition("/")[2]))
    return [stem for name in names for stem in (f"{name}.{check_revision(revision)}", name)]
