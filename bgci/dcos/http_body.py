"""Reads the body of an answer up to a limit, because the server can be faulty, or a different server."""

from __future__ import annotations

import http.client
import io
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import requests
import urllib3

MOST = 16 << 20  # bytes of a body, decoded
CHUNK = 1 << 16
ENCODINGS = "gzip"  # the requested and supported encodings


class TooLarge(Exception):
    """The body is larger than the limit, or its encoding is unusable; the message has the reason."""


@contextmanager
def as_request_errors() -> Iterator[None]:
    """Convert errors of the libraries below requests into those of requests: some answers bypass its own handlers, such
    as a chunk of a negative size."""
    try:
        yield
    except (requests.RequestException, UnicodeError):
        raise
    except (http.client.HTTPException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise requests.ConnectionError(error) from error


def read_body(response: requests.Response, over: threading.Event) -> None:
    """Read the body into the response's content, until the event. Raises TooLarge, or the errors of requests."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip"):
        raise requests.exceptions.ContentDecodingError(f"its encoding {encoding[:40]!r} is unknown")
    decoder = zlib.decompressobj(16 + zlib.MAX_WBITS) if "gzip" in encoding else None
    body, size = io.BytesIO(), 0
    try:
        while not over.is_set() and (part := response.raw.read(CHUNK, decode_content=False)):
            size += body.write(decoder.decompress(part, MOST + 1 - size) if decoder else part)
            if size > MOST:
                raise TooLarge(f"its answer is longer than {MOST >> 20} MiB")
    except urllib3.exceptions.ReadTimeoutError as error:
        raise requests.ReadTimeout(error) from error
    except zlib.error as error:
        raise requests.exceptions.ContentDecodingError(f"its answer is not gzip: {error}") from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise requests.ConnectionError(error) from error
    response._content = body.getvalue()  # without a copy, which could be large
    response._content_consumed = True  # type: ignore[attr-defined]
