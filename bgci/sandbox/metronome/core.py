"""Jobs, their runs as real processes, and their history (metronome: JobRunExecutorActor.scala)."""

from __future__ import annotations

import asyncio
import os
import random
import string
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bgci.sandbox.clock import metronome_time, utc_now
from bgci.sandbox.iam.secrets import SecretError, Secrets, secret_environment
from bgci.sandbox.images import PullError, pull
from bgci.sandbox.mesos import Mesos, end_message
from bgci.sandbox.metronome.fetcher import fetch
from bgci.sandbox.metronome.model import ServerError
from bgci.sandbox.processes import Child, Processes
from bgci.sandbox.web import ApiError

Json = dict[str, Any]

LAUNCH_SECONDS = 0.2
"""The wait for an offer: from INITIAL to ACTIVE, and before each further task, without a back-off (metronome:
MarathonImplicits.toRunSpec)."""
KILL_GRACE_SECONDS = 3.0
MAX_HISTORY = 1000
AGENT_ID = "5ab8fc1e-0000-4000-8000-000000000000-S0"


@dataclass(eq=False)
class Run:
    """One run of a job while it is active. Times in Metronome's form."""

    id: str
    job_id: str
    spec: Json
    created_at: str
    status: str = "INITIAL"
    completed_at: str | None = None
    tasks: list[Json] = field(default_factory=list)
    child: Child | None = None
    stopped: bool = False

    def as_json(self) -> Json:
        return {
            "id": self.id,
            "jobId": self.job_id,
            "status": self.status,
            "createdAt": self.created_at,
            "completedAt": self.completed_at,
            "tasks": [dict(task) for task in self.tasks],
        }


@dataclass
class History:
    """The finished runs of a job, newest first."""

    successful: list[Json] = field(default_factory=list)
    failed: list[Json] = field(default_factory=list)
    success_count: int = 0
    failure_count: int = 0

    def add(self, entry: Json, *, success: bool) -> None:
        if success:
            self.success_count += 1
            self.successful = [entry, *self.successful][:MAX_HISTORY]
        else:
            self.failure_count += 1
            self.failed = [entry, *self.failed][:MAX_HISTORY]

    def summary(self) -> Json:
        return {
            "successCount": self.success_count,
            "failureCount": self.failure_count,
            "lastSuccessAt": self.successful[0]["finishedAt"] if self.successful else None,
            "lastFailureAt": self.failed[0]["finishedAt"] if self.failed else None,
        }

    def as_json(self) -> Json:
        runs = {"successfulFinishedRuns": self.successful, "failedFinishedRuns": self.failed}
        return {**self.summary(), **runs}


class Metronome:
    """All jobs. Schedules and dependencies are kept but start nothing: runs are triggered by hand only."""

    def __init__(self, processes: Processes, mesos: Mesos, history_gap: float, secrets: Secrets | None = None) -> None:
        self._processes = processes
        self._mesos = mesos
        self._history_gap = history_gap
        self._secrets = secrets
        self._executions: set[asyncio.Task[None]] = set()
        self.jobs: dict[str, Json] = {}
        self.history: dict[str, History] = {}
        self.runs: dict[str, Run] = {}
        self._in_flight: set[str] = set()
        self._down_until = 0.0

    @property
    def is_down(self) -> bool:
        """Whether Metronome does not answer, as while DC/OS restarts the process. Runs and their tasks continue."""
        return time.monotonic() < self._down_until

    def go_down(self, seconds: float) -> None:
        """Simulates an ended process for that many seconds (0: Metronome answers again at once)."""
        self._down_until = time.monotonic() + seconds
        self._in_flight.clear()

    async def close(self) -> None:
        executions = list(self._executions)
        for execution in executions:
            execution.cancel()
        await asyncio.gather(*executions, return_exceptions=True)

    def job(self, job_id: str) -> Json:
        """The job with this id. Raises ApiError 404."""
        try:
            return self.jobs[job_id]
        except KeyError:
            raise no_job(job_id) from None

    def runs_of(self, job_id: str) -> list[Run]:
        """The active runs of a job."""
        return [run for run in self.runs.values() if run.job_id == job_id]

    def create(self, spec: Json) -> Json:
        """Adds a job. Raises ApiError 422 for a dependency that does not exist, 409 if the id is taken."""
        self._check_dependencies(spec)
        if spec["id"] in self.jobs:
            raise ApiError(409, {"message": "Job with this id already exists"})
        self.jobs[spec["id"]] = spec
        self.history[spec["id"]] = History()
        return spec

    def update(self, job_id: str, change: Callable[[Json], Json]) -> Json:
        """Replaces a job by the result of ``change``.

        Raises ApiError 404; ServerError while an earlier change has not ended; 422 for an unknown dependency or a
        cycle, and then the change never ends (metronome: JobSpecServiceActor.updateJobSpec)."""
        old = self.job(job_id)
        self._begin_change(job_id)
        changed = change(old)
        self._in_flight.add(job_id)
        self._check_dependencies(changed)
        self._in_flight.discard(job_id)
        self.jobs[job_id] = changed
        return changed

    def _begin_change(self, job_id: str) -> None:
        if job_id in self._in_flight:
            raise ServerError(f"a change of {job_id} is in flight")

    def _leads_to(self, start: str, end: str) -> bool:
        """Whether a job depends on another, through others or not."""
        return start == end or any(self._leads_to(one["id"], end) for one in self.jobs[start]["dependencies"])

    def _check_dependencies(self, spec: Json) -> None:
        """Checks that the dependencies exist and have no cycle. Raises ApiError 422."""
        wanted = [dependency["id"] for dependency in spec["dependencies"]]
        unknown = [name for name in wanted if name not in self.jobs]
        if unknown:
            raise ApiError(422, {"message": f"Dependencies contain unknown jobs. unknown=[{', '.join(unknown)}]"})
        if spec["id"] in self.jobs and any(self._leads_to(name, spec["id"]) for name in wanted):
            raise ApiError(422, {"message": "Dependencies have a cycle."})

    def delete(self, job_id: str, *, stop_runs: bool) -> Json:
        """Deletes a job and its history. Raises ApiError 404; 409 with active runs or with jobs that depend on it."""
        spec = self.job(job_id)
        runs = self.runs_of(job_id)
        if runs and not stop_runs:
            raise ApiError(409, {"message": "There are active job runs. Override with stopCurrentJobRuns=true"})
        for run in runs:
            self.stop(run)
        self._begin_change(job_id)
        users = [other for other, job in self.jobs.items() if {"id": job_id} in job["dependencies"]]
        if users:
            text = f"There are jobs with a dependency on {job_id}. children=[{', '.join(users)}]"
            raise ApiError(409, {"message": text})
        del self.jobs[job_id], self.history[job_id]
        return spec

    def trigger(self, job_id: str) -> Run:
        """Starts a run. Raises ApiError 404."""
        spec = self.job(job_id)
        now = utc_now()
        letters = "".join(random.choices(string.ascii_letters + string.digits, k=5))  # noqa: S311
        run = Run(f"{now:%Y%m%d%H%M%S}{letters}", job_id, spec["run"], metronome_time(now))
        self.runs[run.id] = run
        self._spawn(self._execute(run))
        return run

    def stop(self, run: Run) -> None:
        """Stops a run: it is FAILED and removed from the runs at once; its task can run until its grace period ends."""
        run.stopped = True
        self._finish(run, success=False)
        if run.child is not None:
            run.child.stop(float(run.spec.get("taskKillGracePeriodSeconds", KILL_GRACE_SECONDS)))

    def _spawn(self, coroutine: Any) -> None:
        execution = asyncio.ensure_future(coroutine)
        self._executions.add(execution)
        execution.add_done_callback(self._executions.discard)

    async def _execute(self, run: Run) -> None:
        """Launches the task. With ON_FAILURE it launches another one after each that failed or was killed, whatever its
        exit code, until the deadline; the deadline ends no task (metronome: continueOrBecomeFailing)."""
        started = time.monotonic()
        restart = run.spec["restart"]
        deadline = float(restart.get("activeDeadlineSeconds", float("inf")))
        await asyncio.sleep(LAUNCH_SECONDS)
        while not run.stopped:
            code = await self._one_task(run)
            again = restart["policy"] == "ON_FAILURE" and time.monotonic() - started < deadline
            if run.stopped or code == 0 or not again:
                break
            await asyncio.sleep(LAUNCH_SECONDS)
        if not run.stopped:
            self._finish(run, success=code == 0)

    async def _one_task(self, run: Run) -> int:
        """Runs one task of a run as a process group; returns its exit code."""
        task: Json = {"id": task_id(run), "startedAt": metronome_time(utc_now()), "status": "TASK_STARTING"}
        run.tasks.append(task)
        run.status = "ACTIVE"
        service = "/" + run.job_id.replace(".", "/")
        app_id, name = f"{service}/{run.id}", f"{run.id}.{run.job_id}"
        directory = self._mesos.launched("metronome", task["id"], name, AGENT_ID, app_id)
        argv = ["/bin/sh", "-c", str(run.spec["cmd"])] if "cmd" in run.spec else run.spec.get("args") or ["true"]
        image = run.spec.get("docker", {}).get("image") or run.spec.get("ucr", {}).get("image", {}).get("id", "")
        try:
            pull(image, by_docker="docker" in run.spec)
            await fetch(run.spec.get("artifacts", ()), directory)
            own = secret_environment(self._secrets, run.spec, service)
            environment = own | task_environment(run, task["id"], directory)
            run.child = await self._processes.start(argv, env=environment, directory=directory)
        except (OSError, PullError, SecretError, ValueError) as error:
            (directory / "stderr").write_text(f"{error}\n")
            code, message = 1, f"Failed to launch container: {error}"
        else:
            if run.stopped:
                run.child.stop(KILL_GRACE_SECONDS)
            task["status"] = "TASK_RUNNING"
            self._mesos.changed(task["id"], "TASK_RUNNING")
            code = await run.child.wait()
            message = end_message(code)
        run.child = None
        ended = "TASK_FINISHED" if code == 0 else "TASK_FAILED"
        task["status"] = "TASK_KILLED" if run.stopped else ended
        if task["status"] == "TASK_FINISHED":
            task["completedAt"] = metronome_time(utc_now())
        self._mesos.changed(task["id"], task["status"], message)
        return code

    def _finish(self, run: Run, *, success: bool) -> None:
        """Removes the run from the runs at once and adds it to the history later: for a while it is in neither."""
        run.status = "SUCCESS" if success else "FAILED"
        run.completed_at = metronome_time(utc_now())
        del self.runs[run.id]
        self._spawn(self._remember(run, success=success))

    async def _remember(self, run: Run, *, success: bool) -> None:
        await asyncio.sleep(self._history_gap)
        history = self.history.get(run.job_id)
        if history is not None:
            tasks = [task["id"] for task in run.tasks]
            entry = {"id": run.id, "createdAt": run.created_at, "finishedAt": run.completed_at, "tasks": tasks}
            history.add(entry, success=success)

    def saved(self) -> Json:
        """The jobs with their history, for ``load``; active runs are not kept."""
        return {"jobs": self.jobs, "history": {job_id: vars(history) for job_id, history in self.history.items()}}

    def load(self, saved: Json) -> None:
        """Restores the saved jobs and their history."""
        self.jobs = saved["jobs"]
        self.history = {job_id: History(**history) for job_id, history in saved["history"].items()}


def no_job(job_id: str) -> ApiError:
    return ApiError(404, {"id": job_id, "message": "Job not found"})


def task_id(run: Run) -> str:
    """Job id segments and run id joined by ``_``, a dot, and a uuid."""
    return f"{run.job_id.replace('.', '_')}_{run.id}.{uuid.uuid1()}"


def task_environment(run: Run, task: str, directory: Path) -> dict[str, str]:
    """A minimal environment, in which the commands installed beside this Python are found, and the run's own values."""
    own = {name: value for name, value in run.spec["env"].items() if isinstance(value, str)}
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": str(directory),
        "LANG": "C.UTF-8",
        **own,
        "MESOS_SANDBOX": str(directory),
        "MESOS_TASK_ID": task,
    }
