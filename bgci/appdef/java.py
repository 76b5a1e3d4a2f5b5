"""Text that Java's libraries accept: Marathon uses them for regular expressions and URIs."""

from __future__ import annotations

import re
import warnings

_FLAGS = re.compile(r"\(\?[idmsuxU]*(?:-[idmsuxU]+)?([):])")
_ESCAPES = re.compile(r"\\(?:[pP]\{\w+\}|[pP]\w|[hHRXGzevV]|c.|x\{[0-9a-fA-F]+\}|k<\w+>)")
_CLASS = re.compile(r"\[\^?(?:\\.|[^\]\\])+\]")
_REPETITION = r"\{[0-9]+(?:,[0-9]*)?\}"
# java.net.URI: a percent sign needs two digits; these characters need encoding.
_NOT_IN_URI = re.compile(r"%(?![0-9a-fA-F]{2})|[\x00-\x20\x7f<>\"{}|\\^`]|#.*#")
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]*"


def is_java_pattern(text: str | None) -> bool:
    """Whether java.util.regex compiles the text. Forms that Python does not have are replaced, or count as valid."""
    if text is None or "(?P" in text:
        return False
    plain = re.sub(r"\\Q.*?(?:\\E|\Z)", "x", text, flags=re.DOTALL)
    plain = _FLAGS.sub(lambda found: "(?:" if found[1] == ":" else "", _ESCAPES.sub("x", plain))
    if "&&" in plain:  # the intersection of two character classes
        return True
    # Outside of character classes a brace is a repetition or an error; in Python it can be text.
    outside = re.sub(r"\\.", "x", _CLASS.sub(lambda found: "x" if _compiles(found[0]) else found[0], plain))
    if re.search(rf"\{{(?!{_REPETITION[2:]})", outside):
        return False
    plain = re.sub(rf"(?<!\\)([*+?]|{_REPETITION})\+", r"\1", plain)  # possessive, in Python since 3.11
    plain = re.sub(rf"({_REPETITION})(?:{_REPETITION})+", r"\1", plain)
    return _compiles(re.sub(r"\(\?<(?![=!])", "(?P<", plain))


def _compiles(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            re.compile(text)
        except (re.error, OverflowError, RecursionError):
            return False
    return True


def is_java_uri(text: str) -> bool:
    """Whether java.net.URI parses the text."""
    if _NOT_IN_URI.search(text) or re.fullmatch(rf"(?:{_SCHEME})?:(?://)?", text) or text.startswith(":"):
        return False
    scheme, colon, rest = text.partition(":")
    path = re.split("[?#]", rest if colon else text)[0]
    if colon and not re.search("[/?#]", scheme) and not re.fullmatch(_SCHEME, scheme):
        return False
    host = re.match("//[^/]*", path)
    authority, rest = (host[0], path[host.end() :]) if host else ("", path)
    return not re.search(r"[\[\]]", rest) and authority.count("[") == authority.count("]") <= 1
