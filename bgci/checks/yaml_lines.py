"""YAML with the line of everything in it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from bgci.appdef.findings import at
from bgci.appdef.limits import bounded
from bgci.errors import InvalidError

# Of a document, as it is read and again as its aliases are written out: nine levels of ten are a thousand million.
MOST_VALUES = 100_000
SECONDS = 4.0  # of processor time: a mapping can merge others that merge others


def read_yaml(text: str, file: str) -> tuple[Any, dict[str, int], list[str]]:
    """The document, the line of each value by its path (``$.checks[0].path``), and the paths of doubled keys.

    Dates stay text, as in JSON. Raises InvalidError with the line when the text is not one YAML document.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def compose_node(self, parent: Any, index: Any) -> Any:
            counted()
            return super().compose_node(parent, index)

        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    lines: dict[str, int] = {}
    doubled: list[str] = []
    count = 0

    def counted() -> None:
        """Counts each node as it is read, and each value as it is written out."""
        nonlocal count
        count += 1
        if count > MOST_VALUES:
            raise InvalidError(
                f"{file} has more than {MOST_VALUES // 2} values.", remedy="Remove the aliases that repeat them."
            )

    def value(node: Any, path: str) -> Any:
        counted()
        lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            return [value(item, at(path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return mapping(node, path)
        return loader.construct_object(node)

    def mapping(node: Any, path: str) -> dict[Any, Any]:
        own = Counter(str(key.value) for key, _ in node.value if key.value != "<<")
        doubled.extend(at(path, name) for name, times in own.items() if times > 1)
        loader.flatten_mapping(node)
        found: dict[Any, Any] = {}
        for key, item in node.value:
            name = str(loader.construct_object(key)) if isinstance(key, yaml.ScalarNode) else str(key.start_mark)
            lines[at(path, name)] = key.start_mark.line + 1
            found[name] = value(item, at(path, name))
        return found

    try:
        with bounded(file, what="test suite", seconds=SECONDS):
            loader = Loader(text)
            root = loader.get_single_node()
            document = value(root, "$") if root else None
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
    return document, lines, sorted(set(doubled))
