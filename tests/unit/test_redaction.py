"""The redactor: the removed and the kept parts of a text."""

from __future__ import annotations

import base64
import json
import time

import pytest

from bgci.redaction import Redactor

PEM = (
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"
    "MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu\n"
    "NMoSfm76oqFvAp8Gy0iz5sxjZmSnXyCdPEovGhLa0VzMaQ8s+CLOyS56YyCFGeJZ\n"
    "-----END PRIVATE KEY-----\n"
)


def knowing(*secrets: str) -> Redactor:
    redactor = Redactor()
    redactor.hide(*secrets)
    return redactor


def test_a_header_of_basic_authentication_is_redacted() -> None:
    assert knowing("pässword:1").redacted("Authorization: Basic " + _basic("user:pässword:1")) == (
        "Authorization: Basic dXNlcj***=="
    )


def test_the_text_beside_a_secret_is_unchanged() -> None:
    assert knowing("s3cret").redacted('{"a": "s3cret", "b": "secret"}') == '{"a": "***", "b": "secret"}'


def test_a_private_key_is_redacted_line_by_line() -> None:
    redactor = knowing(PEM)
    shown = [redactor.redacted(f"job | {line}") for line in PEM.splitlines()]
    assert shown == ["job | -----BEGIN PRIVATE KEY-----", *["job | ***"] * 3, "job | -----END PRIVATE KEY-----"]


def test_a_private_key_in_json_in_base64_is_redacted() -> None:
    account = json.dumps({"uid": "bgci", "private_key": PEM})
    text = knowing(PEM).redacted(_basic(account))
    for line in PEM.splitlines()[1:-1]:
        assert all(_basic(" " * place + line)[4:-4] not in text for place in range(3))


def test_overlapping_secrets_are_both_redacted_completely() -> None:
    assert knowing("abcdef", "defghi").redacted("<abcdefghi>") == "<***>"
    assert knowing("abcd", "abcdefgh").redacted("<abcdefgh>") == "<***>"
    assert knowing("abab").redacted("<ababab>") == "<***>"


def test_a_mask_that_would_complete_another_secret_is_redacted() -> None:
    assert "a***b" not in knowing("secret", "a***b").redacted("asecretb")


def test_a_short_value_is_not_redacted() -> None:
    assert knowing("", "abc", " x \n").redacted("abc x") == "abc x"


def test_a_secret_with_a_final_line_break_is_redacted_without_it() -> None:
    assert knowing("s3cret\n").redacted("<s3cret>") == "<***>"


def test_json_stays_json() -> None:
    document = {"instances": 4711, "note": 'a "4711"', "nstances": '\nnstances"', "in": json.dumps({"n": "instances"})}
    text = json.dumps(document, indent=2)
    found = json.loads(knowing("4711", "nstances", "instances").redacted_json(text))
    assert found == {"***": '\n***"', "note": 'a "***"', "in": '{"n": "***"}'} or 4711 in found.values()
    assert knowing("elsewhere").redacted_json(text) == text


def test_masks_for_other_programs_are_single_lines() -> None:
    told = knowing("one-token", PEM).hidden()
    assert told == ["one-token", *PEM.splitlines()[1:-1]]
    assert Redactor().hidden() == []


@pytest.mark.parametrize("text", ["\\", "%25", "&amp;", "aaaa", "'\""])
def test_redaction_time_is_proportional_to_the_length(text: str) -> None:
    """In proportion, this needs less than a second; by the square of the length, minutes."""
    began = time.process_time()
    knowing('a\\\\\\"b', "%%%%", "&&&&", "''''", '\\"\\"\\"', "aaaaa").redacted(text * 60_000 + "b")
    assert time.process_time() - began < 30


def _basic(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
