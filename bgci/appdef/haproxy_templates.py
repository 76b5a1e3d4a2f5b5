"""The template labels of marathon-lb: whether ``str.format`` accepts them, and the effect of their lines. Pure."""

from __future__ import annotations

import re
from string import Formatter

from bgci.appdef.haproxy_label_table import CHECK_DEFAULTS, PER_PORT, Label, LabelKind
from bgci.appdef.haproxy_values import Effect, Problems

_SECTIONS = (
    *("global", "defaults", "frontend", "backend", "listen", "userlist", "peers", "resolvers", "mailers", "cache"),
    *("program", "ring", "http-errors", "log-forward", "fcgi-app", "crt-store", "traces", "log-profile", "acme"),
)
# The section that each head has to end in; the lines after it belong to that section.
_HEADS = {
    "FRONTEND_HEAD": ("frontend", "{backend}"),
    "BACKEND_HEAD": ("backend", "{backend}"),
    "USERLIST_HEAD": ("userlist", "user_{backend}"),
}
# The text after these two begins with a line break.
_END_ANYWHERE = ("FRONTEND_BACKEND_GLUE", "USERLIST_HEAD")
_DRAIN = "{otherOptions}"
_UNDRAINABLE = "{otherOptions}, where marathon-lb writes 'disabled': no task could ever be drained"

# A value of the type that marathon-lb gives for each placeholder; those of the second set can be None there.
_SAMPLES: dict[str, object] = {
    **dict.fromkeys({name for label in PER_PORT.values() for name in (*label.fields, "haproxy_dir")}, "x"),
    **dict.fromkeys(("servicePort", "port", "serverId", "healthCheckPort", "healthCheckPortIndex"), 1),
    **dict.fromkeys((name for name in PER_PORT["BACKEND_HTTP_HEALTHCHECK_OPTIONS"].fields if name[-1] == "s"), 1),
    "healthCheckPortOptions": "x",
    "healthCheck": CHECK_DEFAULTS,
}
_CAN_BE_NONE: dict[str, object] = dict.fromkeys(("hostname", "healthCheckPort", "healthCheckPortIndex"))


def check_template(value: str, label: Label, *, haproxy_map: bool) -> Problems:
    """The text of a label that replaces one of marathon-lb's templates; nothing for other labels."""
    text = value.replace("\r\n", "\n")
    if label.kind in (LabelKind.TEMPLATE, LabelKind.FRAGMENT):
        fields = label.map_fields if haproxy_map and label.map_fields is not None else label.fields
        problem = format_problem(text, fields)
        if problem:
            given = ", ".join(f"{{{name}}}" for name in fields)
            remedy = f"write {{{{ and }}}} for braces of HAProxy's own; marathon-lb replaces here: {given}"
            yield problem, remedy, Effect.FROZEN
            return
    if label.kind is LabelKind.VERBATIM:
        yield from _check_verbatim(text)
    if label.kind is LabelKind.FRAGMENT and "\n" in text.strip():
        yield "contains a line break within the server line", "write it in one line", Effect.LEFT_OUT
    if label.kind in (LabelKind.TEMPLATE, LabelKind.VERBATIM):
        yield from _check_lines(text, label.name)
    if label.kind in (LabelKind.BALANCE, LabelKind.OPTIONS):  # what follows their first line is written as it is
        further = words_by_line(text.partition("\n")[2])
        yield from _check_sections(further, label.name)
        yield from _check_routes(further, label.name)


def format_problem(text: str, fields: tuple[str, ...]) -> str:
    """Why ``str.format`` with these placeholders raises an error; empty when it does not."""
    try:
        parts = [part for part in Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        return f"has a stray brace ({str(error).lower()})"
    for _, name, spec, _ in parts:
        root = re.split(r"[.\[]", name or "", maxsplit=1)[0]
        if root not in fields:
            return f"has the placeholder {{{name}}}, which marathon-lb does not give here"
        if re.search(r"[{]|[0-9]{4}", spec or ""):
            return f"has the placeholder {{{name}:{spec}}} with a width that is not plausible"
    for samples in (_SAMPLES, {**_SAMPLES, **_CAN_BE_NONE}):
        try:
            text.format(**{name: samples[name] for name in fields})
        except Exception as error:  # whatever marathon-lb would raise
            return f"cannot be formatted ({type(error).__name__}: {error})"
    return ""


def _check_verbatim(text: str) -> Problems:
    known = sorted({f"{{{name}}}" for name in _SAMPLES if f"{{{name}}}" in text})
    if known:
        message = f"has the placeholder {known[0]}, but marathon-lb replaces nothing in this template"
        yield message, "write the value itself", Effect.LEFT_OUT
    if any(word in ("{{", "}}", "!{{") for word in text.split()):
        message = "has double braces, but marathon-lb does not format this template"
        yield message, "write single braces, such as { ssl_fc }", Effect.LEFT_OUT


Lines = list[list[str]]


def words_by_line(text: str) -> Lines:
    """The words of each line that is neither blank nor a comment."""
    lines = (re.sub(r"(^|\s)#.*", "", line).split() for line in text.split("\n"))
    return [words for words in lines if words]


def _check_lines(text: str, name: str) -> Problems:
    lines = words_by_line(text)
    if lines and text.rpartition("\n")[2].strip() and name not in _END_ANYWHERE:
        message = "does not end with a line break, so marathon-lb joins the next line to its last one"
        yield message, "add \\n at the end of the label", Effect.LEFT_OUT
    if re.search(r"\\n(\s\s|\s*$)", text):
        yield "has a backslash and an n in place of a line break", "write \\n once in JSON, not \\\\n", Effect.LEFT_OUT
    yield from _check_sections(lines, name)
    yield from _check_routes(lines, name)
    if name == "BACKEND_SERVER_OPTIONS":
        yield from _check_server_lines(lines)


def _check_sections(lines: Lines, name: str) -> Problems:
    opened = [tuple(words[:2]) for words in lines if words[0] in _SECTIONS]
    head = _HEADS.get(name)
    if head is None:
        for section in opened:
            message = f"opens the section {' '.join(section)!r} in the middle of another one"
            yield message, "remove that line and those after it", Effect.MISLED
        return
    wanted = " ".join(head)
    if lines and (not opened or opened[-1] != head):
        found = f"opens {' '.join(opened[-1])!r}" if opened else "opens no section"
        message = f"{found} in place of {wanted!r}: users would reach another app, or HAProxy refuses it"
        yield message, f"write the line {wanted!r}", Effect.MISLED
        opened = opened[:-1]
    for section in opened:
        if section != head and "{backend}" not in "".join(section[1:]):
            message = f"opens the section {' '.join(section)!r}, which is shared with every app that does the same"
            yield message, "put {backend} into its name, or remove it", Effect.MISLED


def _check_routes(lines: Lines, name: str) -> Problems:
    """Findings of ports, backends and servers of others."""
    binds = [words for words in lines if words[0] == "bind"]
    for words in binds:
        address = re.split(r"\{sslCert\}|\{bindOptions\}", words[1] if len(words) > 1 else "")[0]
        if not all(part.endswith(":{servicePort}") for part in address.split(",")):
            message = f"binds {address!r}, a port in use: its users would reach this app"
            yield message, "write bind {bindAddr}:{servicePort}", Effect.MISLED
    if name == "FRONTEND_HEAD" and lines and not binds:
        message = "has no bind line: the service port would refuse connections"
        yield message, "add the line 'bind {bindAddr}:{servicePort}'", Effect.MISLED
    for words in lines:
        target = words[1] if len(words) > 1 else ""
        if words[0] in ("use_backend", "default_backend") and "{backend}" not in target and "%[" not in target:
            message = f"leads to the backend {target!r} of another app"
            yield message, f"write {words[0]} {{backend}}", Effect.MISLED
        if words[0] in ("server", "server-template") and name != "BACKEND_SERVER_OPTIONS":
            message = f"adds the server {target!r}, which is not a task of the app"
            yield message, "remove it; marathon-lb adds a line for each task", Effect.MISLED


def _check_server_lines(lines: Lines) -> Problems:
    servers = [words for words in lines if words[0] == "server"]
    if not servers:
        message = "has no server line: the app would have no server at the load balancer"
        yield message, "add 'server {serverName} {host_ipv4}:{port}{otherOptions}'", Effect.MISLED
    for words in servers:
        yield from _check_server(words)
    if any(_DRAIN in " ".join(words) for words in lines if words[0] != "server"):
        message = "has {otherOptions} outside of the server line: it would disable the whole backend"
        yield message, "move it to the end of the server line", Effect.MISLED


def _check_server(words: list[str]) -> Problems:
    line = " ".join(words)
    name, address = (*words[1:3], "", "")[:2]
    if name != "{serverName}":
        message = f"names the server {name!r} in place of {{serverName}}: bgci could not tell the tasks apart"
        yield message, "write 'server {serverName} {host_ipv4}:{port}'", Effect.MISLED
    if not re.fullmatch(r"(ipv[46]@)?\{host(_ipv4)?\}:\{port\}(\{.*)?", address):
        message = f"leads to {address!r}, which is not the address of the task"
        yield message, "write {host_ipv4}:{port} and a blank after the name", Effect.MISLED
    if _DRAIN not in line:
        yield f"lacks {_UNDRAINABLE}", "add {otherOptions} at the end of the server line", Effect.UNDRAINED
    elif re.search(r"\{otherOptions\}[^\s{]", line):
        yield "has no blank after {otherOptions}", "move it to the end of the server line", Effect.LEFT_OUT
    if "enabled" in line.partition(_DRAIN)[2].split():
        yield f"has the word 'enabled' after {_UNDRAINABLE}", "remove it", Effect.UNDRAINED
    if re.search(r"\sweight 0+(\s|\{|$)", line):
        message = "has the weight 0, with which no request reaches the task although HAProxy counts it as UP"
        yield message, "remove it, or write another weight", Effect.MISLED
    if "disabled" in words:
        message = "has the word 'disabled': no task would ever be in rotation"
        yield message, "remove it; marathon-lb writes it while a task is drained", Effect.MISLED
