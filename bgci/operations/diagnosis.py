"""Why a load balancer lags behind Marathon: an addition to the reason of a wait."""

from __future__ import annotations

from bgci.engine.decisions import Cause, Wait
from bgci.operations.observer import Observer

DIAGNOSE_AFTER, DIAGNOSE_EVERY = 12.0, 15.0


class Diagnosis:
    """``text``: why a load balancer lags; empty while no load balancer lags."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._lags_since: float | None = None
        self._diagnosed = 0.0
        self.text = ""

    def update(self, step: Wait) -> None:
        """Compare all apps with the load balancers during a wait for a load balancer."""
        if step.cause not in (Cause.LOAD_BALANCER, Cause.DRAIN):
            self._lags_since, self.text = None, ""
            return
        now = self._observer.now()
        self._lags_since = now if self._lags_since is None else self._lags_since
        if now - self._lags_since >= DIAGNOSE_AFTER and now - self._diagnosed >= DIAGNOSE_EVERY:
            self.text, self._diagnosed = self._observer.diagnosis(), now
