"""The lock of one app: which of several commands can change it. Pure.

Marathon has no compare-and-set. So each command creates its own lock and then reads all locks of the app; it holds the
lock only if no other live one exists. Of two commands that do this at once, the one that reads later sees the other's
lock, so both never hold it, independently of their clocks. The one with the later lock withdraws and tries again.

The holder renews its lock. A lock that was not renewed for its lease has expired, by the server's clock alone. The
holder stops its changes before that (operations.app_lock).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

LEASE = 60.0  # seconds
LONGEST_LEASE = 3600.0  # seconds; limits the lease in a lock of another program
# Seconds before a refusal: the other command may be about to withdraw, too.
SETTLE = 1.0
SOON, LATER = 0.1, 0.5  # seconds until the next poll: for the first in line, and for the others


class Way(str, Enum):
    """How the owner of a lock changes the app."""

    PROCESS = "process"  # in its own process
    FOLLOW = "follow"  # by the jobs of its revision, which it follows
    JOB = "job"  # inside such a job


@dataclass(frozen=True)
class Owner:
    """The command that holds a lock.

    revision: empty for a command of all revisions. machine: the kernel and process namespace in which ``process``, an
    id with its start time, names one process. task: the Mesos task that it runs in, empty without one. ci_job: the same
    for each run of one CI job. name: the owner as messages show it.
    """

    way: Way
    command: str = ""
    revision: str = ""
    machine: str = ""
    process: str = ""
    task: str = ""
    ci_job: str = ""
    name: str = ""
    url: str = ""


@dataclass(frozen=True)
class Lock:
    """A lock as the server shows it. owner: None where its labels cannot be read. Times: of the server, in seconds."""

    id: str
    owner: Owner | None
    since: float
    renewed: float
    lease: float = LEASE

    @property
    def ends(self) -> float:
        """When it ends unless it is renewed."""
        return self.renewed + self.lease

    @property
    def rank(self) -> tuple[float, str]:
        """The lowest rank comes first in line."""
        return self.since, self.id


@dataclass(frozen=True)
class CreateLock:
    """Create a lock, then poll again."""


@dataclass(frozen=True)
class Hold:
    """The lock is ours."""


@dataclass(frozen=True)
class WaitForLock:
    """Poll again after ``seconds``. withdraw: delete our own lock first."""

    seconds: float
    blockers: tuple[Lock, ...]
    withdraw: bool = False


@dataclass(frozen=True)
class Refuse:
    """Give up, and delete our own lock."""

    blockers: tuple[Lock, ...]


Step = CreateLock | Hold | WaitForLock | Refuse


def excludes(one: Owner | None, other: Owner | None) -> bool:
    """Whether the two cannot hold the lock at the same time. A command admits the job of its own revision."""
    if one is None or other is None:
        return True
    by_way = {owner.way: owner for owner in (one, other)}
    follower, job = by_way.get(Way.FOLLOW), by_way.get(Way.JOB)
    return not (follower and job and follower.revision in ("", job.revision))


def is_predecessor(other: Owner | None, me: Owner) -> bool:
    """Whether an earlier, killed run of the same job probably left the lock, so that waiting for its end is useful."""
    if other is None:
        return False
    same_job = me.way is Way.JOB and other.way is Way.JOB and me.revision == other.revision
    return same_job or bool(me.ci_job and me.ci_job == other.ci_job)


@dataclass
class Contender:
    """One command that waits for the lock.

    wait_limit: seconds to wait for others. gone: whether the owner's process is known to have ended. All arguments that
    are times are of the command's own monotonic clock; ``server_time`` is never later than the server's own clock.
    """

    me: Owner
    wait_limit: float
    began: float
    gone: Callable[[Owner], bool] = lambda owner: False
    dead: tuple[Lock, ...] = field(default=(), init=False)  # ended locks of the last poll, to be deleted
    _until: float = field(init=False)
    _extended: set[str] = field(default_factory=set, init=False)
    _offset: float = field(default=float("-inf"), init=False)

    def __post_init__(self) -> None:
        self._until = self.began + max(self.wait_limit, SETTLE)

    def server_time(self, now: float) -> float:
        return now + self._offset

    def passed(self, server_time: float, now: float) -> None:
        """Record a time that the server's clock has passed by now."""
        self._offset = max(self._offset, server_time - now)

    def decide(self, listed: Sequence[Lock], own: str, now: float, asked: float) -> Step:
        """The next step. listed: all locks of the app. own: the id of ours, empty without one; asked: when its creation
        was begun.
        """
        for lock in listed:  # the server's clock had passed every time in the list when it answered
            self.passed(lock.renewed, now)
        mine = next((lock for lock in listed if lock.id == own), None)
        others = [lock for lock in listed if lock.id != own]
        self.dead = tuple(lock for lock in others if self._is_dead(lock, now))
        blockers = tuple(lock for lock in others if lock not in self.dead and excludes(lock.owner, self.me))
        if mine and now - asked >= LEASE / 2:
            return WaitForLock(0.0, blockers, withdraw=True)  # it could expire while another command counts it as live
        if not blockers:
            return Hold() if mine else CreateLock()
        self._extend(blockers, now)
        if now >= self._until:
            return Refuse(blockers)
        first = mine is not None and all(mine.rank < lock.rank for lock in blockers)
        return WaitForLock(SOON if first else LATER, blockers, withdraw=mine is not None and not first)

    def _is_dead(self, lock: Lock, now: float) -> bool:
        return self.server_time(now) >= lock.ends or (lock.owner is not None and self.gone(lock.owner))

    def _extend(self, blockers: Iterable[Lock], now: float) -> None:
        """Extend the wait once, to the end of the lease of a killed run's lock."""
        for lock in blockers:
            if lock.id not in self._extended and is_predecessor(lock.owner, self.me):
                self._extended.add(lock.id)
                self._until = max(self._until, now + lock.ends - self.server_time(now) + SETTLE)
