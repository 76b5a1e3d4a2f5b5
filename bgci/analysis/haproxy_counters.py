"""HAProxy's counters per server, added up over reloads, which start them at 0 again. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bgci.analysis.judge import Counts

STATUS_CLASSES = ("hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other")


def reading(cells: Mapping[str, int]) -> Counts:
    """Requests and failed requests from the numbers in a server's row; in TCP mode sessions and failed sessions.

    Measured on HAProxy 2.6: HAProxy's own answer for a failing server (502, 503, 504) is in none of the server's
    hrsp_*, but in eresp (no answer, a broken one, timeout) or in econ (no connection), once for all retries. A response
    that breaks off is in its hrsp_* and in eresp: one error, counted as two requests.
    """
    failed = cells.get("econ", 0) + cells.get("eresp", 0)
    if any(name in cells for name in STATUS_CLASSES):
        answers = sum(cells.get(name, 0) for name in STATUS_CLASSES)
        return Counts(answers + failed, cells.get("hrsp_5xx", 0) + failed)
    return Counts(max(cells.get("stot", 0), failed), failed)


@dataclass(frozen=True)
class CounterSums:
    """The requests of each server since the first poll of its replica.

    ``resets``: how often counters started again; ``blind_seconds``: the time between the last reading before
    each reset and the first one after it. Requests before the reload in that time are unknown and not counted.
    """

    counted: Mapping[str, Counts] = field(default_factory=dict)  # by server
    resets: int = 0
    blind_seconds: float = 0.0
    last: Mapping[str, tuple[float, Mapping[str, Counts]]] = field(default_factory=dict)  # by replica

    def fold(self, replica: str, at: float, readings: Mapping[str, Counts]) -> CounterSums:
        """The sums after one poll of a replica's server rows. ``at``: seconds of a monotonic clock.

        The first poll of a replica counts nothing, because the age of its counters is unknown.
        """
        last = {**self.last, replica: (at, readings)}
        if replica not in self.last:
            return replace(self, last=last)
        before, old = self.last[replica]
        # A reload is a new process: when one counter starts again, all of the replica's do.
        reset = any(_restarted(old[server], new) for server, new in readings.items() if server in old)
        counted = dict(self.counted)
        for server, new in readings.items():
            gained = new if reset or server not in old else new - old[server]
            counted[server] = counted.get(server, Counts()) + gained
        return CounterSums(counted, self.resets + reset, self.blind_seconds + (at - before if reset else 0.0), last)

    def total(self, servers: set[str] | frozenset[str]) -> Counts:
        """The sum over ``servers``, over all replicas."""
        return sum((counts for server, counts in self.counted.items() if server in servers), Counts())


def _restarted(old: Counts, new: Counts) -> bool:
    """Whether a counter has fallen, which shows a new process."""
    return new.errors < old.errors or new.requests - new.errors < old.requests - old.errors
