"""Facts of one observation."""

from __future__ import annotations

from dataclasses import replace

from bgci.engine.observation import App, Task


def test_a_killed_task_is_not_healthy_although_marathon_lists_its_last_passing_check() -> None:
    serving, killed = Task("web.0", healthy=True), Task("web.1", healthy=True, dying=True)
    app = App("/web", 2, (serving, killed, Task("web.2", healthy=False), Task("web.3", healthy=None)))
    assert app.healthy == (serving,)
    assert replace(app, tasks=(killed,)).healthy == ()


def test_an_app_without_a_revision_is_named_by_its_id_alone() -> None:
    app = App("/web-blue", 1)
    assert app.name == "/web-blue"
    assert replace(app, revision="v1").name == "v1 (/web-blue)"
