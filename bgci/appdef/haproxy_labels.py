"""The labels ``HAPROXY_*`` of one app, checked as marathon-lb and HAProxy read them. Pure.

marathon-lb reads the labels of every app in Marathon. An error in one label can stop it for all apps as soon as
the app is created. So a finding states the effect, and the command ends before it sends anything.
Start with ``check_labels``; the table is in `haproxy_label_table`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from bgci.appdef.app_definition import labels, service_ports
from bgci.appdef.findings import at
from bgci.appdef.haproxy_label_table import LABELS, PER_APP, PER_PORT, Label, LabelKind
from bgci.appdef.haproxy_templates import check_template
from bgci.appdef.haproxy_values import (
    FROZEN,
    REFUSED,
    Effect,
    LabelFinding,
    as_number,
    check_characters,
    check_value,
    is_true,
    placed,
    tcp_mode,
)

_PORT_LABEL = re.compile(r"HAPROXY_(0|[1-9][0-9]*)_(\w+)", re.ASCII)
_PREFIX = "HAPROXY"
_LOOKS_LIKE = {"O": "0", "o": "0", "l": "1", "I": "1", "i": "1"}


def check_labels(definition: Mapping[str, Any], *, haproxy_map: bool = False) -> list[LabelFinding]:
    """All findings about the labels of a definition, or of an app that runs.

    haproxy_map: whether marathon-lb runs with ``--haproxy-map``, which formats some templates with other placeholders.
    It does not check the values of ``HAPROXY_DEPLOYMENT_*``, because bgci writes them.
    """
    own, ports = labels(definition), service_ports(definition)
    found: list[LabelFinding] = []
    for key, value in own.items():
        label, index = known_label(key)
        if label is None:
            found += _unknown(key, len(ports))
        elif isinstance(value, str):  # another finding reports that a label must be text
            found += _check_known(key, value, label, index, len(ports), haproxy_map)
    for index in range(len(ports)):
        found += _check_together(own, index, len(ports))
    return list(dict.fromkeys(found))


def port_label(own: Mapping[str, Any], index: int, name: str) -> str | None:
    """The text of one label of a port; None without it."""
    value = own.get(PER_PORT[name].full_name(index))
    return value if isinstance(value, str) else None


def is_enabled(own: Mapping[str, Any], index: int) -> bool:
    """Whether the label ENABLED lets marathon-lb serve this port (without ``--strict-mode``)."""
    value = port_label(own, index, "ENABLED")
    return value is None or is_true(value)


def known_label(key: str) -> tuple[Label | None, int]:
    """The row of the table and the index of the port; None if marathon-lb has no such label."""
    if key in PER_APP:
        return PER_APP[key], 0
    match = _PORT_LABEL.fullmatch(key)
    return (PER_PORT.get(match[2]), int(match[1])) if match and len(match[1]) < 6 else (None, 0)


def _check_known(
    key: str, value: str, label: Label, index: int, ports: int, haproxy_map: bool
) -> Iterator[LabelFinding]:
    path = at("$.labels", key)
    if label.per_port and index >= ports:
        have = "1 port, which has the index 0" if ports == 1 else f"{ports} ports, counted from 0"
        message = f"is for the port with the index {index}, but the app has {have}: marathon-lb ignores the label"
        yield LabelFinding(path, message, f"write {label.full_name(0)}, or remove the label", Effect.IGNORED)
        return
    if label.kind is LabelKind.UNREAD:
        remedy = f"remove it; marathon-lb reads {label.full_name(index).replace('_MAP_', '_')} in its place"
        yield LabelFinding(path, "has no effect: marathon-lb accepts the label and never reads it", remedy, advice=True)
        return
    if label.kind is LabelKind.DEPLOYMENT:
        return
    yield from placed(path, check_characters(value, label))
    yield from placed(path, check_value(value, label))
    yield from placed(path, check_template(value, label, haproxy_map=haproxy_map))


def _check_together(own: Mapping[str, Any], index: int, ports: int) -> Iterator[LabelFinding]:
    """Labels of one port that need or exclude each other."""
    label = {name: text for name in PER_PORT if (text := port_label(own, index, name)) is not None}

    def finding(
        name: str, message: str, remedy: str, effect: Effect = Effect.IGNORED, advice: bool = False
    ) -> LabelFinding:
        return LabelFinding(at("$.labels", PER_PORT[name].full_name(index)), message, remedy, effect, advice=advice)

    host_label = PER_PORT["VHOST"].full_name(index)
    proxypass = label.get("HTTP_BACKEND_PROXYPASS_PATH") and "HTTP_BACKEND_PROXYPASS_GLUE" not in label
    if label.get("VHOST"):
        if proxypass and re.search(r"[\s,]", label["VHOST"].strip()):
            message = f"needs one host name: marathon-lb would write all of {host_label} as the Host header"
            remedy = f"write one host name in {host_label}, or your own HTTP_BACKEND_PROXYPASS_GLUE"
            yield finding("HTTP_BACKEND_PROXYPASS_PATH", message, remedy, Effect.LEFT_OUT)
        if tcp_mode(label.get("MODE")):
            message = f"is tcp, but {host_label} leads HTTP requests to this backend: {REFUSED}"
            yield finding("MODE", message, "write http, or remove one of the two labels", Effect.LEFT_OUT)
    else:
        yield from _check_without_host(label, finding, f"add {host_label}, or remove the label")
    checked = as_number(label.get("BACKEND_HEALTHCHECK_PORT_INDEX", "0"))
    if checked is not None and not 0 <= checked < ports:
        remedy = f"write an index from 0 to {ports - 1}"
        message = f"is {checked}, but the app's ports have the indexes 0 to {ports - 1}: {FROZEN}"
        yield finding("BACKEND_HEALTHCHECK_PORT_INDEX", message, remedy, Effect.FROZEN)


def _check_without_host(label: Mapping[str, str], finding: Any, remedy: str) -> Iterator[LabelFinding]:
    if label.get("PATH"):
        yield finding("PATH", "has no effect: marathon-lb routes by path for virtual hosts only", remedy, advice=True)
    if label.get("AUTH", "").count(":") == 2:
        message = (
            "has no effect: marathon-lb asks for a password only at virtual hosts, so the port is open to everybody"
        )
        yield finding("AUTH", message, remedy)
    redirects = {"REDIRECT_TO_HTTPS": is_true(label.get("REDIRECT_TO_HTTPS", ""))}
    redirects["HTTP_BACKEND_REDIR"] = bool(label.get("HTTP_BACKEND_REDIR"))
    for name in filter(redirects.get, redirects):
        yield finding(name, "has no effect: marathon-lb redirects virtual hosts only", remedy, advice=True)
    for name in ("PROXYPASS", "REVPROXY"):
        if label.get(f"HTTP_BACKEND_{name}_PATH") and f"HTTP_BACKEND_{name}_GLUE" not in label:
            message = "needs a virtual host: marathon-lb would write the word None as the host name"
            yield finding(f"HTTP_BACKEND_{name}_PATH", message, remedy, Effect.MISLED)


# -- names ----------------------------------------------------------------------------------------------------------


def _unknown(key: str, ports: int) -> Iterator[LabelFinding]:
    plain = re.sub(r"[^A-Z0-9]+", "_", key.upper()).strip("_")
    exact = key.startswith(f"{_PREFIX}_")
    if not (exact or _resembles_prefix(plain)):
        return
    nearest, likeness = _nearest(plain, key, ports)
    if not exact and likeness < 0.75:
        return  # a label of another tool
    remedy = f"write {nearest}, or remove the label" if likeness >= 0.6 else "remove it, or see docs/labels.md"
    yield LabelFinding(at("$.labels", key), "is not a label of marathon-lb, which ignores it", remedy)


def _resembles_prefix(plain: str) -> bool:
    first = plain.partition("_")[0]
    close = plain.replace("_", "")
    # A letter of another alphabet that looks the same, such as a Cyrillic A, became an underscore.
    heads = (first, close[: len(_PREFIX)])
    return close.startswith(_PREFIX) or any(SequenceMatcher(None, head, _PREFIX).ratio() >= 0.85 for head in heads)


def _nearest(plain: str, key: str, ports: int) -> tuple[str, float]:
    """The known label that resembles the key most, and how much (0 to 1)."""
    letter = re.match(rf"{_PREFIX}_([A-Za-z])_", key)
    if letter and letter[1] in _LOOKS_LIKE:
        plain = f"{_PREFIX}_{_LOOKS_LIKE[letter[1]]}{plain[len(_PREFIX) + 2 :]}"
    candidates = [row.full_name(index) for index in range(max(1, min(ports, 10))) for row in LABELS if row.per_port]
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(plain)
    best, likeness = "", -1.0
    for candidate in [*PER_APP, *candidates]:
        matcher.set_seq1(candidate)
        if matcher.quick_ratio() > likeness and matcher.ratio() > likeness:
            best, likeness = candidate, matcher.ratio()
    return best, likeness
