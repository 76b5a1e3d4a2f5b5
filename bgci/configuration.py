"""Reads the settings of ``bgci.toml``, with file and line for every error. Independent of the single options.

Raises UsageError for everything except a setting of the right type.
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from bgci.bounded import file_text, reason
from bgci.durations import parse_duration, parse_share
from bgci.errors import UsageError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_OF_A_CONFIGURATION = 1 << 20  # bytes
LONGEST_NUMBER = 15  # digits of an integer: more are a mistake, and Python does not read thousands


def read(file: Path, kinds: Mapping[str, Any], shares: Iterable[str] = (), lists: Iterable[str] = ()) -> dict[str, Any]:
    """The settings of a file, by name. kinds: the type of each known option; a duration is a ``float``.

    shares: options in the form ``25`` or ``"25%"``. lists: text options that can also be a list.
    """
    try:
        text = file_text(file, MOST_OF_A_CONFIGURATION).removeprefix("\ufeff")
        values = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {reason(error)}.", remedy="Check --config.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is not TOML: {error}.", remedy="See docs/configuration.md.") from None
    except RecursionError:
        raise UsageError(f"{file} is nested too deeply.", remedy="See docs/configuration.md.") from None
    except ValueError:  # Python does not read a number of thousands of digits
        line = next((n for n, row in enumerate(text.splitlines(), start=1) if re.search(r"\d{4000}", row)), 0)
        raise UsageError(
            f"{file}:{line}: a number has thousands of digits.", remedy="See docs/configuration.md."
        ) from None
    unknown = [key for key in values if key.replace("-", "_") not in kinds]
    if unknown:
        raise UsageError(
            f"{_place(file, text, unknown[0])}: bgci does not know: {', '.join(sorted(unknown)[:20])}."
            f"{nearest(unknown[0].replace('-', '_'), kinds)}",
            remedy="Use the names of the options, with - or _ (docs/options.md).",
        )
    found = {}
    for key, value in values.items():
        name = key.replace("-", "_")
        try:
            found[name] = _value(value, kinds[name], share=name in shares, joined=name in lists)
        except ValueError as wrong:
            raise UsageError(
                f"{_place(file, text, key)}: {key} {wrong}.", remedy="See docs/configuration.md and docs/options.md."
            ) from None
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """`` Did you mean X?`` as the end of a message, empty without a similar name."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {found[0]}?" if found else ""


def _place(file: Path, text: str, key: str) -> str:
    """``bgci.toml:7``: the line of a key of the file's top level."""
    names = "[-_]".join(re.escape(part) for part in re.split("[-_]", key))
    pattern = re.compile(rf"\s*(?:\[\s*)?(['\"]?){names}\1\s*[.=\]]")
    line = next((number for number, row in enumerate(text.splitlines(), start=1) if pattern.match(row)), 0)
    return f"{file}:{line}" if line else str(file)


def _value(value: Any, kind: Any, *, share: bool, joined: bool) -> Any:
    """The value as a default of click. Raises ValueError with the reason, as the end of a sentence."""
    if joined:
        return value if isinstance(value, str) else ",".join(_items(value))
    if get_origin(kind) is list:
        return _items(value)
    if get_origin(kind) is Literal:
        value = value if isinstance(value, bool) else str(value)  # a version can stand there as a number
        valid, wanted = value in get_args(kind), f"one of {', '.join(get_args(kind))}"
    elif kind is int and share and isinstance(value, str):
        valid, wanted = _reads(parse_share, value), 'a share such as 25 or "25%"'
    elif kind is int:
        valid, wanted = _is_whole(value), f"a whole number of at most {LONGEST_NUMBER} digits"
    elif kind is float:
        valid, wanted = _reads(parse_duration, value), 'a duration with its unit, such as "90s"'
    else:
        valid, wanted = isinstance(value, kind), "true or false" if kind is bool else "a text in quotes"
    if not valid:
        raise ValueError(f"is {_shown(value)}, not {wanted}")
    return value


def _reads(parse: Callable[[str], object], value: Any) -> bool:
    try:
        return isinstance(value, str) and parse(value.strip()) is not None
    except ValueError:
        return False


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**LONGEST_NUMBER


def _items(value: Any) -> list[str]:
    """A list of texts: from a list, from one text, or from a table, whose entries become KEY=VALUE."""
    if isinstance(value, Mapping):
        return [f"{key}={_plain(inner)}" for key, inner in value.items()]
    return [_plain(inner) for inner in (value if isinstance(value, list) else [value])]


def _plain(value: Any) -> str:
    """A text, number or truth value in the form of the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | float) or _is_whole(value):
        return str(value)
    raise ValueError(f"has the item {_shown(value)}, which is not a text or a number")


def _shown(value: Any) -> str:
    """The value in the form of the file, shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 10**LONGEST_NUMBER:
        return "a number of more digits"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
