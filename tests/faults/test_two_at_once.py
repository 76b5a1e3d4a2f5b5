"""Two commands of one app at once, on a cluster on virtual time: of each pair one continues (docs/lock.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
from virtual.scenario import SETTLED, Case, prepared, run_on, sizes

V3 = ("--revision", "v3", "--image", "image:v3")
PROMOTED, BACK = {"v2": 2}, {"v1": 2}
OFFSETS = (0.0, 0.013, 0.2)  # seconds by which the second command begins later


@pytest.mark.parametrize("via", ["direct", "job"])
@pytest.mark.parametrize("delay", OFFSETS)
@pytest.mark.parametrize(
    ("one", "other", "ends"),
    [
        (("promote",), ("rollback",), (PROMOTED, BACK)),
        (("rollback",), ("promote",), (PROMOTED, BACK)),
        (("release",), ("release", *V3), (PROMOTED,)),
        (("release",), ("release", "--image", "image:other"), (PROMOTED,)),
    ],
    ids=["promote and rollback", "rollback and promote", "two releases", "two images of one revision"],
)
def test_h65_of_two_commands_the_first_ends_with_0_and_the_second_with_6_and_the_owner_of_the_lock(
    tmp_path: Path,
    via: str,
    delay: float,
    one: tuple[str, ...],
    other: tuple[str, ...],
    ends: tuple[dict[str, int], ...],
) -> None:
    with prepared(Case(via=via), tmp_path / "world") as (cluster, commands):
        if "release" not in one:
            assert commands.run("canary").code == 0
        both = sorted(commands.both(one, other, delay), key=lambda ended: ended.code)
        won, refused = both
        assert (won.code, refused.code) == (0, 6), both
        assert f"`bgci {won.command.split()[0]}` of v" in refused.text
        assert "changes /web, since" in refused.text
        run_on(cluster, SETTLED)
        assert sizes(cluster) in (ends if "release" not in one else (PROMOTED, {"v3": 2})), both
        assert sizes(cluster) == {"promote": PROMOTED, "rollback": BACK}.get(won.command, sizes(cluster))
        assert not cluster.metronome.runs
        assert not cluster.ledger.cut
        assert cluster.ledger.least == 2


@pytest.mark.parametrize("via", ["direct", "job"])
def test_h65_a_waiting_release_starts_from_the_state_after_the_other_release(tmp_path: Path, via: str) -> None:
    with prepared(Case(via=via), tmp_path / "world") as (cluster, commands):
        both = commands.both(("release",), ("release", *V3, "--lock-timeout", "100s"), 0.1)
        assert [ended.code for ended in both] == [0, 0], both
        run_on(cluster, SETTLED)
        assert sizes(cluster) == {"v3": 2}
        assert not cluster.ledger.cut


@pytest.mark.parametrize("delay", OFFSETS)
def test_h65_jobs_that_are_published_twice_at_once_are_those_of_one_command(tmp_path: Path, delay: float) -> None:
    with prepared(Case(), tmp_path / "world") as (cluster, commands):
        both = commands.both(("publish",), ("publish", "--image", "image:other"), delay)
        assert {ended.code for ended in both} <= {0, 6}, both
        run_on(cluster, SETTLED)
        images = {str(job["run"]["docker"]) + str(job["run"]["env"]) for job in cluster.metronome.jobs.values()}
        assert len(images) == 1, both
        assert len(cluster.metronome.jobs) == 3
        assert sizes(cluster) == BACK
