"""Facts of one observation."""

from __future__ import annotations

from dataclasses import replace

import pytest
from unit.engine.situations import baseline, seen

from bgci.engine.observation import App, Observation, Replica, Server, Serving, Task


def test_a_killed_task_is_not_healthy_although_marathon_lists_its_last_passing_check() -> None:
    serving, killed = Task("web.0", healthy=True), Task("web.1", healthy=True, dying=True)
    app = App("/web", 2, (serving, killed, Task("web.2", healthy=False), Task("web.3", healthy=None)))
    assert app.healthy == (serving,)
    assert replace(app, tasks=(killed,)).healthy == ()


def test_an_app_without_a_revision_is_named_by_its_id_alone() -> None:
    app = App("/web-blue", 1)
    assert app.name == "/web-blue"
    assert replace(app, revision="v1").name == "v1 (/web-blue)"


def test_h18_maint_with_zero_sessions_is_not_drained_while_an_older_worker_lives() -> None:
    task = baseline().tasks[0]
    assert not seen(baseline(), out=(task.id,), workers=(7,)).is_drained(task)
    assert seen(baseline(), out=(task.id,), workers=(7,)).is_drained(replace(task, idle=True))
    assert seen(baseline(), out=(task.id,)).is_drained(task)


@pytest.mark.parametrize(
    "busy",
    [Server(Serving.MAINT, sessions=1), Server(Serving.DOWN, sessions=1), Server(Serving.UP), Server(Serving.DOWN)],
)
def test_h18_a_task_is_not_drained_while_one_load_balancer_serves_it_or_its_sessions(busy: Server) -> None:
    task, idle = baseline().tasks[0], Server(Serving.MAINT)
    replicas = (Replica("lb0", {task.id: idle}), Replica("lb1", {task.id: busy}))
    assert not Observation(100.0, (baseline(),), replicas).is_drained(task)


@pytest.mark.parametrize(
    ("task", "server", "workers", "drained"),
    [
        (Task("blue.0", None, ever_healthy=False), Server(Serving.ABSENT), (7,), True),
        (Task("blue.0", None, ever_healthy=False), Server(Serving.MAINT), (7,), False),
        (Task("blue.0", True, dying=True), Server(Serving.DOWN), (), True),
        (Task("blue.0", False), Server(Serving.UP), (), False),
    ],
    ids=["never known", "known to the load balancer", "killed", "failed and still in rotation"],
)
def test_h18_a_task_is_drained_when_no_load_balancer_can_have_a_session_of_it(
    task: Task, server: Server, workers: tuple[int, ...], drained: bool
) -> None:
    replica = Replica("lb0", {task.id: server} if server.serving is not Serving.ABSENT else {}, older_workers=workers)
    assert Observation(100.0, (baseline(),), (replica,)).is_drained(task) is drained
