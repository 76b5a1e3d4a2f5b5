"""An outside change of one of the two apps at some moment of a release, on a cluster on virtual time: it is
reported, and the release finishes or is refused; a deleted app is not created again (docs/engine.md)."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from virtual.clock import Program
from virtual.commands import Commands, Ended
from virtual.faults import Exchange, Fault, Send
from virtual.scenario import SETTLED, Case, prepared, run_on, sizes
from virtual.world import CLUSTER, World

HANDS: dict[str, tuple[str, str, str, dict[str, Any] | None]] = {
    "delete the canary": ("v2", "DELETE", "", None),
    "suspend the canary": ("v2", "PUT", "", {"instances": 0}),
    "restart the canary": ("v2", "POST", "/restart", None),
    "suspend the baseline": ("v1", "PUT", "", {"instances": 0}),
    "delete the baseline": ("v1", "DELETE", "", None),
}
STEP = 9  # requests from one moment to the next


def by_hand(revision: str, method: str, path: str, body: dict[str, Any] | None, done: list[str]) -> Fault:
    """Before the request is sent: a change of the app of this revision, if it runs."""

    async def fault(commands: Commands, program: Program, send: Send, timeout: float, url: str) -> Any:
        for app_id in ids_of(commands.world, revision):
            target = f"{CLUSTER}/service/marathon/v2/apps{app_id}{path}?force=true"
            status, _, text = await commands.world.dispatch(method, target, json.dumps(body).encode() if body else b"")
            assert status < 300, text
            done.append(app_id)
        return await _awaited(send())

    return fault


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def ids_of(cluster: World, revision: str) -> list[str]:
    apps = cluster.marathon.store.apps
    return [app_id for app_id, app in apps.items() if app.spec["labels"].get("BGCI_REVISION") == revision]


def released(
    home: Path, hand: str = "", at: int = -1
) -> tuple[Ended, list[Exchange], list[str], dict[str | None, int]]:
    """A release of v2 beside v1 with this hand at the request of that number: its end, its requests, the ids that the
    hand has changed, and what runs afterwards."""
    done: list[str] = []
    with prepared(Case(), home) as (cluster, commands):
        commands.counting = True
        commands.faults = {at: by_hand(*HANDS[hand], done)} if hand else {}
        ended = commands.run("release")
        run_on(cluster, SETTLED)
        return ended, commands.exchanges, done, sizes(cluster)


@pytest.mark.parametrize("hand", HANDS)
def test_an_outside_change_at_any_moment_of_a_release_is_reported_and_not_undone(tmp_path: Path, hand: str) -> None:
    home = tmp_path / "world"
    _, exchanges, _, _ = released(home)
    _, created = [n for n, one in enumerate(exchanges) if one.method == "POST"]  # the lock, and the canary
    tried = 0
    first = STEP if "restart" in hand else 1  # a restart before the first observation is not noticed
    commit = next(n for n, one in enumerate(exchanges) if one.method == "DELETE" and "-lock-" not in one.url)
    for at in range(created + first, commit - STEP, STEP):
        ended, _, done, runs = released(home, hand, at)
        assert done
        tried += 1
        assert "by somebody else" in ended.text, (at, ended)
        if hand == "delete the canary":
            assert ended.code == 6, (at, ended)
            assert "v2" not in runs, (at, ended)
        elif hand == "restart the canary":
            assert (ended.code, runs) == (0, {"v2": 2}), (at, ended)
        else:
            assert ended.code in (0, 6, 10), (at, ended)
            assert runs in ({"v1": 2}, {"v2": 2}, {"v2": 1}, {"v2": 0}), (at, ended)
    assert tried > 3
