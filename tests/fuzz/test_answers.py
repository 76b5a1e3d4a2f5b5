"""The contract holds for any answer of the cluster, its load balancer or an instance, and for any log of a job.

Each endpoint of each command answers as it should, but for some parts (`fuzz.inputs`). The request goes over the wire.
"""

from __future__ import annotations

import gzip
import json
import threading
from functools import cache
from pathlib import Path

from hostile.cluster import TEXTS, Answer, Send, whole
from hostile.commands import APP, COMMANDS, V2
from hostile.good_answers import MISSING, State
from hypothesis import assume, given
from hypothesis import strategies as st

from fuzz.inputs import Change, changed, changed_text, changes, encoded, few, odd_texts, text_changes, written
from fuzz.workplace import carried_out, cluster

STATUSES = (
    *("200 OK", "200 OK", "200 OK", "200 OK", "201 Created", "204 No Content", "302 Found", "307 Temporary Redirect"),
    *("400 Bad Request", "401 Unauthorized", "403 Forbidden", "404 Not Found", "409 Conflict", "422 Unprocessable"),
    *("429 Too Many", "500 Internal Server Error", "503 Service Unavailable", "999 Odd"),
)
ERRORS = (
    {"message": "no", "details": [{"path": "/id", "errors": ["wrong"]}], "deployments": [{"id": "d1"}]},
    {"message": "Job Run 'x' not found", "requirements": {"a": {"b": [1]}}, "title": "t", "description": "d"},
)
HEADERS = ("Location", "Retry-After", "Date", "Content-Type", "Content-Encoding", "Content-Length", "Set-Cookie")
commands = st.sampled_from(sorted(COMMANDS))
headers = st.lists(st.tuples(st.sampled_from(HEADERS), odd_texts), max_size=2)


@cache
def endpoints(command: str) -> tuple[str, ...]:
    carried_out(list(COMMANDS[command]))
    return tuple(sorted(set(cluster().asked)))


def altered(endpoint: str, done: list[Change], status: str, more: list[tuple[str, str]], error: int) -> Answer:
    def answer(send: Send, body: bytes, over: threading.Event) -> None:
        if status.startswith("2") and endpoint in TEXTS:
            content = encoded(changed_text(body.decode(), done))
        else:
            good = json.loads(body) if status.startswith("2") and body != MISSING else ERRORS[error]
            content = written(changed(good, done))
        lines = [f"{name}: {_of_one_line(text)}" for name, text in more]
        send(whole(content, "text/plain" if endpoint in TEXTS else "application/json", status, *lines))

    return answer


def _of_one_line(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1").replace("\n", " ").replace("\r", " ")


@few
@given(
    command=commands,
    place=st.integers(0, 50),
    done=changes,
    texts=text_changes,
    status=st.sampled_from(STATUSES),
    more=headers,
    error=st.integers(0, 1),
)
def test_an_answer_with_mutated_parts_ends_within_the_contract(
    command: str,
    place: int,
    done: list[Change],
    texts: list[Change],
    status: str,
    more: list[tuple[str, str]],
    error: int,
) -> None:
    known = endpoints(command)
    endpoint = known[place % len(known)]
    done = texts if endpoint in TEXTS and status.startswith("2") else done
    carried_out(list(COMMANDS[command]), endpoint=endpoint, answer=altered(endpoint, done, status, more, error))


RESULT = {
    "exit_code": 0,
    "state": {"apps": [], "load_balancers": []},
    "timings": {"total_seconds": 1.5, "limit_seconds": 1.0, "waited_seconds": {"drain": 0.5}},
    "changed": True,
    "message": "done",
    "remedy": "none",
    "reached": "hybrid",
    "outputs": {"state": "hybrid"},
}


@cache
def recorded() -> tuple[dict[str, object], ...]:
    """The events of a journal."""
    file = Path(__file__).parent.parent / "replay" / "journals" / "rolling.jsonl.gz"
    return tuple(json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines())


@few
@given(
    at=st.integers(0, 100),
    event=changes,
    result=changes,
    code=st.sampled_from([0, 2, 3, 5, 6, 7, 8, 9, 10, 11, 99, 130, 143, -1, 10**30]),
    texts=st.lists(odd_texts, max_size=3),
    whole_result=st.booleans(),
    ends=st.sampled_from(["\n", "", "\r\n", "\n\n"]),
)
def test_a_job_log_with_mutated_lines_ends_within_the_contract(
    at: int,
    event: list[Change],
    result: list[Change],
    code: int,
    texts: list[str],
    whole_result: bool,
    ends: str,
) -> None:
    value = changed(RESULT | {"exit_code": code}, [] if whole_result else result)
    assume(not (isinstance(value, dict) and value.get("exit_code") == 1))  # a bug of the bgci in the job
    lines = [
        *(encoded(text) for text in texts),
        b"bgci-journal: " + written(recorded()[0]),
        b"bgci-journal: " + written(changed(recorded()[at % len(recorded())], event)),
        b"bgci-result: " + written(value),
    ]

    def answer(send: Send, body: bytes, over: threading.Event) -> None:
        send(whole(b"\n".join(lines) + ends.encode(), "text/plain"))

    words = ["canary", *V2, "--via", "job"]
    carried_out(words, endpoint="log", answer=answer, state=State(ended=True))


ACCOUNT = {"uid": "ci", "private_key": "-----BEGIN PRIVATE KEY-----", "scheme": "RS256", "login_endpoint": "https://x"}


@few
@given(done=changes, texts=text_changes, how=st.sampled_from(["object", "text", "cut"]))
def test_a_service_account_with_mutated_parts_ends_within_the_contract(
    done: list[Change], texts: list[Change], how: str
) -> None:
    text = written(changed(ACCOUNT, done)).decode("utf-8", "replace")
    text = (
        changed_text(json.dumps(ACCOUNT), texts) if how == "text" else text[: len(text) // 2] if how == "cut" else text
    )
    clean = text.replace("\0", "").encode("utf-8", "replace").decode()
    carried_out(
        ["status", *APP],
        environ={"BGCI_USERNAME": "", "BGCI_PASSWORD": "", "BGCI_SERVICE_ACCOUNT": clean},
    )
