"""Takes, renews and removes the lock of an app; engine.lock decides (docs/lock.md)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone

from bgci.dcos.http_failure import HttpFailure
from bgci.dcos.lock_apps import lock_app, new_lock_id, renewed_labels
from bgci.dcos.marathon import Marathon
from bgci.durations import duration_text
from bgci.engine.lock import LEASE, Contender, CreateLock, Hold, Lock, Owner, Refuse, WaitForLock, Way
from bgci.errors import AbortedError, BgciError, ConflictError, DeniedError, UnavailableError
from bgci.interruption import left, pause, within
from bgci.reporting.console import Console

MARGIN = 15.0  # seconds before the end of the lease in which the holder starts no change
RENEW_EVERY, RENEW_AGAIN = LEASE / 3, 2.0  # seconds; the second after a renewal that failed
# Time limits in seconds for the deletion of a lock; the second after a signal, the third after the cluster has not
# answered in time.
DELETED, DELETED_ABORTED, DELETED_LATE = 4.0, 1.5, 0.8
TRIES, PAUSE = 4, 0.5  # after an unanswered creation of a lock


class LockLost(ConflictError):
    """Another command holds the lock now."""


class AppLock:
    """The lock of one app for this process, from ``take`` to ``release``."""

    def __init__(
        self,
        marathon: Marathon,
        app_id: str,
        me: Owner,
        wait_limit: float,
        console: Console,
        gone: Callable[[Owner], bool],
    ) -> None:
        self.me = me
        self.taken_at = 0.0  # by the server's clock; 0 without a lock
        self._gone = gone
        self._given = marathon
        self._marathon = marathon.free()
        self._app_id = app_id
        self._wait_limit = wait_limit
        self._console = console
        self._own: list[str] = []  # ids of our locks that may exist
        self._current, self._asked = "", 0.0  # the newest of them, and when its creation began
        self._needed, self._deleted = False, DELETED
        self._valid_until = 0.0
        self._renewal: _Renewal | None = None

    def owns(self, lock_id: str) -> bool:
        return lock_id in self._own

    def take(self) -> None:
        """Hold the lock. Raises ConflictError that names the owner, after this command's time limit.

        Raises DeniedError for an account that cannot create or read an app here.
        """
        contender = Contender(self.me, self._wait_limit, time.monotonic(), gone=self._gone)
        self._create()
        unseen = 0
        while True:
            listed = [lock for lock in self._marathon.locks(self._app_id)[0] if self._counts(lock)]
            step = contender.decide(listed, self._current, time.monotonic(), self._asked)
            self._remove_dead(contender.dead)
            match step:
                case CreateLock():
                    unseen += 1 if self._current else 0
                    self._require_readable(unseen)
                    self._create()
                case Hold():
                    self._begin(next(lock for lock in listed if lock.id == self._current))
                    return
                case Refuse(blockers):
                    self._delete_own()
                    raise refusal(self._app_id, blockers)
                case WaitForLock(seconds, blockers, withdraw):
                    if withdraw:
                        self._delete_own()
                    self._report(blockers)
                    pause(seconds)

    def watch(self) -> None:
        """Wait until no other command holds the lock, without creating one. Raises ConflictError."""
        contender = Contender(self.me, self._wait_limit, time.monotonic(), gone=self._gone)
        while True:
            listed, at = self._marathon.locks(self._app_id)
            if at:
                contender.passed(at, time.monotonic())
            match contender.decide(listed, "", time.monotonic(), 0.0):
                case Refuse(blockers):
                    raise refusal(self._app_id, blockers)
                case WaitForLock(seconds, blockers):
                    self._report(blockers)
                    pause(seconds)
                case _:
                    return

    def require(self) -> None:
        """Ensure before each change that the lease is valid. Raises LockLost when another command holds the lock."""
        lost = self._renewal is not None and self._renewal.lost
        if not self._needed or (time.monotonic() < self._valid_until and not lost):
            return
        self._stop_renewal()
        self._wait_limit, self._valid_until = 0.0, 0.0
        try:
            self.take()
        except ConflictError as error:
            raise LockLost(f"The lock of {self._app_id} was lost. {error.message}", remedy=error.remedy) from error

    def release(self, seconds: float = DELETED) -> None:
        """Remove the lock within so many seconds. Warn about one that cannot be removed: it ends with its lease."""
        self._needed, self._deleted = False, seconds
        self._stop_renewal()
        try:
            self._delete_own()
        except AbortedError:  # remove the lock anyway
            self._deleted = DELETED_ABORTED
            self._delete_own()
            raise

    def _counts(self, lock: Lock) -> bool:
        """Whether it is our newest lock, or another command's. An earlier one of ours does not count."""
        return lock.id == self._current or lock.id not in self._own

    def _create(self) -> None:
        """Create our lock. Without an answer it may exist."""
        self._current, self._asked = new_lock_id(self._app_id), time.monotonic()
        self._own.append(self._current)
        for attempt in range(TRIES):
            try:
                self._marathon.create(lock_app(self._app_id, self._current, self.me))
                return
            except ConflictError:
                # No other command has this id, so an earlier request succeeded. Any other conflict ends the command.
                if self._marathon.app(self._current) is None:
                    raise
                return
            except DeniedError:
                self._own.remove(self._current)
                raise
            except UnavailableError:
                if attempt == TRIES - 1 or left() <= 0:
                    raise
                pause(PAUSE * 2**attempt)

    def _require_readable(self, unseen: int) -> None:
        """Raises DeniedError if our lock is not in the list, because it cannot be read."""
        if self._current and unseen:
            self._marathon.app(self._current)
        if unseen >= TRIES:
            raise UnavailableError(
                f"The lock {self._current} of {self._app_id} was created, but Marathon does not list it.",
                remedy="Run the command again.",
            )

    def _begin(self, lock: Lock) -> None:
        """Record that the lock is held."""
        for earlier in [one for one in self._own if one != lock.id]:
            self._delete(earlier)
        self._valid_until, self.taken_at = self._asked + LEASE - MARGIN, lock.renewed
        app = lock_app(self._app_id, lock.id, self.me)
        self._renewal = _Renewal(self._given.apart(), lock, app["labels"], self._renewed)
        self._needed = True

    def _renewed(self, asked: float) -> None:
        """Record a successful renewal that began at this time."""
        if asked < self._valid_until:  # otherwise the lock had expired, and another command may hold it
            self._valid_until = asked + LEASE - MARGIN

    def _stop_renewal(self) -> None:
        if self._renewal:
            self._renewal.stop()
        self._renewal = None

    def _report(self, blockers: Sequence[Lock]) -> None:
        if blockers:
            self._console.wait(f"{described(blockers[0])} changes {self._app_id}")

    def _remove_dead(self, dead: Sequence[Lock]) -> None:
        for lock in dead:
            try:
                self._marathon.delete(lock.id)
            except BgciError:
                continue  # any command can remove an expired lock
            self._console.warn(f"Removed the abandoned lock of {described(lock)}.")

    def _delete_own(self) -> None:
        for lock_id in list(self._own):
            self._delete(lock_id)
        self._current = ""

    def _delete(self, lock_id: str) -> None:
        self._own.remove(lock_id)
        problem = "Marathon did not confirm that."
        try:
            with within(self._deleted):
                for attempt in range(TRIES):
                    try:
                        if self._marathon.remove_lock(lock_id):
                            return
                    except ConflictError as error:  # Marathon still deploys it
                        problem = error.message
                    pause(min(PAUSE * 2**attempt, max(0.0, left())))
        except AbortedError:
            self._own.append(lock_id)
            raise
        except BgciError as error:
            problem = error.message
        self._console.warn(f"The lock {lock_id} could not be removed. It ends in {duration_text(LEASE)}. {problem}")


class _Renewal:
    """Renews a lock in a separate thread, because a test program or a computation can take long."""

    def __init__(
        self, marathon: Marathon, lock: Lock, labels: Mapping[str, str], renewed: Callable[[float], None]
    ) -> None:
        self.lost = False
        self._marathon = marathon
        self._id = lock.id
        self._labels = labels
        self._since = datetime.fromtimestamp(lock.since, timezone.utc).isoformat(timespec="milliseconds")
        self._renewed = renewed
        self._stopped = threading.Event()
        threading.Thread(target=self._run, name="bgci-lock", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        count, seconds = 0, RENEW_EVERY
        while not self._stopped.wait(seconds):
            asked, count = time.monotonic(), count + 1
            try:
                self._marathon.renew_lock(self._id, renewed_labels(self._labels, self._since, count))
            except UnavailableError:
                seconds = RENEW_AGAIN
                continue
            except (BgciError, HttpFailure):  # it no longer exists, or cannot be renewed
                self.lost = True
                return
            seconds = RENEW_EVERY
            self._renewed(asked)


def refusal(app_id: str, blockers: Sequence[Lock]) -> ConflictError:
    """The error for a command after its time limit."""
    first = min(blockers, key=lambda lock: (lock.owner is not None and lock.owner.way is Way.JOB, lock.rank))
    return ConflictError(
        f"{described(first)} changes {app_id}, since {clock_time(first.since)}; its lock ends at "
        f"{clock_time(first.ends)} unless it is renewed.",
        remedy="Wait for it to end, for example with --lock-timeout 10m. If its process was killed, the lock ends by "
        f"itself; to end it at once, delete the app {first.id} (docs/lock.md).",
    )


def described(lock: Lock) -> str:
    """The owner, as text."""
    owner = lock.owner
    if owner is None:
        return f"An unknown owner (lock {lock.id}, whose labels bgci did not write)"
    what = " ".join(filter(None, (f"`bgci {owner.command}`", f"of {owner.revision}" if owner.revision else "")))
    return f"{what} ({', '.join(filter(None, (owner.name, owner.url))) or 'unknown owner'})"


def clock_time(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, timezone.utc):%H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
