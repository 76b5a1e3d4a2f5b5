"""From a template's text to the JSON it stands for.

The text is rendered by Jinja2 in its sandbox and then read as JSON or YAML. What an expression inserts can never break
the document, nor become a part of its structure: in the rendered text every inserted string is a marker, which is
replaced by the string when the document has been read. So `"{{ image }}"` in JSON, and `{{ image }}` with or without
quotes in YAML, give the value literally, whatever characters it holds.

Inserted numbers, true, false, none, lists and objects are written as JSON: `"instances": {{ n | int }}`. What
`| tojson` or `| safe` makes is inserted as it is; a macro's result needs the latter where it is meant as structure. A
variable from `--set` is a string until a filter makes it something else.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from bgci.errors import InvalidError

# What bg-deploy's templates have in the place of the image.
BG_DEPLOY_IMAGE = "ThisIsAUniqueKey"


def render_template(text: str, *, name: str, variables: Mapping[str, object]) -> dict[str, object]:
    """The document that the template makes of these variables.

    name: the file's name; its suffix says what is in it, and errors mention it.
    Raises InvalidError, with the line and a remedy, for what is not a template, not a document, or lacks a variable.
    """
    read = _reader(name)
    source = text.removeprefix("\ufeff").replace(BG_DEPLOY_IMAGE, "{{ image }}")
    inserted = _Inserted(avoid=source + _dump(variables))
    rendered = _render(source, name, variables, inserted)
    try:
        document = inserted.restored(read(rendered, name, inserted), "$", name)
    except RecursionError:
        raise InvalidError(f"{name} is nested too deeply, or contains itself", remedy="flatten it") from None
    if not isinstance(document, dict):
        raise InvalidError(
            f"{name} does not hold an object", remedy="its outermost value has to be { … }, or a mapping"
        )
    return document


class _Inserted:
    """The strings that a template inserted, each of which a marker stands for in the rendered text."""

    def __init__(self, avoid: str) -> None:
        # Characters of the private use areas: legal in JSON and YAML, and changed by no filter such as `upper`.
        self._mark = next(mark for mark in map(chr, range(0xE000, 0xF900)) if mark not in avoid)
        self._pattern = re.compile(f"{self._mark}([0-9]+){self._mark}")
        self._values: list[str] = []

    def finalize(self, value: object) -> object:
        """Jinja's last step for the value of each expression."""
        from jinja2 import Undefined
        from markupsafe import Markup

        if isinstance(value, Undefined | Markup):  # the former raises its own error; the latter is `| tojson`
            return value
        if value is None or isinstance(value, bool | int | float | list | tuple | dict):
            return _dump(value)
        self._values.append(str(value))
        return f"{self._mark}{len(self._values) - 1}{self._mark}"

    def filled(self, text: str) -> str:
        """``text`` with its markers replaced; what a macro made may hold markers in its turn."""
        return self._pattern.sub(lambda found: self.filled(self._values[int(found[1])]), text)

    def hidden(self, text: str) -> str:
        """``text`` as an error may show it: a value can be a secret."""
        return self._pattern.sub("{{…}}", text)

    def begins(self, text: str) -> bool:
        """Whether a marker stands at the beginning."""
        return text.startswith(self._mark)

    def restored(self, value: object, path: str, name: str) -> object:
        """A document with its markers replaced; raises InvalidError for what JSON cannot say."""
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
        raise InvalidError(
            f"{name}: {path} is a {type(value).__name__}, which JSON cannot say", remedy="put it in quotes"
        )

    def _key(self, key: object, path: str, name: str) -> str:
        if isinstance(key, str):
            return self.filled(key)
        raise InvalidError(f"{name}: {path} has the key {key!r}, which is no text", remedy="put it in quotes")


def _dump(value: object) -> str:
    def plain(other: object) -> object:
        return dict(other) if isinstance(other, Mapping) else str(other)

    return json.dumps(value, default=plain, ensure_ascii=False)


def _render(source: str, name: str, variables: Mapping[str, object], inserted: _Inserted) -> str:
    from jinja2 import StrictUndefined, TemplateSyntaxError, UndefinedError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, finalize=inserted.finalize, keep_trailing_newline=True
    )
    try:
        return environment.from_string(source).render(variables)
    except TemplateSyntaxError as error:
        raise InvalidError(
            f"{name}, line {error.lineno}: {error.message}",
            remedy="inside {{ }} use single quotes; text with its own braces goes between {% raw %} and {% endraw %}",
        ) from None
    except UndefinedError as error:
        known = ", ".join(sorted(variables)) or "none"
        raise InvalidError(
            f"{name}, line {_line(error)}: {error.message}",
            remedy=f"known variables are: {known}. Others come from --set NAME=VALUE; under env are only the names "
            "that the configuration lists",
        ) from None
    except Exception as error:  # an expression of the template can raise anything, such as ZeroDivisionError
        raise InvalidError(
            f"{name}, line {_line(error)}: {type(error).__name__}: {error}", remedy="mend the expression on this line"
        ) from None


def _line(error: BaseException) -> int:
    """The template's line where a rendering error arose: Jinja names its frames so."""
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
    raise InvalidError(f"{name} is neither JSON nor YAML by its name", remedy="let it end in .json or .yaml")


def _read_json(text: str, name: str, inserted: _Inserted) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise _broken(text, name, inserted, error.msg, error.lineno, error.colno) from None
    except ValueError as error:  # a number with thousands of digits
        raise InvalidError(f"{name}: {error}", remedy="mend the template") from None


def _read_yaml(text: str, name: str, inserted: _Inserted) -> object:
    import yaml

    class Loader(yaml.SafeLoader):
        """Without dates, which JSON does not know: 2026-01-01 stays text."""

        yaml_implicit_resolvers = {  # noqa: RUF012
            first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
            for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    try:
        return yaml.load(text, Loader=Loader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _broken(text, name, inserted, error.problem or "not YAML", line, column) from None
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidError(f"{name} is not YAML: {inserted.hidden(str(error))}", remedy="mend the template") from None


def _broken(text: str, name: str, inserted: _Inserted, problem: str, line: int, column: int) -> InvalidError:
    lines = text.split("\n")
    shown = lines[line - 1] if line <= len(lines) else ""
    remedy = "mend the template; lines are counted after {% … %} has been carried out"
    if inserted.begins(shown[column - 1 :]):
        remedy = 'what is inserted here is text: write "{{ … }}" in quotes, or {{ … | int }} for a number'
    return InvalidError(
        f"{name}, line {line}, column {column}: {inserted.hidden(problem)}: {inserted.hidden(shown).strip()}",
        remedy=remedy,
    )
