"""``--steps``: the sizes of a release's canary."""

from __future__ import annotations

import pytest

from bgci.commands.release import sizes
from bgci.errors import UsageError


def test_instances_and_shares_may_be_mixed() -> None:
    assert sizes("1, 25%,50%") == ["1", "25%", "50%"]
    assert sizes("25%,2") == ["25%", "2"]  # which is more depends on the app


def test_without_steps_there_is_one_of_the_size_that_is_asked_for() -> None:
    assert sizes("") == [""]


@pytest.mark.parametrize("steps", ["0", "0%", "101%", "10001", "-1", "1,", "1;2", "a", "²", "%"])
def test_what_is_no_size_is_refused(steps: str) -> None:
    with pytest.raises(UsageError, match="is no size of a canary"):
        sizes(steps)


@pytest.mark.parametrize("steps", ["1,1", "2,1", "1,50%,25%"])
def test_steps_that_do_not_grow_are_refused(steps: str) -> None:
    with pytest.raises(UsageError, match="is no larger than"):
        sizes(steps)
