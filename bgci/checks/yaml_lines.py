"""YAML with the line of everything in it."""

from __future__ import annotations

from typing import Any

from bgci.appdef.findings import at
from bgci.errors import InvalidError

MOST_VALUES = 50_000  # of a document, its aliases written out: nine levels of ten aliases are a thousand million


def read_yaml(text: str, file: str) -> tuple[Any, dict[str, int], list[str]]:
    """The document, the line of each value by its path (``$.checks[0].path``), and the paths of doubled keys.

    Dates stay text, as in JSON. Raises InvalidError with the line when the text is not one YAML document.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    lines: dict[str, int] = {}
    doubled: list[str] = []
    count = 0

    def value(node: Any, path: str) -> Any:
        nonlocal count
        count += 1
        if count > MOST_VALUES:
            raise InvalidError(
                f"{file} has more than {MOST_VALUES} values.", remedy="Remove the aliases that repeat them."
            )
        lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            return [value(item, at(path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return mapping(node, path)
        return loader.construct_object(node)

    def mapping(node: Any, path: str) -> dict[Any, Any]:
        own = [key.value for key, _ in node.value if key.value != "<<"]
        doubled.extend(at(path, str(name)) for name in own if own.count(name) > 1)
        loader.flatten_mapping(node)
        found: dict[Any, Any] = {}
        for key, item in node.value:
            name = str(loader.construct_object(key)) if isinstance(key, yaml.ScalarNode) else str(key.start_mark)
            lines[at(path, name)] = key.start_mark.line + 1
            found[name] = value(item, at(path, name))
        return found

    try:
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
