"""Metronome v1 over HTTP (metronome: api/src/main/resources/routes)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Middleware

from bgci.sandbox.metronome import rights
from bgci.sandbox.metronome.core import Metronome, Run
from bgci.sandbox.metronome.incoming import boolean, embeds, job_id, json_body, permitted, readable, route_path
from bgci.sandbox.metronome.model import ServerError, job_spec, shown_job
from bgci.sandbox.metronome.schedules_api import ScheduleRoutes
from bgci.sandbox.web import ApiError, plain, reply

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def errors(metronome: Metronome, *, behind_router: bool) -> Middleware:
    """A middleware that answers refusals as Metronome does, and simulates its outages."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        if metronome.is_down:
            return unanswered(request, behind_router=behind_router)
        try:
            return await handler(request)
        except ApiError as error:
            return reply(error.body, error.status)
        except ServerError:
            return reply({"requestPath": route_path(request)}, 500)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
            return reply({"message": "Unknown route.", "requestPath": route_path(request)}, 404)

    return answer


def unanswered(request: web.Request, *, behind_router: bool) -> web.Response:
    """The answer while Metronome is down: Admin Router's error page, or a closed connection."""
    if not behind_router and request.transport is not None:
        request.transport.abort()
    title = "<title>502 Bad Gateway</title>"
    return web.Response(text=f"<html><head>{title}</head></html>\n", status=502, content_type="text/html")


def application(metronome: Metronome, *, behind_router: bool = False) -> web.Application:
    """A web application for this Metronome; several may serve the same one."""
    middleware = errors(metronome, behind_router=behind_router)
    app = web.Application(middlewares=[middleware], client_max_size=32 * 1024 * 1024)
    app.add_routes(Routes(metronome).routes())
    app.add_routes(ScheduleRoutes(metronome).routes())
    return app


def outage_routes(metronome: Metronome) -> list[web.RouteDef]:
    """For tests: ``POST /_sandbox/metronome/outage?seconds=15``, and ``DELETE`` to end it earlier."""

    async def begin(request: web.Request) -> web.Response:
        metronome.go_down(float(request.query.get("seconds", "inf")))
        return plain("down")

    async def end(request: web.Request) -> web.Response:
        metronome.go_down(0)
        return plain("up")

    path = "/_sandbox/metronome/outage"
    return [web.post(path, begin), web.delete(path, end)]


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
            web.get(f"{job}/runs", self.runs),
            web.post(f"{job}/runs", self.trigger),
            web.get(run, self.show_run),
            web.post(f"{run}/actions/stop", self.stop),
        ]

    async def ping(self, request: web.Request) -> web.Response:
        return plain("pong")

    async def info(self, request: web.Request) -> web.Response:
        return reply({"version": "0.6.70", "libVersion": "1.7.202"})

    async def leader(self, request: web.Request) -> web.Response:
        return reply({"leader": request.host})

    async def metrics(self, request: web.Request) -> web.Response:
        gauges = {"metronome.jobs.active": {"mean": len(self._metronome.jobs)}}
        return reply({"start": None, "gauges": gauges, "counters": {}, "histograms": {}})

    async def queue(self, request: web.Request) -> web.Response:
        """The runs that wait for an offer; as in Metronome, a dotted job id is cut to its first segment."""
        waiting: dict[str, list[Json]] = {}
        for run in self._metronome.runs.values():
            if run.status == "INITIAL" and rights.may(request, run.job_id):
                waiting.setdefault(run.job_id.split(".")[0], []).append({"runId": run.id})
        return reply([{"jobId": job_id, "runs": runs} for job_id, runs in waiting.items()])

    async def index(self, request: web.Request) -> web.Response:
        embed = embeds(request)
        shown = [self._shown(job, embed) for i, job in self._metronome.jobs.items() if rights.may(request, i)]
        for job in shown:
            if not job.get("activeRuns"):
                job.pop("activeRuns", None)
        return reply(shown)

    async def create(self, request: web.Request) -> web.Response:
        spec = job_spec(await json_body(request))
        rights.require(request, spec["id"], "create")
        return reply(shown_job(self._metronome.create(spec)), 201)

    async def show(self, request: web.Request) -> web.Response:
        embed = embeds(request)
        return reply(self._shown(readable(self._metronome, request), embed))

    async def update(self, request: web.Request) -> web.Response:
        spec, name = job_spec(await json_body(request)), job_id(request)
        rights.require(request, name, "update")  # before the job is looked up (metronome: JobSpecController.updateJob)
        changed = self._metronome.update(name, lambda old: {**spec, "id": name, "schedules": old["schedules"]})
        return reply(shown_job(changed))

    async def delete(self, request: web.Request) -> web.Response:
        name, stop_runs = job_id(request), boolean(request, "stopCurrentJobRuns")
        permitted(self._metronome, request, "delete")
        return reply(shown_job(self._metronome.delete(name, stop_runs=stop_runs)))

    async def runs(self, request: web.Request) -> web.Response:
        job = self._metronome.job(job_id(request))
        shown = self._metronome.runs_of(job["id"]) if rights.may(request, job["id"]) else []
        return reply([run.as_json() for run in shown])

    async def trigger(self, request: web.Request) -> web.Response:
        return reply(self._metronome.trigger(permitted(self._metronome, request, "update")).as_json(), 201)

    async def show_run(self, request: web.Request) -> web.Response:
        run = self._run(request)
        if not rights.may(request, run.job_id):
            raise no_run(run.job_id, run.id)
        return reply(run.as_json())

    async def stop(self, request: web.Request) -> web.Response:
        permitted(self._metronome, request, "update")
        run = self._run(request)
        self._metronome.stop(run)
        return reply(run.as_json())

    def _run(self, request: web.Request) -> Run:
        name, run_id = job_id(request), request.match_info["run"]
        run = self._metronome.runs.get(run_id)
        if run is None or run.job_id != name:
            raise no_run(name, run_id)
        return run

    def _shown(self, job: Json, embed: set[str]) -> Json:
        shown, history = shown_job(job), self._metronome.history[job["id"]]
        if "activeRuns" in embed:
            shown["activeRuns"] = [run.as_json() for run in self._metronome.runs_of(job["id"])]
        if "history" in embed:
            shown["history"] = history.as_json()
        if "historySummary" in embed:
            shown["historySummary"] = history.summary()
        return shown


def no_run(name: str, run_id: str) -> ApiError:
    return ApiError(404, {"jobSpec": name, "id": run_id, "message": "Job Run not found"})
