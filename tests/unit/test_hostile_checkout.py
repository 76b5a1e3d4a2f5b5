"""A hostile checkout: its bgci.toml cannot send credentials of the environment to another server."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hostile.cluster import Cluster
from hostile.command import Ended, impatient, run
from hostile.commands import APP, V2
from hostile.good_answers import DEFINITION

JOB = '{"id": "{{ id }}", "run": {"cmd": "env", "cpus": 0.1, "mem": 32, "disk": 0, "env": {{ env | tojson }}}}'
TOKEN, PASSWORD = "a-token-of-the-pipeline", "hush-hush-secret"


class Attacker:
    """A server of the attacker. It records its requests."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        seen = self.seen

        class Handler(http.server.BaseHTTPRequestHandler):
            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                seen.append(f"{self.command} {self.path}\n{self.headers}\n{body.decode(errors='replace')}")
                answer = json.dumps({"version": "1.13", "dcos-variant": "enterprise", "token": "x"}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_DELETE = _any

            def log_message(self, *_: object) -> None: ...

        self.server = http.server.ThreadingHTTPServer(("127.0.0.3", 0), Handler)
        self.url = f"http://127.0.0.3:{self.server.server_address[1]}"

    @property
    def got_a_secret(self) -> bool:
        text = "\n".join(self.seen)
        basic = base64.b64encode(f"ci:{PASSWORD}".encode()).decode()
        return any(secret in text for secret in (TOKEN, PASSWORD, basic))


@contextmanager
def serving(attacker: Attacker) -> Iterator[None]:
    threading.Thread(target=attacker.server.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        attacker.server.shutdown()
        attacker.server.server_close()


@pytest.fixture
def attacker() -> Iterator[Attacker]:
    made = Attacker()
    with serving(made):
        yield made


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as started:
        yield started


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "web.template.json").write_text(json.dumps(DEFINITION))
    return tmp_path


def ended(checkout: Path, words: tuple[str, ...], cluster: Cluster, **more: str) -> Ended:
    runner = {
        "BGCI_CLUSTER_URL": cluster.url,
        "BGCI_MARATHON_LB_URL": cluster.url,
        "BGCI_TIMEOUT": "1s",
        "BGCI_CHECK_CONFIG": "never",
    }
    login = {} if "BGCI_USERNAME" in more else {"BGCI_TOKEN": TOKEN}
    with impatient():
        return run(checkout, list(words), {**runner, **login, **more})


@pytest.mark.parametrize(
    "line",
    [
        'marathon-url = "{evil}"',
        'metronome-url = "{evil}"',
        'job-cluster-url = "{evil}"',
        'job-marathon-url = "{evil}"',
        'marathon-url = "{cluster}@{host}"',
        'marathon-url = "{cluster}/service/evil"',  # a service behind the cluster's own router
        'metronome-url = "{cluster}/service/marathon"',
        'marathon-url = "{cluster}/service/marathon/../evil"',
        'ca-cert = "evil.pem"',
        'ca-sha256 = "' + "ab" * 32 + '"',
        'job-ca-cert = "evil.pem"',
        "insecure = true",
        'allow-config-addresses = true\nmarathon-url = "{evil}"',
    ],
)
def test_h69_no_line_of_a_checkout_sends_the_login_to_another_address(
    checkout: Path, cluster: Cluster, attacker: Attacker, line: str
) -> None:
    text = line.format(evil=attacker.url, host=attacker.url.removeprefix("http://"), cluster=cluster.url)
    (checkout / "bgci.toml").write_text(text)
    (checkout / "evil.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    found = ended(checkout, ("release", *V2), cluster)
    assert (found.code, attacker.seen) == (2, []), found.err + found.out


@pytest.mark.parametrize("words", [("status", *APP), ("doctor", *APP), ("prune", *APP)], ids=" ".join)
def test_h69_a_configuration_file_named_by_the_runner_is_not_trusted_either(
    checkout: Path, cluster: Cluster, attacker: Attacker, words: tuple[str, ...]
) -> None:
    file = checkout / "service/ci.toml"
    file.parent.mkdir()
    file.write_text(f'marathon-url = "{attacker.url}"\n')
    for config in (("--config", str(file)), ("--config", "service/ci.toml")):
        assert (ended(checkout, (*config, *words), cluster).code, attacker.seen) == (2, [])


def test_the_configuration_file_cannot_replace_the_cluster_of_the_runner(
    checkout: Path, cluster: Cluster, attacker: Attacker
) -> None:
    (checkout / "bgci.toml").write_text(f'cluster-url = "{attacker.url}"\n')
    ended(checkout, ("status", *APP), cluster)
    assert attacker.seen == []


@pytest.mark.parametrize(
    "login", [{"BGCI_TOKEN": TOKEN}, {"BGCI_USERNAME": "ci", "BGCI_PASSWORD": PASSWORD}], ids=["token", "password"]
)
def test_h69_a_load_balancer_named_by_the_checkout_gets_no_login_in_any_command(
    checkout: Path, cluster: Cluster, attacker: Attacker, login: dict[str, str]
) -> None:
    host = attacker.url.removeprefix("http://")
    (checkout / "bgci.toml").write_text(f'marathon-lb-url = ["{attacker.url}"]\nservice-url = ["http://{host}"]\n')
    (checkout / "suite.yaml").write_text("checks: [{path: /, target: load-balancer, expect: {status: 200}}]")
    for words in (("status", *APP), ("doctor", *APP), ("canary", *V2, "--via", "direct")):
        ended(checkout, words, cluster, BGCI_MARATHON_LB_URL="", **login)
    assert attacker.seen
    assert not attacker.got_a_secret


def test_a_load_balancer_url_of_the_checkout_cannot_contain_a_login(checkout: Path, cluster: Cluster) -> None:
    (checkout / "bgci.toml").write_text('marathon-lb-url = ["http://admin:hunter22@127.0.0.3:9090"]\n')
    found = ended(checkout, ("status", *APP), cluster, BGCI_MARATHON_LB_URL="")
    assert found.code == 2
    assert "hunter22" not in found.err + found.out


@pytest.mark.parametrize(
    "line",
    [
        'job-service-account = "embed"\n',
        'job-image = "evil:1"\n',
        'job-artifact = "https://evil.example/bgci.pyz"\n',
        'job-template = "job.json"\n',
    ],
)
def test_h69_no_login_is_embedded_because_of_the_checkout(checkout: Path, cluster: Cluster, line: str) -> None:
    (checkout / "bgci.toml").write_text(line)
    (checkout / "job.json").write_text(JOB)
    more = {} if "embed" in line else {"BGCI_JOB_SERVICE_ACCOUNT": "embed"}
    image = {} if "image" in line else {"BGCI_JOB_IMAGE": "bgci:1"}
    for command in ("render", "publish"):
        found = ended(checkout, (command, *V2), cluster, **more, **image, BGCI_JOB_CLUSTER_URL=cluster.url)
        assert found.code == 2, found.err
        assert "only the checkout" in found.err
    allowed = {**more, **image, "BGCI_ALLOW_CONFIG_ADDRESSES": "true"}
    assert ended(checkout, ("render", *V2), cluster, BGCI_JOB_CLUSTER_URL=cluster.url, **allowed).code == 0


def test_h69_a_login_endpoint_in_the_service_account_is_not_used(
    checkout: Path, cluster: Cluster, attacker: Attacker
) -> None:
    made = rsa.generate_private_key(65537, 2048)
    private_key = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {
        "uid": "ci",
        "private_key": private_key,
        "scheme": "RS256",
        "login_endpoint": f"{attacker.url}/acs/api/v1/auth/login",
    }
    cluster.asked.clear()
    ended(checkout, ("status", *APP), cluster, BGCI_TOKEN="", BGCI_SERVICE_ACCOUNT=json.dumps(account))
    assert "login" in cluster.asked
    assert attacker.seen == []


def test_the_configuration_file_cannot_name_a_login_endpoint(
    checkout: Path, cluster: Cluster, attacker: Attacker
) -> None:
    (checkout / "bgci.toml").write_text(f'login-endpoint = "{attacker.url}"\n')
    assert ended(checkout, ("status", *APP), cluster).code == 2
    assert attacker.seen == []
