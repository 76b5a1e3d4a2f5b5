"""Renders a template's text and reads it as JSON or YAML.

Jinja2 renders the text in its sandbox. An inserted value can never break the document or become a part of its
structure: the rendered text has a marker for each inserted string, which the parsed document then replaces by the
string. So `"{{ image }}"` in JSON, and `{{ image }}` with or without quotes in YAML, give the value literally, with any
characters.

Inserted numbers, true, false, none, lists and objects are written as JSON: `"instances": {{ n | int }}`. The result of
`| tojson` or `| safe` is inserted unchanged; a macro's result needs `| safe` if it is structure. A variable from
`--set` is a string until a filter converts it.

`{#` is text, so that a shell's `${#NAME}` is never lost. `{# ... #}` is a comment only in JSON, and only on
separate lines; YAML has its own comments.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from bgci.appdef.limits import CHARACTERS, VALUES, bounded
from bgci.errors import InvalidError

# The placeholder for the image in bg-deploy's templates.
BG_DEPLOY_IMAGE = "ThisIsAUniqueKey"
# From {# to the first #}: what follows that on the same line makes it no comment, and never ends at a later one.
_JSON_COMMENT = re.compile(r"^[ \t]*\{#(?:(?!#\}).)*#\}[ \t]*$", re.DOTALL | re.MULTILINE)


def render_template(text: str, *, name: str, variables: Mapping[str, object]) -> dict[str, object]:
    """The document of the template for these variables.

    name: the file's name, for errors; its suffix is the format of the template. Raises InvalidError, with the line and
    a remedy, for a text that is not a template or not a document, with an unknown variable, or that takes too much time
    or memory.
    """
    read = _reader(name)
    source = text.removeprefix("\ufeff").replace(BG_DEPLOY_IMAGE, "{{ image }}")
    if name.endswith(".json"):
        source = _JSON_COMMENT.sub(lambda found: "\n" * found[0].count("\n"), source)
    inserted = _Inserted(avoid=source + _dump(variables))
    with bounded(name):
        rendered = _render(source, name, variables, inserted)
        if len(rendered) > CHARACTERS:
            raise _too_large(name, f"{len(rendered)} characters")
        try:
            document = inserted.restored(read(rendered, name, inserted), "$", name)
        except RecursionError:
            raise InvalidError(
                f"{name} is nested too deeply, or contains itself.", remedy="Make the document flatter."
            ) from None
    if not isinstance(document, dict):
        raise InvalidError(f"{name} is not an object.", remedy="Let its outermost value be { … }, or a mapping.")
    return document


def _too_large(name: str, size: str) -> InvalidError:
    return InvalidError(
        f"The template {name} renders to a document of {size}.",
        remedy="Make its loops, repetitions and YAML references smaller.",
    )


class _Inserted:
    """The strings that a template inserted. The rendered text has a marker for each of them."""

    def __init__(self, avoid: str) -> None:
        # Characters of the private use areas: legal in JSON and YAML, and changed by no filter such as `upper`.
        self._mark = next(mark for mark in map(chr, range(0xE000, 0xF900)) if mark not in avoid)
        self._pattern = re.compile(f"{self._mark}([0-9]+){self._mark}")
        self._values: list[str] = []
        self._restored = self._characters = 0

    def comment_start(self) -> str:
        """A start of a comment that no template has."""
        return f"{self._mark}#"

    def finalize(self, value: object) -> object:
        """Jinja's last step for the value of each expression."""
        from jinja2 import Undefined
        from markupsafe import Markup

        if isinstance(value, Undefined | Markup):  # Jinja raises an error for the first; `| tojson` makes the second
            return value
        if value is None or isinstance(value, bool | int | float | list | tuple | dict):
            return _dump(value)
        if not isinstance(value, str):  # Python's text for it, such as <generator object ...>, is never meant
            raise TypeError(f"the value is a {type(value).__name__}, not text; after map, select or reject add | list")
        self._values.append(value)
        return f"{self._mark}{len(self._values) - 1}{self._mark}"

    def filled(self, text: str) -> str:
        """``text`` with its markers replaced; a macro's text can hold markers itself. Raises MemoryError."""

        def value(found: re.Match[str]) -> str:
            text = self.filled(self._values[int(found[1])])
            self._characters += len(text)
            if self._characters > CHARACTERS:
                raise MemoryError
            return text

        return self._pattern.sub(value, text)

    def hidden(self, text: str) -> str:
        """``text`` for an error message, without the values, which can be secrets."""
        return self._pattern.sub("{{…}}", text)

    def begins(self, text: str) -> bool:
        """Whether a marker stands at the beginning."""
        return text.startswith(self._mark)

    def restored(self, value: object, path: str, name: str) -> object:
        """A document with its markers replaced. Raises InvalidError for a value that JSON does not have."""
        self._restored += 1
        if self._restored > VALUES:  # a YAML document can refer to one list many times, and to that one many times
            raise _too_large(name, f"more than {VALUES} values")
        if isinstance(value, str):
            return self.filled(value)
        if isinstance(value, list):
            return [self.restored(item, f"{path}[{index}]", name) for index, item in enumerate(value)]
        if isinstance(value, dict):
            return {
                self._key(key, path, name): self.restored(item, f"{path}.{self.hidden(str(key))}", name)
                for key, item in value.items()
            }
        if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, float):
            raise InvalidError(f"{name}: {path} is {value}, which is not a JSON number.", remedy="Write a number.")
        raise InvalidError(
            f"{name}: {path} is a {type(value).__name__}, which is not a JSON type.", remedy="Put it in quotes."
        )

    def _key(self, key: object, path: str, name: str) -> str:
        if isinstance(key, str):
            return self.filled(key)
        raise InvalidError(f"{name}: {path} has the key {key!r}, which is not text.", remedy="Put it in quotes.")


def _dump(value: object) -> str:
    def plain(other: object) -> object:
        return dict(other) if isinstance(other, Mapping) else str(other)

    return json.dumps(value, default=plain, ensure_ascii=False)


def _render(source: str, name: str, variables: Mapping[str, object], inserted: _Inserted) -> str:
    from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError

    environment = _environment()(
        undefined=StrictUndefined,
        finalize=inserted.finalize,
        keep_trailing_newline=True,
        comment_start_string=inserted.comment_start(),
    )
    try:
        return str(environment.from_string(source).render(variables))
    except TemplateSyntaxError as error:
        raise InvalidError(
            f"{name}, line {error.lineno}: {_sentence(error.message)}",
            remedy="Inside {{ }} use single quotes; text with its own braces goes between {% raw %} and {% endraw %}.",
        ) from None
    except UndefinedError as error:
        known = ", ".join(sorted(variables)) or "none"
        raise InvalidError(
            f"{name}, line {_line(error)}: {_sentence(error.message)}",
            remedy=f"Known variables are: {known}. Add others with --set NAME=VALUE; env has only the names "
            "that the configuration lists.",
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # an expression of the template can raise anything, such as ZeroDivisionError
        raise InvalidError(
            f"{name}, line {_line(error)}: {type(error).__name__}: {_sentence(error)}",
            remedy="Correct the expression on this line.",
        ) from None


def _sentence(text: object) -> str:
    return f"{str(text).rstrip('.')}."


def _environment() -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """Refuses huge powers, because Python computes one in a single uninterruptible step."""

        intercepted_binops = frozenset(["**"])

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if isinstance(left, int) and isinstance(right, int) and abs(left).bit_length() * abs(right) > 10_000:
                raise OverflowError(f"{left} ** {right} is too large")
            return super().call_binop(context, operator, left, right)

    return Environment


def _line(error: BaseException) -> int:
    """The template's line at which rendering failed. Jinja names its frames ``<template>``."""
    lines = [1]
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == "<template>":
            lines.append(traceback.tb_lineno)
        traceback = traceback.tb_next
    return lines[-1]


def _reader(name: str) -> Any:
    if name.endswith(".json"):
        return _read_json
    if name.endswith((".yaml", ".yml")):
        return _read_yaml
    raise InvalidError(f"The name {name} does not end in .json or .yaml.", remedy="Rename the file after its format.")


def _read_json(text: str, name: str, inserted: _Inserted) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise _broken(text, name, inserted, error.msg, error.lineno, error.colno) from None
    except ValueError as error:  # a number with thousands of digits
        raise InvalidError(f"{name}: {_sentence(error)}", remedy="Correct the template.") from None


def loader_without_dates() -> Any:
    """PyYAML's safe loader without dates, which JSON does not know: 2026-01-01 stays text."""
    import yaml

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    return Loader


def _read_yaml(text: str, name: str, inserted: _Inserted) -> object:
    import yaml

    try:
        return yaml.load(text, Loader=loader_without_dates())  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _broken(text, name, inserted, error.problem or "not YAML", line, column) from None
    except (yaml.YAMLError, ValueError) as error:
        problem = inserted.hidden(str(error))
        raise InvalidError(f"{name} is not YAML: {_sentence(problem)}", remedy="Correct the template.") from None


def _broken(text: str, name: str, inserted: _Inserted, problem: str, line: int, column: int) -> InvalidError:
    lines = text.split("\n")
    shown = lines[line - 1] if line <= len(lines) else ""
    remedy = "Correct the template. Line numbers are those of the rendered text, after {% … %}."
    if inserted.begins(shown[column - 1 :]):
        remedy = 'The inserted value is text: write "{{ … }}" in quotes, or {{ … | int }} for a number.'
    return InvalidError(
        f"{name}, line {line}, column {column}: {inserted.hidden(problem)}: {inserted.hidden(shown).strip()[:200]}",
        remedy=remedy,
    )
