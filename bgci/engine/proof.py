"""The proof that a revision serves under the final configuration. Only then a promotion is complete."""

from __future__ import annotations

from bgci.engine.decisions import Cause, Wait
from bgci.engine.observation import App
from bgci.engine.situation import Situation


def until_proven(app: App, situation: Situation) -> Wait | None:
    """Until every load balancer serves exactly this app, and HAProxy's own checks of it have passed.

    While both revisions run, the baseline's labels are in force (hazard 50). The commit changes that, but marathon-lb
    gets no event for a DELETE unless a task event follows, and a new worker inherits UP from HAProxy's state file.
    So each worker must have been started after the commit, and its servers must stay UP for fall x (interval +
    timeout) from its start. Later reloads do not restart that time: the configuration of the app is the same.

    With unchanged settings one passed check is the proof. The server lines and checks of both apps are then the same
    before and after the commit (balancer_changes compares all of marathon-lb's inputs: labels, service ports, modes and
    the fields of health checks), so a check that any worker made while both ran is a check of the final configuration.
    A server that is new to HAProxy is UP before its first check, so that UP proves nothing: the engine waits for the
    check, at most an interval. A passed check is stronger evidence than the absence of failures for the whole time,
    which is all that a server can show that inherited UP under other settings.
    """
    observation, memory = situation.observation, situation.memory
    commit = memory.commit
    for replica in observation.replicas:
        if commit and commit.changed and replica.worker and replica.worker == commit.workers.get(replica.url):
            return Wait(Cause.LOAD_BALANCER, f"{replica.url} has not reloaded since the baseline was deleted.")
        more = set(replica.others) - commit.others if commit else set()
        if more:
            return Wait(Cause.LOAD_BALANCER, f"{replica.url} still has {len(more)} servers that are not {app.id}'s.")
    for replica in observation.replicas:
        unchecked = sum(replica.server(task.id).unchecked for task in app.healthy)
        if unchecked:
            return Wait(
                Cause.PROOF, f"HAProxy's check of {unchecked} instances of {app.id} has not passed at {replica.url}."
            )
    if commit and not commit.changed:
        return None
    if commit is None and app.baseline_instances is None and not observation.settings_differ:
        return None  # a first deployment with default settings
    since = max((replica.worker_started for replica in observation.replicas), default=0.0)
    if memory.waiting is Cause.PROOF:
        since = min(since, memory.waiting_since)
    if observation.now - since >= app.check_window:
        return None
    return Wait(Cause.PROOF, f"{app.id} must stay in rotation for {app.check_window:.0f} s under its own settings.")
