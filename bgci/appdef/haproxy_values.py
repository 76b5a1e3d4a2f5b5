"""The values of marathon-lb's labels: numbers, flags, lists and single words, as its setters read them. Pure."""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from bgci.appdef.findings import Finding
from bgci.appdef.haproxy_label_table import TEXTS_WITH_LINES, Label, LabelKind


class Effect(Enum):
    """The effect of a wrong label. The value completes the sentence "marathon-lb …"."""

    FROZEN = "updates no app at all"
    LEFT_OUT = "leaves the app out"
    UNDRAINED = "cannot drain the app's tasks"
    MISLED = "serves the app differently than intended"
    IGNORED = "ignores the label"


@dataclass(frozen=True)
class LabelFinding(Finding):
    """A finding about a label, with its effect."""

    effect: Effect = Effect.IGNORED


FROZEN = "marathon-lb fails on it and updates no app of the whole cluster any more"
REFUSED = "HAProxy refuses that, and marathon-lb leaves the app out"
_CONSEQUENCES = {Effect.FROZEN: f": {FROZEN}", Effect.LEFT_OUT: f": {REFUSED}"}

Problems = Iterator[tuple[str, str, Effect]]
"""The problem of one label, its remedy and effect. `placed` adds the meaning of the effect."""

_TRUE = ("true", "t", "yes", "y")
_FALSE = ("false", "f", "no", "n", "0", "off", "")
_ALGORITHMS = (
    *("roundrobin", "static-rr", "leastconn", "first", "source", "uri", "url_param", "hdr", "rdp-cookie", "random"),
    *("hash", "log-hash", "sticky"),
)
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
_MAX_DIGITS = 4000  # Python refuses longer numbers


def is_true(text: str) -> bool:
    """A flag as marathon-lb reads it: every other spelling means false."""
    return text.lower() in _TRUE


def tcp_mode(mode: str | None) -> bool:
    """Whether the label MODE asks for tcp."""
    return mode is not None and mode.lower() == "tcp"


def placed(path: str, problems: Problems) -> Iterator[LabelFinding]:
    """The problems of the label at this path, as findings."""
    for problem, remedy, effect in problems:
        yield LabelFinding(path, f"{problem}{_CONSEQUENCES.get(effect, '')}", remedy, effect)


def check_characters(value: str, label: Label) -> Problems:
    """Characters that HAProxy refuses or interprets unexpectedly."""
    if label.kind is LabelKind.NUMBER:
        return  # whatever int() takes; the text itself is not written
    lines_allowed = label.kind in (*TEXTS_WITH_LINES, LabelKind.BALANCE, LabelKind.OPTIONS)
    # marathon-lb itself replaces CR LF in templates, and nowhere else.
    text = value.replace("\r\n", "\n") if label.kind in TEXTS_WITH_LINES else value
    if any("\ud800" <= char <= "\udfff" for char in text):
        yield "contains half of a character (a lone surrogate)", "write the whole character", Effect.FROZEN
        return
    for char in dict.fromkeys(text):
        if char == "\n" and not lines_allowed:
            yield "contains a line break, but must be one line", "remove the line break", Effect.LEFT_OUT
        elif char not in " \t\n" and (char.isspace() or char in _INVISIBLE or unicodedata.category(char) == "Cc"):
            problem = f"contains the character {_named(char)}, which is not white space to HAProxy"
            yield problem, "write a plain blank, or remove it", Effect.LEFT_OUT


def _named(char: str) -> str:
    return unicodedata.name(char, f"U+{ord(char):04X}")


def check_value(value: str, label: Label) -> Problems:
    """The value of a label that is not a template."""
    check = _CHECKS.get(label.name) or _CHECKS_BY_KIND.get(label.kind)
    return check(value) if check else iter(())


def _check_number(value: str) -> Problems:
    if as_number(value) is None:
        yield f"is {_short(value)}, which is not a whole number", "write digits only, such as 1", Effect.FROZEN


def as_number(value: str) -> int | None:
    """A number as Python's int() reads it: blanks around, a sign and single underscores are allowed."""
    try:
        return int(value) if len(value) <= _MAX_DIGITS else None
    except ValueError:
        return None


def _check_port(value: str) -> Problems:
    yield from _check_number(value)
    number = as_number(value)
    if number is not None and not 0 < number <= 65535:
        yield f"is {number}, which is not a port", "write a number from 1 to 65535", Effect.LEFT_OUT


def _check_flag(value: str) -> Problems:
    if not is_true(value) and value.lower() not in _FALSE:
        yield f"is {_short(value)}, which marathon-lb reads as false", "write true or false", Effect.MISLED


def _check_groups(value: str) -> Problems:
    plain = ",".join(part.strip() for part in value.split(","))
    if plain != value:
        problem = f"is {_short(value)}: marathon-lb compares the groups with their blanks, so no load balancer matches"
        yield problem, f"write {plain!r}", Effect.MISLED


def _check_hosts(value: str) -> Problems:
    if "/" in value:
        remedy = "write only the host name, such as web.example.com; put a path into HAPROXY_{n}_PATH"
        yield f"is {_short(value)}: a host name has no slash, so no request would match", remedy, Effect.MISLED
    elif value and not all(part.strip() for part in value.split(",")):
        remedy = "write host names with one comma between them"
        yield f"is {_short(value)}, where a host name is missing", remedy, Effect.LEFT_OUT
    elif re.search(r"[\"'\\#]", value):
        problem = f"is {_short(value)}, whose quotes, backslashes or # mean something else to HAProxy"
        yield problem, "write host names, separated by commas", Effect.LEFT_OUT


def _check_paths(value: str) -> Problems:
    words = value.split()
    while words and words[0] in ("-i", "--"):
        del words[0]
    if value and not words:
        yield "holds no path", "write a path, such as /api", Effect.LEFT_OUT
    elif words and not words[0].startswith("-"):  # with other flags HAProxy compares otherwise
        for word in [word for word in words if not word.startswith("/")][:1]:
            problem = f"contains {_short(word)}: a path begins with /, so no request would match"
            yield problem, f"write {'/' + word!r}", Effect.MISLED


def _check_auth(value: str) -> Problems:
    parts, remedy = value.split(":"), "write realm:user:encrypted-password"
    if len(parts) != 3:
        yield f"has {len(parts)} parts, separated by colons, in place of 3", remedy, Effect.FROZEN
        return
    for part, name in zip(parts, ("realm", "user", "password"), strict=True):
        if not part.strip():
            yield f"has an empty {name}", remedy, Effect.LEFT_OUT
    if re.search(r'["\\$]', parts[0]):
        problem = 'has a realm with one of " \\ $, which end or change the text in HAProxy'
        yield problem, "write the realm without them", Effect.LEFT_OUT
    if re.search(r"[\s\"'\\#]", "".join(parts[1:])):
        problem = "has a user or password with white space or one of \" ' \\ #"
        yield problem, "write the password encrypted (mkpasswd -m sha-512)", Effect.LEFT_OUT


def _check_mode(value: str) -> Problems:
    if value.lower() not in ("tcp", "http"):
        yield f"is {_short(value)}, which is neither tcp nor http", "write tcp or http", Effect.LEFT_OUT


def _check_balance(value: str) -> Problems:
    words = value.split("\n")[0].split()
    if words and re.sub(r"\(.*\)$", "", words[0]) not in _ALGORITHMS:
        remedy = "write roundrobin, leastconn or source"
        yield f"is {_short(value)}, which is not an algorithm of HAProxy", remedy, Effect.LEFT_OUT


def _check_networks(value: str) -> Problems:
    if value and not value.strip():  # the rules deny everybody, with no network to allow
        yield "is blank", "write IPs, or remove the label", Effect.LEFT_OUT
    remedy = "write IPs and ranges with blanks between them, such as '10.1.40.0/24 10.1.55.43'"
    for word in value.split():
        try:
            ipaddress.ip_network(word, strict=False)
        except ValueError:
            yield f"contains {_short(word)}, which is not an IP or a range", remedy, Effect.LEFT_OUT


def _check_address(value: str) -> Problems:
    if not (re.fullmatch(r"\*?|[A-Za-z0-9][A-Za-z0-9.-]*", value) or _is_ipv6(value)):
        remedy = "write an IP address without a port, such as 10.0.0.42"
        yield f"is {_short(value)}, which is not an address", remedy, Effect.LEFT_OUT


def _is_ipv6(value: str) -> bool:
    try:
        return ipaddress.ip_address(value.removeprefix("[").removesuffix("]")).version == 6
    except ValueError:
        return False


def _check_location(value: str) -> Problems:
    if value and (not value.strip() or re.search(r"[\s\"'\\#]", value.strip())):
        problem = f"is {_short(value)}, with white space or one of \" ' \\ #"
        yield problem, "write a path, such as /my/content", Effect.LEFT_OUT


def _check_quoted(value: str) -> Problems:
    if re.search(r'["$]', value):
        problem = f'is {_short(value)}, with " or $, which end or change the text in HAProxy'
        yield problem, "write a path, such as /my/content", Effect.LEFT_OUT


def _short(value: str) -> str:
    return repr(value if len(value) <= 60 else f"{value[:57]}...")


_Check = Callable[[str], Problems]

_CHECKS_BY_KIND: dict[LabelKind, _Check] = {
    LabelKind.NUMBER: _check_number,
    LabelKind.FLAG: _check_flag,
    LabelKind.GROUPS: _check_groups,
    LabelKind.HOSTS: _check_hosts,
    LabelKind.PATHS: _check_paths,
    LabelKind.AUTH: _check_auth,
    LabelKind.MODE: _check_mode,
    LabelKind.BALANCE: _check_balance,
    LabelKind.NETWORKS: _check_networks,
}
_CHECKS: dict[str, _Check] = {
    "PORT": _check_port,
    "BIND_ADDR": _check_address,
    "HTTP_BACKEND_REDIR": _check_location,
    "HTTP_BACKEND_PROXYPASS_PATH": _check_quoted,
    "HTTP_BACKEND_REVPROXY_PATH": _check_quoted,
}
