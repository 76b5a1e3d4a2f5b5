"""The difference of two documents as a unified diff."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

from bgci.appdef.app_definition import service_ports, set_service_ports
from bgci.appdef.colour import uncoloured
from bgci.appdef.marathon_schema import LATEST
from bgci.appdef.metronome_forms import stored_job

NO_DIFFERENCE = "no difference"


def difference(before: Any, after: Any) -> str:
    """A unified diff of two JSON values, or `NO_DIFFERENCE`."""
    old, new = (json.dumps(value, indent=2, sort_keys=True).splitlines() for value in (before, after))
    return "\n".join(difflib.unified_diff(old, new, "now", "then", lineterm="", n=2)) or NO_DIFFERENCE


def definition_difference(running: Mapping[str, Any], definition: Mapping[str, Any], version: str = LATEST) -> str:
    """The difference between a running app and a definition, both in the form that Marathon stores.

    Marathon's defaults, the labels that bgci writes and the ports of a colour are ignored. running: empty when no app
    runs. version: of Marathon.
    """
    before, after = uncoloured(running, version) if running else {}, uncoloured(definition, version)
    assigned, wanted = service_ports(before), service_ports(after)
    if len(assigned) == len(wanted):  # Marathon has replaced each 0 by a number
        after = set_service_ports(after, [port or given for port, given in zip(wanted, assigned, strict=True)])
    return difference(before, after)


def job_difference(published: Mapping[str, Any], job: Mapping[str, Any]) -> str:
    """The difference between a job in Metronome and another definition of it, without Metronome's defaults.

    published: empty when Metronome has no such job.
    """
    return difference(stored_job(published) if published else {}, stored_job(job))
