"""Encodes observations, goals and steps of a rollout for the journal, and decodes them, so that it can be replayed.

An observation is recorded as its difference from the one before (RFC 7386, a JSON merge patch), without default values,
and without the sessions of a server in rotation, which change all the time and do not affect decisions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from bgci.engine.decisions import (
    Action,
    Cause,
    Create,
    Delete,
    Done,
    Fail,
    Goal,
    Kill,
    Policy,
    Restore,
    Scale,
    Step,
    Wait,
)
from bgci.engine.observation import Observation, Serving
from bgci.errors import ERRORS

Json = Mapping[str, Any]
_ENDINGS = {error.name: error for error in ERRORS.values()}
ACTIONS: dict[str, Any] = {kind.__name__.lower(): kind for kind in (Create, Scale, Kill, Delete, Restore)}


def encoded(value: Any) -> Any:
    """The value as JSON: a dataclass without default values and None, a tuple of dataclasses by their first fields."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: encoded(part) for key, part in value.items()}
    if isinstance(value, tuple | frozenset):
        return dict(map(_keyed, value)) if any(map(is_dataclass, value)) else list(value)
    if is_dataclass(value):
        found = ((field, getattr(value, field.name)) for field in fields(value))
        return {field.name: encoded(part) for field, part in found if part is not None and part != _default(field)}
    return value


def _keyed(value: Any) -> tuple[str, Any]:
    first = fields(value)[0].name
    return getattr(value, first), {name: part for name, part in encoded(value).items() if name != first}


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def decoded(kind: Any, value: Any) -> Any:
    """The inverse of ``encoded``; ignores unknown fields of another version. Raises ValueError for a value of another
    type."""
    arguments, origin = get_args(kind), get_origin(kind)
    if type(None) in arguments:
        return None if value is None else decoded(arguments[0], value)
    if is_dataclass(kind):
        hints = _hints(kind)  # type: ignore[arg-type]
        # A field without a default is absent when it is None.
        absent = {
            name: None for name, hint in hints.items() if type(None) in get_args(hint) and not hasattr(kind, name)
        }
        known = {name: decoded(hints[name], part) for name, part in _of(dict, value).items() if name in hints}
        if missing := {field.name for field in fields(kind) if _is_required(field)} - {*known, *absent}:
            raise ValueError(f"{min(missing)} is missing")
        return kind(**{**absent, **known})  # type: ignore[operator]
    if origin is tuple and is_dataclass(arguments[0]):
        first = fields(arguments[0])[0].name
        return tuple(decoded(arguments[0], {**_of(dict, inner), first: key}) for key, inner in _of(dict, value).items())
    if origin is tuple:
        return tuple(decoded(arguments[0], inner) for inner in _of(list, value))
    if origin is dict:
        return {key: decoded(arguments[1], inner) for key, inner in _of(dict, value).items()}
    if issubclass(kind, Enum):
        return kind(value)
    if kind is float and isinstance(value, int):
        value = float(value)
    return _of(kind, value)


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _of(kind: type, value: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{str(value)[:40]} is not of the type {kind.__name__}")
    return value


_hints = cache(get_type_hints)


# -- observations -----------------------------------------------------------------------------------------------------


def encode_observation(observation: Observation) -> dict[str, Any]:
    """The observation without its time."""
    found = {name: part or {} for name, part in encoded(observation).items() if name != "now"}
    for replica in found["replicas"].values():
        for server in replica.get("servers", {}).values():
            if server["serving"] == Serving.UP.value:
                server.pop("sessions", None)
    return found


def decode_observation(now: float, value: Json) -> Observation:
    observation: Observation = decoded(Observation, {"apps": {}, "replicas": {}, **value, "now": now})
    return observation


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
    return decoded(Goal, value["goal"]), decoded(Policy, value["policy"])


def encode_step(step: Step) -> dict[str, Any]:
    match step:
        case Wait(cause, reason):
            reload = {"request_reload": True} if step.request_reload else {}
            return {"wait": cause.value, "why": reason, **reload}
        case Done(message):
            return {"done": message}
        case Fail(message, remedy, ending):
            return {"fail": message, "remedy": remedy, "ending": ending.name}
        case _:
            return {"do": type(step).__name__.lower(), **encoded(step)}


def decode_step(value: Json) -> Step:
    """Raises KeyError or ValueError for an unknown step, of another version."""
    if "wait" in value:
        return Wait(Cause(value["wait"]), str(value.get("why", "")), bool(value.get("request_reload")))
    if "done" in value:
        return Done(str(value["done"]))
    if "fail" in value:
        return Fail(str(value["fail"]), str(value.get("remedy", "")), _ENDINGS[str(value["ending"]).replace(" ", "-")])
    action: Action = decoded(ACTIONS[value["do"]], value)
    return action
