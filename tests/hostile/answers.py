"""Hostile and faulty answers: bodies, heads, encodings, redirects, statuses and types."""

from __future__ import annotations

import gzip
import json
import threading
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from hostile.cluster import TEXTS, Answer, Send, whole

MEGABYTE = b"0" * (1 << 20)
MOST = 16 * len(MEGABYTE)  # bytes of an answer that are read
TRICKLE = 0.05  # seconds between two bytes: each comes long before the read timeout


def said(content: bytes) -> Answer:
    """Sends exactly these bytes."""
    return lambda send, good, over: send(content)


def body(content: bytes | str, status: str = "200 OK", kind: str = "application/json", *more: str) -> Answer:
    text = content.encode() if isinstance(content, str) else content
    return said(whole(text, kind, status, *more))


def head(*lines: str, status: str = "200 OK") -> Answer:
    """Sends these lines before the good body, without a Content-Length header of the test."""
    text = "\r\n".join([f"HTTP/1.1 {status}", *lines, "Connection: close"])
    return lambda send, good, over: send(f"{text}\r\n\r\n".encode("latin-1") + good)


def endless(first: bytes, more: bytes, pause: float = 0.0) -> Answer:
    def answer(send: Send, good: bytes, over: threading.Event) -> None:
        send(first)
        while not over.wait(pause):
            send(more)

    return answer


def _trickled(send: Send, good: bytes, over: threading.Event) -> None:
    """Sends the good answer one byte at a time, and then blanks without an end."""
    send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    for at in range(len(good)):
        if over.wait(TRICKLE):
            return
        send(good[at : at + 1])
    endless(b"", b" ", TRICKLE)(send, good, over)


def _lost(send: Send, good: bytes, over: threading.Event) -> None:
    """Sends half of the answer."""
    send(whole(good)[: -len(good) // 2 - 1])


def _doubled(send: Send, good: bytes, over: threading.Event) -> None:
    """Sends each member twice, the second time as a number."""
    text = good.decode()
    send(whole((f"{text[:-1]}, {text[1:-1].split(':')[0]}: 7}}" if text.startswith("{") else text).encode()))


def _truncated_gzip(send: Send, good: bytes, over: threading.Event) -> None:
    send(whole(gzip.compress(good)[:-9], "application/json", "200 OK", "Content-Encoding: gzip"))


def _utf16(send: Send, good: bytes, over: threading.Event) -> None:
    send(whole(good.decode().encode("utf-16")))


def _bad_utf8(send: Send, good: bytes, over: threading.Event) -> None:
    send(whole(good.replace(b"e", b"\xff\xfe", 3)))


@cache
def bomb() -> bytes:
    """Sends a gigabyte of blanks in a megabyte of gzip."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return b"".join([*(packer.compress(b" " * (1 << 20)) for _ in range(1024)), packer.flush()])


def _bomb(send: Send, good: bytes, over: threading.Event) -> None:
    send(whole(bomb(), "application/json", "200 OK", "Content-Encoding: gzip"))


def _redirects() -> Iterator[tuple[str, str]]:
    yield "itself", "?"
    yield "half an address", "http://["
    yield "a port that none is", "http://127.0.0.1:999999/"
    yield "a file", "file:///etc/passwd"
    yield "a login", "http://user:secret@127.0.0.1:1/"
    yield "a long address", "http://127.0.0.1:1/" + "a" * 30000
    yield "blanks", "http://127.0.0.1:1/a b\tc"
    yield "an unresolvable name", "http://" + "a" * 300 + ".invalid/"
    yield "a name that IDNA refuses", "http://\xad\xe9.\x80/"
    yield "nothing", ""


def _values() -> Iterator[tuple[str, str]]:
    """JSON texts of the wrong type, and texts that are not JSON."""
    yield "null", "null"
    yield "list", "[]"
    yield "object", "{}"
    yield "number", "7"
    yield "text", '"x"'
    yield "true", "true"
    yield "NaN", "NaN"
    yield "-Infinity", '{"apps": -Infinity}'
    yield "1e999", "[1e999]"
    yield "a long number", "9" * 5000
    yield "deep", "[" * 100_000 + "]" * 100_000
    yield "deep objects", '{"a":' * 3000 + "1" + "}" * 3000
    yield "list of null", "[null]"
    yield "list of lists", "[[[]]]"
    yield "apps null", '{"apps": null, "app": null, "queue": null}'
    yield "apps of numbers", '{"apps": [7], "app": 7, "queue": [7]}'
    yield "lone surrogate", '{"apps": [{"id": "\\ud800"}], "app": {"id": "\\ud800"}}'
    yield "NUL", '{"apps": [{"id": "/\\u0000"}], "app": {"id": "/\\u0000"}, "token": "\\u0000\\n"}'
    yield "token", '{"token": "a\\r\\nX-Evil: 1\\u20ac"}'
    yield "token with odd claims", '{"token": "e30.eyJleHAiOiAxZTMwMCwgInVpZCI6IFtdfQ.c2ln"}'
    yield "cut", '{"apps": ['
    yield "HTML", "<html><body>Welcome</body></html>"
    yield "empty", ""


def _statuses() -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    for status in ("401 Unauthorized", "403 Forbidden", "404 Not Found", "409 Conflict", "413 Too Large"):
        for text in ("{}", "x", '{"message": 7}', '{"message": {"a": []}, "deployments": [7, {}, {"id": null}]}'):
            yield f"{status} {text}"[:40], status, text, ()
    for text in (
        '{"details": 7}',
        '{"details": [{"errors": null}]}',
        '{"details": [7, [], {"errors": 7, "path": []}]}',
    ):
        yield f"422 {text}", "422 Unprocessable", text, ()
        yield f"400 {text}", "400 Bad Request", text, ()
    yield "500", "500 Internal Server Error", '{"message": "no"}', ()
    for after in ("0", "99999999999999999999", "-1", "1e9", "\xb2", "Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 99 Foo"):
        yield f"503 after {after}", "503 Service Unavailable", "x", (f"Retry-After: {after}",)
    yield "429", "429 Too Many Requests", "", ("Retry-After: 0",)
    yield "599", "599 Odd", "", ()
    yield "999", "999 Odd", "{}", ()
    yield "204 with a body", "204 No Content", '{"apps": []}', ()
    yield "304", "304 Not Modified", "", ()
    yield "206", "206 Partial Content", "{", ("Content-Range: bytes 0-0/9999999999",)


def _all() -> Iterator[tuple[str, Answer]]:
    start = b"HTTP/1.1 200 OK\r\n"
    json_head = start + b"Content-Type: application/json\r\n\r\n"
    yield "nothing", said(b"")
    yield "a body without an end", endless(json_head + b"[", MEGABYTE)
    yield "a gigabyte announced", endless(start + b"Content-Length: 1073741824\r\n\r\n[", MEGABYTE)
    yield "a gzip bomb", _bomb
    yield "a body that trickles", _trickled
    yield "a head that trickles", endless(start + b"X: ", b"x", TRICKLE)
    yield "a head without an end", endless(start, b"X-Header: 1\r\n" * 1000)
    yield "a header line without an end", endless(start + b"X: ", MEGABYTE)
    yield "continue for ever", endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
    yield "10000 headers", head(*(f"X-{n}: {n}" for n in range(10_000)))
    yield "silence", endless(b"", b"", 0.5)
    yield "half a status line", endless(b"HTTP/1.", b"", 0.5)
    yield "half the answer", _lost
    yield "no HTTP", said(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    yield "another version", said(b"HTTP/9.9 200 OK\r\n\r\n{}")
    yield "no status", said(b"HTTP/1.1\r\n\r\n{}")
    yield "a status that is none", said(b"HTTP/1.1 \xb2\xb2\xb2 OK\r\n\r\n{}")
    yield "broken headers", said(start + b"no colon\r\n: empty\r\n\xff\xfe: \x00\r\n\r\n{}")
    yield "a folded header", said(start + b"X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}")
    yield "two lengths", head("Content-Length: 5", "Content-Length: 6")
    yield "a negative length", head("Content-Length: -5")
    yield "a length that is none", head("Content-Length: five")
    yield "too long a length", head("Content-Length: 99999999")
    yield "too short a length", head("Content-Length: 3")
    yield (
        "chunks of no size",
        said(json_head.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n")),
    )
    chunked = json_head.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    yield "chunks of no size", said(chunked + b"zz\r\n{}\r\n")
    yield "a negative chunk", said(chunked + b"-5\r\n{}\r\n0\r\n\r\n")
    yield "a huge chunk", endless(chunked + b"ffffffffffffffff\r\n", MEGABYTE)
    yield "chunks without an end", endless(chunked, b"1\r\n[\r\n" * 10_000)
    yield "a chunk size without an end", endless(chunked, b"0" * 100_000)
    yield "cut chunks", said(chunked + b"5\r\n{}")
    yield "an unknown encoding", body(b"{}", "200 OK", "application/json", "Content-Encoding: br")
    yield "an encoding that it is not", body(b"{}", "200 OK", "application/json", "Content-Encoding: gzip")
    yield "cut gzip", _truncated_gzip
    yield "two encodings", body(b"{}", "200 OK", "application/json", "Content-Encoding: gzip, gzip")
    yield "an odd type", body(b"{}", "200 OK", "application/json; charset=bogus")
    yield "odd cookies", body(b"{}", "200 OK", "application/json", "Set-Cookie: a=b; expires=\xff; max-age=99e99")
    yield "an odd date", body(b"{}", "200 OK", "application/json", "Date: Fri, 31 Dec 99999 25:61:61 +9999")
    yield "members twice", _doubled
    yield "UTF-16", _utf16
    yield "wrong UTF-8", _bad_utf8
    for name, location in _redirects():
        lines = (f"Location: {location}", "Content-Length: 0")
        yield f"redirect to {name}", head(*lines, status="302 Found")
    yield "307 to itself", head("Location: ?", "Content-Length: 0", status="307 Temporary Redirect")
    yield "a redirect without an address", head("Content-Length: 0", status="301 Moved Permanently")
    for name, text in _values():
        yield f"JSON {name}", body(text)
    for name, status, text, more in _statuses():
        yield name, body(text, status, "application/json", *more)
    for name, text in _texts():
        yield name, body(text, "200 OK", "text/plain")


def _texts() -> Iterator[tuple[str, str]]:
    """Texts in place of statistics, process ids, a configuration, a log."""
    head = "# pxname,svname,status,scur,qcur,hrsp_2xx,\n"
    yield "statistics with a long field", head + f'web_10001,"{"x" * 200_000}",UP,0,0,0,\n'
    yield "statistics with an open quote", head + 'web_10001,"x,UP\n' * 1000
    yield "statistics with long numbers", head + f"web_10001,x,UP,{'9' * 5000},-1,{'9' * 21},\n"
    yield "statistics of NUL", head + "web_\0,\0,\0,\0,\n"
    yield "a long pid", "9" * 5000
    yield "pids that are none", "-1 1e5 0x10"
    yield "a configuration of long numbers", f"frontend web_10001\n bind *:{'9' * 5000}\n bind *:10001\n"
    yield "a page of long numbers", f"pid = {'9' * 5000} uptime = {'9' * 5000}d 1h1m1s"
    yield "a journal in a log", 'bgci-journal: {"event": 7}\nbgci-journal: [\nbgci-result: 7\n'
    for code in ("7e99", "null", '"x"', "[]", "1e5", "99999999999999999999"):
        yield f"a result of {code}", f'bgci-result: {{"exit_code": {code}, "state": 7, "message": [], "timings": 7}}\n'


def _large() -> Iterator[tuple[str, Answer]]:
    """Much memory: endless, or within the limit of bytes and each value takes far more memory than its text."""
    for name in ("a body without an end", "a gigabyte announced", "a gzip bomb", "JSON deep"):
        yield name, HOSTILE[name]
    for name, value in _values_within_the_limit():
        yield name, body(value)
    for name, first, line in _lines_within_the_limit():
        yield name, body(first + line * ((MOST - len(first)) // len(line)), "200 OK", "text/plain")


def _values_within_the_limit() -> Iterator[tuple[str, str | bytes]]:
    yield "many numbers", "[" + "0," * 900_000 + "0]"
    yield "many objects", '{"apps": [' + "{}," * 400_000 + "{}]}"
    yield "many keys", "{" + ",".join(f'"{n}":{n}' for n in range(400_000)) + "}"
    yield "as many values as are read", '{"apps": [' + "{}," * 120_000 + "{}]}"
    labels = ",".join(f'"{number}":"x"' for number in range(240_000))
    yield "apps of many labels", '{"apps":[{"id":"/web-green","labels":{"HAPROXY_APP_ID":"/web",' + labels + "}}]}"
    yield "a long text", '["' + "x" * (MOST - 10) + '"]'
    yield "a wide text", ('["' + "x" * (MOST - 20) + '\U0001f600"]').encode()
    yield "a long text in an app", '{"apps":[{"id":"/web-green","labels":{"a":"' + "x" * (MOST - 100) + '"}}]}'


def _lines_within_the_limit() -> Iterator[tuple[str, bytes, bytes]]:
    """Their beginning, and the line that is repeated."""
    yield "a line of 16 MiB", b"", b"x"
    yield "a wide line of 16 MiB", "\U0001f600".encode(), b"x"
    yield "blank lines", b"", b"\n"
    yield "pids", b"", b"1 "
    yield "statistics of commas", b"# pxname,svname,status\n", b","
    yield "statistics of rows", b"# pxname,svname,status\n", b"web_10001,a,UP\n"
    yield "a configuration of frontends", b"", b"frontend f\nbind *:10001\ndefault_backend web_10001\n"
    yield "a log of observations", b"", b'bgci-journal: {"time":"2026-01-01T00:00:00Z","event":"observed","full":{}}\n'
    yield "a log of results", b"", b'bgci-result: {"exit_code": 0, "state": {}, "timings": {}}\n'


HOSTILE: dict[str, Answer] = dict(_all())
LARGE: dict[str, Answer] = dict(_large())
_OF_JSON = {name for name, _ in _values_within_the_limit()} | {"JSON deep"}
_OF_TEXT = {name for name, *_ in _lines_within_the_limit()}


def fits(label: str, endpoint: str) -> bool:
    """Whether the client of this endpoint reads this kind of large answer: JSON or lines. Instances answer with
    either."""
    return endpoint == "instance" or label not in (_OF_JSON if endpoint in TEXTS else _OF_TEXT)


def changed(value: Any, path: str = "$") -> Iterator[tuple[str, Any]]:
    """The value with each one of its parts in turn replaced by each of the wrong values, and the part's path."""
    wrongs: tuple[Any, ...] = (None, [], {}, 7, -1, 1e300, 10**400, "", "x", "\0", True, [None], {"": {}})
    for wrong in wrongs:
        yield path, wrong
    if isinstance(value, dict):
        for name in value:
            for inner, other in changed(value[name], f"{path}.{name}"):
                yield inner, {**value, name: other}
    if isinstance(value, list):
        for at in range(len(value)):
            for inner, other in changed(value[at], f"{path}[{at}]"):
                yield inner, [*value[:at], other, *value[at + 1 :]]


def altered(change: Callable[[Any], Any]) -> Answer:
    """The good answer, changed."""

    def answer(send: Send, good: bytes, over: threading.Event) -> None:
        send(whole(json.dumps(change(json.loads(good))).encode()))

    return answer
