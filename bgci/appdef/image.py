"""Whether a template uses the image of --image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bgci.appdef.app_definition import as_mapping
from bgci.appdef.template import render_template
from bgci.errors import InvalidError


def require_image_used(
    rendered: Mapping[str, Any], text: str, *, name: str, variables: Mapping[str, object], image: str
) -> None:
    """Raises InvalidError when the rendered template does not depend on ``image`` and has another one.

    Renders the template again for another image. The container's image must differ then; an app without one must differ
    anywhere. A template with the same image as literal text passes.
    """
    written = _container_image(rendered)
    if written == image:
        return
    try:
        other = render_template(text, name=name, variables={**variables, "image": f"{image}0"})
    except InvalidError:  # a filter fails for the other image, so the template uses it
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
