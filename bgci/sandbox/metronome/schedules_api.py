"""The schedules of a job, and jobs with their schedules in one request (metronome: JobScheduleController.scala)."""

from __future__ import annotations

from aiohttp import web

from bgci.sandbox.metronome import rights
from bgci.sandbox.metronome.core import Metronome
from bgci.sandbox.metronome.incoming import Json, job_id, json_body, permitted, readable
from bgci.sandbox.metronome.model import ServerError, job_spec, schedule_spec, shown_job, shown_schedule
from bgci.sandbox.metronome.spec import JOB_V0
from bgci.sandbox.web import ApiError, reply


class ScheduleRoutes:
    """Handlers for ``/v1/jobs/{job}/schedules`` and ``/v0/scheduled-jobs``. A job has one schedule at most."""

    def __init__(self, metronome: Metronome) -> None:
        self._metronome = metronome

    def routes(self) -> list[web.RouteDef]:
        every = "/v1/jobs/{job}/schedules"
        one = f"{every}/{{schedule}}"
        return [
            web.get(every, self.index),
            web.post(every, self.create),
            web.get(one, self.show),
            web.put(one, self.update),
            web.delete(one, self.delete),
            web.post("/v0/scheduled-jobs", self.create_job),
            web.put("/v0/scheduled-jobs/{job}", self.update_job),
        ]

    async def index(self, request: web.Request) -> web.Response:
        return reply([shown_schedule(one) for one in readable(self._metronome, request)["schedules"]])

    async def show(self, request: web.Request) -> web.Response:
        return reply(shown_schedule(_schedule(readable(self._metronome, request), request.match_info["schedule"])))

    async def create(self, request: web.Request) -> web.Response:
        new = schedule_spec(await json_body(request))

        def add(job: Json) -> Json:
            if job["schedules"]:
                taken = any(one["id"] == new["id"] for one in job["schedules"])
                why = f"A schedule with id {new['id']} already exists"
                text = why if taken else "Only one schedule supported at the moment"
                raise ApiError(409, {"message": f"requirement failed: {text}"})
            return {**job, "schedules": [new]}

        self._metronome.update(permitted(self._metronome, request, "update"), add)
        return reply(shown_schedule(new), 201)

    async def update(self, request: web.Request) -> web.Response:
        new = schedule_spec(await json_body(request), request.match_info["schedule"])

        def change(job: Json) -> Json:
            _schedule(job, new["id"])
            return {**job, "schedules": [new]}

        self._metronome.update(permitted(self._metronome, request, "update"), change)
        return reply(shown_schedule(new))

    async def delete(self, request: web.Request) -> web.Response:
        def remove(job: Json) -> Json:
            _schedule(job, request.match_info["schedule"])
            return {**job, "schedules": []}

        self._metronome.update(permitted(self._metronome, request, "update"), remove)
        return web.Response()

    async def create_job(self, request: web.Request) -> web.Response:
        spec = job_spec(await json_body(request), JOB_V0)
        rights.require(request, spec["id"], "create")
        return reply(shown_job(self._metronome.create(spec)), 201)

    async def update_job(self, request: web.Request) -> web.Response:
        spec, name = job_spec(await json_body(request), JOB_V0), job_id(request)
        rights.require(request, name, "update")
        try:
            return reply(shown_job(self._metronome.update(name, lambda _: {**spec, "id": name})))
        except ApiError as error:
            if error.status != 422:
                raise
            raise ServerError("Metronome does not expect an unknown dependency here") from error


def _schedule(job: Json, schedule_id: str) -> Json:
    """The schedule of a job with this id. Raises ApiError 404."""
    for one in job["schedules"]:
        if one["id"] == schedule_id:
            found: Json = one
            return found
    raise ApiError(404, {"id": schedule_id, "message": "Schedule not found"})
