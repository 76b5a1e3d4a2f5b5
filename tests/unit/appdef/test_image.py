"""The image of --image is the image that runs; otherwise the template is refused."""

from __future__ import annotations

import pytest

from bgci.appdef.image import require_image_used
from bgci.appdef.template import render_template
from bgci.errors import InvalidError

IMAGE = "example/web:2"


def check(text: str) -> None:
    variables = {"image": IMAGE}
    rendered = render_template(text, name="t.json", variables=variables)
    require_image_used(rendered, text, name="t.json", variables=variables, image=IMAGE)


@pytest.mark.parametrize(
    "text",
    [
        '{"container": {"docker": {"image": "{{ image }}"}}}',
        '{"container": {"docker": {"image": "ThisIsAUniqueKey"}}}',
        '{"container": {"docker": {"image": "mirror/{{ image | replace(\'example/\', \'\') }}"}}}',
        '{"container": {"docker": {"image": "example/web:{{ image.split(\':\')[1] }}"}}}',
        '{"container": {"docker": {"image": "example/web:2"}}}',
        '{"cmd": "run", "fetch": [{"uri": "http://x/{{ image }}.tgz"}]}',
        '{"container": {"docker": {"image": "{{ {"example/web:2": "a"}[image] }}"}}}'.replace(
            '"example/web:2": "a"', "'example/web:2': 'a'"
        ),
    ],
)
def test_a_template_that_uses_the_image_passes(text: str) -> None:
    check(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"container": {"docker": {"image": "example/web:1"}}}',
        '{"container": {"docker": {"image": "example/web:1"}}, "labels": {"image": "{{ image }}"}}',
        '{"container": {"docker": {"image": "{{ image.split(\':\')[0] }}:latest"}}}',
        '{"cmd": "run"}',
    ],
)
def test_a_template_that_runs_another_image_is_refused_with_both_values(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        check(text)
    assert IMAGE in caught.value.message
