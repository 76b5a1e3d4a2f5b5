"""The addresses and CA certificates of the job, which differ inside of the cluster."""

from __future__ import annotations

import subprocess
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from bgci.dcos.tls import pem_text
from bgci.errors import UsageError
from bgci.operations.context import Context
from bgci.operations.job_addresses import job_ca, job_connection, job_pin, job_urls, require_confidential_jobs
from bgci.options import Settings

OUTSIDE = "https://dcos.example.com"


@pytest.mark.parametrize(
    ("given", "cluster", "marathon"),
    [
        ({}, "https://master.mesos", None),
        ({"cluster_url": OUTSIDE}, "https://master.mesos", None),
        ({"cluster_url": OUTSIDE, "job_cluster_url": "https://leader.mesos/"}, "https://leader.mesos", None),
        (
            {"cluster_url": f"{OUTSIDE}/", "marathon_url": f"{OUTSIDE}/service/marathon-user"},
            "https://master.mesos",
            "https://master.mesos/service/marathon-user",
        ),
        ({"cluster_url": OUTSIDE, "marathon_url": "https://other:8443"}, "https://master.mesos", None),
        ({"cluster_url": OUTSIDE, "job_marathon_url": "http://m:8080"}, "https://master.mesos", "http://m:8080"),
        ({"marathon_url": "http://m:8080"}, "", "http://m:8080"),
        ({"marathon_url": "http://out:80", "job_marathon_url": "http://m:8080"}, "", "http://m:8080"),
    ],
)
def test_the_jobs_addresses_follow_from_the_stages_unless_given(given: Any, cluster: str, marathon: str | None):
    assert job_urls(Settings(**given)) == (cluster, marathon)


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ca")
    made = ["-keyout", str(folder / "key"), "-out", str(folder / "ca.pem"), "-subj", "/CN=ca"]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *made],
        check=True,
        capture_output=True,
    )
    return folder / "ca.pem"


def test_the_job_gets_the_trusted_ca_in_one_line(pem: Path):
    for given in (str(pem), pem.read_text(), pem.read_text().replace("\n", "\\n")):
        told = job_ca(Settings(ca_cert=given))
        assert told is not None
        assert "\n" not in told
        assert pem_text(told) == pem.read_text()


def test_the_job_can_trust_another_ca(pem: Path, tmp_path: Path):
    (tmp_path / "no.pem").write_text("nothing")
    told = job_connection(Settings(ca_cert=str(tmp_path / "no.pem"), job_ca_cert=str(pem), ca_sha256="ab"))
    assert pem_text(told["ca_cert"]) == pem.read_text()
    assert told["ca_sha256"] == ""


def test_a_pinned_ca_is_pinned_in_the_job_too():
    told = job_connection(Settings(ca_sha256="ab", insecure=True))
    assert (told["ca_cert"], told["ca_sha256"], told["insecure"]) == ("", "ab", True)


def test_without_https_no_ca_is_pinned():
    assert job_pin(Settings(ca_sha256="ab", job_cluster_url="http://master.mesos")) is None
    assert job_pin(Settings(ca_sha256="ab", marathon_url="https://marathon")) is None


@pytest.mark.parametrize(
    ("given", "logs_in", "refused"),
    [
        ({"job_cluster_url": "http://master.mesos"}, True, True),
        ({"job_cluster_url": "http://master.mesos"}, False, False),
        ({"job_cluster_url": "http://master.mesos", "insecure": True}, True, False),
        ({"marathon_url": "http://marathon:8080"}, True, True),
        ({}, True, False),
    ],
)
def test_a_login_that_a_job_would_send_unencrypted_is_refused_before_publishing(
    given: Any, logs_in: bool, refused: bool
):
    with pytest.raises(UsageError, match="unencrypted") if refused else nullcontext():
        require_confidential_jobs(Settings(**given), logs_in=logs_in)


@pytest.mark.parametrize(("count", "said"), [(0, "no certificate"), (60, "the limit of a job is")])
def test_a_ca_that_a_job_cannot_use_is_a_usage_error(pem: Path, tmp_path: Path, count: int, said: str):
    body = pem.read_text().split("-----")[2]
    many = [f"-----BEGIN CERTIFICATE-----{n:04}{body}-----END CERTIFICATE-----\n" for n in range(count)]
    (tmp_path / "many.pem").write_text("".join(many))
    with pytest.raises(UsageError, match=said):
        job_ca(Settings(ca_cert=str(tmp_path / "many.pem")))


# -- inside the job ----------------------------------------------------------------------------------------------------


@pytest.fixture
def sandbox(pem: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A task's sandbox into which DC/OS Enterprise has put the cluster's CA."""
    (tmp_path / ".ssl").mkdir()
    bundle = tmp_path / ".ssl" / "ca-bundle.crt"
    bundle.write_text(pem.read_text())
    monkeypatch.setenv("MESOS_SANDBOX", str(tmp_path))
    monkeypatch.setenv("MESOS_TASK_ID", "web.1")
    return bundle


def context(tmp_path: Path, **given: Any) -> Context:
    return Context("canary", Settings(artifacts=str(tmp_path / "artifacts"), **given))


def test_without_a_given_ca_the_job_trusts_the_one_in_its_sandbox(sandbox: Path, tmp_path: Path):
    assert context(tmp_path).ca_cert == str(sandbox)
    assert context(tmp_path, ca_cert="given.pem").ca_cert == "given.pem"


def test_a_ca_bundle_in_the_directory_is_not_trusted_outside_of_a_job(
    sandbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("MESOS_TASK_ID")
    assert context(tmp_path).ca_cert is None


def test_a_ca_together_with_a_fingerprint_is_a_usage_error(tmp_path: Path):
    with pytest.raises(UsageError, match="are both given"):
        _ = context(tmp_path, ca_cert="given.pem", ca_sha256="ab").ca_cert
