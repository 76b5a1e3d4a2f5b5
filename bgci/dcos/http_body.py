"""The body of an answer, read up to a limit: the server can be wrong, broken, or another one."""

from __future__ import annotations

import http.client
import json
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import urllib3

MOST = 16 << 20  # bytes of a body, decoded
MOST_VALUES = 1_000_000  # values in a JSON text: each takes a hundred bytes in memory, however short it is written
CHUNK = 1 << 16
ENCODINGS = "gzip"  # what is asked for, and understood


class UnusableJsonError(ValueError):
    """It is JSON, but cannot be used; the message says why, as the end of a sentence."""


class TooLarge(Exception):
    """The body is larger than what is read; the message says it in a few words."""


@contextmanager
def in_requests_words() -> Iterator[None]:
    """Inside, an error of the libraries below requests is one of requests: some answers get past its own handlers, such
    as a chunk of a negative size."""
    try:
        yield
    except (requests.RequestException, UnicodeError):
        raise
    except (http.client.HTTPException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise requests.ConnectionError(error) from error


def read_body(response: requests.Response) -> None:
    """Read the body, so that it is the response's content. Raises TooLarge, or what requests raises for a body."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise requests.exceptions.ContentDecodingError(f"its encoding {encoding[:40]!r} is unknown")
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS) if "gzip" in encoding else None
    body = bytearray()
    try:
        while part := response.raw.read(CHUNK, decode_content=False):
            body += decoder.decompress(part, MOST + 1 - len(body)) if decoder else part
            if len(body) > MOST:
                raise TooLarge(f"its answer is longer than {MOST >> 20} MiB")
    except urllib3.exceptions.ReadTimeoutError as error:
        raise requests.ReadTimeout(error) from error
    except zlib.error as error:
        raise requests.exceptions.ContentDecodingError(f"its answer is not gzip: {error}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise requests.ConnectionError(error) from error
    response._content = bytes(body)
    response._content_consumed = True  # type: ignore[attr-defined]


def json_value(content: bytes) -> Any:
    """The value of a JSON text. Raises ValueError for any other text, UnusableJsonError for one that would take too
    much memory, is nested too deep, or has a number that is none."""
    if content.count(b",") + content.count(b"[") + content.count(b"{") > MOST_VALUES:
        raise UnusableJsonError(f"it has more than {MOST_VALUES} values")
    try:
        return json.loads(content, parse_constant=_number, parse_float=_number)
    except RecursionError:
        raise UnusableJsonError("it is nested too deep") from None


def _number(text: str) -> float:
    """The number. NaN and Infinity are none in JSON, and 1e999 would become the latter."""
    number = float(text)
    if not math.isfinite(number):
        raise UnusableJsonError(f"{text[:20]} is not a number")
    return number
