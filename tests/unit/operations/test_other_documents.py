"""A template that renders to something else than an app is refused by its kind, also without an image in it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgci.commands import render
from bgci.errors import InvalidError
from bgci.options import Settings


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"id": "/web", "containers": []}, "a pod"),
        ({"id": "web", "run": {"cmd": "x"}}, "a DC/OS Job"),
        ({"apiVersion": "apps/v1", "spec": {}}, "a Kubernetes object"),
        ({"services": {"web": {}}}, "a Compose file"),
    ],
)
def test_a_document_of_another_kind_without_an_image_is_named_by_its_kind(
    document: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    template = tmp_path / "web.template.json"
    template.write_text(json.dumps(document))
    settings = replace(Settings(), app="web", revision="1", image="web:1", template=str(template))
    with pytest.raises(InvalidError, match=f"this is {kind}; bgci releases one app"):
        render.run(replace(settings, artifacts=str(tmp_path / "artifacts")))
