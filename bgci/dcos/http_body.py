"""The body of an answer, read to a limit: whoever answers may be wrong, broken, or somebody else."""

from __future__ import annotations

import json
import zlib
from typing import Any

import requests
import urllib3

MOST = 16 << 20  # bytes of a body, decoded
MOST_VALUES = 1_000_000  # values in a JSON text: each takes a hundred bytes in memory, however short it is written
CHUNK = 1 << 16
ENCODINGS = "gzip"  # what is asked for, and understood


class TooLarge(Exception):
    """The body is larger than what is read; the message says it in a few words."""


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
        raise requests.exceptions.ContentDecodingError(f"its answer is no gzip: {error}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise requests.ConnectionError(error) from error
    response._content = bytes(body)
    response._content_consumed = True  # type: ignore[attr-defined]


def json_value(content: bytes) -> Any:
    """The value of a JSON text. Raises ValueError, also for one that would take too much memory or is nested too
    deep."""
    if content.count(b",") + content.count(b"[") + content.count(b"{") > MOST_VALUES:
        raise ValueError("too many values")
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError("nested too deep") from None
