"""Credentials go only to addresses that the runner names."""

from __future__ import annotations

import pytest

from bgci.dcos.credentials import CREDENTIAL_VARIABLES
from bgci.errors import UsageError
from bgci.operations.connections import Connections
from bgci.operations.variables import variables
from bgci.options import FROM_FILE, Settings

FILE = {"cluster_url": FROM_FILE}


@pytest.fixture(autouse=True)
def login(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MESOS_TASK_ID", "BGCI_JOB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BGCI_TOKEN", "a-token-of-ours")


@pytest.mark.parametrize(
    "name", ["cluster_url", "marathon_url", "metronome_url", "job_cluster_url", "job_marathon_url"]
)
def test_an_address_from_the_configuration_file_gets_no_login(name: str) -> None:
    settings = Settings(**{name: "https://there"}, origins={name: FROM_FILE})
    with pytest.raises(UsageError, match=f"{name.replace('_', '-')} of bgci.toml") as caught:
        _ = Connections(settings).credentials
    assert f"BGCI_{name.upper()}" in caught.value.remedy


@pytest.mark.parametrize(
    "settings",
    [
        Settings(cluster_url="https://there", origins={"cluster_url": "ENVIRONMENT"}),
        Settings(cluster_url="https://there", origins={"cluster_url": "COMMANDLINE"}),
        Settings(
            cluster_url="https://there",
            marathon_url="https://THERE/service/marathon/",
            origins={"marathon_url": FROM_FILE},
        ),
        Settings(cluster_url="https://there/", job_cluster_url="https://there", origins={"job_cluster_url": FROM_FILE}),
        Settings(cluster_url="https://There:443", marathon_url="https://there", origins={"marathon_url": FROM_FILE}),
        Settings(
            cluster_url="http://[::1]", job_cluster_url="http://[::1]:80/", origins={"job_cluster_url": FROM_FILE}
        ),
        Settings(cluster_url="https://there", allow_config_addresses=True, origins=FILE),
    ],
)
def test_an_address_that_the_runner_names_or_allows_gets_the_login(settings: Settings) -> None:
    assert Connections(settings).credentials


@pytest.mark.parametrize(
    "url",
    [
        "http://there",
        "https://there:8443",
        "https://there.example",
        "https://there/service/mom",
        "https://there/x/..",
        "https://there:80",
        "https://there.",
        "https://there\\@b",
    ],
)
def test_another_scheme_port_host_or_path_is_another_address(url: str) -> None:
    settings = Settings(cluster_url="https://there", marathon_url=url, origins={"marathon_url": FROM_FILE})
    with pytest.raises(UsageError):
        _ = Connections(settings).credentials


def test_without_a_login_the_configuration_file_may_name_any_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BGCI_TOKEN")
    assert Connections(Settings(cluster_url="https://there", origins=FILE)).credentials is None


def test_the_configuration_file_cannot_set_allow_config_addresses() -> None:
    allowed = Settings(cluster_url="https://there", allow_config_addresses=True)
    allowed.origins.update(FILE, allow_config_addresses=FROM_FILE)
    with pytest.raises(UsageError, match="only an option or a variable"):
        _ = Connections(allowed).credentials


def test_a_ci_agent_that_is_a_mesos_task_is_not_taken_for_a_job_of_bgci(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(cluster_url="https://there", origins=FILE)
    monkeypatch.setenv("MESOS_TASK_ID", "jenkins-agent.1")
    with pytest.raises(UsageError, match=r"cluster-url of bgci\.toml"):
        _ = Connections(settings).credentials
    monkeypatch.setenv("BGCI_JOB", "{}")  # the document of our job gives the addresses
    assert Connections(settings).credentials


def test_the_configuration_file_cannot_switch_verification_off(monkeypatch: pytest.MonkeyPatch) -> None:
    origins = {"cluster_url": "ENVIRONMENT", "insecure": FROM_FILE}
    with pytest.raises(UsageError, match=r"only bgci\.toml has insecure"):
        _ = Connections(Settings(cluster_url="http://there", insecure=True, origins=origins)).credentials
    allowed = Settings(cluster_url="http://there", insecure=True, origins=origins, allow_config_addresses=True)
    assert Connections(allowed).credentials
    monkeypatch.delenv("BGCI_TOKEN")
    assert Connections(Settings(cluster_url="http://there", insecure=True, origins=origins)).credentials is None


@pytest.mark.parametrize("name", ["ca_cert", "ca_sha256", "job_ca_cert"])
def test_the_configuration_file_cannot_name_the_trusted_ca(name: str) -> None:
    origins = {"cluster_url": "ENVIRONMENT", name: FROM_FILE}
    settings = Settings(cluster_url="https://there", origins=origins, **{name: "anything"})
    with pytest.raises(UsageError, match=f"{name.replace('_', '-')} of bgci.toml; only the checkout names this CA"):
        _ = Connections(settings).credentials
    allowed = Settings(cluster_url="https://there", origins=origins, allow_config_addresses=True, **{name: "anything"})
    assert Connections(allowed).credentials


@pytest.mark.parametrize("name", CREDENTIAL_VARIABLES)
def test_no_template_or_suite_reads_the_login(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINE", "for the app")
    wanted = Settings(app="/web", revision="v2", template_env=["MINE"])
    assert variables(wanted)["env"] == {"MINE": "for the app"}
    with pytest.raises(UsageError, match=f"--template-env cannot name {name}"):
        variables(Settings(app="/web", revision="v2", template_env=["MINE", name]))
