"""The hold of a run whose new revision has turned bad: no step forward until the revision has recovered."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass, replace

STEADY = 30.0  # seconds without a failure until the revision has recovered
TOGETHER = 2.0  # failures within these seconds have one cause, such as a lost host: one incident


@dataclass(frozen=True)
class Hold:
    """Tasks of the new revision have turned bad, and it has not recovered since.

    ``since``: the first failure. ``size``: how many of its tasks were in rotation before. ``peers``: those of them that
    have not failed. ``failures``: of tasks. ``incidents``: the failures of one moment as one; the last began at
    ``incident_at``. ``spreads``: a peer failed in a later incident. ``steady_since``: since when it is complete again.
    """

    since: float
    size: int
    peers: frozenset[str]
    failures: int
    incident_at: float
    steady_since: float | None = None
    incidents: int = 1
    spreads: bool = False

    @classmethod
    def begun(cls, now: float, served: Set[str], failed: Set[str]) -> Hold:
        """``served``: the revision's tasks in rotation before. ``failed``: those that have just turned bad."""
        return cls(now, len(served), frozenset(served - failed), len(failed), now)

    def observed(self, now: float, failed: Set[str], *, complete: bool) -> Hold | None:
        """The hold after one more observation; None when the revision has recovered.

        ``complete``: no task is bad now, and as many are in rotation as before the first failure.
        """
        if not complete or failed:
            steady_since = None
        else:
            steady_since = now if self.steady_since is None else self.steady_since
            if now - steady_since >= STEADY:
                return None
        failures = self.failures + len(failed)
        hold = replace(self, peers=self.peers - failed, failures=failures, steady_since=steady_since)
        if failed and now - self.incident_at >= TOGETHER:
            spreads = self.spreads or not self.peers.isdisjoint(failed)
            hold = replace(hold, incidents=self.incidents + 1, incident_at=now, spreads=spreads)
        return hold
