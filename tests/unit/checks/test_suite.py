"""The grammar of the suite: its meaning, and findings with line numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bgci.checks.model import Check, Expect, Share, Suite
from bgci.checks.suite import parse
from bgci.errors import InvalidError

KNOWN = {"app": "/web", "revision": "v2", "image": "web:2"}
SCHEMA = json.loads((files("bgci.checks") / "suite.schema.json").read_text(encoding="utf-8"))
CHECK, EXPECT = (SCHEMA["$defs"][name]["properties"] for name in ("check", "expect"))


def read(text: str, variables: Mapping[str, str] = KNOWN, secret: Mapping[str, str] | None = None) -> Suite:
    return parse(text, file="web.canary.yaml", variables=variables, secret=secret)


def one(text: str, **more: Any) -> Check:
    (check,) = read(f"checks:\n- {text}\n", **more).checks
    return check


def mistakes(text: str) -> list[str]:
    """Each finding: its line, what is wrong, and its remedy."""
    with pytest.raises(InvalidError) as caught:
        read(text)
    assert caught.value.code == 3
    rows = str(caught.value).splitlines()[1:-1]
    assert all(row.startswith("  - web.canary.yaml, ") for row in rows[::2])
    assert all(re.fullmatch(r" {4}[A-Z].*\.", row) for row in rows[1::2]), "each has a remedy"
    return [f"{row[21:]} {remedy.strip()}" for row, remedy in zip(rows[::2], rows[1::2], strict=True)]


def test_a_short_check_has_sensible_defaults() -> None:
    assert one("{path: /, expect: {status: 200}}") == Check("GET /", "/", Expect(status=("200",)))


def test_without_an_expected_status_only_2xx_and_3xx_pass() -> None:
    assert one("{path: /, expect: {body: hello}}").expect.status == ("2xx", "3xx")


def test_every_key_of_a_suite_is_parsed() -> None:
    suite = read("""
defaults: {headers: {Host: shop.example.com, X-A: a}, timeout: 2s}
checks:
  - name: order
    target: both
    method: POST
    path: /orders?x=1
    headers: {X-A: b}
    json: {sku: 7, note: "for ${revision}"}
    timeout: 500ms
    repeat: 20
    concurrency: 4
    port: 1
    expect:
      status: [201, 4xx]
      headers: {X-Revision: "${revision}"}
      header_regex: {Content-Type: "^application/json"}
      body: [sku, ok]
      body_regex: '"id": [0-9]+'
      json: {"$.sku": 7, "$.by": "${app}"}
      json_has: "$.items[?@.price > 5]"
      latency: {p95: 300ms, p50: 0.1s}
      success_rate: 99.5%
  - name: share
    target: load-balancer
    path: /
    repeat: 100
    expect: {share: {header: {X-Revision: "${revision}"}, at_least: 10%, at_most: 60%}}
""")
    order, share = suite.checks
    assert order == Check(
        name="order",
        target="both",
        method="POST",
        path="/orders?x=1",
        headers={"Host": "shop.example.com", "X-A": "b", "Content-Type": "application/json"},
        body=b'{"sku": 7, "note": "for v2"}',
        timeout=0.5,
        repeat=20,
        concurrency=4,
        port=1,
        expect=Expect(
            status=("201", "4xx"),
            headers={"X-Revision": "v2"},
            header_regex={"Content-Type": "^application/json"},
            body=("sku", "ok"),
            body_regex=('"id": [0-9]+',),
            json={"$.sku": 7, "$.by": "/web"},
            json_has=("$.items[?@.price > 5]",),
            latency=((50.0, 0.1), (95.0, 0.3)),
            success_rate=0.995,
        ),
    )
    assert share.timeout == 2.0
    assert share.expect.share == Share(0.1, 0.6, header=("X-Revision", "v2"))


def test_scheme_and_verification_are_taken_from_the_check_or_the_defaults() -> None:
    by_default, own = read("""
defaults: {scheme: https, verify: false}
checks:
  - {path: /a, expect: {status: 200}}
  - {path: /b, scheme: http, verify: true, expect: {status: 200}}
""").checks
    assert (by_default.scheme, by_default.verify) == ("https", False)
    assert (own.scheme, own.verify) == ("http", True)
    assert mistakes("checks:\n- {path: /, scheme: ftp, verify: 1, expect: {status: 200}}\n") == [
        "line 2: checks[0].scheme is 'ftp'. Use one of http, https.",
        "line 2: checks[0].verify must be true or false, but is a number. Write true or false.",
    ]


def test_a_variable_in_a_regex_is_inserted_literally_and_two_dollars_become_one() -> None:
    check = one("{path: /, expect: {body_regex: '^${revision}$', body: '$${x} $5'}}", variables={"revision": "1.0+b"})
    assert check.expect.body_regex == (r"^1\.0\+b$",)
    assert check.expect.body == ("${x} $5",)


def test_the_value_of_an_environment_variable_is_a_secret_if_it_is_used() -> None:
    text = "checks: [{path: /, headers: {X-Key: 'k ${env.KEY}'}, expect: {status: 200}}]"
    suite = read(text, secret={"env.KEY": "hush", "env.OTHER": "unused"})
    assert suite.checks[0].headers == {"X-Key": "k hush"}
    assert suite.secrets == ("hush",)


def test_a_secret_is_never_part_of_a_finding() -> None:
    with pytest.raises(InvalidError, match=r"timeout is '\*\*\*'") as caught:
        read("checks: [{path: /, timeout: '${env.KEY}', expect: {status: 200}}]", secret={"env.KEY": "hush-hush"})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "part", ['body: "\\ud800"', 'json: {a: "\\ud800"}', 'json: {"\\udcff": 1}', 'path: "/\\udcff"']
)
def test_half_of_a_character_is_refused_with_its_line(part: str) -> None:
    path = "" if part.startswith("path") else "path: /, "
    assert mistakes(f"checks:\n- {{{path}{part}, expect: {{status: 200}}}}\n")[0].startswith("line 2: checks[0].")


def test_a_byte_of_a_variable_that_is_not_text_is_refused() -> None:
    """Python reads a byte of the environment that is not UTF-8 as half of a character."""
    with pytest.raises(InvalidError, match=r"checks\[0\]\.body contains half of a character"):
        one('{path: /, body: "${note}", expect: {status: 200}}', variables={**KNOWN, "note": "a\udcff"})


def test_integers_written_with_a_decimal_point_are_accepted() -> None:
    check = one("{path: /, repeat: 2.0, expect: {status: [200.0, 4xx]}}")
    assert (check.repeat, check.expect.status) == (2, ("200", "4xx"))


def test_variables_are_filled_in_everywhere() -> None:
    check = one(
        "{path: '${p}', timeout: '${t}', expect: {json: {$.a: ['${revision}']}}}",
        variables={**KNOWN, "p": "/x", "t": "3s"},
    )
    assert (check.path, check.timeout, check.expect.json) == ("/x", 3.0, {"$.a": ["v2"]})


def test_anchors_and_merges_work_and_dates_stay_text() -> None:
    suite = read("""
checks:
  - &base {name: a, path: /a, expect: {status: 200}}
  - <<: *base
    name: b
    json: {day: 2026-01-01}
""")
    assert [(check.name, check.path) for check in suite.checks] == [("a", "/a"), ("b", "/a")]
    assert suite.checks[1].body == b'{"day": "2026-01-01"}'


def test_all_mistakes_are_reported_at_once_with_their_lines() -> None:
    assert mistakes("""checks:
  - path: /a
    repeet: 3
    expect:
      statsu: 200
  - name: no expectation
    path: /b
  - path: /c
    expect: {}
  - path: /d
    expect:
      body_regex: '('
      json: {"$.a[": 1}
  - path: /e
    path: /f
    expect: {status: 200}
""") == [
        "line 15: checks[4].path is given twice. Keep one of them.",
        f"line 3: checks[0].repeet is an unknown field. Write repeat; known are {', '.join(CHECK)}.",
        f"line 5: checks[0].expect.statsu is an unknown field. Write status; known are {', '.join(EXPECT)}.",
        "line 6: checks[1].expect is missing. Add it.",
        "line 9: checks[2].expect has 0 fields. Say what the answer has to be, such as status: 200.",
        "line 12: checks[3].expect.body_regex is not a regular expression: missing ), unterminated subpattern "
        "at position 0. Write a regular expression in single quotes, or a list of them.",
        "line 13: checks[3].expect.json['$.a['] is not a JSONPath: unexpected end of query. "
        "Write it as RFC 9535 has it, such as $.items[0].name.",
    ]


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ("{path: a, expect: {status: 200}}", "path is 'a'. Begin it with /"),
        ("{path: /, target: green, expect: {status: 200}}", "target is 'green'"),
        (
            "{path: /, timeout: 5, expect: {status: 200}}",
            "timeout must be text, but is a number. Write a duration with its unit",
        ),
        (
            "{path: /, timeout: 11m, expect: {status: 200}}",
            "timeout is '11m'. Write a duration with its unit, such as 300ms or 5s, 10m at most",
        ),
        ("{path: /, repeat: 0, expect: {status: 200}}", "repeat is 0. Write a whole number from 1 to 100000"),
        ("{path: /, concurrency: 33, expect: {status: 200}}", "concurrency is 33"),
        ("{path: /, body: a, json: 1, expect: {status: 200}}", "json is given beside body"),
        ("{path: /, headers: {'a b': c}, expect: {status: 200}}", "Write it as Content-Type: value"),
        ("{path: /, headers: {a: 'c\n\n d'}, expect: {status: 200}}", "printable ASCII"),
        ("{path: /, headers: {a: 1}, expect: {status: 200}}", "headers.a must be text"),
        ("{path: /, expect: {status: 99}}", "status is 99"),
        (
            "{path: /, expect: {status: [true]}}",
            "status[0] must be text, but is true or false. Write a status such as 200, or 2xx",
        ),
        ("{path: /, expect: {body: ''}}", "body has 0 characters"),
        ("{path: /, expect: {body: '${nope}'}}", "the unknown variable nope"),
        ("{path: /, expect: {latency: {95: 1s}}}", "Write a percentile: p50, p95"),
        (
            "{path: /, expect: {success_rate: 0.99}}",
            "success_rate must be text, but is a number. Write a percentage such as 99.5%",
        ),
        ("{path: /, expect: {success_rate: 101%}}", "success_rate is '101%'"),
        ('{path: /, headers: {a: "c\\n"}, expect: {status: 200}}', "printable ASCII"),
        ("{path: /, expect: {latency: {p50: 999999h}}}", "is longer than a year"),
        ("{path: /, json: .nan, expect: {status: 200}}", "is not a JSON value"),
        (
            "{path: /, expect: {share: {body: v2, at_least: 1%}}}",
            "share is not possible with target: canary. Write target: load-balancer.",
        ),
        (
            "{path: /, target: load-balancer, expect: {share: {body: v2, at_least: 1%}}}",
            "share needs 10 answers or more",
        ),
        (
            "{path: /, target: load-balancer, repeat: 9, expect: {share: {at_least: 1%}}}",
            "does not identify the canary's answers",
        ),
        ("{path: /, target: load-balancer, repeat: 10, expect: {share: {body: v2}}}", "share has no limit"),
        (
            "{path: /, target: load-balancer, repeat: 10, expect: {share: {body: v, at_least: 9%, at_most: 1%}}}",
            "has a larger at_least than at_most",
        ),
    ],
)
def test_a_mistake_is_reported_with_its_path(check: str, said: str) -> None:
    assert any(said in line for line in mistakes(f"checks: [{check}]")), mistakes(f"checks: [{check}]")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the suite must be an object"),
        ("[]", "the suite must be an object"),
        ("checks: []", "checks has 0 items. Write a list of one or more checks"),
        ("checks: {a: 1}", "checks must be a list"),
        ("checks: [1]", "checks[0] must be an object"),
        ("{}", "checks is missing"),
        (
            "checks: [{path: /, expect: {status: 200}}, {path: /, expect: {status: 200}}]",
            "has the name of another check",
        ),
    ],
)
def test_a_document_that_is_not_a_suite_is_refused(text: str, said: str) -> None:
    assert any(said in line for line in mistakes(text)), mistakes(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("checks:\n  - path: /\n   expect: {}\n", 3),
        ("checks: [\n", 2),
        ("a: 1\n---\nb: 2\n", 2),
        ("checks: &x [*x]\n", 1),
        ("checks: !!python/object:os.system {}\n", 1),
        ("checks: \x07", 1),
    ],
)
def test_invalid_yaml_is_refused_with_its_line(text: str, line: int) -> None:
    with pytest.raises(InvalidError, match=rf"web\.canary\.yaml, line {line}"):
        read(text)


# -- the schema for editors says the same as the parser -------------------------------------------------------------

DURATIONS = st.sampled_from(["1s", "300ms", "1.5s", "2m", "0s", "5", 5, "1h", None])
PERCENTS = st.sampled_from(["1%", "99.5%", "100%", "101%", "0%", 5, "x"])
TEXTS = st.sampled_from(["a", "two words", "", 5, True, None, ["a"], ["a", ""], []])
HEADERS = st.sampled_from([{"A-B": "c"}, {"a b": "c"}, {"A": ""}, {"A": 1}, {}, None, "x"])
PATHS = st.sampled_from(["$.a", "$.a[0]", "$..b", "a.b", 3])
WHOLE = st.sampled_from([0, 1, 10, 32, 33, 100, 100000, 100001, -1, "1", True, None, 1.5])
STATUS = st.sampled_from([200, "200", "2xx", 99, 600, "6xx", "20x", True, [200, "3xx"], [], [99], None])
SHARES = st.fixed_dictionaries(
    {}, optional={"header": HEADERS, "body": TEXTS, "at_least": PERCENTS, "at_most": st.just("100%"), "x": TEXTS}
)
EXPECTS = st.fixed_dictionaries(
    {},
    optional={
        "status": STATUS,
        "headers": HEADERS,
        "header_regex": HEADERS,
        "body": TEXTS,
        "body_regex": TEXTS,
        "json": st.dictionaries(PATHS.map(str), TEXTS, max_size=2),
        "json_has": PATHS | st.lists(PATHS, max_size=2),
        "latency": st.dictionaries(st.sampled_from(["p50", "p99.9", "p100", "p101", "95"]), DURATIONS, max_size=2),
        "success_rate": PERCENTS,
        "share": SHARES,
        "unknown": TEXTS,
    },
)
CHECKS = st.fixed_dictionaries(
    {"path": st.sampled_from(["/", "/a?b=c", "a", "/a b", "/#", 5])},
    optional={
        "expect": EXPECTS | TEXTS,
        "name": TEXTS,
        "target": st.sampled_from(["canary", "baseline", "both", "load-balancer", "all", None]),
        "method": st.sampled_from(["GET", "POST", "get", 5]),
        "headers": HEADERS,
        "body": TEXTS,
        "json": TEXTS,
        "timeout": DURATIONS,
        "repeat": WHOLE,
        "concurrency": WHOLE,
        "port": WHOLE,
        "unknown": TEXTS,
    },
)
DEFAULTS = st.fixed_dictionaries({}, optional={"headers": HEADERS, "timeout": DURATIONS, "path": TEXTS})
SUITES = st.fixed_dictionaries(
    {"checks": st.lists(CHECKS, max_size=1)}, optional={"defaults": DEFAULTS, "unknown": TEXTS}
)
GOOD = {"path": "/", "expect": {"status": 200}}
FULL = {**GOOD, "target": "load-balancer", "repeat": 10}


def valid_by_schema(document: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(SCHEMA).is_valid(document))


def valid_by_parser(document: Any) -> bool:
    try:
        read(yaml.safe_dump(document))
    except InvalidError:
        return False
    return True


@settings(max_examples=300)
@given(SUITES)
@example({"checks": [GOOD], "defaults": {"timeout": "1s"}})
@example({"checks": [{**FULL, "expect": {"share": {"body": "a", "at_least": "1%"}}}]})
@example({"checks": [{**FULL, "expect": {"share": {"body": "a", "header": {"a": "b"}, "at_least": "1%"}}}]})
def test_the_schema_and_the_parser_agree(document: Any) -> None:
    assert valid_by_schema(document) == valid_by_parser(document)


@pytest.mark.parametrize("changed", ["path", "expect", "headers", "timeout", "repeat", "target", "json", "port"])
@settings(max_examples=40)
@given(data=st.data())
def test_the_schema_and_the_parser_agree_on_one_change_to_a_good_check(changed: str, data: st.DataObject) -> None:
    changes = data.draw(CHECKS)
    document = {"checks": [{**GOOD, changed: changes.get(changed, GOOD.get(changed, 1))}]}
    assert valid_by_schema(document) == valid_by_parser(document)


def test_the_schema_is_a_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_aliases_that_multiply_are_refused_at_once() -> None:
    levels = ["a0: &a0 [1,1,1,1,1,1,1,1,1,1]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(InvalidError, match="more than 50000 values"):
        parse("\n".join(levels), file="s.yaml", variables={})
