"""Metronome v1 over HTTP (metronome: api/src/main/resources/routes)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from bgci.sandbox.metronome import rights
from bgci.sandbox.metronome.core import Metronome, Run, no_job
from bgci.sandbox.metronome.spec import JOB_ID, job_spec
from bgci.sandbox.web import ApiError, flag, plain, reply

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
EMBEDS = ("activeRuns", "schedules", "history", "historySummary")


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return reply(error.body, error.status)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
        return reply({"message": "Unknown route.", "requestPath": route_path(request)}, 404)


def route_path(request: web.Request) -> str:
    """The path as Metronome sees it, without what Admin Router strips."""
    return request.path.removeprefix("/service/metronome")


def application(metronome: Metronome) -> web.Application:
    """A web application for this Metronome; several may serve the same one."""
    app = web.Application(middlewares=[errors], client_max_size=32 * 1024 * 1024)
    app.add_routes(Routes(metronome).routes())
    return app


class Routes:
    """Handlers for jobs and runs."""

    def __init__(self, metronome: Metronome) -> None:
        self._metronome = metronome

    def routes(self) -> list[web.RouteDef]:
        job, run = "/v1/jobs/{job}", "/v1/jobs/{job}/runs/{run}"
        return [
            web.get("/ping", self.ping),
            web.get("/info", self.info),
            web.get("/leader", self.leader),
            web.get("/v1/metrics", self.metrics),
            web.get("/v1/queue", self.queue),
            web.get("/v1/jobs", self.index),
            web.post("/v1/jobs", self.create),
            web.get(job, self.show),
            web.put(job, self.update),
            web.delete(job, self.delete),
            web.get(f"{job}/schedules", self.schedules),
            web.get(f"{job}/runs", self.runs),
            web.post(f"{job}/runs", self.trigger),
            web.get(run, self.show_run),
            web.post(f"{run}/actions/stop", self.stop),
        ]

    async def ping(self, request: web.Request) -> web.Response:
        return plain("pong")

    async def info(self, request: web.Request) -> web.Response:
        return reply({"version": "0.6.48", "libVersion": "1.7.202"})

    async def leader(self, request: web.Request) -> web.Response:
        return reply({"leader": request.host})

    async def metrics(self, request: web.Request) -> web.Response:
        gauges = {"metronome.jobs.active": {"mean": len(self._metronome.jobs)}}
        return reply({"start": None, "gauges": gauges, "counters": {}, "histograms": {}})

    async def queue(self, request: web.Request) -> web.Response:
        """The runs that wait for a task; as the real one, a dotted job id is cut to its first segment."""
        waiting: dict[str, list[Json]] = {}
        for run in self._metronome.runs.values():
            if run.status == "STARTING" and rights.may(request, run.job_id):
                waiting.setdefault(run.job_id.split(".")[0], []).append({"runId": run.id})
        return reply([{"jobId": job_id, "runs": runs} for job_id, runs in waiting.items()])

    async def index(self, request: web.Request) -> web.Response:
        embed = embeds(request)
        return reply([self._shown(job, embed) for i, job in self._metronome.jobs.items() if rights.may(request, i)])

    async def create(self, request: web.Request) -> web.Response:
        spec = job_spec(await json_body(request))
        rights.require(request, spec["id"], "create")
        return reply(self._metronome.create(spec), 201)

    async def show(self, request: web.Request) -> web.Response:
        embed = embeds(request)
        return reply(self._shown(self._readable(request), embed))

    async def update(self, request: web.Request) -> web.Response:
        spec, name = job_spec(await json_body(request)), job_id(request)
        rights.require(request, name, "update")  # before it is looked for (metronome: JobSpecController.updateJob)
        return reply(self._metronome.update(str(self._metronome.job(name)["id"]), spec))

    async def delete(self, request: web.Request) -> web.Response:
        name = self._permitted(request, "delete")
        return reply(self._metronome.delete(name, stop_runs=flag(request, "stopCurrentJobRuns")))

    async def schedules(self, request: web.Request) -> web.Response:
        return reply(self._readable(request)["schedules"])

    async def runs(self, request: web.Request) -> web.Response:
        job = self._metronome.job(job_id(request))
        shown = self._metronome.runs_of(job["id"]) if rights.may(request, job["id"]) else []
        return reply([run.as_json() for run in shown])

    async def trigger(self, request: web.Request) -> web.Response:
        return reply(self._metronome.trigger(self._permitted(request, "update")).as_json(), 201)

    async def show_run(self, request: web.Request) -> web.Response:
        run = self._run(request)
        if not rights.may(request, run.job_id):
            raise no_run(run.job_id, run.id)
        return reply(run.as_json())

    async def stop(self, request: web.Request) -> web.Response:
        run = self._run(request)
        rights.require(request, run.job_id, "update")
        self._metronome.stop(run)
        return reply(run.as_json())

    def _run(self, request: web.Request) -> Run:
        name, run_id = job_id(request), request.match_info["run"]
        run = self._metronome.runs.get(run_id)
        if run is None or run.job_id != name:
            raise no_run(name, run_id)
        return run

    def _readable(self, request: web.Request) -> Json:
        """The job in the path. Raises ApiError 404, also without the permission."""
        name = job_id(request)
        if not rights.may(request, name):
            raise no_job(name)
        return self._metronome.job(name)

    def _permitted(self, request: web.Request, action: str) -> str:
        """The id of the job in the path. Raises ApiError 404, 403."""
        name = str(self._metronome.job(job_id(request))["id"])
        rights.require(request, name, action)
        return name

    def _shown(self, job: Json, embed: set[str]) -> Json:
        shown, history = dict(job), self._metronome.history[job["id"]]
        if "activeRuns" in embed:
            shown["activeRuns"] = [run.as_json() for run in self._metronome.runs_of(job["id"])]
        if "history" in embed:
            shown["history"] = history.as_json()
        if "historySummary" in embed:
            shown["historySummary"] = history.summary()
        return shown


def no_run(name: str, run_id: str) -> ApiError:
    return ApiError(404, {"jobSpec": name, "id": run_id, "message": "Job Run not found"})


def job_id(request: web.Request) -> str:
    """The id in the path. Raises ApiError 400 for one that no job can have."""
    name = request.match_info["job"]
    if not JOB_ID.fullmatch(name):
        text = f"Id ({name}) is not valid"
        raise ApiError(400, {"message": text, "requestPath": route_path(request)})
    return name


def embeds(request: web.Request) -> set[str]:
    """Repeated or joined by commas. Raises ApiError 400 for an unknown one."""
    values = [part for value in request.query.getall("embed", []) for part in value.split(",") if part]
    unknown = [value for value in values if value not in EMBEDS]
    if unknown:
        text = f"Unknown embed options. Valid options are: {', '.join(EMBEDS)}"
        raise ApiError(400, {"message": text, "requestPath": route_path(request)})
    return set(values)


async def json_body(request: web.Request) -> Any:
    """Raises ApiError 415 for another content type, 400 for what is no JSON."""
    if request.content_type not in ("application/json", "text/json"):
        text = "Expecting text/json or application/json body"
        raise ApiError(415, {"message": text, "requestPath": route_path(request)})
    try:
        return json.loads(await request.read())
    except ValueError as error:
        raise ApiError(400, {"message": f"Invalid Json: {error}", "requestPath": route_path(request)}) from None
