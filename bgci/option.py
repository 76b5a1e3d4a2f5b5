"""One option: its declaration, and its form for the command line and the wrappers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

import typer

from bgci.durations import duration_text, parse_duration, parse_share


def duration(text: str | float) -> float:
    """Seconds of an option. A number without a unit is refused."""
    try:
        return text if isinstance(text, float) else parse_duration(text.strip())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def share(text: str | int) -> int:
    """A share in percent, written as ``25`` or ``25%``."""
    try:
        return parse_share(str(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Place = Literal["", "file", "directory"]


def setting(default: Any, text: str, *flags: str, lines: bool = False, place: Place = "", **more: Any) -> Any:
    """A field of ``Settings``.

    flags: instead of the one of its name. lines: a value can contain blanks, so its environment variable has one value
    per line. place: the kind of path, if the value is a path. ``more`` goes to typer.Option.
    """
    metadata = {"help": text, "flags": flags, "lines": lines, "place": place, "more": more}
    if isinstance(default, tuple):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def seconds(default: float, text: str) -> Any:
    return setting(default, text, parser=duration, metavar="DURATION")


@dataclass(frozen=True)
class Option:
    """One option for the command line and every wrapper."""

    key: str  # the field of Settings
    kind: Any  # a float is a duration in seconds
    initial: Any  # the default
    help: str
    flags: tuple[str, ...]  # "": the one of its name
    lines: bool  # its environment variable has one value per line
    place: Place  # the kind of path, if it is one
    more: Mapping[str, Any]  # of typer.Option

    @property
    def name(self) -> str:
        return self.key.replace("_", "-")

    @property
    def variable(self) -> str:
        return f"BGCI_{self.key.upper()}"

    @property
    def repeatable(self) -> bool:
        return get_origin(self.kind) is list

    @property
    def flag(self) -> bool:
        return self.kind is bool

    @property
    def number(self) -> bool:
        return self.kind is int

    @property
    def choices(self) -> tuple[str, ...]:
        return get_args(self.kind) if get_origin(self.kind) is Literal else ()

    @property
    def default(self) -> str:
        """The default in the form of the command line, "" without one."""
        return self.text(self.initial)

    @property
    def description(self) -> str:
        """Help and default in one text.

        A wrapper passes on only the given inputs: its own default is empty, so environment, ``bgci.toml`` and bgci's
        default apply in their order.
        """
        more = [
            " One per line." if self.repeatable else "",
            f" One of: {', '.join(self.choices)}." if self.choices else "",
            f" [default: {self.default}]" if self.default and not self.flag else "",
        ]
        return self.help + "".join(more)

    def text(self, value: Any) -> str:
        """A value in the form of the command line."""
        value = self.plain(value)
        if isinstance(value, bool):
            return str(value).lower()
        return " ".join(value) if isinstance(value, list) else str(value)

    def plain(self, value: Any) -> Any:
        """A value in the form of ``bgci.toml``: a duration is a text with its unit."""
        return duration_text(value) if self.kind is float else value
