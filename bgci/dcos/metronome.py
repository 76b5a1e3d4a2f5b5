"""Metronome's REST API, as far as a release needs it (docs/platform.md, Metronome)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from bgci.dcos.http import Http
from bgci.dcos.http_failure import HttpFailure
from bgci.errors import ConflictError, InvalidError, UnavailableError

# What a JobSpec may contain (metronome: jobspec.schema.json); a GET adds more, which a PUT refuses.
SPEC_FIELDS = ("id", "description", "labels", "dependencies", "run")
T = TypeVar("T")


@dataclass(frozen=True)
class RunState:
    """One run. ``status``: INITIAL, STARTING, ACTIVE, SUCCESS, FAILED, or UNKNOWN while it is in neither list."""

    id: str
    status: str
    task_ids: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        return self.status in ("SUCCESS", "FAILED")


class Metronome:
    """A client. Expected failures are bgci errors that quote Metronome's own message."""

    def __init__(self, http: Http) -> None:
        self.http = http.below("", name="Metronome")

    def available(self) -> bool:
        """Whether a Metronome answers here; False where the cluster has none (404 of its router).

        Raises UnavailableError and DeniedError: a Metronome that is down or forbidden is not one that is absent.
        """
        try:
            return "pong" in self.http.text("/ping")
        except HttpFailure as failure:
            if failure.status == 404:
                return False
            raise failure.unavailable("Metronome fails") from failure

    def jobs(self, embed: Sequence[str] = ()) -> list[dict[str, Any]]:
        """All jobs that one may read."""
        params = [("embed", what) for what in embed]
        return self._list(self._call("", lambda: self.http.get("/v1/jobs", params=params)))

    def job(self, job_id: str, embed: Sequence[str] = ()) -> dict[str, Any] | None:
        """The job, or None when there is none (or one may not read it: Metronome does not tell)."""
        params = [("embed", what) for what in embed]
        try:
            reply = self._call(job_id, lambda: self.http.get(_path(job_id), params=params), missing=True)
        except HttpFailure:
            return None
        if not isinstance(reply, dict):
            raise self._stranger()
        return reply

    def create(self, job: Mapping[str, Any]) -> None:
        """Raises ConflictError when the id exists, InvalidError with each violation's path."""
        self._call(str(job.get("id", "")), lambda: self.http.post("/v1/jobs", json=spec(job)))

    def update(self, job: Mapping[str, Any]) -> None:
        """Replaces the job's specification; its schedules and history stay."""
        job_id = str(job["id"])
        self._call(job_id, lambda: self.http.put(_path(job_id), json=spec(job)))

    def delete(self, job_id: str, stop_runs: bool = True) -> None:
        """Deletes the job and its history. One that is gone is no failure."""
        params = [("stopCurrentJobRuns", str(stop_runs).lower())]
        try:
            self._call(job_id, lambda: self.http.delete(_path(job_id), params=params), missing=True)
        except HttpFailure:
            return

    def start(self, job_id: str) -> dict[str, Any]:
        """Triggers a run and returns it: ``id``, ``status`` INITIAL ..."""
        run = self._call(job_id, lambda: self.http.post(_path(job_id, "runs")))
        if not isinstance(run, dict) or "id" not in run:
            raise self._stranger()
        return run

    def run(self, job_id: str, run_id: str) -> RunState:
        """How the run stands (hazard 36): a finished one has left the runs and is, after a gap, in the history.

        In the gap it is UNKNOWN: ask again. Raises ConflictError when the job itself has gone.
        """
        try:
            run = self._call(job_id, lambda: self.http.get(_path(job_id, "runs", run_id)), missing=True)
        except HttpFailure:
            return self._past_run(job_id, run_id)
        tasks = tuple(task["id"] for task in run.get("tasks") or ())
        return RunState(run_id, str(run.get("status", "UNKNOWN")), tasks)

    def active_runs(self, job_id: str) -> list[dict[str, Any]]:
        """The runs that have not finished; none when the job does not exist."""
        try:
            return self._list(self._call(job_id, lambda: self.http.get(_path(job_id, "runs")), missing=True))
        except HttpFailure:
            return []

    def stop(self, job_id: str, run_id: str) -> None:
        """Stops a run; its task may live on through its kill grace period. One that has ended is no failure."""
        try:
            self._call(job_id, lambda: self.http.post(_path(job_id, "runs", run_id, "actions", "stop")), missing=True)
        except HttpFailure:
            return

    def _past_run(self, job_id: str, run_id: str) -> RunState:
        job = self.job(job_id, embed=("history",))
        if job is None:
            raise ConflictError(
                f"The job {job_id} has disappeared while its run {run_id} was followed.",
                remedy="Somebody deleted or replaced it (or read permission was withdrawn): see `bgci status`.",
            )
        history = job.get("history") or {}
        for key, status in (("successfulFinishedRuns", "SUCCESS"), ("failedFinishedRuns", "FAILED")):
            for run in history.get(key) or ():
                if run.get("id") == run_id:
                    return RunState(run_id, status, tuple(run.get("tasks") or ()))
        return RunState(run_id, "UNKNOWN")

    def _call(self, job_id: str, call: Callable[[], T], *, missing: bool = False) -> T:
        """``missing``: let Metronome's own 404 through as HttpFailure (not a proxy's: that is a wrong URL)."""
        try:
            return call()
        except HttpFailure as failure:
            if missing and failure.status == 404 and failure.is_api:
                raise
            raise _translated(failure, job_id) from failure

    def _list(self, reply: Any) -> list[dict[str, Any]]:
        if not isinstance(reply, list):
            raise self._stranger()
        return reply

    def _stranger(self) -> UnavailableError:
        url = self.http.base_url
        return UnavailableError(f"{url} does not answer as Metronome does.", remedy=f"Is {url} the URL of Metronome?")


def spec(job: Mapping[str, Any]) -> dict[str, Any]:
    """The job without what only a reply contains: history, summaries, active runs and schedules."""
    return {field: job[field] for field in SPEC_FIELDS if job.get(field) is not None}


def _translated(failure: HttpFailure, job_id: str) -> Exception:
    """The bgci error for a status of Metronome (metronome: JobSpecController)."""
    if failure.status == 409:
        return ConflictError(
            f"Metronome refuses the job {job_id}: {failure.message}",
            remedy="See `bgci status`; `bgci publish` replaces a job of the same name.",
        )
    if failure.status in (400, 422):
        return InvalidError(
            "\n  ".join([f"Metronome does not accept the job {job_id}: {failure.message}", *failure.details]),
            remedy="Correct the template or its variables.",
        )
    if failure.status == 404 and failure.is_api:
        return ConflictError(
            f"Metronome knows no job {job_id}: {failure.message}",
            remedy="Run `bgci publish` first. Without read permission for the job it looks the same.",
        )
    return failure.unavailable("Metronome fails")


def _path(job_id: str, *more: str) -> str:
    return "/".join(["/v1/jobs", *(quote(part, safe="") for part in (job_id, *more))])
