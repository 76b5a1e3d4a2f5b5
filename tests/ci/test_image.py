"""The container image: Buildah builds it on a base of this system's packages; it runs as a DC/OS Job, in a CI
system, and on a cluster with a CA of its own."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e.lab import App
from e2e.secured import SecuredLab

import bgci

ROOT = Path(__file__).parents[2]
BASE = ROOT / ".tools" / "image" / "base.tar"
BASE_NAME = "localhost/base"
IMAGE = "localhost/bgci"
PLANTED = "planted-7c1d0b"
MOST_BYTES = 40_000_000  # what bgci adds to its base
TITLE = "org.opencontainers.image."

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="who is not root can make no base image"),
    pytest.mark.skipif(
        not (shutil.which("buildah") and shutil.which("debootstrap")),
        reason="buildah or debootstrap is missing: make image-tools",
    ),
    pytest.mark.timeout(900),
]


@dataclass(frozen=True)
class Buildah:
    """Buildah with a separate storage."""

    home: Path

    def start(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs ``buildah``, or a program that does, to its end."""
        own = {"CONTAINERS_STORAGE_CONF": str(self.home / "storage.conf"), "TMPDIR": str(self.home)}
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), **own, "BUILDAH_ISOLATION": "chroot"}
        environment["BUILDER"] = "buildah"
        return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=600)

    def __call__(self, *words: str) -> str:
        done = self.start("buildah", *words)
        assert done.returncode == 0, f"{' '.join(words)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def container(self, image: str) -> Container:
        return Container(self, self("from", "--pull-never", image))

    def size(self, image: str) -> int:
        """The uncompressed size of the image's layers in bytes."""
        manifest = json.loads(json.loads(self("inspect", "--type", "image", image))["Manifest"])
        return sum(layer["size"] for layer in manifest["layers"])


@dataclass(frozen=True)
class Container:
    """A running container. Buildah ignores the image's entry point, as DC/OS does where a job has a command."""

    buildah: Buildah
    name: str

    def run(self, command: str, *, user: str = "", expect: int = 0, **environment: str) -> str:
        """Runs a command line by ``/bin/sh -c``. Returns stdout and stderr together."""
        exports = self.buildah.home / "exports"  # all on this machine see the value of an --env
        exports.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()))
        words = ["--volume", f"{exports}:/run/exports:ro", *(["--user", user] if user else [])]
        told = ("/bin/sh", "-c", f". /run/exports; {command}")
        done = self.buildah.start("buildah", "run", *words, self.name, "--", *told)
        said = done.stdout + done.stderr
        assert done.returncode == expect, f"{command} ended with {done.returncode}, not {expect}:\n{said}"
        return said

    def files(self) -> Path:
        """The directory of the container's file system."""
        return Path(self.buildah("mount", self.name))


@pytest.fixture
def buildah(tmp_path: Path) -> Iterator[Buildah]:
    home = tmp_path / "buildah"
    home.mkdir()
    (home / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{home}/images"\nrunroot = "{home}/run"\n'
    )
    own = Buildah(home)
    yield own
    own.start("buildah", "umount", "--all")
    shutil.rmtree(home, ignore_errors=True)  # a gigabyte


@pytest.fixture
def base(buildah: Buildah) -> str:
    """The digest of a base image of this system's packages, with Python."""
    if not BASE.exists():
        made = subprocess.run([ROOT / "tools" / "image-tools"], capture_output=True, text=True)
        if made.returncode:
            pytest.skip(f"no base image can be made here: {made.stderr.strip()}")
    name = buildah("from", "scratch")
    buildah("add", "--quiet", name, str(BASE), "/")
    able = buildah.start("buildah", "run", name, "--", "/bin/true")
    if able.returncode:
        pytest.skip(f"Buildah can run nothing here: {able.stderr.strip()}")
    buildah("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", name)
    buildah("commit", "--quiet", "--rm", name, BASE_NAME)
    return buildah("images", "--format", "{{.Digest}}", BASE_NAME)


@pytest.fixture
def context(tmp_path: Path, buildah: Buildah, base: str) -> Path:
    """This repository with the wheels of its dependencies, and with files of a working copy that must not be in the
    image."""
    copy = tmp_path / "context"
    copy.mkdir()
    locks = ("requirements.lock", "requirements-build.lock")
    for name in ("Dockerfile", ".dockerignore", "pyproject.toml", *locks, "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("bgci", "tools"):
        shutil.copytree(ROOT / name, copy / name)
    for name in (".env", "bgci.toml", "bgci-artifacts/result.json", ".git/config"):
        (copy / name).parent.mkdir(exist_ok=True)
        (copy / name).write_text(PLANTED)
    version = (
        buildah.container(BASE_NAME).run("python3 -c 'import sys; print(*sys.version_info[:2], sep=\".\")'").strip()
    )
    options = ["--require-hashes", "--only-binary=:all:", "--python-version", version, "--dest", str(copy / "wheels")]
    files = [word for name in locks for word in ("--requirement", str(ROOT / name))]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options, *files]
    fetched = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if fetched.returncode:
        pytest.skip(f"the packages cannot be fetched: {fetched.stderr.strip()}")
    return copy


def build(buildah: Buildah, context: Path, digest: str) -> subprocess.CompletedProcess[str]:
    """As docs/image.md says, on our base. pip's configuration holds a password."""
    (context / "pip.conf").write_text(f"[global]\nindex-url = http://ci:{PLANTED}@127.0.0.1:9/simple\n")
    secret = ["--secret", f"id=pip.conf,src={context / 'pip.conf'}"]
    own = ["--build-arg", f"BASE_IMAGE={BASE_NAME}", "--tag", IMAGE]
    return buildah.start(str(context / "tools" / "image"), digest, *secret, *own)


def test_h29_the_image_runs_as_a_job_and_in_a_ci_system(
    buildah: Buildah, base: str, context: Path, secured_lab: SecuredLab, make_secured_app: Callable[..., App]
) -> None:
    unpinned = build(buildah, context, "")
    assert (unpinned.returncode, unpinned.stderr.count("which digest of the base image?")) == (2, 1)
    by_hand = buildah.start("buildah", "build", "--build-arg", f"BASE_IMAGE={BASE_NAME}", str(context))
    assert by_hand.returncode != 0
    # The error names the step. Buildah can lose the output of a step that ends at once.
    assert 'building at STEP "RUN refuse()' in by_hand.stderr
    built = build(buildah, context, base)
    assert built.returncode == 0, built.stdout + built.stderr
    added = buildah.size(IMAGE) - buildah.size(BASE_NAME)
    print(f"the image adds {added / 1e6:.0f} MB to its base")
    assert added < MOST_BYTES

    is_labelled(buildah, base)
    container = buildah.container(IMAGE)
    holds_nothing_of_the_build(container)
    runs_for_any_user(container)
    trusts_the_certificates_that_it_is_given(container, secured_lab)
    runs_a_job(container, make_secured_app(), secured_lab)


def is_labelled(buildah: Buildah, base: str) -> None:
    config = json.loads(buildah("inspect", "--type", "image", IMAGE))["OCIv1"]["config"]
    labels = config["Labels"]
    assert labels[f"{TITLE}version"] == bgci.__version__
    assert labels[f"{TITLE}licenses"] == "Apache-2.0"
    assert (labels[f"{TITLE}base.name"], labels[f"{TITLE}base.digest"]) == (BASE_NAME, base)
    assert config["Entrypoint"] == ["bgci"]
    assert config["User"].split(":")[0] not in ("", "0", "root")


def holds_nothing_of_the_build(container: Container) -> None:
    """Asserts that the image has neither sources nor caches, compilers or other files of the working copy."""
    files = container.files()
    for path in ("src", "wheels", "etc/pip.conf", "run/secrets", "root/.cache", "work/.cache"):
        assert not (files / path).exists(), path
    found = subprocess.run(["grep", "-rlIs", PLANTED, files], capture_output=True, text=True)
    assert found.stdout == ""
    assert PLANTED not in container.buildah("inspect", "--type", "image", IMAGE)
    container.run("! command -v gcc && ! ls /opt/bgci/bin/pip*")


def runs_for_any_user(container: Container) -> None:
    version = f"bgci {bgci.__version__}"
    assert container.run("bgci --version").strip() == version
    assert container.run("exec timeout -k 30 60 bgci --version").strip() == version
    assert container.run("exec sh -lc 'bgci --version'", PATH="/usr/bin:/bin").strip() == version
    assert container.run("id -u").strip() == "10001"
    assert "HAProxy version" in container.run("haproxy -v || /usr/sbin/haproxy -v")
    template = (ROOT / "examples" / "testapp.template.json").read_text()
    render = (
        'printf %s "$TEMPLATE" >testapp.template.json && '
        "bgci render --app testapp --revision v2 --image testapp:v2 && cat bgci-artifacts/manifest.json"
    )
    for user in ("", "0", "12345:12345"):
        at = f"where-{user[:1]}"
        said = container.run(
            f"mkdir {at} && cd {at} && {render}", user=user, TEMPLATE=template, HOME="/nonexistent" if user else "/work"
        )
        assert "testapp-v2-rollback-single-canary.json" in said


def trusts_the_certificates_that_it_is_given(container: Container, lab: SecuredLab) -> None:
    pem = Path(lab.ca_cert).read_text()
    (container.files() / "ca.pem").write_text(pem)
    where = {"BGCI_CLUSTER_URL": lab.url, "BGCI_MARATHON_LB_URL": " ".join(lab.balancers), "BGCI_TOKEN": lab.token}
    command = "bgci status"  # of all apps
    refused = container.run(command, expect=5, **where)
    assert "certificate is not trusted" in refused
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "BGCI_CA_CERT"):
        container.run(command, **where, **{name: "/ca.pem"})
    container.run(command, **where, BGCI_CA_CERT=pem)
    (container.files() / "usr/local/share/ca-certificates/own.crt").write_text(pem)
    container.run("update-ca-certificates", user="0")
    container.run(command, **where)


def runs_a_job(container: Container, app: App, lab: SecuredLab) -> None:
    """Runs the published job as DC/OS does, with its login from the secret."""
    account = json.dumps(lab.service_account("bgci-image"))
    lab.put_secret("bgci-service-account", account)
    lab.grant("dcos:superuser", "bgci-image")
    app.publish("v1", BGCI_VIA="job")
    run = lab.job(f"{app.id.strip('/')}-v1-deploy-single-canary")["run"]
    assert run["secrets"] == {"bgci_service_account": {"source": "bgci-service-account"}}
    assert run["env"]["BGCI_SERVICE_ACCOUNT"] == {"secret": "bgci_service_account"}
    said = container.run(run["cmd"], **{**run["env"], "BGCI_SERVICE_ACCOUNT": account, "MESOS_TASK_ID": "web.1"})
    assert '"exit_code": 0' in said
    assert app.healthy() == {"v1": 2}
