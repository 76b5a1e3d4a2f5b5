"""The table of goals: the effect and the exit code of each goal in each situation."""

from __future__ import annotations

from collections.abc import Callable

from e2e.lab import App


def test_without_apps_rollback_is_done_and_canary_deploys_all_instances(app: App) -> None:
    nothing = app.rollback("v1")
    assert "Nothing to do" in nothing.out
    assert nothing.result["changed"] is False
    assert app.apps() == []

    first = app.canary("v1")
    assert app.healthy() == {"v1": 2}
    assert app.least_up() == 2
    assert first.result["changed"] is True
    assert app.answers() == {"v1": 20}


def test_without_apps_promote_deploys_all_instances(app: App) -> None:
    app.promote("v1")
    assert app.healthy() == {"v1": 2}
    assert app.least_up() == 2


def test_with_the_revision_alone_canary_and_promote_are_done_and_rollback_is_a_conflict(app: App) -> None:
    app.promote("v1")
    before = app.state()
    for command in ("canary", "promote"):
        done = app.run(command, "v1")
        assert "Nothing to do" in done.out
        assert done.result["changed"] is False
    conflict = app.rollback("v1", expect=6)
    assert "nothing to go back to" in conflict.err
    assert conflict.result["name"] == "conflict"
    assert app.state() == before


def test_with_another_revision_alone_rollback_is_done_a_canary_grows_and_promote_completes_it(
    make_app: Callable[..., App],
) -> None:
    app = make_app(3)
    app.promote("v1")
    before = app.state()
    nothing = app.rollback("v2")
    assert "Nothing to do" in nothing.out
    assert app.state() == before

    app.canary("v2")
    assert app.runs() == {"v1": 3, "v2": 1}
    assert set(app.answers(30)) == {"v1", "v2"}
    assert app.least_up() == 3, "of 3, 1 answers new and 2 old"

    app.canary("v2", "--instances", "2")
    assert app.runs() == {"v1": 3, "v2": 2}
    before = app.state()
    again = app.canary("v2", "--instances", "2")
    assert "Nothing to do" in again.out
    fewer = app.canary("v2", "--instances", "1", expect=6)
    assert "bgci rollback" in fewer.err
    assert app.state() == before

    app.promote("v2")
    assert app.healthy() == {"v2": 3}
    assert app.answers() == {"v2": 20}


def test_with_another_revision_alone_promote_swaps_fully_also_to_an_older_revision(
    app: App,
) -> None:
    app.promote("v1")
    app.promote("v2")
    assert app.healthy() == {"v2": 2}
    app.promote("v1")
    assert app.healthy() == {"v1": 2}
    assert app.answers() == {"v1": 20}


def test_with_a_hybrid_rollback_removes_the_canary(app: App) -> None:
    app.promote("v1")
    app.canary("v2")
    back = app.rollback("v2")
    assert app.healthy() == {"v1": 2}
    assert app.answers() == {"v1": 20}
    assert back.result["state"]["apps"][0]["revision"] == "v1"


def test_h04_h14_with_another_canary_every_goal_is_a_conflict(app: App) -> None:
    app.promote("v1")
    app.canary("v2")
    before = app.state()
    for command in ("canary", "promote", "rollback"):
        conflict = app.run(command, "v3", expect=6)
        assert "Promote or roll back v2" in conflict.err
    assert app.state() == before


def test_with_a_hybrid_a_goal_of_the_baseline_is_a_conflict(app: App) -> None:
    app.promote("v1")
    app.canary("v2")
    before = app.state()
    for command in ("canary", "promote", "rollback"):
        conflict = app.run(command, "v1", expect=6)
        assert "Promote or roll back v2" in conflict.err
    assert app.state() == before


def test_percent_of_the_target_is_rounded_up(make_app: Callable[..., App]) -> None:
    app = make_app(3)
    app.promote("v1")
    app.canary("v2", "--percent", "34")
    assert app.runs() == {"v1": 3, "v2": 2}
