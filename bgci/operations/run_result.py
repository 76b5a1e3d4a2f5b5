"""What a job's run reports at its end, in a line of its log. Others can write it too, so it is read by its types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bgci.bounded import json_value
from bgci.dcos.json_answer import JsonAnswer
from bgci.engine.observation import App
from bgci.errors import NAMES, UnavailableError
from bgci.operations.result import Json, Result
from bgci.reporting.rollout_record import decoded


@dataclass(frozen=True)
class RunResult:
    """exit_code: None where it is none of bgci's. copied: becomes the result of the command that follows the run.
    known: the two apps as the run has left them; empty if unknown. noticed: the changes by others, as sentences."""

    exit_code: int | None
    message: str
    remedy: str
    copied: Result
    known: tuple[App, ...] = ()
    noticed: tuple[str, ...] = ()


def run_result(text: str) -> RunResult | None:
    """The result in a JSON text; None for any other text. A part of a wrong type is left out."""
    try:
        found = JsonAnswer(json_value(text), "bgci", "the job's log")
        found.required().object()
    except (ValueError, UnavailableError):
        return None
    code, message = found["exit_code"].value, _known(found["message"], JsonAnswer.text)
    copied = Result(
        state=_known(found["state"], _state),
        timings=_known(found["timings"], _timings),
        changed=_known(found["changed"], JsonAnswer.flag),
        message=message,
        reached=_known(found["reached"], JsonAnswer.text),
    )
    valid = isinstance(code, int) and not isinstance(code, bool) and code in NAMES
    return RunResult(
        code if valid else None,
        message or "",
        _known(found["remedy"], JsonAnswer.text) or "",
        copied,
        _known(found["known"], _apps) or (),
        _known(found["noticed"], _texts) or (),
    )


def _known(found: JsonAnswer, read: Any) -> Any:
    """The value; None for a missing one, and for one of another type."""
    try:
        return None if found.missing else read(found)
    except UnavailableError:
        return None


def _state(found: JsonAnswer) -> Json:
    """As ``reporting.rollout_log.summary`` makes it."""
    return {
        "apps": [_app(app) for app in found["apps"].required().items()],
        "load_balancers": [
            {
                "url": one["url"].text(),
                "older_workers": [pid.whole() for pid in one["older_workers"].items()],
                "problem": one["problem"].text(),
            }
            for one in found["load_balancers"].items()
        ],
    }


def _apps(found: JsonAnswer) -> tuple[App, ...]:
    try:
        apps: tuple[App, ...] = decoded(tuple[App, ...], found.value)
    except ValueError:
        return ()
    return apps


def _texts(found: JsonAnswer) -> tuple[str, ...]:
    return tuple(one.text() for one in found.items())


def _app(app: JsonAnswer) -> Json:
    counts = {name: app[name].whole() for name in ("instances", "tasks", "healthy")}
    texts = {name: [one.text() for one in app[name].items()] for name in ("urls", "deployments")}
    serving = {
        url: {name: app["serving"][url][name].whole() for name in app["serving"][url].object()}
        for url in app["serving"].object()
    }
    names = {name: app[name].text() or None for name in ("revision", "colour")}
    return {"id": app["id"].required().text(), **names, **counts, **texts, "serving": serving}


def _timings(found: JsonAnswer) -> Json:
    waited = found["waited_seconds"]
    seconds = {name: found[name].number() for name in ("total_seconds", "limit_seconds", "overhead")}
    return {**seconds, "waited_seconds": {cause: waited[cause].number() for cause in waited.object()}}
