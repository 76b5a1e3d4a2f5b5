"""Performs one step of the engine on Marathon."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bgci.dcos.marathon import Locked, Marathon
from bgci.engine.decisions import Action, Create, Delete, Kill, Release, Restore, Scale
from bgci.engine.observation import App, Observation
from bgci.errors import ConflictError, DeniedError, InvalidError, amended
from bgci.operations.app_lock import LockLost
from bgci.operations.observer import Observer
from bgci.reporting.console import Console


class Gone(ConflictError):
    """The app of a step does not exist any more."""


class Performer:
    """Sends each request once: before it is sent again, the cluster must be observed again (hazard 67). A new leader of
    Marathon lists no health at first, and marathon-lb takes tasks without health out of rotation.

    Locked: a temporary refusal. A request whose earlier answer was lost is not an error.
    """

    def __init__(self, marathon: Marathon, observer: Observer, console: Console) -> None:
        self._marathon = marathon
        self._observer = observer
        self._console = console

    def perform(self, step: Action, observation: Observation, release: Release) -> App | None:
        """The app that Marathon confirms to have created, None where the step creates none.

        Raises Locked, Gone, UnavailableError when the outcome is unknown, or the error of a final refusal.
        """
        marathon = self._marathon.once()
        match step:
            case Create():
                return self._create(step, observation, release)
            case Restore():
                return self._add(self._observer.as_it_ran(step), "")
            case Scale(app_id, instances):
                self._scale(app_id, instances)
            case Kill(task_ids, force):
                self._change("", lambda: marathon.kill(task_ids, scale=True, force=force))
            case Delete(app_id):
                self._change(app_id, lambda: marathon.delete(app_id))
                # A DELETE causes no event for marathon-lb unless a task event follows (docs/hazards.md).
                self._observer.request_reload()
        return None

    def _create(self, step: Create, observation: Observation, release: Release) -> App | None:
        if observation.apps and not step.swappable:
            self._console.warn(
                f"{observation.apps[0].id} was not deployed by bgci: a rollback of this canary will cut its sessions."
            )
        revision = "" if step.stand_in else release.revision
        return self._add(self._observer.new_app(step, observation, release), revision)

    def _add(self, definition: Mapping[str, Any], release: str) -> App | None:
        """Post a new app. If the app is ours already, an earlier request succeeded and its answer was lost."""
        app_id = str(definition["id"])
        try:
            if not self._marathon.once().create(definition):
                return None
            return App(app_id, int(definition["instances"]), revision=definition.get("labels", {}).get("BGCI_REVISION"))
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
            return found.app

    def _scale(self, app_id: str, instances: int) -> None:
        try:
            self._change(app_id, lambda: self._marathon.once().scale(app_id, instances))
        except InvalidError as error:
            # Marathon takes the change of an app that was deleted meanwhile for a new app without a command.
            if self._marathon.app(app_id) is None:
                raise Gone(f"{app_id} does not exist any more.", remedy="Run the same command again.") from error
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
