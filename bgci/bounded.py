"""Reads JSON, gzip and files of others within limits, because their content can be faulty or malicious."""

from __future__ import annotations

import errno
import gzip
import io
import json
import math
import os
import re
import select
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MOST_VALUES = 250_000  # of a JSON text: a short value can take 250 bytes of memory
MOST_TEXT = 24 << 20  # bytes; limit of a text in memory, where one non-ASCII character widens all of them
MOST_UNPACKED = 4 << 20  # bytes; limit of decompressed data: an app definition has at most 1 MiB
MOST_OF_A_FILE = 4 << 20  # bytes; limit of a file that a user writes
MOST_SECONDS = 4.0  # seconds; limit of the wait for a pipe or a terminal
WRITER_SECONDS = 1.0  # seconds; limit of the wait for the first writer of a named pipe


class UnusableJsonError(ValueError):
    """The JSON is valid, but unusable; the message has the reason, as the end of a sentence."""


def json_value(content: bytes | str) -> Any:
    """The value of a JSON text. Raises ValueError for any other text, UnusableJsonError for one that takes too much
    memory, is nested too deeply, or has an invalid number."""
    text = _decoded(content) if isinstance(content, bytes) else content
    if text.count(",") + text.count("[") + text.count("{") > MOST_VALUES:
        raise UnusableJsonError(f"it has more than {MOST_VALUES} values")
    try:
        return json.loads(text, parse_constant=_number, parse_float=_number, parse_int=_whole)
    except RecursionError:
        raise UnusableJsonError("it is nested too deeply") from None


def _decoded(content: bytes) -> str:
    """The text in the encoding that JSON detects; surrogates are allowed."""
    encoding = json.detect_encoding(content)
    if memory_of_text(content, encoding) > MOST_TEXT:
        raise UnusableJsonError(f"it takes more than {MOST_TEXT >> 20} MiB of memory")
    return content.decode(encoding, "surrogatepass")


def memory_of_text(content: bytes, encoding: str = "utf-8") -> int:
    """How many bytes of memory the text takes at most."""
    width = 1 if content.isascii() else 4 if re.search(rb"[\xf0-\xff]", content) or encoding != "utf-8" else 2
    return len(content) * width


def _number(text: str) -> float:
    """The number. NaN and Infinity are invalid in JSON, and 1e999 would become Infinity."""
    number = float(text)
    if not math.isfinite(number):
        raise UnusableJsonError(f"{text[:20]} is not a number")
    return number


def _whole(text: str) -> int:
    """The whole number. One with hundreds of digits is unusable, and Python does not read thousands of digits."""
    if len(text) > 100:
        raise UnusableJsonError(f"{text[:20]}... has more than 100 digits")
    return int(text)


def lines_of(text: str, most: int, longest: int = 100_000) -> Iterator[str]:
    """The first lines of a text, one at a time. A line of more than ``longest`` characters is cut."""
    start = 0
    for _ in range(most):
        if start >= len(text):
            return
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield text[start : min(end, start + longest)].removesuffix("\r")
        start = end + 1


def unpacked(content: bytes, most: int = MOST_UNPACKED) -> bytes:
    """The decompressed data. Raises ValueError for more than ``most`` bytes, and for other data than gzip."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            found = file.read(most + 1)
    except (OSError, EOFError) as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # zlib has its own error
        raise ValueError(f"{type(error).__name__}: {error}") from None
    if len(found) > most:
        raise ValueError(f"it holds more than {most} bytes")
    return found


def file_bytes(path: Path, most: int = MOST_OF_A_FILE) -> bytes:
    """The content of a file, or of a pipe with a writer. Raises OSError, also for more than ``most`` bytes, for an
    impossible name, and for a pipe without data for `MOST_SECONDS`.

    Follows a link, because the user has named the file.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except ValueError as error:  # a NUL character
        raise OSError(errno.EINVAL, str(error)) from None
    with open(handle, "rb", buffering=0) as file:
        found = _read(file, most + 1)
        if not found and stat.S_ISFIFO(os.fstat(handle).st_mode):
            raise OSError(errno.EPIPE, "it is a pipe without a writer")
    if len(found) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most} bytes")
    return found


def _read(file: io.FileIO, most: int) -> bytes:
    """The first bytes. The file is non-blocking; waits for data with a time limit."""
    found, until = b"", time.monotonic() + MOST_SECONDS
    select.select([file], [], [], WRITER_SECONDS)  # a read of a named pipe that no writer has opened is empty at once
    while len(found) < most:
        part = file.read(most - len(found))
        if part == b"":
            break
        found += part or b""
        left = until - time.monotonic()
        if part is None and (left <= 0 or not select.select([file], [], [], left)[0]):
            raise OSError(errno.ETIMEDOUT, f"it has sent nothing within {MOST_SECONDS:g} s")
    return found


def reason(error: OSError | ValueError) -> str:
    """Why a file cannot be read, as the end of a sentence."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def file_text(path: Path, most: int = MOST_OF_A_FILE) -> str:
    """The text of a file. Raises OSError, and ValueError for other text than UTF-8."""
    return file_bytes(path, most).decode("utf-8").replace("\r\n", "\n")


def require_file(path: Path, most: int) -> None:
    """Raises OSError unless it is a file on a disk with at most ``most`` bytes: for libraries that read a path."""
    try:
        state = os.stat(path)
    except ValueError as error:  # a NUL character
        raise OSError(errno.EINVAL, str(error)) from None
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "it is not a file")
    if state.st_size > most:
        raise OSError(errno.EFBIG, f"it is larger than {most} bytes")


def own_file(path: Path, most: int) -> bytes:
    """The content of a regular file in the artifacts directory: not of a link, pipe or device. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(handle, "rb") as file:
        found = file.read(most + 1) or b""
    if len(found) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most} bytes")
    return found
