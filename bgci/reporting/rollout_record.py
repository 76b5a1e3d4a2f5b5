"""Encodes observations, goals and steps of a rollout for the journal, and decodes them, so that it can be replayed.

An observation is recorded as its difference from the one before (RFC 7386, a JSON merge patch). Default values are left
out; so are the sessions of a server in rotation, which change all the time and decide nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from enum import Enum
from typing import Any, TypeVar

from bgci.engine.decisions import (
    Action,
    Cause,
    Create,
    Delete,
    Done,
    Ending,
    Fail,
    Goal,
    Kill,
    Kind,
    Policy,
    Restore,
    Scale,
    Step,
    Wait,
)
from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task

Json = Mapping[str, Any]
T = TypeVar("T")
ACTIONS: dict[str, Any] = {kind.__name__.lower(): kind for kind in (Create, Scale, Kill, Delete, Restore)}


def encoded(value: Any) -> dict[str, Any]:
    """A dataclass as JSON, without fields that are their default."""
    found = {field.name: getattr(value, field.name) for field in fields(value)}
    return {name: _plain(found[name]) for name in found if found[name] != _default(type(value), name)}


def _default(kind: Any, name: str) -> Any:
    field = next(field for field in fields(kind) if field.name == name)
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple | frozenset) else value


def decoded(kind: type[T], value: Json) -> T:
    """A dataclass from its JSON; unknown fields, of another version, are left out."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: _tuples(part) for name, part in value.items() if name in known})


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


# -- observations -----------------------------------------------------------------------------------------------------


def encode_observation(observation: Observation) -> dict[str, Any]:
    """The observation without its time."""
    return {
        "apps": {app.id: _encode_app(app) for app in observation.apps},
        "replicas": {replica.url: _encode_replica(replica) for replica in observation.replicas},
        **({"settings_differ": True} if observation.settings_differ else {}),
    }


def encode_app(app: App) -> dict[str, Any]:
    """The app with its id."""
    return {"id": app.id, **_encode_app(app)}


def _encode_app(app: App) -> dict[str, Any]:
    tasks = {task.id: _without(encoded(task), "id") for task in app.tasks}
    return {**_without(encoded(app), "id", "tasks"), "tasks": tasks}


def _encode_replica(replica: Replica) -> dict[str, Any]:
    servers = {task_id: _encode_server(server) for task_id, server in replica.servers.items()}
    return {**_without(encoded(replica), "url", "servers"), "servers": servers}


def _encode_server(server: Server) -> dict[str, Any]:
    return _without(encoded(server), "sessions") if server.serving is Serving.UP else encoded(server)


def _without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: part for name, part in value.items() if name not in names and part is not None}


def decode_observation(now: float, value: Json) -> Observation:
    return Observation(
        now,
        tuple(_decode_app(app_id, app) for app_id, app in value.get("apps", {}).items()),
        tuple(_decode_replica(url, replica) for url, replica in value.get("replicas", {}).items()),
        bool(value.get("settings_differ")),
    )


def decode_app(value: Json) -> App:
    return _decode_app(str(value["id"]), value)


def _decode_app(app_id: str, value: Json) -> App:
    tasks = tuple(
        decoded(Task, {"id": task_id, "healthy": None, **task}) for task_id, task in value.get("tasks", {}).items()
    )
    return decoded(App, {**value, "id": app_id, "tasks": tasks})


def _decode_replica(url: str, value: Json) -> Replica:
    servers = {
        task_id: decoded(Server, {**server, "serving": Serving(server["serving"])})
        for task_id, server in value.get("servers", {}).items()
    }
    return decoded(Replica, {**value, "url": url, "servers": servers})


def merge_patch(old: Json, new: Json) -> dict[str, Any]:
    """The merge patch that leads from the old value to the new one."""
    found: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        if name not in old:
            found[name] = value
        elif isinstance(value, dict) and isinstance(old[name], dict):
            if part := merge_patch(old[name], value):
                found[name] = part
        elif value != old[name]:
            found[name] = value
    return found


def merged(old: Json, patch: Json) -> dict[str, Any]:
    """The old value with the merge patch applied."""
    result = dict(old)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            before = result.get(name)
            result[name] = merged(before if isinstance(before, Mapping) else {}, value)
        else:
            result[name] = value
    return result


# -- goals and steps --------------------------------------------------------------------------------------------------


def encode_goal(goal: Goal, policy: Policy) -> dict[str, Any]:
    return {"goal": encoded(goal), "policy": encoded(policy)}


def decode_goal(value: Json) -> tuple[Goal, Policy]:
    goal = {**value["goal"], "kind": Kind(value["goal"]["kind"])}
    return decoded(Goal, goal), decoded(Policy, value["policy"])


def encode_step(step: Step) -> dict[str, Any]:
    match step:
        case Wait(cause, reason):
            reload = {"request_reload": True} if step.request_reload else {}
            return {"wait": cause.value, "why": reason, **reload}
        case Done(message):
            return {"done": message}
        case Fail(message, remedy, ending):
            return {"fail": message, "remedy": remedy, "ending": ending.value}
        case _:
            return {"do": type(step).__name__.lower(), **encoded(step)}


def decode_step(value: Json) -> Step:
    """Raises KeyError or ValueError for an unknown step, of another version."""
    if "wait" in value:
        return Wait(Cause(value["wait"]), str(value.get("why", "")), bool(value.get("request_reload")))
    if "done" in value:
        return Done(str(value["done"]))
    if "fail" in value:
        return Fail(str(value["fail"]), str(value.get("remedy", "")), Ending(value["ending"]))
    action: Action = decoded(ACTIONS[value["do"]], value)
    return action
