"""Done is said under the final configuration: the proof that a revision serves under its own settings."""

from __future__ import annotations

from bgci.engine.decisions import Cause, Wait
from bgci.engine.observation import App
from bgci.engine.situation import Situation


def until_proven(app: App, situation: Situation) -> Wait | None:
    """Until every load balancer serves exactly this app, for as long as HAProxy needs to find a failing server.

    While both revisions run, the baseline's labels are in force (hazard 50). The commit changes that, but marathon-lb
    hears nothing of a DELETE unless a task event follows, and HAProxy's state file passes an old UP on to the new
    worker. So each worker must have been started after the commit, and its servers must stay UP for fall x (interval +
    timeout) from its start. Later reloads do not start that time again: the configuration of the app is the same.
    Settings that did not change have been proven by serving: there it is enough that the baseline's servers are gone.
    """
    observation, memory = situation.observation, situation.memory
    commit = memory.commit
    for replica in observation.replicas:
        if commit and commit.changed and replica.worker and replica.worker == commit.workers.get(replica.url):
            return Wait(Cause.LOAD_BALANCER, f"{replica.url} has not reloaded since the baseline was deleted.")
        more = set(replica.others) - commit.others if commit else set()
        if more:
            return Wait(Cause.LOAD_BALANCER, f"{replica.url} still has {len(more)} servers that are not {app.id}'s.")
    if commit and not commit.changed:
        return None  # these settings have served before
    if commit is None and app.baseline_instances is None and not observation.settings_differ:
        return None  # a first deployment without settings of its own: HAProxy checks it as Marathon does
    since = max((replica.worker_started for replica in observation.replicas), default=0.0)
    if memory.waiting is Cause.PROOF:
        since = min(since, memory.waiting_since)
    if observation.now - since >= app.check_window:
        return None
    return Wait(Cause.PROOF, f"{app.id} must stay in rotation for {app.check_window:.0f} s under its own settings.")
