"""Regular expressions and URIs as Java's libraries read them, where they differ from Python's."""

from __future__ import annotations

import pytest

from bgci.appdef.java import is_java_pattern, is_java_uri


@pytest.mark.parametrize(
    "text",
    ["", "r.*", r"\p{Alpha}+", r"\Q(\E", "a(?i)b", "(?<name>a)", "(?<=a)b", "a++", "a{2}{3}", "[{]", r"\{", "[a&&[b]]"],
)
def test_a_pattern_that_java_compiles_is_valid(text: str) -> None:
    assert is_java_pattern(text)


@pytest.mark.parametrize("text", ["(", "[", "*", "a**", "x{", "{x}", "x{,3}", "(?P<name>a)", "\\", "a)", "[]", r"\y"])
def test_a_pattern_that_java_refuses_is_not_valid(text: str) -> None:
    assert not is_java_pattern(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://x/y?a=b#c",
        "hdfs:///a",
        "s3://b/k%20v",
        "a/b",
        "http://[::1]:80/x",
        "mailto:a",
        "http://ä/",
        "x?a=[1]",
        "a/b:c",
    ],
)
def test_a_uri_that_java_parses_is_valid(text: str) -> None:
    assert is_java_uri(text)


@pytest.mark.parametrize(
    "text",
    ["a b", "http:", "http://", ":a", "%zz", "a|b", "http://[x", "http://x/[a]", "a#b#c", "1x:y", "http://x/{a}"],
)
def test_a_uri_that_java_refuses_is_not_valid(text: str) -> None:
    assert not is_java_uri(text)
