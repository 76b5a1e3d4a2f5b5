"""Performs one step of the engine on Marathon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bgci.dcos.marathon import Locked, Marathon
from bgci.engine.decisions import Action, Create, Delete, Kill, Release, Restore, Scale
from bgci.engine.observation import Observation
from bgci.errors import ConflictError, DeniedError, amended
from bgci.operations.app_lock import LockLost
from bgci.operations.observer import Observer
from bgci.reporting.console import Console


class Performer:
    """Sends each request once: before it is sent again, the cluster must be observed again (hazard 67). A new leader of
    Marathon lists no health at first, and marathon-lb takes tasks without health out of rotation.

    Locked: a temporary refusal. A request whose earlier answer was lost is not an error.
    """

    def __init__(self, marathon: Marathon, observer: Observer, console: Console) -> None:
        self._marathon = marathon
        self._observer = observer
        self._console = console

    def perform(self, step: Action, observation: Observation, release: Release) -> None:
        """Raises Locked, UnavailableError when the outcome is unknown, or the error of a final refusal."""
        marathon = self._marathon.once()
        match step:
            case Create():
                self._create(step, observation, release)
            case Restore():
                self._add(self._observer.as_it_ran(step), "")
            case Scale(app_id, instances):
                self._change(app_id, lambda: marathon.scale(app_id, instances))
            case Kill(task_ids, force):
                self._change("", lambda: marathon.kill(task_ids, scale=True, force=force))
            case Delete(app_id):
                self._change(app_id, lambda: marathon.delete(app_id))
                # A DELETE causes no event for marathon-lb unless a task event follows (docs/hazards.md).
                self._observer.request_reload()

    def _create(self, step: Create, observation: Observation, release: Release) -> None:
        if observation.apps and not step.swappable:
            self._console.warn(
                f"{observation.apps[0].id} was not deployed by bgci: a rollback of this canary will cut its sessions."
            )
        self._add(self._observer.new_app(step, observation, release), "" if step.stand_in else release.revision)

    def _add(self, definition: Mapping[str, Any], release: str) -> None:
        """Post a new app. If the app is ours already, an earlier request succeeded and its answer was lost."""
        app_id = str(definition["id"])
        try:
            self._marathon.once().create(definition)
        except (Locked, LockLost):
            raise
        except ConflictError as error:
            try:
                found = self._marathon.app(app_id)
            except DeniedError as denied:
                raise amended(denied, more=f"{app_id} was created, but cannot be read.") from None
            if found is None:
                raise Locked(app_id, (), error.message) from error
            if release and found.app.revision != release:
                raise

    @staticmethod
    def _change(app_id: str, request: Callable[[], None]) -> None:
        """Treat a conflict without the lock's data as a lock too, because the app or task of the request exists."""
        try:
            request()
        except (Locked, LockLost):
            raise
        except ConflictError as error:
            raise Locked(app_id, (), error.message) from error
