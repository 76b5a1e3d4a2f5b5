"""Whether a template uses the image that was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bgci.appdef.app_definition import as_mapping
from bgci.appdef.template import render_template
from bgci.errors import InvalidError


def require_image_used(
    rendered: Mapping[str, Any], text: str, *, name: str, variables: Mapping[str, object], image: str
) -> None:
    """Raises InvalidError when the rendered template runs another image than ``image``, whatever ``image`` says.

    The template is rendered again for another image. The container's image has to differ then; an app without one
    has to differ anywhere. A template that has the image itself as text passes.
    """
    written = _container_image(rendered)
    if written == image:
        return
    try:
        other = render_template(text, name=name, variables={**variables, "image": f"{image}0"})
    except InvalidError:  # a filter that does not take the other image: the template uses it
        return
    unused = _container_image(other) == written if written else other == rendered
    if unused:
        shown = f"it runs {written!r}" if written else "it names no image"
        raise InvalidError(
            f"The template {name} does not use the image {image!r}: {shown}.",
            remedy='Write "image": "{{ image }}" in container.docker, or give the image that the template names.',
        )


def _container_image(definition: Mapping[str, Any]) -> str:
    image = as_mapping(as_mapping(definition.get("container")).get("docker")).get("image")
    return image if isinstance(image, str) else ""
