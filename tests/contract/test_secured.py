"""TLS of a secured cluster, its public paths, and the ports of its services."""

from __future__ import annotations

import contextlib
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from cryptography import x509
from urllib3.exceptions import InsecureRequestWarning

from contract.client import Sandbox, start_server, stop_server
from contract.secured import SECRET, Secured, of_sandbox


def test_the_ca_is_public_and_signs_the_server(secured: Secured, tmp_path: Path) -> None:
    fetched = tmp_path / "ca.crt"
    with pytest.warns(InsecureRequestWarning):
        fetched.write_bytes(requests.get(f"{secured.url}/ca/dcos-ca.crt", verify=False, timeout=20).content)
    version = requests.get(f"{secured.url}/dcos-metadata/dcos-version.json", verify=str(fetched), timeout=20).json()
    assert version["dcos-variant"] == "enterprise"
    [*authorities] = x509.load_pem_x509_certificates(fetched.read_bytes())
    assert all(ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca for ca in authorities)


def test_clients_without_that_ca_do_not_trust_it(secured: Secured) -> None:
    with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        requests.get(f"{secured.url}/dcos-metadata/dcos-version.json", timeout=20)


@pytest.mark.sandbox_only
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_certificate_is_for_this_machine(secured: Secured, host: str) -> None:
    url = secured.url.replace("127.0.0.1", host)
    assert requests.get(f"{url}/ca/dcos-ca.crt", verify=secured.ca_cert, timeout=20).status_code == 200


@pytest.fixture
def started(server: Callable[..., Sandbox]) -> Sandbox:
    return server("--secured")


@pytest.mark.sandbox_only
def test_keys_and_passwords_are_readable_by_their_owner_only(started: Sandbox) -> None:
    secrets = [path for path in (started.directory / "iam").iterdir() if path.suffix != ".crt"]
    assert {"ca.key", "token.key", "server.pem", "superuser.json"} <= {path.name for path in secrets}
    assert {stat.S_IMODE(path.stat().st_mode) for path in secrets} == {0o600}
    assert stat.S_IMODE((started.directory / "iam").stat().st_mode) == 0o700


@pytest.mark.sandbox_only
def test_marathons_own_port_needs_other_credentials_and_metronomes_is_closed(started: Sandbox) -> None:
    assert started.metronome_url == ""
    apps = f"{started.marathon_url}/v2/apps"
    refusal = requests.get(apps, timeout=20)
    assert (refusal.status_code, refusal.headers["WWW-Authenticate"]) == (401, 'Basic realm="Mesosphere"')
    token = of_sandbox(started).token
    assert requests.get(apps, headers={"Authorization": f"token={token}"}, timeout=20).status_code == 401
    known = json.loads(Path(started.more["marathon_credentials"]).read_text())
    assert requests.get(apps, auth=(known["uid"], known["password"]), timeout=20).status_code == 200


@pytest.mark.sandbox_only
def test_no_password_is_an_argument_of_a_process(started: Sandbox) -> None:
    hidden = [json.loads(Path(started.more[name]).read_text())["password"] for name in ("iam", "marathon_credentials")]
    seen = b""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            seen += path.read_bytes()
    assert b"bgci.sandbox.server" in seen
    assert not [password for password in hidden if password.encode() in seen]


@pytest.mark.sandbox_only
def test_the_superusers_name_can_be_set(server: Callable[..., Sandbox], tmp_path: Path) -> None:
    file = tmp_path / "superuser.json"
    file.write_text(json.dumps({"uid": "admin", "password": "of my own choice"}))
    cluster = of_sandbox(server("--secured", "--iam", str(file)))
    assert cluster.superuser["uid"] == "admin"
    assert cluster.request("GET", "/service/marathon/v2/apps").status_code == 200


@pytest.mark.sandbox_only
def test_a_plain_marathon_accepts_a_password_with_a_colon(server: Callable[..., Sandbox], tmp_path: Path) -> None:
    file = tmp_path / "marathon.json"
    file.write_text(json.dumps({"uid": "ci", "password": "a:b ä:"}))
    apps = f"{server('--marathon-credentials', str(file)).marathon_url}/v2/apps"
    assert requests.get(apps, timeout=20).status_code == 401
    assert requests.get(apps, auth=("ci", "a:b"), timeout=20).status_code == 401
    assert requests.get(apps, auth=(b"ci", "a:b ä:".encode()), timeout=20).status_code == 200


@pytest.mark.sandbox_only
def test_objects_survive_a_restart(tmp_path: Path) -> None:
    first = start_server(tmp_path, "--secured")
    cluster = of_sandbox(first)
    person = cluster.person("dcos:adminrouter:secrets full", "dcos:secrets:default:team read")
    cluster.put_secret("team/db", "a value")
    ca = Path(cluster.ca_cert).read_bytes()
    stop_server(first)
    second = start_server(tmp_path, "--secured")
    again = of_sandbox(second)
    assert again.request("GET", f"{SECRET}/team/db", token=person.token).json()["value"] == "a value"
    assert again.login(cluster.accounts[person.uid])
    assert Path(again.ca_cert).read_bytes() == ca
    stop_server(second)
