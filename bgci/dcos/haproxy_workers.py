"""The HAProxy workers of one load balancer, determined with as few requests for their process ids as possible.

marathon-lb answers `/_haproxy_getpids` by starting `pidof` inside the worker, and that can fail requests of users
(hazard 64, docs/traffic.md): while `pidof` runs it holds a copy of every socket of the worker. A connection that
another thread closes meanwhile stays in epoll, and HAProxy mistakes its end for the end of the next connection with the
same descriptor: HAProxy answers 502 (`SH--`) or ends it, although the task is healthy. So bgci reads the current worker
from the statistics page, and requests the list only if an older worker matters, at growing intervals.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence

FIRST_ASK = 0.5  # seconds after a reload; an older worker without a session has ended by then
SHORTEST, LONGEST = 1.0, 5.0  # seconds between two requests for the list
GROWTH = 0.5  # the pause until the next request, as a part of the time since the reload
SAME_START = 2.0  # seconds; tolerance for the start of one worker: its page counts whole seconds
REFUSED = 15.0  # seconds of earlier pages after which bgci takes their clock for the right one
NOT_ASKED = 0  # in place of the unknown process ids of older workers that may be alive
# The statistics page: the worker that answers, and how long it has run.
UPTIME = r"pid = (?:</b>)?\s*(\d{1,10})\b.{0,9999}?uptime = (?:</b>)?\s*(\d{1,6})d (\d{1,2})h(\d{1,2})m(\d{1,2})s"
ONE_THREAD = re.compile(r"nbthread = 1\b")  # then HAProxy closes no connection while `pidof` runs


class Workers:
    """``worker`` and ``started`` (seconds since the epoch): the current one; 0 if the page does not show it."""

    def __init__(self, now: Callable[[], float] = lambda: time.monotonic()) -> None:  # virtual in tests
        self.worker, self.started = 0, 0.0
        self._now = now
        self._epoch = time.time() - now()
        self._older: tuple[int, ...] | None = None  # of the current worker; None: not known
        self._starts: dict[int, float] = {}  # of every process that has been the current worker
        self._accepted = now()  # when the last page that was not outdated was read
        self._lone = False  # seen with one pid: HAProxy runs without a master process
        self._since = self._asked = now()  # the reload; and the last request for the list, or the reload
        self._pause = 0.0  # from then until the next request
        self._harmless = False

    def answered(self, page: str, *, longest_session: float = 0.0) -> bool:
        """Record which worker has answered with this statistics page. False if bgci must read the statistics before
        the page again: the worker is new, or the page is outdated.

        An older worker can answer once more. A cache before the load balancer can answer with the state of some seconds
        ago: a task that was drained then can serve now (hazard 68).

        ``longest_session``: seconds, of those that have ended. An older worker probably lives until such a session has
        ended, so an earlier request is useless.
        """
        found = re.search(UPTIME, page, re.DOTALL)
        if not found:
            self.worker, self.started, self._older = 0, 0.0, None
            return True
        self._harmless = bool(ONE_THREAD.search(page))
        pid, *parts = (int(part) for part in found.groups())
        now = self._now()
        started = now - sum(part * unit for part, unit in zip(parts, (86400, 3600, 60, 1), strict=True))
        current = self._starts.get(self.worker, 0.0)
        if pid == self.worker and started < current + SAME_START:
            self._starts[pid], self._accepted = min(current, started), now
            return True
        since = self._accepted if pid in self._starts else current  # a process id can be used again
        if self.worker and started < since - SAME_START and now - self._accepted < REFUSED:
            return False
        self._begin(pid, started, longest_session)
        return False

    def _begin(self, pid: int, started: float, longest_session: float) -> None:
        """This is the current worker from now on."""
        self._since = self._asked = self._accepted = self._now()
        if self.worker:
            self._pause = FIRST_ASK if self._harmless else min(LONGEST, max(FIRST_ASK, longest_session))
        self._older = (self.worker,) if self.worker else None
        self.worker, self.started = pid, self._epoch + started
        self._starts[pid] = started

    def older(self, *, matter: bool, within: float, pids: Callable[[], Sequence[int]]) -> tuple[int, ...]:
        """The older workers that may be alive. ``pids`` requests the list.

        ``matter``: whether they are needed. ``within``: limit in seconds of the delay with which their end is noticed;
        0: no task waits for it, so bgci requests the list seldom and treats them as alive.
        """
        if self._older == () or not matter:
            return self._older or ()
        now = self._now()
        if now < self._asked + (min(self._pause, within) if within else self._pause + LONGEST):
            return self._older or (NOT_ASKED,)
        found = list(pids())
        self._lone = self._lone or len(found) == 1
        if self.worker not in found:  # unknown, or replaced a moment ago
            return older_workers(found, self._lone) or tuple(filter(None, (self.worker,)))
        others = {*found} - {self.worker}
        steady = set() if self._lone else set(sorted(others)[:1]) - self._starts.keys()  # the master
        self._older = tuple(sorted(others - steady))
        self._asked = now
        self._pause = FIRST_ASK if self._harmless else min(LONGEST, max(SHORTEST, GROWTH * (now - self._since)))
        return self._older


def older_workers(pids: Sequence[int], lone_worker: bool) -> tuple[int, ...]:
    """The pids beyond the steady ones: the newest worker and, unless ``lone_worker``, the master.

    Ages are unknown; the smallest pid counts as the master and the largest as the newest worker.
    """
    ordered = sorted(pids)
    return tuple(ordered[:-1] if lone_worker else ordered[1:-1])
