"""Redaction of secrets: ``hide`` registers one, ``redacted`` replaces all of them in a text.

The process has one registry, because a secret can appear anywhere: in a server's error, a job's log, a traceback.
Redaction recognises the forms of docs/secrets.md: plain, escaped (JSON, URL, HTML, shell, repr; some also nested), in
base64 at any place of a longer value, and line by line.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from urllib.parse import quote, unquote, urlsplit, urlunsplit

MASK = "***"
SHORTEST = 4  # characters: a shorter text occurs everywhere
DEEPEST = 16  # backslashes after four escapings of one; the limit keeps a text of backslashes fast
WIDEST = 48  # characters after several escapings of one, such as %252525F0 four times
LONG_LINE = 8  # characters; a line with as many is registered separately

# Characters that no reader sees: they can split a secret, so outputs leave them out.
INVISIBLE = re.compile(r"[\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"')  # a string in a JSON text
_TAG = re.compile(r"(<[^<>]*>)")
_VALUE = re.compile(r'"[^"]*"')  # of an attribute
_ASSIGNED = re.compile(r"(?m)^([^=\n]*=)(.*)$")
_NAMED = {'"': "quot", "&": "amp", "<": "lt", ">": "gt", "'": "apos"}
_LETTERS = {"\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f", "\v": "v", "\0": "0"}
# It escapes other signs and can be escaped itself; so can % and &.
_BACKSLASH = r"(?:\\|%(?:25)*5[cC]|&(?:amp;)*#(?:92|[xX]5[cC]);)"
_MORE = {" ": r"\+", "'": r"""'(?:"'"|\\{1,16}')'""", "\n": r"\r\n", "\t": " {4}"}


class _Form:
    """One form of a secret: its pattern, compiled when needed, and a text that every match contains, for a fast
    search."""

    def __init__(self, anchor: str, source: str) -> None:
        self.anchor = anchor
        self._source = source

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self._source)


class Redactor:
    """Registers secrets and removes them from texts."""

    def __init__(self, *secrets: str) -> None:
        # Replaced, never changed in place, because another thread can be reading.
        self._secrets: tuple[str, ...] = ()
        self._forms: tuple[_Form, ...] = ()
        self.hide(*secrets)

    def hide(self, *values: str) -> None:
        """Register secrets. Ignores blanks around a value, and values of fewer than 4 characters."""
        for secret in (part for value in values for part in _parts(value)):
            self._register(secret)
            self._register(INVISIBLE.sub("", secret))  # as an output without such characters shows it

    def _register(self, secret: str) -> None:
        if len(secret) >= SHORTEST and secret not in self._secrets:
            self._forms += tuple(_forms(secret))
            self._secrets += (secret,)

    def hide_login_in(self, url: str) -> None:
        """Register the password in an address, as written and unquoted."""
        try:
            password = urlsplit(url if "://" in url else f"//{url}").password or ""
        except ValueError:  # the rest of the address is wrong
            password = (re.findall("//[^/@:]*:([^@]*)@", url) or [""])[0]
        self.hide(password, unquote(password))

    def hidden(self) -> list[str]:
        """The secrets in the order of their registration, each a single line: for other programs that mask them."""
        return [secret for secret in self._secrets if "\n" not in secret]

    def redacted_beginning(self, text: str) -> tuple[str, str]:
        """The redacted beginning of an incomplete line, and the unchanged rest, for the next part of the line.

        The rest is long enough to contain every secret that the end of the text splits. It does not begin within a
        secret of which a part was shown: a longer secret can begin with a shorter one.
        """
        cut = max(0, len(text) - WIDEST * max(map(len, self._secrets), default=0))
        spans = list(self._spans(text))
        cut = min((begin for begin, end in spans if begin < cut < end), default=cut)
        shown, at = "", 0
        for begin, end in _merged(spans):
            if begin < cut:
                shown, at = shown + text[at:begin] + MASK, end
        return self.redacted(shown + text[at:cut]), text[cut:]

    def redacted(self, text: str) -> str:
        """The text with ``***`` for each secret in any form."""
        while spans := list(
            _merged(self._spans(text))
        ):  # a mask can complete another secret; each round shortens the text
            begins = [0, *(end for _, end in spans)]
            ends = [*(begin for begin, _ in spans), len(text)]
            text = MASK.join(text[begin:end] for begin, end in zip(begins, ends, strict=True))
        return text

    def redacted_json(self, text: str) -> str:
        """The same for a JSON text, which stays valid: changes only its strings."""
        if not any(True for _ in self._spans(text)):
            return text
        try:
            json.loads(text)
        except ValueError:
            return self.redacted(text)
        return _LITERAL.sub(lambda found: self._literal(found[0]), text)

    def redacted_markup(self, text: str) -> str:
        """The same for XML or HTML, which stays valid: keeps tags and names of attributes."""
        parts = _TAG.split(text)  # text, tag, text, ...
        parts[::2] = map(self.redacted, parts[::2])
        parts[1::2] = [_VALUE.sub(lambda value: f'"{self.redacted(value[0][1:-1])}"', tag) for tag in parts[1::2]]
        return "".join(parts)

    def redacted_values(self, text: str) -> str:
        """The same for lines of NAME=VALUE: keeps the names."""
        return _ASSIGNED.sub(lambda line: line[1] + self.redacted(line[2]), text)

    def _literal(self, literal: str) -> str:
        try:
            value = json.loads(literal, strict=False)
        except ValueError:
            return self.redacted(literal)
        redacted = self.redacted(value)
        return literal if redacted == value else json.dumps(redacted, ensure_ascii=literal.isascii())

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        """The spans of secrets; they can overlap."""
        for form in self._forms:
            found = form.pattern.search(text) if form.anchor in text else None
            while found:
                yield found.span()
                found = form.pattern.search(text, found.start() + 1)


def _parts(value: str) -> Iterator[str]:
    """The value and, if it has several lines, each long line, because a log shows them one by one."""
    lines = value.strip().splitlines()
    if len(value.strip()) >= SHORTEST:
        yield value.strip()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= LONG_LINE and not line.startswith("-----"))


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The spans in order; those that overlap or touch become one."""
    begin = end = -1
    for start, stop in sorted(spans):
        if start > end:
            if end >= 0:
                yield begin, end
            begin = start
        end = max(end, stop)
    if end >= 0:
        yield begin, end


# -- the forms of one secret ------------------------------------------------------------------------------------------


def _forms(secret: str) -> Iterator[_Form]:
    pattern = "".join(_escaped(part) for part in re.findall(r"\\+|[^\\]", secret))
    yield _Form(_anchor(re.split(r"[^A-Za-z0-9]", secret)), pattern)
    plain = secret.encode("utf-8", "surrogatepass")
    in_json = {json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    within = {plain, quote(plain, safe="").encode(), *(text.encode("utf-8", "surrogatepass") for text in in_json)}
    for content in sorted(within):
        for place in range(3):
            yield _base64(content, place)


def _anchor(candidates: Iterable[str]) -> str:
    """The longest: letters and digits, which no escaping changes."""
    return max(candidates, key=len, default="")


def _escaped(part: str) -> str:
    """A pattern for a character, or for several backslashes, with any number of escapings."""
    if part.isascii() and part.isalnum():
        return part
    if part[0] == "\\":
        return rf"{_BACKSLASH}{{{len(part)},{DEEPEST * len(part)}}}"
    code, utf8 = ord(part), part.encode("utf-8", "surrogatepass")
    utf16 = part.encode("utf-16-be", "surrogatepass")
    some = rf"{_BACKSLASH}{{0,{DEEPEST}}}"
    forms = [
        "".join(f"%(?:25)*(?i:{one:02x})" for one in utf8),
        f"&(?:amp;)*#(?:0*{code}|(?i:x0*{code:x}));",
        some.join(f"u(?i:{utf16[at : at + 2].hex()})" for at in range(0, len(utf16), 2)),
        f"U(?i:{code:08x})",
        some.join(f"x(?i:{one:02x})" for one in utf8),
        *([f"x(?i:{code:02x})"] if 127 < code < 256 else ()),
        *([f"&(?:amp;)*{_NAMED[part]};"] if part in _NAMED else ()),
        *([_LETTERS[part]] if part in _LETTERS else ()),
        *([_MORE[part]] if part in _MORE else ()),
        re.escape(part),
    ]
    return f"{some}(?:{'|'.join(forms)})"


def _base64(content: bytes, place: int) -> _Form:
    """The constant part of the content's base64 in a longer value in which it begins ``place`` bytes after a multiple
    of three. The digits at its borders hold bits of their neighbours."""
    length = place + len(content)
    low, high = (base64.b64encode(bytes([fill] * place) + content + bytes([fill] * 2)).decode() for fill in (0, 255))
    first, last = 8 * place // 6, -(-8 * length // 6)  # the digits that hold a bit of it
    sets = [_between(low[at], high[at]) for at in range(first, last)]
    fixed = "".join(digits if len(digits) == 1 and digits.isalnum() else " " for digits in sets)
    return _Form(_anchor(fixed.split()), "".join(map(_digit, sets)))


def _between(low: str, high: str) -> str:
    """The digits that both have in common."""
    if low == high:
        return low
    a, b = _ALPHABET.index(low), _ALPHABET.index(high)
    return "".join(digit for value, digit in enumerate(_ALPHABET) if value & ~(a ^ b) == a & ~(a ^ b))


def _digit(digits: str) -> str:
    """A pattern for one of these digits, url-safe or not, escaped or not."""
    if digits.isalnum():
        return digits if len(digits) == 1 else f"[{digits}]"
    forms = [f"[{re.escape(digits)}]"]
    forms += [r"-|%(?:25)*2[bB]|\\+u002[bB]|&(?:amp;)*#(?:43|[xX]2[bB]);"] if "+" in digits else []
    forms += [r"_|\\+/|%(?:25)*2[fF]|\\+u002[fF]|&(?:amp;)*#(?:95|47|[xX]2[fF]|[xX]5[fF]);"] if "/" in digits else []
    return f"(?:{'|'.join(forms)})"


# -- possible credentials ---------------------------------------------------------------------------------------------

# bgci's own texts contain none, but the quoted answer of a server can contain one that was never registered.
_CREDENTIAL = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\beyJ[\w-]{6,}(?:\.[\w-]*){1,2}"  # a JSON web token
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
    r"|(?i:\b(?P<name>[\w-]*(?:token|password|secret|passwd|api[-_]?key|authorization)[\"']?\s*[:=]\s*[\"']?)"
    r"(?:(?:bearer|basic|token=)\s*)?[^\s\"',;]+)"
)


def without_login(url: str) -> str:
    """The address without user, password, query and fragment; empty for an invalid one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def without_credentials(text: str) -> str:
    """The text with ``***`` for every possible credential."""
    return _CREDENTIAL.sub(lambda found: (found["name"] or "") + MASK, text)


_THE_ONE = Redactor()
hide = _THE_ONE.hide
hide_login_in = _THE_ONE.hide_login_in
hidden = _THE_ONE.hidden
redacted_beginning = _THE_ONE.redacted_beginning
redacted = _THE_ONE.redacted
redacted_json = _THE_ONE.redacted_json
redacted_markup = _THE_ONE.redacted_markup
redacted_values = _THE_ONE.redacted_values
