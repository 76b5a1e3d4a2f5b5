"""The workplace of a fuzz test: a directory, a cluster of canned answers, and the conditions after a command."""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from hostile.cluster import Answer, Cluster, Send, whole
from hostile.command import Ended, impatient, run
from hostile.commands import PASSWORD, environment, prepared, state_for
from hostile.good_answers import State

# Texts that only Python and its libraries write, never a message of bgci.
INTERNALS = re.compile(
    r"Traceback|bug in bgci|object at 0x|<class '|<function|NoneType|\[Errno|mappingproxy|defaultdict\(|PosixPath\(|"
    r"\w(Error|Exception|Warning)\(|HTTPConnection|unhashable|positional argument|unexpected keyword|not subscriptable|"
    r"not iterable|could not convert|invalid literal for|codec can't|object has no|must be str|indices must|__\w+__|"
    r"[a-z]Error: |TypeError|KeyError|AttributeError|ValueError|UnicodeError|RecursionError"
)
SECONDS = 60.0  # a busy machine is slow, and a command that never ends is far slower


@cache
def cluster() -> Cluster:
    started = Cluster()
    started.__enter__()
    atexit.register(started.__exit__)
    return started


@cache
def home() -> Path:
    place = Path(tempfile.mkdtemp(prefix="bgci-fuzz-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return prepared(place, cluster())


def carried_out(
    words: list[str],
    *,
    environ: Mapping[str, str] | None = None,
    endpoint: str = "",
    answer: Answer | None = None,
    files: Mapping[str, bytes] | None = None,
    state: State | None = None,
    said: bool = True,
) -> Ended:
    """Runs the command and asserts that it keeps the contract. files: written before. said: whether its messages are
    all its own, because nothing that was drawn could hold what is an internal of Python."""
    place, asked = home(), cluster()
    shutil.rmtree(place / "bgci-artifacts", ignore_errors=True)
    for name, content in (files or {}).items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(content)
    asked.state = state or state_for(words[0])
    asked.answering(endpoint, answer or good)
    known = {**environment(asked), "BGCI_TIMEOUT": "300ms", "BGCI_DRAIN_TIMEOUT": "200ms", "BGCI_JUDGE_FOR": ""}
    with impatient(read=0.2, pause=0.001):
        ended = run(place, words, {**known, **(environ or {})})
    require_contract(ended, said=said)
    return ended


def good(send: Send, body: bytes, over: threading.Event) -> None:
    send(whole(body))


def require_contract(ended: Ended, *, said: bool = True) -> None:
    assert ended.within_contract, ended
    assert PASSWORD not in re.sub("(?m)^::add-mask::.*$", "", ended.out + ended.err)
    assert ended.seconds < SECONDS
    if ended.code and said:
        assert ended.err.strip(), ended
        assert not INTERNALS.search(ended.err), ended.err
