"""No secret in anything that is written, and on no command line: every command, in success and in each failure."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import signal
import ssl
import subprocess
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from e2e.faulty import Local, Quiet, served
from e2e.lab import BGCI, App, until
from e2e.leaks import Secrets, arguments, files
from e2e.secured import SecuredLab

PASSWORD = "Rv7 pä\"ss's:w/ö&r<d>+%=\\$9#[x] Qz4"
WRONG = "Jk3-not;the~password?{}|Wd8"
VARIABLES = ("BGCI_TOKEN", "BGCI_PASSWORD", "BGCI_SERVICE_ACCOUNT", "DCOS_ACS_TOKEN")
PLANTED = ("password", "planted.xml", "results.xml", "sitecustomize.py")  # files of the test itself

# A job that first shows its whole environment, as it is and once more in base64.
JOB_TEMPLATE = """{"id": "{{ id }}", "labels": {{ labels | tojson }}, "run": {
"cmd": "env; env | base64 -w 0; echo; {{ cmd }}", "cpus": 0.1, "mem": 32, "disk": 0,
"docker": {"image": "{{ job_image }}"}, "env": {{ env | tojson }}, "secrets": {{ secrets | tojson }}}}
"""
# A test program that looks for credentials, and whose results hold some all the same.
PROGRAM = (
    "env > seen.txt; tr '\\0' '\\n' < /proc/$PPID/environ | tee parent.txt; cat password; cp planted.xml results.xml"
)
# Internal faults, which no server and no option can cause.
BUG_IN_A_STAGE = """
import os, bgci.commands.status as stage
def status(work):
    raise ValueError(f"{dict(os.environ)} {work.credentials.environment()}")
stage.status = status
"""
BUG_BEFORE_ANY_STAGE = """
import os, bgci.operations.context as work
def detect(environ):
    raise KeyError(dict(environ))
work.detect = detect
"""


class Mirror(Local):
    """A proxy in front of the cluster. ``fault``: a status for a request, whose answer holds the headers that came
    with it."""

    def __init__(self, lab: SecuredLab) -> None:
        super().__init__(_Reflection)
        self.target = urllib.parse.urlsplit(lab.url).netloc
        self.tls = ssl.create_default_context(cafile=lab.ca_cert)
        self.fault: Callable[[str], int | None] = lambda path: None
        self.kind = "application/json"
        self.sent: set[str] = set()


class _Reflection(Quiet):
    server: Mirror

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        given = self.headers.get("Authorization", "")
        self.server.sent.add(given.removeprefix("token="))
        status = self.server.fault(self.path)
        if status:
            shown = f"refused: Authorization: {given} {body.decode('utf-8', 'replace')} " + "." * 180 + given
            text = json.dumps({"message": shown}) if "json" in self.server.kind else f"<html><p>{shown}</p></html>"
            return self.send(status, {"Content-Type": self.server.kind}, text.encode())
        connection = http.client.HTTPSConnection(self.server.target, context=self.server.tls, timeout=60)
        connection.request(self.command, self.path, body or None, dict(self.headers.items()) | {"Connection": "close"})
        reply = connection.getresponse()
        kept = {name: text for name, text in reply.getheaders() if name.lower() not in SET_HERE}
        return self.send(reply.status, kept, reply.read())

    do_GET = do_POST = do_PUT = do_DELETE = _answer


SET_HERE = ("connection", "transfer-encoding", "content-length")


@contextmanager
def mirror(lab: SecuredLab) -> Iterator[Mirror]:
    with Mirror(lab) as server:
        yield from served(server)


@dataclass
class Scene:
    """The accounts, and all written texts."""

    lab: SecuredLab
    secrets: Secrets
    by_token: dict[str, str]
    by_password: dict[str, str]
    by_account: dict[str, str]
    wrong: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)

    def run(self, app: App, words: str, expect: int, *says: str, kill: bool = False, **environment: str) -> None:
        """Runs a command to its end, and searches all its output. ``kill``: with SIGTERM, once it waits."""
        name = f"{words} -> {expect}"
        told = {"BGCI_ARTIFACTS": f"out-{len(self.ran)}", **environment}
        where = app.directory / told["BGCI_ARTIFACTS"]
        process = subprocess.Popen(
            [*BGCI, *words.split(), "--app", app.id, *revision(app, words)],
            cwd=app.directory,
            env=self.lab.environment(**told),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.ran.append(name)
        if kill:
            until(lambda: (where / "journal.jsonl").exists() and '"wait"' in (where / "journal.jsonl").read_text())
            process.send_signal(signal.SIGTERM)
        out, err = (text.decode("utf-8", "surrogateescape") for text in process.communicate(timeout=120))
        if process.returncode != expect:
            self.wrong.append(f"{name}: it ended with {process.returncode}:\n{out}\n{err}")
        masks = [line for line in (out + err).splitlines() if line.startswith("::add-mask::")]
        if ("GITHUB_ACTIONS" in environment) != any(text.startswith("::add-mask::") for text in (out, err)):
            self.wrong.append(f"{name}: the first line is not a mask, or one too many")
        shown = "\n".join(line for line in (out + err).splitlines() if line not in masks)
        self.wrong += [f"{name}: {one}" for one in self.secrets.found(shown)]
        self.wrong += [f"{name}: it does not say {one!r}:\n{shown}" for one in says if one not in shown]


def revision(app: App, words: str) -> list[str]:
    command = words.split()[0]
    if command in ("status", "prune"):
        return []
    if "--revision" in words:
        return []
    return ["--revision", "v2", *(["--image", "image:v2"] if command != "test" else [])]


@pytest.fixture
def scene(secured_lab: SecuredLab) -> Scene:
    user, account = secured_lab.user("leaks-user", PASSWORD), secured_lab.service_account("leaks-account")
    for uid in ("leaks-user", "leaks-account"):
        secured_lab.grant("dcos:superuser", uid)
    token = secured_lab.login(user)
    secrets = Secrets()
    for name, secret in (("password", PASSWORD), ("token", token), ("wrong password", WRONG)):
        secrets.add(name, secret)
    secrets.add("key", account["private_key"])
    return Scene(
        secured_lab,
        secrets,
        by_token={"BGCI_TOKEN": token},
        by_password={"BGCI_USERNAME": "leaks-user", "BGCI_PASSWORD": PASSWORD},
        by_account={"BGCI_SERVICE_ACCOUNT": json.dumps(account)},
    )


def prepared(make: Callable[..., App], scene: Scene) -> App:
    """An app with three revisions, and with what is planted beside it."""
    app = make(1, name="/leaks-{}/web")
    folder = app.id.strip("/").partition("/")[0]
    scene.lab.put_secret(f"{folder}/bgci-service-account", scene.by_account["BGCI_SERVICE_ACCOUNT"])
    for version in ("v1", "v2", "v3"):
        app.write(version)
    (app.directory / "job.json").write_text(JOB_TEMPLATE)
    shown = escaped(PASSWORD)
    failing = (
        f"<testcase name='x'><failure message='{shown}'>{shown}</failure><system-out>{shown}</system-out></testcase>"
    )
    (app.directory / "planted.xml").write_text(f"<testsuite>{failing}</testsuite>")
    (app.directory / "password").write_text(PASSWORD)
    for name, text in (("stage", BUG_IN_A_STAGE), ("early", BUG_BEFORE_ANY_STAGE)):
        (app.directory / name).mkdir()
        (app.directory / name / "sitecustomize.py").write_text(text)
    return app


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("'", "&#39;")


def a_whole_release(app: App, scene: Scene) -> None:
    """Every command, from render to prune, in jobs and in this process, as in each CI system."""
    app.promote("v1")
    github = {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(app.directory / "output")}
    github["GITHUB_STEP_SUMMARY"] = str(app.directory / "summary")
    gitlab, jenkins = {"GITLAB_CI": "true"}, {"JENKINS_URL": "http://jenkins.example.com/"}
    embed = "--job-template job.json --job-service-account embed"
    scene.run(app, f"render {embed}", 0, **scene.by_account, **github)
    scene.run(app, f"publish {embed} --dry-run", 0, **scene.by_password)
    for environment in (scene.by_token | github, scene.by_account | {"BGCI_LOG_FORMAT": "json"}, scene.by_password):
        scene.run(app, f"publish {embed}", 0, **environment)
    # What is embedded now is not what this command logs in with.
    scene.run(app, "publish --dry-run --job-service-account none", 0, **scene.by_token, **gitlab)
    scene.run(app, "canary --via direct --dry-run", 0, **scene.by_account)
    scene.run(app, "canary --via job", 0, "job | BGCI_PASSWORD=***", **scene.by_token, **jenkins)
    tests = {"BGCI_TEST_COMMAND": PROGRAM, "BGCI_JUNIT_GLOB": "results.xml"}
    scene.run(app, "test", 7, **tests, **scene.by_password, **github)
    seen = (app.directory / "seen.txt").read_text()
    assert not [name for name in VARIABLES if f"{name}=" in seen]
    scene.run(app, "status --output json", 0, **scene.by_account, **github)
    scene.run(app, "rollback --via direct", 0, **scene.by_password, **gitlab)
    secret = "--job-template job.json --job-service-account secret --via job"
    scene.run(app, f"release {secret}", 0, **scene.by_account, **github)
    scene.run(app, "doctor", 0, **scene.by_token)
    scene.run(app, "prune --keep 0", 0, **scene.by_token)


def failures_of_the_app(app: App, scene: Scene) -> None:
    """Commands that end with a conflict, unhealthy, with a timeout, aborted; and with a bug."""
    app.promote("v1")
    app.write("v3", env={"SANDBOX_HEALTH": "fail", "TOKEN_OF_THE_APP": "of no interest"})
    third = "--revision v3 --image image:v3 --via direct"
    scene.run(app, f"canary {third} --timeout 3s", 8, **scene.by_token)
    scene.run(app, f"canary {third}", 143, kill=True, **scene.by_password)
    scene.run(app, "canary --via direct", 6, **scene.by_account)
    scene.run(app, f"release {third} --timeout 3s", 10, **scene.by_password, GITHUB_ACTIONS="true")
    for name in ("stage", "early"):
        bug = {"PYTHONPATH": path_with(app.directory / name)}
        scene.run(app, "status", 1, "Error: ", "***", **scene.by_account, **bug)


def path_with(directory: Path) -> str:
    return os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH", ""))))


def failures_of_the_cluster(app: App, scene: Scene) -> None:
    """Commands without login, permission or trusted CA; and with a server that echoes its requests."""
    scene.run(app, "status", 4, BGCI_USERNAME="leaks-user", BGCI_PASSWORD=WRONG)
    scene.run(app, "doctor", 4, BGCI_USERNAME="leaks-user", BGCI_PASSWORD=WRONG, GITHUB_ACTIONS="true")
    scene.run(app, "status", 2, **scene.by_token, **scene.by_account)
    scene.run(app, "status", 4, BGCI_SERVICE_ACCOUNT=json.dumps(scene.lab.service_account("leaks-nobody")))
    scene.run(app, "promote --via direct", 5, **scene.by_password, BGCI_CA_CERT="")
    with mirror(scene.lab) as server:
        there = {"BGCI_CLUSTER_URL": server.url}
        scene.run(app, "status", 6, **there, **scene.by_account)
        for token in list(server.sent):
            scene.secrets.add("token of the account", token)
        server.fault = lambda path: 403 if "/service/" in path else None
        scene.run(app, "status", 4, **there, **scene.by_token)
        server.fault = lambda path: 422 if "/v1/jobs" in path else None
        scene.run(app, "publish --job-service-account embed", 3, **there, **scene.by_token)
        server.kind = "text/html"
        scene.run(app, "publish --job-service-account embed", 3, **there, **scene.by_token, GITHUB_ACTIONS="true")
        server.fault = lambda path: 401 if "/auth/login" in path else None
        scene.run(app, "doctor --output json", 4, **there, **scene.by_password)


def test_h28_h31_no_secret_is_ever_written(make_secured_app: Callable[..., App], scene: Scene) -> None:
    apps = [prepared(make_secured_app, scene) for _ in range(3)]
    parts = (a_whole_release, failures_of_the_app, failures_of_the_cluster)
    with arguments() as watched, ThreadPoolExecutor(len(parts)) as pool:
        for done in [pool.submit(part, app, scene) for part, app in zip(parts, apps, strict=True)]:
            done.result()
    assert len(watched.seen) > 20
    for app in apps:
        scene.wrong += scene.secrets.found_in(files(app.directory, but=PLANTED))
    assert scene.secrets.found("\n".join(watched.seen)) == []
    assert not scene.wrong, "\n".join(scene.wrong)
