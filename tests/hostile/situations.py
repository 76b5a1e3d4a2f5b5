"""Commands in states of the cluster in which they send further requests: those that change it, and those over TLS and
through a proxy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from hostile.cluster import Cluster
from hostile.commands import APP, COMMANDS, V2, state_for
from hostile.good_answers import ALONE, State
from hostile.tls import certificate

DIRECT = (*V2, "--via", "direct")
BEHIND = "192.0.2.1"  # an address that only the proxy reaches
PROXY_PASSWORD = "hush-hush-proxy"
HTTPS_SUITE = ("--suite", "https.yaml")


@dataclass(frozen=True)
class Situation:
    """``environ``: further variables, with {port}, {ca} and {pin} of the cluster. ``ends``: the endpoints for which it
    is played, in place of all that the command requests. ``limit``: seconds of its deadline; 0: that of the command."""

    words: tuple[str, ...]
    state: State = State()
    environ: Mapping[str, str] = field(default_factory=dict)
    ends: tuple[str, ...] = ()
    limit: float = 0.0

    def environment(self, cluster: Cluster) -> dict[str, str]:
        shown = certificate()
        values = {"port": cluster.port, "ca": shown.file, "pin": shown.pin}
        return {name: text.format(**values) for name, text in self.environ.items()}


SECURE = {"BGCI_CLUSTER_URL": "https://127.0.0.1:{port}", "BGCI_CA_CERT": "{ca}"}
PINNED = {"BGCI_CLUSTER_URL": "https://127.0.0.1:{port}", "BGCI_CA_SHA256": "{pin}"}
THROUGH = {f"{scheme}_PROXY": f"http://ci:{PROXY_PASSWORD}@127.0.0.1:{{port}}" for scheme in ("HTTP", "HTTPS")}
FAR = {**THROUGH, "BGCI_CLUSTER_URL": f"https://{BEHIND}", "BGCI_CA_CERT": "{ca}"}
SECRET = {"BGCI_JOB_SERVICE_ACCOUNT": "secret"}
ONE = State(colours=("blue",))


def _changes() -> Iterator[tuple[str, Situation]]:
    """Commands that change apps and jobs."""
    two = ("--template", "two.template.json")
    long = State(target=2, instances=2)  # its baseline is never drained
    canary, promote, rollback = ((one, *DIRECT) for one in ("canary", "promote", "rollback"))
    yield "canary of a new revision", Situation(canary, ONE, ends=("create", "delete", "app", "apps"))
    yield (
        "canary of 2",
        Situation((*canary, "--instances", "2", *two), State(target=2, baseline=2), ends=("change", "app")),
    )
    preview = (*canary, "--preview", "always")
    yield "canary with a preview", Situation(preview, ONE, ends=("create", "app", "delete", "reload"), limit=30.0)
    yield "promote with a queue", Situation(promote, long, ends=("queue", "statistics"))
    yield (
        "promote of a drained baseline",
        Situation(promote, State(out=("127.0.0.2",)), ends=("delete", "app", "reload")),
    )
    rolling = (*promote, "--strategy", "rolling", *two)
    drained = State(target=2, baseline=2, out=("127.0.0.2",))
    yield "promote one for one", Situation(rolling, drained, ends=("change", "app"))
    yield "promote with a placeholder", Situation(rolling, replace(drained, placeholder=True), ends=("kill", "app"))
    yield (
        "promote that renews its lock",
        Situation((*promote, "--timeout", "24s"), long, ends=("renew-lock",), limit=24.0),
    )
    yield "rollback of a drained canary", Situation(rollback, State(out=("127.0.0.1",)), ends=("delete", "app"))
    yield "rollback at once", Situation((*rollback, "--cut"), ends=("delete", "app"))
    by_job = ("rollback", *V2, "--via", "job")
    yield "rollback by job with runs", Situation(by_job, State(active=True), ends=("stop", "runs", "job", "jobs"))
    yield (
        "remove directly",
        Situation(("remove", *APP, "--yes", "--via", "direct"), ALONE, ends=("delete", "app", "apps")),
    )
    runs = ("stop", "delete-job", "create-job", "start")
    yield "remove with runs", Situation(COMMANDS["remove"], State(active=True), ends=runs)
    unread = State(ended=True, failed=True, missing=("log", "files"))
    yield (
        "canary job without a log",
        Situation(COMMANDS["canary job"], unread, ends=("history", "state", "files", "tasks")),
    )
    adopt = ("doctor", *APP, "--adopt", "--adopt-restart", "--via", "direct")
    foreign = State(colours=("blue",), foreign=True)
    yield (
        "doctor that adopts",
        Situation(adopt, foreign, ends=("change", "cancel", "queue", "app", "locks"), limit=64.0),
    )


def _rights() -> Iterator[tuple[str, Situation]]:
    """Secrets, permissions and logins."""
    refused = State(uid="ci", refused=("permissions", "secrets"))
    yield (
        "publish with a secret",
        Situation(COMMANDS["publish"], environ=SECRET, ends=("secrets", "job", "delete-job", "create-job")),
    )
    yield (
        "publish with a hidden secret",
        Situation(COMMANDS["publish"], State(refused=("secrets",)), SECRET, ("secrets", "secret")),
    )
    yield (
        "doctor with rights",
        Situation(("doctor", *APP), State(uid="ci"), SECRET, ("permissions", "secrets")),
    )
    yield (
        "doctor without rights",
        Situation(("doctor", *APP), refused, SECRET, ("permissions", "secrets", "secret", "route", "change-job")),
    )
    yield (
        "doctor of direct ways",
        Situation(("doctor", *APP, "--via", "direct"), refused, ends=("delete-task", "permissions")),
    )
    yield (
        "promote with a short login",
        Situation(("promote", *DIRECT), State(target=2, instances=2, seconds=1.0), ends=("login-again",)),
    )


def _tls() -> Iterator[tuple[str, Situation]]:
    shaken = ("handshake", "version")
    for name in ("status", "doctor", "publish", "canary", "canary job", "test", "remove", "prune"):
        yield (
            f"{name}, TLS",
            Situation(COMMANDS[name], state_for(name), SECURE, shaken if name == "status" else shaken[:1]),
        )
    for name in ("status", "doctor", "release"):
        yield f"{name}, pinned CA", Situation(COMMANDS[name], environ=PINNED, ends=("handshake", "ca"))
    secured = {"BGCI_MARATHON_LB_URL": "https://127.0.0.1:{port}", "BGCI_CA_CERT": "{ca}"}
    for name in ("status", "doctor", "promote"):
        ends = ("handshake", "statistics") if name == "status" else ("handshake",)
        yield f"{name}, TLS of the load balancer", Situation(COMMANDS[name], environ=secured, ends=ends)
    words = ("test", *APP, "--revision", "v2", *HTTPS_SUITE)
    yield (
        "test, TLS of the instances",
        Situation(words, environ={"BGCI_CA_CERT": "{ca}"}, ends=("handshake", "instance")),
    )


def _proxies() -> Iterator[tuple[str, Situation]]:
    behind = {**THROUGH, "BGCI_MARATHON_LB_URL": f"https://{BEHIND}", "BGCI_CA_CERT": "{ca}"}
    for name in ("status", "doctor", "publish", "canary", "test", "prune"):
        yield (
            f"{name}, proxy",
            Situation(COMMANDS[name], environ=FAR, ends=("proxy", "handshake")[: 1 + (name == "status")]),
        )
    yield "canary, proxy of the load balancer", Situation(COMMANDS["canary"], environ=behind, ends=("proxy",))
    yield (
        "status, pinned CA by a proxy",
        Situation(
            COMMANDS["status"],
            environ={**THROUGH, "BGCI_CLUSTER_URL": f"https://{BEHIND}", "BGCI_CA_SHA256": "{pin}"},
            ends=("proxy", "ca"),
        ),
    )
    words = ("test", *APP, "--revision", "v2", *HTTPS_SUITE)
    yield (
        "test, proxy of the instances",
        Situation(words, environ={**THROUGH, "BGCI_CA_CERT": "{ca}"}, ends=("proxy",)),
    )
    yield "judge, proxy of the instances", Situation(COMMANDS["judge"], environ=THROUGH, ends=("instance",))


SITUATIONS: dict[str, Situation] = dict((*_changes(), *_rights(), *_tls(), *_proxies()))
ALL: dict[str, Situation] = {
    **{name: Situation(words, state_for(name)) for name, words in COMMANDS.items()},
    **SITUATIONS,
}
