"""Metronome's REST API, as far as a release needs it (docs/platform.md, Metronome)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from bgci.appdef.app_definition import as_mapping
from bgci.dcos.http_failure import HttpFailure
from bgci.dcos.json_answer import JsonAnswer
from bgci.dcos.service import Service
from bgci.errors import ConflictError, InvalidError, UnavailableError

# The fields of a JobSpec (metronome: jobspec.schema.json); a GET adds others, which a PUT refuses.
SPEC_FIELDS = ("id", "description", "labels", "dependencies", "run")


@dataclass(frozen=True)
class JobRun:
    """One run of a job.

    ``status``: INITIAL (waits for an offer), STARTING, ACTIVE, SUCCESS, FAILED, or UNKNOWN while it is in neither list.
    ``task_ids``: in the order of their start while the run is active; the history has no order.
    """

    id: str
    status: str
    task_ids: tuple[str, ...] = ()

    @property
    def finished(self) -> bool:
        return self.status in ("SUCCESS", "FAILED")


@dataclass(frozen=True)
class Job:
    """A job as Metronome stores it.

    ``spec``: the fields that a PUT accepts. ``active_runs``: runs that have not ended. ``last_success``,
    ``last_failure``: the time of the last such run, empty without one. ``schedules``: ids of those that are enabled.
    """

    id: str
    spec: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)
    active_runs: tuple[JobRun, ...] = ()
    last_success: str = ""
    last_failure: str = ""
    schedules: tuple[str, ...] = ()

    @property
    def app(self) -> str:
        """The app of the job, empty for a job that bgci did not publish."""
        return self.labels.get("BGCI_APP", "")

    @property
    def revision(self) -> str:
        """The revision of the job, empty for a job that bgci did not publish."""
        return self.labels.get("BGCI_REVISION", "")

    @property
    def env(self) -> Mapping[str, Any]:
        """The environment of its runs: texts, and references to secrets."""
        return as_mapping(as_mapping(self.spec.get("run")).get("env"))


class Metronome(Service):
    name = "Metronome"

    def available(self) -> bool:
        """Whether Metronome answers; False if the cluster has none (404 of its router).

        Raises UnavailableError and DeniedError: a Metronome that is down, forbidden or answers something else still
        exists, and a goal must not run without it by mistake.
        """
        try:
            for _ in range(2):  # an incomplete answer is asked for once more
                if "pong" in self.http.text("/ping"):
                    return True
        except HttpFailure as failure:
            if failure.status == 404:
                return False
            raise failure.unavailable("Metronome fails") from failure
        raise UnavailableError(
            f"{self.http.base_url} does not answer like Metronome: /ping has no `pong`.",
            remedy=f"Is {self.http.base_url} the URL of Metronome? Otherwise run the command again.",
        )

    def jobs(self) -> list[Job]:
        """All jobs that the account can read."""
        params = [("embed", "activeRuns"), ("embed", "historySummary")]
        return [_job(job) for job in self._call(lambda: self.http.get("/v1/jobs", params=params)).required().items()]

    def job(self, job_id: str) -> Job | None:
        """The job, or None if it does not exist or the account cannot read it: Metronome's answer is the same."""
        found = self._read(job_id, "activeRuns")
        return _job(found) if found else None

    def _read(self, job_id: str, embed: str) -> JsonAnswer | None:
        found = self._if_there(lambda: self.http.get(_path(job_id), params=[("embed", embed)]), _named(job_id))
        return found.required() if found else None

    def create(self, job: Mapping[str, Any]) -> None:
        """Raises ConflictError when the id exists, InvalidError with each violation's path."""
        self._call(lambda: self.http.post("/v1/jobs", json=spec(job)), _named(job.get("id", "")))

    def update(self, job: Mapping[str, Any]) -> None:
        """Replaces the job's specification; its schedules and history stay."""
        job_id = str(job["id"])
        self._call(lambda: self.http.put(_path(job_id), json=spec(job)), _named(job_id))

    def delete(self, job_id: str, stop_runs: bool = True) -> None:
        """Deletes the job and its history, if it exists."""
        params = [("stopCurrentJobRuns", str(stop_runs).lower())]
        self._if_there(lambda: self.http.delete(_path(job_id), params=params), _named(job_id))

    def start(self, job_id: str) -> JobRun:
        """Starts a run and returns it."""
        return _run(self._call(lambda: self.http.post(_path(job_id, "runs")), _named(job_id)))

    def run(self, job_id: str, run_id: str) -> JobRun:
        """The run's state (hazard 36): a finished run is in the history only a short time after it has left the active
        runs. In between it is UNKNOWN: ask again. Raises ConflictError when the job itself no longer exists.
        """
        found = self._if_there(lambda: self.http.get(_path(job_id, "runs", run_id)), _named(job_id))
        return _run(found) if found else self._past_run(job_id, run_id)

    def active_runs(self, job_id: str) -> list[JobRun]:
        """The runs that have not finished; none when the job does not exist."""
        found = self._if_there(lambda: self.http.get(_path(job_id, "runs")), _named(job_id))
        return [_run(run) for run in found.required().items()] if found else []

    def stop(self, job_id: str, run_id: str) -> bool:
        """Stops a run; its task can run on for its kill grace period. Returns False for a run that has ended."""
        path = _path(job_id, "runs", run_id, "actions", "stop")
        return self._if_there(lambda: self.http.post(path), _named(job_id)) is not None

    def _past_run(self, job_id: str, run_id: str) -> JobRun:
        job = self._read(job_id, "history")
        if job is None:
            raise ConflictError(
                f"Job {job_id} and its run {run_id} no longer exist: the job was deleted or replaced during the run.",
                remedy="Check the state with `bgci status`. A missing read permission for the job has the same effect.",
            )
        for key, status in (("successfulFinishedRuns", "SUCCESS"), ("failedFinishedRuns", "FAILED")):
            for run in job["history"][key].items():
                if run["id"].text() == run_id:
                    return JobRun(run_id, status, tuple(task.text() for task in run["tasks"].items()))
        return JobRun(run_id, "UNKNOWN")

    def translated(self, failure: HttpFailure, what: str) -> Exception:
        """The bgci error for a status of Metronome (metronome: JobSpecController)."""
        if failure.status == 409:
            return ConflictError(
                f"Metronome refuses {what}: {failure.message}",
                remedy="Check `bgci status`; `bgci publish` replaces a job of the same name.",
            )
        if failure.status == 413:
            return InvalidError(
                f"{what.capitalize()} is too large for Metronome: {failure.message}",
                remedy="Shorten the app definition, or use --via direct.",
            )
        if failure.status == 404 and failure.is_api:
            return ConflictError(
                f"Metronome does not find {what}: {failure.message}",
                remedy="Run `bgci publish` first. A missing read permission for the job has the same effect.",
            )
        return super().translated(failure, what)


def _job(answer: JsonAnswer) -> Job:
    summary = answer["historySummary"]
    return Job(
        id=answer["id"].required().text(),
        spec=spec(answer.object()),
        labels=answer["labels"].texts(),
        active_runs=tuple(_run(run) for run in answer["activeRuns"].items()),
        last_success=summary["lastSuccessAt"].text(),
        last_failure=summary["lastFailureAt"].text(),
        schedules=tuple(one["id"].text() for one in answer["schedules"].items() if one["enabled"].flag(True)),
    )


def _run(answer: JsonAnswer) -> JobRun:
    # More than four tasks come in any order (metronome: JobRun.tasks, a map); a time has a fixed form.
    begun = sorted((task["startedAt"].text(), n, task["id"].text()) for n, task in enumerate(answer["tasks"].items()))
    tasks = tuple(task_id for _, _, task_id in begun)
    return JobRun(answer["id"].required().text(), answer["status"].text("UNKNOWN"), tasks)


def spec(job: Mapping[str, Any]) -> dict[str, Any]:
    """The job without the fields that only a reply has: history, summaries, active runs and schedules."""
    return {field: job[field] for field in SPEC_FIELDS if job.get(field) is not None}


def _named(job_id: object) -> str:
    return f"the job {job_id}"


def _path(job_id: str, *more: str) -> str:
    return "/".join(["/v1/jobs", *(quote(part, safe="") for part in (job_id, *more))])
