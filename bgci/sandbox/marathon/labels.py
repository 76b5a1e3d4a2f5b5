"""Label selectors: ``a==b,c!=d,e in (f,g),h notin (i),j`` (marathon: S/api/v2/LabelSelector.scala)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

Selector = Callable[[Mapping[str, str]], bool]

_TERM = re.compile(r"(\\.|[-A-Za-z0-9_.])+")
_TOKENS = re.compile(r"\s*(==|!=|[(),]|(?:\\.|[-A-Za-z0-9_.])+)")


class SelectorError(ValueError):
    """The text is not a valid label selector."""


def parse(text: str) -> Selector:
    """A test for an app's labels. Each needs its label to exist, ``!=`` and ``notin`` too. Raises SelectorError."""
    tokens = _tokens(text)
    tests = [_one(tokens)] if tokens else []
    while tokens:
        if _pop(tokens) != ",":
            raise SelectorError("',' expected")
        tests.append(_one(tokens))
    return lambda labels: all(test(labels) for test in tests)


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    end = len(text.rstrip())
    while position < end:
        found = _TOKENS.match(text, position)
        if found is None:
            raise SelectorError(f"unexpected '{text[position]}' at {position}")
        tokens.append(found[1])
        position = found.end()
    return tokens


def _pop(tokens: list[str]) -> str:
    if not tokens:
        raise SelectorError("end of input")
    return tokens.pop(0)


def _term(tokens: list[str]) -> str:
    token = _pop(tokens)
    if not _TERM.fullmatch(token):
        raise SelectorError(f"term expected but '{token}' found")
    return re.sub(r"\\(.)", r"\1", token)


def _one(tokens: list[str]) -> Selector:
    label = _term(tokens)
    operator = tokens[0] if tokens else ""
    if operator in ("==", "!="):
        tokens.pop(0)
        value = _term(tokens)
        return _test(label, {value}, negated=operator == "!=")
    if operator in ("in", "notin"):
        tokens.pop(0)
        return _test(label, set(_set(tokens)), negated=operator == "notin")
    return lambda labels: label in labels


def _set(tokens: list[str]) -> list[str]:
    values: list[str] = []
    if _pop(tokens) != "(":
        raise SelectorError("'(' expected")
    while tokens and tokens[0] != ")":
        values.append(_term(tokens))
        if tokens and tokens[0] == ",":
            tokens.pop(0)
    _pop(tokens)
    return values


def _test(label: str, values: set[str], *, negated: bool) -> Selector:
    return lambda labels: label in labels and (labels[label] in values) != negated
