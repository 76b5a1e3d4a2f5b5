"""marathon-lb's rules: how many tasks it drains, and which app is the old one."""

from __future__ import annotations

import pytest
from unit.engine.situations import baseline, canary

from bgci.engine.rotation import drained_by_rule, drains_when_swapped, roles_swapped


@pytest.mark.parametrize(
    ("old", "new", "target", "drains"), [(3, 1, 3, 1), (3, 2, 3, 2), (8, 2, 10, 0), (4, 4, 4, 4), (8, 4, 4, 4)]
)
def test_the_number_of_drained_tasks_is_that_of_marathon_lb(old: int, new: int, target: int, drains: int) -> None:
    assert drained_by_rule(old, new, target) == drains


def test_roles_are_swapped_only_with_the_label_and_a_later_scaling() -> None:
    assert roles_swapped(baseline(last_scaling_at=3.0), canary())
    assert not roles_swapped(baseline(last_scaling_at=2.0), canary())
    assert not roles_swapped(baseline(last_scaling_at=3.0), canary(swappable=False))


@pytest.mark.parametrize(("target", "drains"), [(4, 2), (None, 2), (5, 1)])
def test_with_swapped_roles_the_target_of_the_baseline_counts(target: int | None, drains: int) -> None:
    assert drains_when_swapped(baseline(4, target=target), canary(2)) == drains
