"""What the command that starts a job knows of the two apps: the job compares its first observation with that.

So a change by others while the job starts is noticed. The knowledge is for one run: the command takes it out of the job
again right after the start, because a run that somebody starts later must not compare with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from bgci.appdef.job_document import job_document, with_document
from bgci.appdef.jobs import MAX_JOB_BYTES, request_bytes
from bgci.dcos.metronome import Metronome
from bgci.engine.observation import App
from bgci.engine.outside_changes import compared
from bgci.errors import BgciError, UnavailableError
from bgci.operations.context import Context
from bgci.operations.exclusion import other_locks_now
from bgci.operations.outside_watch import seen_apps
from bgci.reporting.rollout_record import decoded, encoded


@dataclass(frozen=True)
class _Known:
    """In the job's document. ``until``: by the cluster's clock, for a command that was killed before it could take this
    out again; 0: without a limit."""

    apps: tuple[App, ...]
    until: float = 0.0


@contextmanager
def informed(
    context: Context, metronome: Metronome, stored: Mapping[str, Any], spec: Mapping[str, Any], known: tuple[App, ...]
) -> Iterator[None]:
    """Within the block the job has ``spec``, with the apps as this command knows them; afterwards ``spec`` alone.

    stored: the job as it is. known: the apps as an earlier stage has left or observed them; empty to look now.
    """
    document = job_document(spec)
    plain = with_document(spec, replace(document, known={})) if document.known else dict(spec)
    told = _with_known(context, plain, known)
    try:
        if told != stored:
            _update(metronome, told, needed=plain != stored)
        yield
    finally:
        if told != plain:
            with suppress(BgciError):  # the next command replaces it
                metronome.update(plain)


def _update(metronome: Metronome, spec: Mapping[str, Any], *, needed: bool) -> None:
    """needed: not only for the apps, without which the run can start too."""
    try:
        metronome.update(spec)
    except UnavailableError:
        if needed:
            raise


def known_in_job(context: Context) -> tuple[App, ...]:
    """The apps as the command that started this job has seen them; empty outside of a job, and if that is unknown."""
    if not (context.job and context.job.known):
        return ()
    try:
        known: _Known = decoded(_Known, context.job.known)
    except ValueError:  # of another version
        return ()
    late = context.lock is not None and context.lock.taken_at > known.until > 0
    return () if late else known.apps


def _with_known(context: Context, plain: dict[str, Any], known: tuple[App, ...]) -> dict[str, Any]:
    """The job with the apps, if nothing of bgci can change them until its own process does."""
    # A process of an earlier run can continue for its kill grace period. It holds its lock until its end.
    locks, now = other_locks_now(context)
    if locks:
        return plain
    apps = tuple(compared(app, context.revision) for app in known or seen_apps(context) or ())
    if not apps:
        return plain
    until = now and now + context.settings.timeout  # then this command stops the run
    told = with_document(plain, replace(job_document(plain), known=encoded(_Known(apps, until))))
    return told if request_bytes(told) <= MAX_JOB_BYTES else plain
