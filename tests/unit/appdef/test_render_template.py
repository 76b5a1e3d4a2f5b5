"""Templates: values stay values, and every mistake is named with its place."""

from __future__ import annotations

import json

import pytest
from definition_samples import BG_DEPLOY

from bgci.appdef.template import render_template
from bgci.errors import InvalidError

VARIABLES: dict[str, object] = {
    "image": "example/web:2",
    "app": "/web",
    "revision": "2",
    "n": "4",
    "env": {"STAGE": "prod"},
}


def render(text: str, name: str = "web.template.json", **variables: object) -> dict[str, object]:
    return render_template(text, name=name, variables={**VARIABLES, **variables})


def refusal(text: str, name: str = "web.template.json", **variables: object) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        render(text, name, **variables)
    assert name in caught.value.message
    assert caught.value.remedy
    return caught.value


AWKWARD = [
    "a&b|c",
    'say "hi"',
    "back\\slash\\n",
    "line\nbreak\ttab",
    "example/web@sha256:" + "0" * 64,
    "{{ revision }}",
    "{% raw %}",
    "ThisIsAUniqueKey",
    "it's: #1 - [x], {y}",
    "\ue000" + "0" + "\ue000",
    "\x00\x7f\u2028",
    "",
    "null",
]


@pytest.mark.parametrize("value", AWKWARD)
def test_h30_a_value_is_inserted_literally(value: str) -> None:
    assert render('{"a": "{{ image }}", "{{ image }}": "x{{ image }}y"}', image=value) == {
        "a": value,
        value: f"x{value}y",
    }


@pytest.mark.parametrize("value", AWKWARD)
@pytest.mark.parametrize(
    "line", ["a: {{ image }}", 'a: "{{ image }}"', "a: '{{ image }}'", "a: |-\n  {{ image }}", "{a: {{ image }}}"]
)
def test_h30_a_value_is_inserted_literally_in_every_yaml_style(line: str, value: str) -> None:
    assert render(line, "web.template.yaml", image=value) == {"a": value}


def test_a_bg_deploy_template_works_unchanged() -> None:
    rendered = render(BG_DEPLOY, image="example/a&b|c:1")
    expected = json.loads(BG_DEPLOY)
    expected["container"]["docker"]["image"] = "example/a&b|c:1"
    assert rendered == expected


def test_numbers_and_other_values_are_inserted_as_json() -> None:
    text = '{"i": {{ n | int }}, "f": {{ 0.5 }}, "b": {{ n == "4" | lower }}, "none": {{ none }},'
    text += '"e": {{ env }}, "t": {{ n | tojson }}}'
    assert render(text) == {"i": 4, "f": 0.5, "b": True, "none": None, "e": {"STAGE": "prod"}, "t": "4"}


def test_a_variable_in_quotes_stays_a_string() -> None:
    assert render('{"n": "{{ n }}", "i": "{{ n | int }}"}') == {"n": "4", "i": "4"}


def test_blocks_filters_and_macros_work() -> None:
    text = """{% macro port(n) %}{"containerPort": {{ n }}, "name": "{{ app }}"}{% endmacro %}
    {"image": "{{ image | upper }}", "stage": "{% if env.STAGE == 'prod' %}live{% else %}test{% endif %}",
     "ports": [{% for n in [80, 81] %}{{ port(n) | safe }}{{ '' if loop.last else ',' | safe }}{% endfor %}],
     "label": "{% set x %}<{{ revision }}>{% endset %}{{ x }}"}"""
    text = text.replace("{{ '' if loop.last else ',' | safe }}", "{% if not loop.last %},{% endif %}")
    assert render(text) == {
        "image": "EXAMPLE/WEB:2",
        "stage": "live",
        "ports": [{"containerPort": 80, "name": "/web"}, {"containerPort": 81, "name": "/web"}],
        "label": "<2>",
    }


def test_a_yaml_date_stays_text_and_a_byte_order_mark_is_ignored() -> None:
    assert render("day: 2026-01-01", "t.yaml") == {"day": "2026-01-01"}
    assert render('\ufeff{"a": 1}') == {"a": 1}


def test_a_missing_variable_is_named_with_its_line() -> None:
    error = refusal('{\n "a": "{{ image }}",\n "b": "{{ tag }}"\n}')
    assert "line 3" in error.message
    assert "'tag'" in error.message
    assert "--set" in error.remedy


def test_an_environment_name_that_is_not_listed_is_missing() -> None:
    error = refusal('{"a": "{{ env.HOME }}"}')
    assert "'HOME'" in error.message
    assert "configuration" in error.remedy


def test_broken_json_is_shown_with_line_and_column() -> None:
    error = refusal('{\n "a": 1,\n "b" 2\n}')
    assert "line 3, column 6" in error.message
    assert '"b" 2' in error.message


def test_broken_yaml_is_shown_with_line_and_column() -> None:
    assert "line 2, column" in refusal("a: 1\n b: 2\n", "web.template.yaml").message


def test_text_without_quotes_in_json_is_explained_and_never_shown() -> None:
    error = refusal('{"password": {{ image }}}', image="hunter2")
    assert "int" in error.remedy
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": "{{ image"}',
        '{"a": "{% if %}"}',
        '{"a": {{ 1 / 0 }}}',
        '{"a": "{% include \'x\' %}"}',
        '{"a": "{{ \'\'.__class__.__mro__ }}"}',
        '{"a": "{{ env.update({}) }}"}',
        '{"a": NaN}',
        "[1, 2]",
        "",
        "[" * 100_000,
        '{"a": ' + "9" * 5000 + "}",
    ],
)
def test_an_invalid_template_or_document_is_refused(text: str) -> None:
    refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: .nan",
        "80: x",
        "a: !!binary aGk=",
        "&a [*a]",
        "x: &a [*a]",
        "a: !!python/none x",
        "a\n---\nb",
        "\x01",
        "a: " + "9" * 5000,
    ],
)
def test_yaml_that_json_cannot_represent_is_refused(text: str) -> None:
    refusal(text, "web.template.yaml")


def test_a_file_of_another_kind_is_refused() -> None:
    refusal("{}", "web.template.toml")


@pytest.mark.parametrize(
    "text", ["${#TOKEN}", "${DIR#}", "[ ${#A} -gt 0 ] && exec ${B#}", "awk '{# sum\\n s += $1 #}'"]
)
@pytest.mark.parametrize("name", ["web.template.json", "web.template.yaml"])
def test_text_that_looks_like_a_jinja_comment_is_kept(text: str, name: str) -> None:
    assert render(f'{{"cmd": "{text}"}}', name)["cmd"] == text.replace("\\n", "\n")


def test_a_comment_on_lines_of_its_own_is_a_comment_in_json_and_lines_keep_their_numbers() -> None:
    assert render('{# web:\n   the shop #}\n{"a": 1}') == {"a": 1}
    assert "line 3" in refusal('{# web:\n   the shop #}\n{"a": {{ missing }}}').message


def test_a_comment_with_text_after_it_is_refused_and_swallows_nothing_up_to_a_later_comment() -> None:
    refusal('{\n {# number #} "instances": 2,\n "cmd": "a",\n {# end #}\n "id": "/web"\n}')


@pytest.mark.parametrize("text", ["'a,b'.split(',') | map('upper')", "cycler", "'x'.format", "range(3)", "joiner()"])
def test_a_value_that_only_python_knows_is_refused_and_never_written_as_its_name(text: str) -> None:
    assert "not text" in refusal(f'{{"cmd": "{{{{ {text} }}}}"}}').message


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
def test_a_number_that_json_does_not_have_is_refused_with_the_right_remedy(number: str) -> None:
    assert refusal(f'{{"cpus": {number}}}').remedy == "Write a number."


def test_a_block_scalar_of_yaml_is_kept_unchanged() -> None:
    assert render("cmd: |\n  {# a #}\n  b", "web.template.yaml") == {"cmd": "{# a #}\nb"}


LOOP = "{% for i in range(99999) %}"
NINE_LEVELS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n" for level in range(1, 10)
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.json", '{"a": "' + LOOP * 3 + "{% endfor %}" * 3 + '"}'),
        ("t.json", "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}"),
        ("t.json", "{{ 'x' * 10**10 }}"),
        ("t.json", "{{ 9**999999 }}"),
        ("t.json", "{{ '%999999999d' % 1 }}"),
        (
            "t.json",
            "{% set n = namespace(x='x') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
        ),
        ("t.json", "{{ 'x' * 5000000 }}"),
        ("t.yaml", NINE_LEVELS),
    ],
)
def test_a_template_with_unbounded_output_is_refused(name: str, text: str) -> None:
    assert render("{}") == {}
    error = refusal(text, name)
    assert len(str(error)) < 1000
    assert render("{}") == {}, "the limits hold for one template only"
