"""The image of the jobs, and the source of bgci in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bgci.appdef.app_definition import as_mapping
from bgci.appdef.jobs import artifact_file
from bgci.errors import UsageError
from bgci.options import Settings

NONE_GIVEN = "bgci:latest"  # placeholder in a rendered job until an image is given; no registry has it
WITH_PYTHON = "python:3.12-slim"
REMEDY = (
    "Give --job-image REGISTRY/bgci:VERSION (docs/image.md), or --job-artifact URL of a bgci.pyz that the agents can "
    "fetch (make zipapp)."
)


def job_image(settings: Settings) -> str:
    """The image for the jobs."""
    return settings.job_image or (WITH_PYTHON if settings.job_artifact else NONE_GIVEN)


def job_artifact(settings: Settings) -> str:
    """The URL of bgci.pyz, empty without one. Raises UsageError for a file name that is invalid in a job."""
    url = settings.job_artifact
    if url and not artifact_file(url):
        raise UsageError(
            f"--job-artifact {url} does not end with a file name of letters, digits, dots and dashes.",
            remedy="Write the URL of the file, such as https://files.example.com/bgci.pyz.",
        )
    return url


def require_job_image(settings: Settings, jobs: Iterable[Mapping[str, Any]]) -> None:
    """Raises UsageError for jobs in an image that does not exist: neither --job-image nor --job-artifact is given."""
    if settings.job_image or settings.job_artifact:
        return
    images = {as_mapping(as_mapping(as_mapping(job.get("run")).get("docker"))).get("image") for job in jobs}
    if NONE_GIVEN in images:
        raise UsageError("The jobs need a container image with bgci, but none is given.", remedy=REMEDY)
