"""The content of a job, as one JSON document in one environment variable of the job."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from bgci.appdef.app_definition import as_mapping
from bgci.bounded import json_value, reason, unpacked
from bgci.errors import InvalidError

VARIABLE = "BGCI_JOB"
RARE = ("baseline", "known")  # fields that are left out while empty
LARGE_PARTS = 3  # parts of a definition that a message names


@dataclass(frozen=True)
class JobDocument:
    """The release, and the goal's options for the job.

    definition: normalised, without a colour. options: by name, in the form of ``bgci.toml``.
    published: the options that defined the job itself, such as its image; a later stage compares its own with them.
    suite, variables: the text of a test suite that has checks for the preview, which runs inside the job, and its
    variables; both empty without such checks. Without environment variables, which can be secrets.
    baseline: the definition of the earlier app, for a rollback after its deletion.
    known: the two apps as the command that starts the run has seen them, for this run only (operations.job_knowledge).
    """

    app: str
    revision: str
    image: str
    definition: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)
    suite: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    baseline: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)

    def encoded(self, *, compressed: bool = False) -> str:
        """The value of the variable. The same document gives the same text; compressed: gzip, then base64."""
        document = {name: value for name, value in asdict(self).items() if value or name not in RARE}
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode() if compressed else text

    @property
    def defaults(self) -> dict[str, Any]:
        """The values of the options of a command that runs inside the job."""
        return {**self.options, "app": self.app, "revision": self.revision, "image": self.image}


def decode_job(text: str) -> JobDocument:
    """The document in a job's variable. Raises InvalidError for a damaged one."""
    try:
        plain = text if text.startswith("{") else unpacked(base64.b64decode(text, validate=True)).decode()
        return _document(json_value(plain))
    except ValueError as error:
        raise InvalidError(
            f"{VARIABLE} cannot be read: {reason(error)}.",
            remedy="Publish the jobs again with `bgci publish`; a job of an earlier bgci needs that too.",
        ) from None


def _document(value: Any) -> JobDocument:
    """The document of a JSON value. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")
    known = {field.name: str if field.type == "str" else dict for field in fields(JobDocument)}
    if unknown := value.keys() - known:
        raise ValueError(f"this version does not know its field {min(unknown)}")
    wrong = [name for name in value if not isinstance(value[name], known[name])]
    wrong += [name for name in ("app", "revision", "image", "definition") if name not in value]
    wrong += [name for name in ("published", "variables") if not _holds_texts(value.get(name, {}))]
    if wrong:
        raise ValueError(f"its field {wrong[0]} is missing or of a wrong type")
    return JobDocument(**value)


def _holds_texts(value: Any) -> bool:
    return all(isinstance(text, str) for text in as_mapping(value).values())


def job_document(spec: Mapping[str, Any]) -> JobDocument:
    """The document in a job's definition. Raises InvalidError for a job without a readable one."""
    return decode_job(str(as_mapping(as_mapping(spec.get("run")).get("env")).get(VARIABLE, "")))


def with_document(spec: Mapping[str, Any], document: JobDocument) -> dict[str, Any]:
    """The job with another document, in the same form: as text or compressed."""
    run = as_mapping(spec.get("run"))
    env = as_mapping(run.get("env"))
    compressed = not str(env.get(VARIABLE, "{")).startswith("{")
    return {**spec, "run": {**run, "env": {**env, VARIABLE: document.encoded(compressed=compressed)}}}


def largest_parts(definition: Mapping[str, Any]) -> list[str]:
    """The largest parts of a definition, with their sizes in bytes, largest first."""
    sizes = sorted(((len(json.dumps(value)), path) for path, value in _leaves("$", definition)), reverse=True)
    return [f"{path} ({size} bytes)" for size, path in sizes[:LARGE_PARTS]]


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(f"{path}.{name}", inner)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _leaves(f"{path}[{index}]", inner)
    else:
        yield path, value
