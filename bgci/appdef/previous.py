"""The revision that served before, recorded on the app that replaces it: `bgci undo` needs no template.

Marathon forgets a deleted app with all its versions, so only the new app always exists.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bgci.appdef.app_definition import as_mapping, labels
from bgci.bounded import json_value, unpacked

REVISION_LABEL = "BGCI_PREVIOUS_REVISION"
DEFINITION_LABEL = "BGCI_PREVIOUS_DEFINITION"
# ZooKeeper's limit for an app with all its labels is 1 MiB. A larger record is omitted; the revision's jobs have it.
MAX_LABEL = 64 * 1024


@dataclass(frozen=True)
class Previous:
    """``definition``: of the app, without a colour; None if it was too large for the record."""

    revision: str
    image: str = ""
    definition: Mapping[str, Any] | None = None


def record(baseline: Mapping[str, Any], definition: Mapping[str, Any], revision: str) -> dict[str, str]:
    """The labels on the app of ``revision`` that record the baseline, whose definition without a colour is given.

    An app that bgci did not deploy has no revision: its record is named after ``revision``.
    """
    own = labels(baseline)
    image = own.get("BGCI_IMAGE") or as_mapping(as_mapping(baseline.get("container")).get("docker")).get("image", "")
    text = json.dumps({"image": image, "definition": definition}, sort_keys=True, separators=(",", ":"))
    packed = base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
    kept = {DEFINITION_LABEL: packed} if len(packed) <= MAX_LABEL else {}
    return {REVISION_LABEL: own.get("BGCI_REVISION") or f"before-{revision}"[:63].rstrip("._-"), **kept}


def previous(own: Mapping[str, str]) -> Previous | None:
    """The record in an app's labels; None without one."""
    revision = own.get(REVISION_LABEL, "")
    if not revision:
        return None
    try:
        found = json_value(unpacked(base64.b64decode(own.get(DEFINITION_LABEL, ""), validate=True)))
        return Previous(revision, str(found["image"]), dict(found["definition"]))
    except (ValueError, TypeError, KeyError):
        return Previous(revision)
