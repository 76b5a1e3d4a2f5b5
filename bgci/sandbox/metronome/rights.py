"""The permissions that Metronome requires (docs: deploying-jobs/job-groups). Without *read* a job seems absent."""

from __future__ import annotations

from aiohttp import web

from bgci.sandbox import rights

JOBS = "dcos:service:metronome:metronome:jobs"


def may(request: web.Request, job_id: str, action: str = "read") -> bool:
    return rights.may(request, f"{JOBS}:{job_id}", action)


def require(request: web.Request, job_id: str, action: str) -> None:
    """Checks a permission for a job. Raises ApiError 403."""
    rights.require(request, f"{JOBS}:{job_id}", action)
