"""Changes of the load balancer by a new revision: labels, service ports, modes and health checks. Pure.

While both revisions run, marathon-lb uses the baseline's labels for both (hazard 50). So all changes come into force at
the end of the promotion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bgci.appdef.app_definition import labels, service_ports
from bgci.appdef.haproxy_label_table import LabelKind
from bgci.appdef.haproxy_labels import known_label
from bgci.appdef.haproxy_sections import balanced_ports
from bgci.appdef.haproxy_values import as_number, is_true

_CHECK_FIELDS = ("protocol", "path", "port", "intervalSeconds", "timeoutSeconds", "maxConsecutiveFailures")
_HIDDEN = "(not shown)"
_OWN = {LabelKind.MODE, LabelKind.LINE, LabelKind.OPTIONS, LabelKind.TEMPLATE, LabelKind.FRAGMENT, LabelKind.VERBATIM}


@dataclass(frozen=True)
class BalancerChange:
    """One changed setting. before and after: as texts, None without the setting."""

    kind: str  # label, service port, mode or health check
    name: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.before is None:
            return f"{self.name} is new: {self.after}"
        if self.after is None:
            return f"{self.name} is removed: {self.before}"
        return f"{self.name}: {self.before} becomes {self.after}"


def balancer_changes(baseline: Mapping[str, Any], new: Mapping[str, Any]) -> list[BalancerChange]:
    """The changes from the serving app (Marathon's JSON) to the definition of the new revision."""
    return [*_label_changes(baseline, new), *_port_changes(baseline, new)]


def has_own_settings(definition: Mapping[str, Any]) -> bool:
    """Whether labels change the load balancer's protocol for the app: its mode, or text in HAProxy's configuration.

    Without them HAProxy's check is the same as Marathon's, so a healthy app is also UP.
    """
    rows = (known_label(key)[0] for key in labels(definition))
    return any(row is not None and row.kind in _OWN for row in rows)


def lost_ports(baseline: Mapping[str, Any], new: Mapping[str, Any]) -> list[int]:
    """The ports of the load balancer that would refuse connections after the promotion (hazard 54)."""
    before, after = ({port.number for port in balanced_ports(one) if port.enabled} for one in (baseline, new))
    return sorted(before - after)


def freezing_change(baseline: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The label on which marathon-lb fails while both revisions run; empty without one.

    marathon-lb looks up the port to check by its index for the tasks of both apps. The tasks of the app with fewer
    ports lack that index: an IndexError, after which marathon-lb updates no app of the cluster.
    """
    if len(service_ports(baseline)) == len(service_ports(new)):
        return ""
    more = max(baseline, new, key=lambda one: len(service_ports(one)))
    names = (f"HAPROXY_{index}_BACKEND_HEALTHCHECK_PORT_INDEX" for index in range(len(service_ports(more))))
    return next((name for name in names if name in labels(more)), "")


def _label_changes(baseline: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[BalancerChange]:
    before, after = labels(baseline), labels(new)
    for key in sorted({*before, *after}):
        row, _ = known_label(key)
        if row is None or row.kind is LabelKind.DEPLOYMENT or row.name == "PORT":
            continue
        old, changed = before.get(key), after.get(key)
        if _meaning(row.kind, old) != _meaning(row.kind, changed):
            yield BalancerChange("label", key, _shown(row.kind, old), _shown(row.kind, changed))


def _meaning(kind: LabelKind, value: object) -> object:
    """The value in a normal form: two spellings of one meaning are equal."""
    if not isinstance(value, str):
        return None
    if kind is LabelKind.FLAG:
        return is_true(value)
    if kind is LabelKind.NUMBER:
        return as_number(value)
    return value.lower() if kind in (LabelKind.MODE, LabelKind.HOSTS) else value.replace("\r\n", "\n")


def _shown(kind: LabelKind, value: object) -> str | None:
    if value is None:
        return None
    return _HIDDEN if kind is LabelKind.AUTH else repr(value)


def _port_changes(baseline: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[BalancerChange]:
    before = {port.index: port for port in balanced_ports(baseline)}
    after = {port.index: port for port in balanced_ports(new)}
    for index in sorted({*before, *after}):
        old, changed = before.get(index), after.get(index)
        rows: Sequence[tuple[str, str | None, str | None]] = (
            ("service port", str(old.number) if old else None, str(changed.number) if changed else None),
            ("mode", old.mode if old else None, changed.mode if changed else None),
            ("health check", *_checks(old.check if old else None, changed.check if changed else None)),
        )
        for kind, was, becomes in rows:
            if was != becomes:
                yield BalancerChange(kind, f"{kind} {index}", was, becomes)


def _checks(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> tuple[str | None, str | None]:
    """The differing fields of two health checks, of those that HAProxy uses; all of them with only one check."""
    old, new = before or {}, after or {}
    names = [name for name in _CHECK_FIELDS if old.get(name) != new.get(name)]
    return tuple(  # type: ignore[return-value]
        None if check is None else ", ".join(f"{name} {check[name]}" for name in names if check.get(name) is not None)
        for check in (before, after)
    )
