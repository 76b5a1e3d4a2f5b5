"""The commands that send requests to a cluster, and a directory in which they can run against canned answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from hostile.cluster import Cluster
from hostile.command import run
from hostile.good_answers import ALONE, DEFINITION, State

APP = ("--app", "web")
V2 = (*APP, "--revision", "v2", "--image", "image:v2")
SUITE = """\
checks:
- {name: text, path: /a, expect: {status: 200, body: hello}, timeout: 1s}
- {name: json, path: /b, expect: {json: {'$.a': 1}, header_regex: {X: '(a+)+$'}}, timeout: 1s}
"""
# Large bodies on many connections take most memory.
SUITE_AT_ONCE = """\
checks:
- {path: /a, repeat: 48, concurrency: 32, target: both, expect: {json: {'$..*': 1}, body: qqq, body_regex: 'zz$'}}
"""
SUITE_OF_TLS = "checks:\n- {name: text, path: /a, scheme: https, expect: {status: 200}, timeout: 1s}\n"
COMMANDS: dict[str, tuple[str, ...]] = {
    "status": ("status", *APP),
    "status of all": ("status",),
    "doctor": ("doctor", *APP),
    "publish": ("publish", *V2),
    "canary": ("canary", *V2, "--via", "direct"),
    "canary job": ("canary", *V2, "--via", "job"),
    "promote": ("promote", *V2, "--via", "direct"),
    "rollback": ("rollback", *V2, "--via", "direct"),
    "release": ("release", *V2, "--via", "direct", "--suite", "suite.yaml"),
    "test": ("test", *APP, "--revision", "v2", "--suite", "suite.yaml"),
    "test at once": ("test", *APP, "--revision", "v2", "--suite", "at-once.yaml"),
    "judge": ("test", *APP, "--revision", "v2", "--judge-for", "1s", "--judge-traffic"),
    "undo": ("undo", *APP),
    "remove": ("remove", *APP, "--yes"),
    "prune": ("prune", *APP, "--keep", "0"),
}
PASSWORD = "hush-hush-secret"


def state_for(command: str) -> State:
    """The state of the cluster in which this command has something to do."""
    return ALONE if command == "undo" else State()


def environment(cluster: Cluster) -> dict[str, str]:
    """The environment of every command: short limits, and a login whose password must not be in any output."""
    return {
        "BGCI_CLUSTER_URL": cluster.url,
        "BGCI_MARATHON_LB_URL": cluster.url,
        "BGCI_JOB_CLUSTER_URL": cluster.url,
        "BGCI_JOB_MARATHON_LB_URL": cluster.url,
        "BGCI_TIMEOUT": "1s",
        "BGCI_DRAIN_TIMEOUT": "1s",
        "BGCI_PROGRESS_TIMEOUT": "1s",
        "BGCI_USERNAME": "ci",
        "BGCI_PASSWORD": PASSWORD,
        "BGCI_JOB_IMAGE": "bgci:1",
        "BGCI_JOB_SERVICE_ACCOUNT": "none",
        "BGCI_CHECK_CONFIG": "never",
    }


def prepared(directory: Path, cluster: Cluster) -> Path:
    """The directory with template and suite; the cluster has the jobs of both revisions, and of an earlier one."""
    (directory / "web.template.json").write_text(json.dumps(DEFINITION))
    (directory / "two.template.json").write_text(json.dumps({**DEFINITION, "instances": 2}))
    (directory / "suite.yaml").write_text(SUITE)
    (directory / "at-once.yaml").write_text(SUITE_AT_ONCE)
    (directory / "https.yaml").write_text(SUITE_OF_TLS)
    jobs: dict[str, Mapping[str, object]] = {}
    for revision in ("v0", "v1", "v2"):
        words = ["render", *APP, "--revision", revision, "--image", f"image:{revision}"]
        ended = run(directory, words, environment(cluster))
        assert ended.code == 0, ended.err
        for file in directory.glob(f"bgci-artifacts/web-{revision}-*single-canary.json"):
            jobs[file.stem] = json.loads(file.read_text())
        whole = directory / f"bgci-artifacts/web-{revision}-deploy-canary-completely.json"
        jobs[whole.stem] = json.loads(whole.read_text())
    cluster.jobs = jobs
    return directory
