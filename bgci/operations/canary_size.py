"""How many instances a canary has: a number, or a share of the target."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from bgci.errors import UsageError
from bgci.options import Settings

MOST = 10_000  # instances


@dataclass(frozen=True)
class CanarySize:
    """``percent``: of the target, rounded up; 0: ``instances`` counts. ``given``: by the user, not the default."""

    instances: int = 1
    percent: int = 0
    given: bool = True

    def of(self, target: int) -> int:
        """The number of instances. Raises UsageError for more than the target."""
        size = -(-target * self.percent // 100) if self.percent else self.instances
        if size > target:
            raise UsageError(
                f"A canary of {size} instances is more than the {target} of the definition.",
                remedy="Give fewer --instances, or --percent.",
            )
        return size

    def __str__(self) -> str:
        """``25%``, ``1 instance``."""
        return f"{self.percent}%" if self.percent else f"{self.instances} instance{'s' * (self.instances != 1)}"


def size_of(settings: Settings) -> CanarySize:
    """The size of --instances or --percent."""
    given = bool({"instances", "percent"} & settings.origins.keys())
    return CanarySize(settings.instances, settings.percent, given)


def step_sizes(steps: str) -> list[CanarySize]:
    """The sizes of --steps in their order; none if it is empty.

    Raises UsageError unless each is a number of instances or a share, and larger than a comparable one before it.
    """
    sizes = [_step(size.strip()) for size in steps.split(",")] if steps else []
    for one, other in pairwise(sizes):
        comparable = bool(one.percent) == bool(other.percent)
        if comparable and (other.percent, other.instances) <= (one.percent, one.instances):
            raise UsageError(f"--steps: {other} is not larger than {one}.", remedy="Write them as 1,25%,50%.")
    return sizes


def _step(text: str) -> CanarySize:
    number = text.removesuffix("%")
    if not number.isdecimal() or len(number) > 5 or not 1 <= int(number) <= (100 if "%" in text else MOST):
        raise UsageError(f"--steps: {text[:40]!r} is not a canary size.", remedy="Write it as 1,25%,50%.")
    return CanarySize(percent=int(number)) if "%" in text else CanarySize(int(number))
