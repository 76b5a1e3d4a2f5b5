"""``--steps``: the sizes of a release's canary."""

from __future__ import annotations

import pytest

from bgci.errors import UsageError
from bgci.operations.canary_size import CanarySize, step_sizes


def test_instances_and_shares_may_be_mixed() -> None:
    assert step_sizes("1, 25%,50%") == [CanarySize(1), CanarySize(percent=25), CanarySize(percent=50)]
    assert step_sizes("25%,2") == [CanarySize(percent=25), CanarySize(2)]  # which is more depends on the app


def test_without_the_option_there_are_no_steps() -> None:
    assert step_sizes("") == []


def test_a_share_of_the_target_is_rounded_up() -> None:
    assert [CanarySize(percent=25).of(target) for target in (1, 4, 5)] == [1, 1, 2]
    with pytest.raises(UsageError, match="more than the 2"):
        CanarySize(3).of(2)


def test_a_size_is_shown_with_its_unit() -> None:
    assert [str(size) for size in (CanarySize(percent=25), CanarySize(1), CanarySize(2))] == [
        "25%",
        "1 instance",
        "2 instances",
    ]


@pytest.mark.parametrize("steps", ["0", "0%", "101%", "10001", "-1", "1,", "1;2", "a", "²", "%"])
def test_a_value_that_is_not_a_size_is_refused(steps: str) -> None:
    with pytest.raises(UsageError, match="is not a canary size"):
        step_sizes(steps)


@pytest.mark.parametrize("steps", ["1,1", "2,1", "1,50%,25%"])
def test_steps_that_do_not_grow_are_refused(steps: str) -> None:
    with pytest.raises(UsageError, match="is not larger than"):
        step_sizes(steps)
