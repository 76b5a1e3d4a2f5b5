"""Text that Java's libraries accept, which Marathon uses for regular expressions and URIs."""

from __future__ import annotations

import re

_INLINE_FLAGS = re.compile(r"\(\?[idmsuxU]*(?:-[idmsuxU]+)?([):])")
_ESCAPES_OF_JAVA = re.compile(r"\\(?:[pP]\{\w+\}|[pP]\w|[hHRXGzezvV]|c.|x\{[0-9a-fA-F]+\}|k<\w+>)")
_CLASS = re.compile(r"\[\^?(?:\\.|[^\]\\])+\]")
# java.net.URI: a percent sign needs two digits; these characters need encoding.
_NO_URI = re.compile(r"%(?![0-9a-fA-F]{2})|[\x00-\x20\x7f<>\"{}|\\^`]|#.*#")


def is_java_pattern(text: str | None) -> bool:
    """Whether java.util.regex compiles the text. Rare forms that Python cannot judge count as valid."""
    if text is None:
        return False
    plain = re.sub(r"\\Q.*?(?:\\E|\Z)", "x", text, flags=re.DOTALL)
    plain = _ESCAPES_OF_JAVA.sub("x", plain)
    plain = _INLINE_FLAGS.sub(lambda found: "(?:" if found[1] == ":" else "", plain)
    if "(?P" in plain:
        return False
    if "&&" not in plain:  # an intersection of classes, which Python does not have
        plain = _CLASS.sub("x", plain) if _compiles_classes(plain) else plain
    braces = re.sub(r"\\.", "x", plain)
    if re.search(r"\{(?![0-9]+(?:,[0-9]*)?\})", braces) and "&&" not in plain:
        return False
    plain = re.sub(r"([*+?}])[+]", r"\1", plain).replace("(?<", "(?P<").replace("(?P<=", "(?<=").replace("(?P<!", "(?<!")
    plain = re.sub(r"(\{[0-9,]+\})(?:\{[0-9,]+\})+", r"\1", plain)
    try:
        re.compile(plain)
    except (re.error, OverflowError, RecursionError):
        return "&&" in plain
    return True


def _compiles_classes(text: str) -> bool:
    for found in _CLASS.finditer(text):
        try:
            re.compile(found[0])
        except re.error:
            return False
    return True


def is_java_uri(text: str) -> bool:
    """Whether java.net.URI parses the text."""
    if _NO_URI.search(text) or text.startswith(":") or re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:(?://)?", text):
        return False
    scheme, colon, rest = text.partition(":")
    if colon and "/" not in scheme and not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme):
        return "?" in scheme or "#" in scheme
    path = re.split("[?#]", rest if colon else text)[0]
    host = re.match(r"//[^/]*", path)
    outside = path[host.end() :] if host else path
    authority = host[0] if host else ""
    return not re.search(r"[\[\]]", outside) and (authority.count("[") == authority.count("]") <= 1)
