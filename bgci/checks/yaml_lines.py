"""YAML with the line of each value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from bgci.appdef.findings import at
from bgci.appdef.limits import bounded
from bgci.appdef.template import loader_without_dates
from bgci.errors import InvalidError

# Limit of a document, counted before and after its aliases are expanded: nine levels of ten are a thousand million.
MOST_VALUES = 100_000
SECONDS = 4.0  # of processor time: a mapping can merge others that merge others


def read_yaml(text: str, file: str) -> tuple[Any, dict[str, int], list[str]]:
    """The document, the line of each value by its path (``$.checks[0].path``), and the paths of duplicate keys.

    Dates stay text, as in JSON. Raises InvalidError with the line when the text is not one YAML document.
    """
    import yaml

    try:
        with bounded(file, what="test suite", seconds=SECONDS):
            reader = _Reader(text, file)
            document = reader.document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "line 1"
        raise InvalidError(
            f"{file}, {where}: not YAML: {error.problem}", remedy="Put text with special characters in quotes."
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidError(f"{file}, line 1: not YAML: {error}", remedy="Correct the suite.") from None
    except RecursionError:
        raise InvalidError(
            f"{file}, line 1: nested too deeply, or contains itself", remedy="Flatten the suite."
        ) from None
    return document, reader.lines, sorted(reader.duplicates)


class _Reader:
    """Reads one document. ``lines``: of each value by its path; ``duplicates``: the paths of duplicate keys."""

    def __init__(self, text: str, file: str) -> None:
        self.lines: dict[str, int] = {}
        self.duplicates: set[str] = set()
        self._file = file
        self._count = 0
        self._loader = _counting_loader(self._counted)(text)

    def document(self) -> Any:
        root = self._loader.get_single_node()
        return self._value(root, "$") if root else None

    def _counted(self) -> None:
        """Counts each node when it is read, and each value when it is expanded."""
        self._count += 1
        if self._count > MOST_VALUES:
            raise InvalidError(
                f"{self._file} has more than {MOST_VALUES // 2} values.", remedy="Remove the aliases that repeat them."
            )

    def _value(self, node: Any, path: str) -> Any:
        import yaml

        self._counted()
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, at(path, index)) for index, item in enumerate(node.value)]
        return self._mapping(node, path) if isinstance(node, yaml.MappingNode) else self._loader.construct_object(node)

    def _mapping(self, node: Any, path: str) -> dict[Any, Any]:
        import yaml

        own = Counter(str(key.value) for key, _ in node.value if key.value != "<<")
        self.duplicates |= {at(path, name) for name, times in own.items() if times > 1}
        self._loader.flatten_mapping(node)
        found: dict[Any, Any] = {}
        for key, item in node.value:
            plain = isinstance(key, yaml.ScalarNode)
            name = str(self._loader.construct_object(key) if plain else key.start_mark)
            self.lines[at(path, name)] = key.start_mark.line + 1
            found[name] = self._value(item, at(path, name))
        return found


def _counting_loader(counted: Callable[[], None]) -> Any:
    class Loader(loader_without_dates()):  # type: ignore[misc]
        def compose_node(self, parent: Any, index: Any) -> Any:
            counted()
            return super().compose_node(parent, index)

    return Loader
