"""Mesos state, dcos-log and the agents' files API, as Admin Router serves them."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from aiohttp import web

from bgci.sandbox import rights
from bgci.sandbox.mesos import FRAMEWORKS, Mesos, MesosTask
from bgci.sandbox.web import plain, reply

AGENT_PREFIX = "5ab8fc1e-0000-4000-8000-000000000000-S"
MAX_READ = 65536
MAX_STDOUT = 2 << 20
"""Bytes of a task's stdout before it becomes ``stdout.1`` (DC/OS: CONTAINER_LOGGER_LOGROTATE_MAX_STDOUT_SIZE)."""


class LogRoutes:
    """Handlers of Mesos' paths. ``strict``: they require Mesos' own permissions, as in DC/OS' security mode of that
    name."""

    def __init__(self, mesos: Mesos, *, strict: bool = False) -> None:
        self._mesos = mesos
        self._strict = strict

    def routes(self) -> list[web.RouteDef]:
        v2 = "/system/v1/logs/v2/task/{task}"
        of_run = "/system/v1/agent/{agent}/logs/v2/task/frameworks/{framework}/executors/{task}/runs/{container}"
        routes = [web.get(f"/mesos/{path}", self.state) for path in ("master/state", "master/state.json")]
        routes += [web.get(f"/mesos/{path}", self.agents) for path in ("master/slaves", "master/slaves.json")]
        return [
            *routes,
            web.get("/mesos/state-summary", self.summary),
            web.post("/mesos/api/v1", self.operator),
            web.get(v2, self.find),
            web.get(f"{v2}/file/{{file}}", self.find),
            web.get(f"{of_run}/{{file}}", self.read_lines),
            *(web.get(f"/agent/{{agent}}/files/{name}", getattr(self, name)) for name in ("debug", "browse")),
            *(web.get(f"/agent/{{agent}}/files/{name}", getattr(self, name)) for name in ("read", "download")),
        ]

    async def state(self, request: web.Request) -> web.Response:
        return reply({"cluster": "bgci-sandbox", "slaves": self._slaves(), "frameworks": self._frameworks(request)})

    async def operator(self, request: web.Request) -> web.Response:
        """The operator API: of its calls only GET_TASKS."""
        if (await request.json()).get("type") != "GET_TASKS":
            return plain("Expecting 'type' to be present", 400)

        def shown(tasks: dict[str, MesosTask]) -> list[dict[str, Any]]:
            return [task.as_operator_json() for task in tasks.values() if self._sees(request, task, "master")]

        found = {"tasks": shown(self._mesos.running), "completed_tasks": shown(self._mesos.completed)}
        return reply({"type": "GET_TASKS", "get_tasks": found})

    def _sees(self, request: web.Request, task: MesosTask, where: str, *parts: str) -> bool:
        """Whether the sender has the permissions for these parts of a task: at the ``master`` or at the ``agent``."""
        needed = [f"{part}:app_id:{task.app_id}" for part in ("executor", "task", *parts)]
        all_of = [f"dcos:mesos:{where}:{one}" for one in ("framework:role:*", *needed)]
        return not self._strict or all(rights.may(request, rid, "read") for rid in all_of)

    def _frameworks(self, request: web.Request) -> list[dict[str, Any]]:
        def of(name: str, tasks: dict[str, MesosTask]) -> list[dict[str, Any]]:
            mine = [task for task in tasks.values() if task.framework == name]
            return [task.as_json() for task in mine if self._sees(request, task, "master")]

        running, completed = self._mesos.running, self._mesos.completed
        return [
            {"id": framework, "name": name, "tasks": of(name, running), "completed_tasks": of(name, completed)}
            for name, framework in FRAMEWORKS.items()
        ]

    def _slaves(self) -> list[dict[str, Any]]:
        def slave(number: int, host: str) -> dict[str, Any]:
            pid = f"slave(1)@{host}:5051"
            return {
                "id": f"{AGENT_PREFIX}{number}",
                "hostname": host,
                "pid": pid,
                "active": True,
                "attributes": dict(self._mesos.attributes.get(host, {})),
            }

        return [slave(number, host) for number, host in enumerate(self._mesos.hosts)]

    async def agents(self, request: web.Request) -> web.Response:
        return reply({"slaves": self._slaves()})

    async def summary(self, request: web.Request) -> web.Response:
        def short(framework: dict[str, Any]) -> dict[str, Any]:
            names = {name: framework[name] for name in ("id", "name")}
            return {**names, "webui_url": "", "TASK_RUNNING": len(framework["tasks"])}

        frameworks = [short(framework) for framework in self._frameworks(request)]
        cluster = {"hostname": self._mesos.hosts[0], "cluster": "bgci-sandbox"}
        return reply({**cluster, "slaves": self._slaves(), "frameworks": frameworks})

    async def find(self, request: web.Request) -> web.Response:
        """303 from the master's log service to the agent's; 500, not 404, for a task that Mesos does not list."""
        task = self._mesos.find(request.match_info["task"])
        if task is None or not self._sees(request, task, "master"):
            name = request.match_info["task"]
            return plain(f"unable to get canonical task ID: Task '{name}' not found", 500)
        file = request.match_info.get("file", "stdout")
        path = (
            f"/system/v1/agent/{task.agent_id}/logs/v2/task/frameworks/{FRAMEWORKS[task.framework]}"
            f"/executors/{task.id}/runs/{task.container_id}/{file}"
        )
        query = f"?{request.query_string}" if request.query_string else ""
        return web.Response(status=303, headers={"Location": path + query})

    async def read_lines(self, request: web.Request) -> web.Response:
        """200 with text from ``cursor`` on, 204 without any."""
        task = self._mesos.find(request.match_info["task"])
        if task and not self._sees(request, task, "agent", "sandbox"):
            return web.Response(status=403)
        path = task.directory / Path(request.match_info["file"]).name if task else None
        if path is None or not path.is_file():
            return web.Response(status=204)
        rotate(path)
        try:
            skip, limit = int(request.query.get("skip", 0)), int(request.query.get("limit", 0))
            text = excerpt(path.read_bytes(), request.query.get("cursor", "BEG"), skip, limit)
        except ValueError as error:
            return plain(str(error), 400)
        return web.Response(body=text, content_type="text/plain") if text else web.Response(status=204)

    async def debug(self, request: web.Request) -> web.Response:
        tasks = [*self._mesos.running.values(), *self._mesos.completed.values()]
        here = [task for task in tasks if task.agent_id == request.match_info["agent"]]
        mine = [task for task in here if self._sees(request, task, "agent", "sandbox")]
        return reply({task.virtual_directory: task.virtual_directory for task in mine})

    async def browse(self, request: web.Request) -> web.Response:
        task, path = self._locate(request)
        if task is None or not path.is_dir():
            return web.Response(status=404)
        return reply([file_entry(task, file) for file in sorted(path.iterdir())])

    async def read(self, request: web.Request) -> web.Response:
        task, path = self._locate(request)
        if task is None or not path.is_file():
            return web.Response(status=404)
        rotate(path)
        offset, size = int(request.query.get("offset", -1)), path.stat().st_size
        if offset < 0 or offset >= size:  # mesos: FilesProcess::read
            return reply({"data": "", "offset": size})
        length = min(int(request.query.get("length", MAX_READ)), MAX_READ)
        data = path.read_bytes()[offset : offset + length]
        return reply({"data": data.decode("utf-8", "replace"), "offset": offset})

    async def download(self, request: web.Request) -> web.StreamResponse:
        task, path = self._locate(request)
        if task is None or not path.is_file():
            return web.Response(status=404)
        return web.FileResponse(path)

    def _locate(self, request: web.Request) -> tuple[MesosTask | None, Path]:
        """The task and the real path behind a virtual one."""
        virtual = request.query.get("path", "")
        for task in [*self._mesos.running.values(), *self._mesos.completed.values()]:
            if virtual == task.virtual_directory or virtual.startswith(f"{task.virtual_directory}/"):
                if not self._sees(request, task, "agent", "sandbox"):
                    raise web.HTTPForbidden
                path = (task.directory / virtual.removeprefix(task.virtual_directory).lstrip("/")).resolve()
                inside = path.is_relative_to(task.directory.resolve())
                return (task, path) if inside else (None, path)
        return None, Path()


def rotate(path: Path) -> None:
    """Moves all full parts of a task's stdout to another file, as DC/OS' container logger does while it writes."""
    full = path.stat().st_size // MAX_STDOUT * MAX_STDOUT
    if path.name == "stdout" and full:
        data = path.read_bytes()
        path.with_name("stdout.1").write_bytes(data[:full])
        with path.open("r+b") as file:
            file.truncate()
        with path.open("ab") as file:
            file.write(data[full:])


def file_entry(task: MesosTask, file: Path) -> dict[str, Any]:
    info = file.stat()
    return {
        "path": f"{task.virtual_directory}/{file.relative_to(task.directory)}",
        "size": info.st_size,
        "mode": stat.filemode(info.st_mode),
        "mtime": info.st_mtime,
        "nlink": info.st_nlink,
        "uid": str(info.st_uid),
        "gid": str(info.st_gid),
    }


def excerpt(data: bytes, cursor: str, skip: int, limit: int) -> bytes:
    """The lines from ``cursor`` (BEG, END or a byte offset) on: ``skip`` lines later, or earlier if it is negative, and
    at most ``limit`` of them (0: all). Raises ValueError."""
    position = {"BEG": 0, "END": len(data)}.get(cursor)
    position = int(cursor) if position is None else position
    before, after = data[:position].splitlines(keepends=True), data[position:].splitlines(keepends=True)
    lines = [*before[skip:], *after] if skip < 0 else after[skip:]
    return b"".join(lines[:limit] if limit > 0 else lines)
