"""Reads a server's JSON by type: the only place that turns a wrong type in an answer into an error (exit code 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from bgci.errors import UnavailableError

_KINDS = {dict: "an object", list: "an array", str: "a text", bool: "a flag", int: "a number", float: "a number"}


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """One value of an answer and its JSON path. A missing value and null are the same.

    Every reader raises UnavailableError for a value of another type, with the path. ``server`` and ``url`` are for
    messages.
    """

    value: Any
    server: str
    url: str
    path: str = "$"

    @property
    def missing(self) -> bool:
        return self.value is None

    def __getitem__(self, name: str) -> JsonAnswer:
        """The member of this object; missing where this is missing."""
        return JsonAnswer(self.object().get(name), self.server, self.url, f"{self.path}.{name}")

    def object(self) -> Mapping[str, Any]:
        """The object; an empty one for a missing value."""
        found: Mapping[str, Any] = self._of(dict, "an object", {})
        return found

    def items(self) -> list[JsonAnswer]:
        """The array's values; none for a missing value."""
        found = enumerate(self._of(list, "an array", []))
        return [JsonAnswer(one, self.server, self.url, f"{self.path}[{n}]") for n, one in found]

    def required(self) -> JsonAnswer:
        """This value. Raises UnavailableError when it is missing."""
        return self._refuse("a value") if self.value is None else self

    def text(self, default: str = "") -> str:
        return str(self._of(str, "a text", default))

    def whole(self, default: int = 0) -> int:
        return int(self.number(default))

    def number(self, default: float = 0.0) -> float:
        if isinstance(self.value, bool):
            self._refuse("a number")
        return float(self._of((int, float), "a number", default))

    def flag(self, default: bool = False) -> bool:
        return bool(self._of(bool, "true or false", default))

    def _of(self, kind: type | tuple[type, ...], wanted: str, default: Any) -> Any:
        """The value, which is of this kind; the default where it is missing."""
        if self.value is None:
            return default
        return self.value if isinstance(self.value, kind) else self._refuse(wanted)

    def texts(self) -> dict[str, str]:
        """The object's values, each of which is a text."""
        return {name: self[name].text() for name in self.object()}

    def _refuse(self, wanted: str) -> NoReturn:
        found = _KINDS.get(type(self.value), type(self.value).__name__)
        problem = "is missing" if self.value is None else f"is {found}, not {wanted}"
        raise UnavailableError(
            f"{self.url} does not answer like {self.server}: {self.path} {problem}.",
            remedy=f"Is {self.url} the URL of {self.server}?",
        )
