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
from virtual.faults import Exchange, Fault, Send, killed_before
from virtual.scenario import SETTLED, Case, prepared, run_on, sizes
from virtual.world import CLUSTER, World

from bgci.appdef.job_document import job_document

pytestmark = pytest.mark.filterwarnings(  # a program that was killed has closed nothing
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)

HANDS: dict[str, tuple[str, str, str, dict[str, Any] | None]] = {
    "delete the canary": ("v2", "DELETE", "", None),
    "suspend the canary": ("v2", "PUT", "", {"instances": 0}),
    "restart the canary": ("v2", "POST", "/restart", None),
    "suspend the baseline": ("v1", "PUT", "", {"instances": 0}),
    "delete the baseline": ("v1", "DELETE", "", None),
    "restart the baseline": ("v1", "POST", "/restart", None),
    "scale the baseline up": ("v1", "PUT", "", {"instances": 4}),
    "scale the canary up": ("v2", "PUT", "", {"instances": 3}),
}
# How a release ends after a hand while its promotion's job starts: the exit code, and what runs then.
WHILE_PROMOTE_STARTS: dict[str, tuple[int, dict[str | None, int]]] = {
    "delete the canary": (6, {"v1": 2}),
    "suspend the canary": (10, {"v1": 2}),
    **dict.fromkeys(
        [hand for hand in HANDS if hand not in ("delete the canary", "suspend the canary")], (0, {"v2": 2})
    ),
}
WHILE_CANARY_STARTS: dict[str, tuple[int, dict[str | None, int]]] = {
    "suspend the baseline": (6, {"v1": 0}),
    "delete the baseline": (6, {}),
    "restart the baseline": (0, {"v2": 2}),
    "scale the baseline up": (0, {"v2": 2}),
}
METRONOME = f"{CLUSTER}/service/metronome"
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


def by_marathon(cluster: World, app_id: str, method: str, body: dict[str, Any]) -> None:
    target = f"{CLUSTER}/service/marathon/v2/apps{app_id}?force=true"
    status, _, text = cluster.loop.run_until_complete(cluster.dispatch(method, target, json.dumps(body).encode()))
    assert status < 300, text


async def _awaited(answer: Awaitable[Any]) -> Any:
    return await answer


def ids_of(cluster: World, revision: str) -> list[str]:
    apps = cluster.marathon.store.apps
    return [app_id for app_id, app in apps.items() if app.spec["labels"].get("BGCI_REVISION") == revision]


def released(
    home: Path, hand: str = "", at: int = -1, via: str = "direct"
) -> tuple[Ended, list[Exchange], list[str], dict[str | None, int]]:
    """A release of v2 beside v1 with this hand at the request of that number: its end, its requests, the ids that the
    hand has changed, and what runs afterwards."""
    done: list[str] = []
    with prepared(Case(via=via), home) as (cluster, commands):
        commands.counting = True
        commands.faults = {at: by_hand(*HANDS[hand], done)} if hand else {}
        ended = commands.run("release")
        run_on(cluster, SETTLED)
        return ended, commands.exchanges, done, sizes(cluster)


@pytest.mark.parametrize("hand", list(HANDS)[:5])
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


def starts_of(exchanges: list[Exchange]) -> list[tuple[int, int]]:
    """For each job of a release: the request that starts it, and the job's own first one."""
    starts = [n for n, one in enumerate(exchanges) if one.method == "POST" and one.url.endswith("/runs")]
    return [(at, next(n for n, one in enumerate(exchanges) if n > at and one.by_job)) for at in starts]


@pytest.mark.parametrize(("stage", "ends"), [(0, WHILE_CANARY_STARTS), (1, WHILE_PROMOTE_STARTS)])
def test_h71_what_others_do_while_a_job_starts_is_named_and_not_undone(
    tmp_path: Path, stage: int, ends: dict[str, tuple[int, dict[str | None, int]]]
) -> None:
    home = tmp_path / "world"
    _, exchanges, _, _ = released(home, via="job")
    at, first = starts_of(exchanges)[stage]
    for number, (hand, (code, runs)) in enumerate(ends.items()):
        moment = (at, first, first + 6)[number % 3]
        ended, _, done, left = released(home, hand, moment, "job")
        assert done
        last = ended.text.splitlines()[-3:]
        assert any("by somebody else" in line for line in last), (hand, moment, ended)
        assert (ended.code, left) == (code, runs), (hand, moment, ended)


def test_what_others_do_between_the_last_look_of_a_job_and_the_next_of_the_command_is_named(tmp_path: Path) -> None:
    home = tmp_path / "world"
    _, exchanges, _, _ = released(home, via="job")
    (_, canary), (promote, _) = starts_of(exchanges)
    unlocked = next(n for n, one in enumerate(exchanges) if n > canary and one.by_job and one.method == "DELETE")
    assert unlocked < promote
    ended, _, done, runs = released(home, "delete the canary", unlocked, "job")
    assert done
    assert (ended.code, runs) == (6, {"v1": 2}), ended
    assert "/web-green was deleted by somebody else" in ended.text
    deleted = max(n for n, one in enumerate(exchanges) if one.by_job and one.method == "DELETE")
    ended, _, done, runs = released(home, "delete the canary", deleted, "job")  # it serves alone, and its job ends
    assert done
    assert (ended.code, runs) == (0, {}), ended
    assert "warning: /web-green was deleted by somebody else" in ended.text


@pytest.mark.parametrize(("later", "named"), [(1.0, True), (2 * Case.timeout, False)])
def test_what_a_killed_command_knew_is_compared_until_its_time_limit_only(
    tmp_path: Path, later: float, named: bool
) -> None:
    home = tmp_path / "world"
    with prepared(Case(via="job"), home) as (cluster, commands):
        assert commands.run("canary").code == 0
        commands.counting = True
        assert commands.run("promote").code == 0
        (start, _) = starts_of(commands.exchanges)[0]
    with prepared(Case(via="job"), home) as (cluster, commands):
        assert commands.run("canary").code == 0
        commands.counting, commands.faults = True, {start: killed_before}
        assert commands.run("promote").code == -9
        run_on(cluster, later)
        by_marathon(cluster, "/web-blue", "PUT", {"instances": 4})
        job = next(job_id for job_id in cluster.metronome.jobs if job_id.endswith("-completely"))
        started = cluster.loop.run_until_complete(cluster.dispatch("POST", f"{METRONOME}/v1/jobs/{job}/runs", b""))
        assert started[0] == 201
        run_on(cluster, 30.0)
        assert (sizes(cluster).get("v1"), sizes(cluster)["v2"]) == (None, 2)
        texts = [file.read_text() for file in cluster.directory.rglob("stdout")]
        assert any("/web-blue was scaled from 2 to 4 instances by somebody else" in text for text in texts) == named


def test_the_jobs_of_a_release_know_nothing_after_it(tmp_path: Path) -> None:
    with prepared(Case(via="job"), tmp_path / "world") as (cluster, commands):
        assert commands.run("release").code == 0
        assert len(cluster.metronome.jobs) == 3
        assert [job_document(job).known for job in cluster.metronome.jobs.values()] == [{}, {}, {}]
