"""Inputs of the fuzz tests: valid documents and texts with some of their parts replaced."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from enum import Enum
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st

# A command takes some tenths of a second: few examples in CI, a thousand with HYPOTHESIS_PROFILE=explore.
_MOST = settings.default.max_examples if settings.default else 100
_SOME = settings(max_examples=max(4, _MOST // 10), phases=[Phase.generate])  # to shrink one takes minutes
few = settings() if _MOST >= 1000 else _SOME


class Odd(Enum):
    """Changes of a part other than its replacement."""

    GONE = "it is removed"
    TWICE = "the member is written twice"


ODD_TEXTS = (
    *("", " ", "x", "\0", "\n", "\x1b[2J", "\ud800", "\udcff", "\u202e", "\U0001f600", "é", "\ufeff", "a" * 5000),
    *("0", "-1", "1", "1e999", "nan", "inf", "9" * 30, "9" * 5000, "0x10", "²", "٣", "1_0", "true", "null", "None"),
    *("/", "//", "..", "/web", "/web-blue", "*", "%", "%s", "{}", "{0}", "{{ image }}", "${revision}", "***", "<b>"),
    *("http://[", "http://x:99999", "http://\udcff", "//", "file:///etc/passwd", "http://a b/", "http://127.0.0.1:0"),
    *("2026-01-01T00:00:00.000Z", "9999-99-99T99:99:99Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"),
    *("5s", "1e9s", "-5s", "99999999999999d", "25%", "-1%", "1e5%", "blue", "green", "DOCKER", "HTTP", "web", "v2"),
    *("10000", "70000", "10001,10002", "(a+)+$", "$..*", "$[?", "[", "(", "\\", '"', "'", "&a", "*a", "!!python/x y"),
)

VALUES: tuple[Any, ...] = (
    *(None, True, False, [], {}, [None], [[]], [{}], {"": {}}, {"id": 7}, ["x"], {"x": "y"}),
    *(0, 1, -1, 7, 70_000, 2**31, 2**63, 10**40, 10**400, 0.5, -0.0, 1e300, float("nan"), float("inf")),
)

odd_texts = st.sampled_from(ODD_TEXTS) | st.text(max_size=20)
odd_values: st.SearchStrategy[Any] = st.sampled_from((*VALUES, *Odd)) | odd_texts
json_values: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from(VALUES) | odd_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_texts, inner, max_size=3),
    max_leaves=6,
)


@dataclass(frozen=True)
class Change:
    """One part, the number of which is counted modulo, and what replaces it."""

    place: int
    value: Any


places = st.integers(0, 2000)
changes = st.lists(st.builds(Change, places, odd_values | json_values), min_size=1, max_size=3)
text_changes = st.lists(st.builds(Change, places, odd_texts), min_size=1, max_size=4)


def changed(document: Any, done: Sequence[Change]) -> Any:
    """A copy with its parts replaced. A part that is to be there twice has the name ``TWICE name``."""
    document = json.loads(json.dumps(document))
    for change in map(deepcopy, done):
        found = list(_parts(document))
        holder, key = found[change.place % len(found)] if found else (None, None)
        if holder is None:
            document = None if isinstance(change.value, Odd) else change.value
        elif change.value is Odd.GONE:
            del holder[key]
        elif change.value is Odd.TWICE:
            if isinstance(holder, dict):
                holder[f"TWICE {key}"] = 7
            else:
                holder.append(holder[key])
        else:
            holder[key] = change.value
    return document


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each part as the object or list that has it, and its key."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _parts(value[key])


def written(document: Any) -> bytes:
    """The JSON text: with NaN, with lone surrogates, with members twice."""
    return json.dumps(document).replace('"TWICE ', '"').encode("utf-8", "surrogatepass")


def changed_text(text: str, done: Sequence[Change]) -> str:
    """The text with words, marks or numbers of it replaced, or something put before them."""
    parts = re.findall(r"[\w.-]+|\s+|[^\w\s]", text)
    for change in done:
        at, before = divmod(change.place, 2)
        at %= len(parts) + 1
        parts[at : at + 1 - before] = [str(change.value)]
    return "".join(parts)


def encoded(text: str) -> bytes:
    """The text as UTF-8; its surrogates, which have none, as bytes that are no UTF-8."""
    return text.encode("utf-8", "surrogatepass")
