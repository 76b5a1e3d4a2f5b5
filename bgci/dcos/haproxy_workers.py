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
        self._seen: set[int] = set()  # every process that has been the current worker
        self._lone = False  # seen with one pid: HAProxy runs without a master process
        self._since = self._asked = now()  # the reload; and the last request for the list, or the reload
        self._pause = 0.0  # from then until the next request
        self._harmless = False

    def answered(self, page: str, *, longest_session: float = 0.0) -> None:
        """Record which worker has answered with this statistics page.

        ``longest_session``: seconds, of those that have ended. An older worker probably lives until such a session has
        ended, so an earlier request is useless.
        """
        found = re.search(UPTIME, page, re.DOTALL)
        if not found:
            self.worker, self.started, self._older = 0, 0.0, None
            return
        self._harmless = bool(ONE_THREAD.search(page))
        pid = int(found[1])
        days, hours, minutes, seconds = (int(part) for part in found.groups()[1:])
        started = self._epoch + self._now() - (((days * 24 + hours) * 60 + minutes) * 60 + seconds)
        if self.worker and started < self.started - SAME_START:
            return  # an older one has answered once more
        if pid == self.worker and started < self.started + SAME_START:
            return
        self._since = self._asked = self._now()
        if self.worker:
            self._pause = FIRST_ASK if self._harmless else min(LONGEST, max(FIRST_ASK, longest_session))
        self._older = (self.worker,) if self.worker else None
        self.worker, self.started = pid, started
        self._seen.add(pid)

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
        steady = set() if self._lone else set(sorted(others)[:1]) - self._seen  # the master
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
