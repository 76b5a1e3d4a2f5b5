"""Redaction for any secret, encoding and surrounding text: it removes the whole secret, and keeps the rest
unchanged."""

from __future__ import annotations

import base64
import html
import json
import shlex
import urllib.parse
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from unittest import mock

from hypothesis import example, given
from hypothesis import strategies as st

from bgci import redaction
from bgci.checks.test_program import _without_secrets
from bgci.redaction import MASK, Redactor
from bgci.reporting.ci_systems import annotation, summary

Encode = Callable[[str], str]
# A mark at both ends that no encoding changes: what remains of a secret is then found for certain.
SECRETS = st.text(
    st.characters(codec="utf-8", exclude_characters="*", exclude_categories=["Cc", "Cs"]), max_size=12
).map(lambda text: f"Q7{text}7Z")
ENCODINGS: dict[str, Encode] = {
    "as it is": lambda text: text,
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "JSON in JSON": lambda text: json.dumps(json.dumps(text))[3:-3],
    "JSON in HTML": lambda text: html.escape(json.dumps(text)[1:-1]),
    "JSON in URL": lambda text: urllib.parse.quote(json.dumps(text)[1:-1]),
    "URL": urllib.parse.quote,
    "URL, all": lambda text: urllib.parse.quote(text, safe=""),
    "URL, small": lambda text: _small(urllib.parse.quote(text, safe="")),
    "URL, twice": lambda text: urllib.parse.quote(urllib.parse.quote(text, safe=""), safe=""),
    "JSON in JSON in JSON": lambda text: json.dumps(json.dumps(json.dumps(text)))[7:-7],
    "URL in JSON": lambda text: json.dumps(urllib.parse.quote(text, safe=""))[1:-1],
    "URL in HTML": lambda text: html.escape(urllib.parse.quote(text, safe="")),
    "HTML in JSON": lambda text: json.dumps(html.escape(text))[1:-1],
    "HTML twice": lambda text: html.escape(html.escape(text)),
    "form": urllib.parse.quote_plus,
    "HTML": html.escape,
    "XML": lambda text: html.escape(text, quote=False),
    "numbers": lambda text: "".join(sign if sign.isalnum() else f"&#{ord(sign)};" for sign in text),
    "hexadecimal numbers": lambda text: "".join(sign if sign.isalnum() else f"&#x{ord(sign):X};" for sign in text),
    "shell": shlex.quote,
    "repr": repr,
    "ascii": ascii,
    "repr of repr": lambda text: repr(repr(text)),
    "repr of bytes": lambda text: repr(text.encode()),
    "GitHub": lambda text: annotation({"command": "test", "name": "", "message": text}),
    "Markdown": lambda text: "\n".join(
        summary({"command": "x", "code": 0, "name": "", "seconds": 1, "message": text}, [])
    ),
}


def _small(text: str) -> str:
    """The numbers of a quoted text with small letters, and nothing else."""
    head, *tail = text.split("%")
    return head + "".join("%" + part[:2].lower() + part[2:] for part in tail)


def _knowing(*secrets: str) -> Redactor:
    redactor = Redactor()
    redactor.hide(*secrets)
    return redactor


@example("Q7\xad7Z", "GitHub")
@given(SECRETS, st.sampled_from(sorted(ENCODINGS)))
def test_an_encoded_secret_is_removed_completely(secret: str, encoding: str) -> None:
    text = _knowing(secret).redacted(f"<{ENCODINGS[encoding](secret)}>")
    assert "Q7" not in text
    assert "7Z" not in text
    assert MASK in text


IN_BASE64: dict[str, Encode] = {name: ENCODINGS[name] for name in ("as it is", "JSON", "JSON in UTF-8", "URL, all")}


@given(
    SECRETS,
    st.sampled_from(sorted(IN_BASE64)),
    *(st.text(max_size=5), st.text(max_size=5)),
    *(st.booleans(), st.booleans()),
)
def test_a_secret_in_base64_is_removed_completely(
    secret: str, encoding: str, before: str, after: str, safe: bool, padded: bool
) -> None:
    known, secret = secret, IN_BASE64[encoding](secret)
    whole = f"{before}{secret}{after}".encode("utf-8", "backslashreplace")
    encoded = (base64.urlsafe_b64encode if safe else base64.b64encode)(whole).decode()
    text = _knowing(known).redacted(encoded if padded else encoded.rstrip("="))
    kept = len(text) - len(MASK)
    assert MASK in text
    # What is left are the digits that hold nothing but the neighbours.
    assert kept <= len(encoded) - len(secret.encode()) * 8 / 6


@given(SECRETS, st.sampled_from(sorted(ENCODINGS)), st.integers(0, 9), st.integers(1, 60), st.binary(max_size=40))
def test_a_secret_split_between_chunks_of_the_output_is_removed_completely(
    secret: str, encoding: str, common: int, size: int, noise: bytes
) -> None:
    """``common``: another secret is a beginning, and one an end, of so many characters."""
    content = b"x" * 300 + f"<{ENCODINGS[encoding](secret)}>".encode() + noise.replace(b"\n", b"") + b"y" * 3000
    with mock.patch.dict(redaction._THE_ONE.__dict__, _knowing(secret, secret[:common], secret[-common:]).__dict__):
        parts = [content[at : at + size] for at in range(0, len(content), size)]
        text = "".join(_without_secrets(iter(parts)))
    assert "Q7" not in text
    assert "7Z" not in text
    assert text.startswith("x" * 300)
    assert text.endswith("y" * 3000)


@given(st.lists(SECRETS, min_size=1, max_size=5), st.data())
def test_several_secrets_in_one_text_are_all_removed(secrets: list[str], data: st.DataObject) -> None:
    pieces = data.draw(st.lists(st.sampled_from([*secrets, "plain", " ", "0"]), max_size=8))
    text = _knowing(*secrets).redacted("".join(pieces))
    assert not any(secret in text for secret in secrets)


@given(st.text("abc", min_size=4, max_size=8), st.text("abc", min_size=4, max_size=8), st.text("abc", max_size=40))
def test_secrets_that_overlap_are_removed_completely(one: str, other: str, text: str) -> None:
    redacted = _knowing(one, other).redacted(text)
    assert one not in redacted
    assert other not in redacted
    assert redacted == text or MASK in redacted
    if one not in text and other not in text:
        assert redacted == text


@given(SECRETS, st.text("xyz \n,;({", max_size=20), st.text("xyz \n,;)}", max_size=20))
def test_the_text_around_a_secret_is_unchanged(secret: str, before: str, after: str) -> None:
    assert _knowing(secret).redacted(before + secret + after) == before + MASK + after


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | SECRETS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | SECRETS, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, st.sampled_from(["true", "null", "1234", "Q77Z", '": "', "\\n", "nnnn"]) | SECRETS, st.booleans())
def test_json_stays_json_with_the_same_shape(value: object, secret: str, ascii_only: bool) -> None:
    found = json.loads(_knowing(secret).redacted_json(json.dumps(value, indent=1, ensure_ascii=ascii_only)))
    assert _shape(found) == _shape(value)
    assert not any(secret in text for text in _texts(found))


@given(SECRETS, SECRETS | st.sampled_from(["tag>", "name", "title", "text", '="te']))
def test_markup_stays_markup(secret: str, other: str) -> None:
    shown = html.escape(f"{secret} {other}")
    text = _knowing(secret, other).redacted_markup(f'<name title="{shown}"><tag>{shown}</tag>text</name>')
    root = ElementTree.fromstring(text)
    assert [element.tag for element in root.iter()] == ["name", "tag"]
    for found in (str(root.get("title")), str(root[0].text)):
        assert secret not in found
        assert other not in found


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return [_shape(one) for one in value.values()] if len(value) < 2 else "object"  # two keys may become one
    if isinstance(value, list):
        return [_shape(one) for one in value]
    return "text" if isinstance(value, str) else value


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []
