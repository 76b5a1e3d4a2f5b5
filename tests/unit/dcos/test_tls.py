"""Trusted certificates, and the destinations of secrets: fingerprints, plain http, proxies."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bgci.dcos.cluster import connect, pinned_ca
from bgci.dcos.credentials import Password, Token
from bgci.dcos.http import Http
from bgci.dcos.login import PATH
from bgci.dcos.tls import CA_VARIABLES, confidential, fingerprint
from bgci.errors import UnavailableError, UsageError

VERSION = "/dcos-metadata/dcos-version.json"
CA = "/ca/dcos-ca.crt"


@dataclass(frozen=True)
class Authority:
    """A CA, and the certificate that it gave a server for 127.0.0.1 and dcos.test."""

    ca: Path
    server: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """As openssl prints it."""
        words = ["openssl", "x509", "-in", str(self.ca), "-noout", "-fingerprint", "-sha256"]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def authority(folder: Path, name: str) -> Authority:
    made = {what: folder / f"{name}-{what}.pem" for what in ("ca", "cakey", "server", "key", "request", "names")}
    made["names"].write_text("subjectAltName=IP:127.0.0.1,DNS:dcos.test")

    def openssl(*words: str | Path) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)

    new = ["req", "-newkey", "rsa:2048", "-nodes"]
    openssl(*new, "-x509", "-days", "2", "-subj", f"/CN={name}", "-keyout", made["cakey"], "-out", made["ca"])
    openssl(*new, "-subj", "/CN=dcos.test", "-keyout", made["key"], "-out", made["request"])
    signer = ["-CA", made["ca"], "-CAkey", made["cakey"], "-set_serial", "7", "-days", "1", "-extfile", made["names"]]
    openssl("x509", "-req", "-in", made["request"], *signer, "-out", made["server"])
    return Authority(made["ca"], made["server"], made["key"])


@pytest.fixture(scope="session")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    """The cluster's, and a stranger's."""
    folder = tmp_path_factory.mktemp("authorities")
    return authority(folder, "cluster"), authority(folder, "stranger")


@pytest.fixture
def ours(authorities) -> Authority:
    return authorities[0]


@pytest.fixture
def secured(stub) -> Callable[[Authority], str]:
    """Puts the stub behind a certificate; its URL."""

    def make(who: Authority) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(who.server, who.key)
        stub.server.socket = context.wrap_socket(stub.server.socket, server_side=True)
        stub.server.handle_error = lambda *_: None  # clients that turn away in the handshake are expected
        stub.json("/x", 1)
        stub.json(VERSION, {"version": "2.0.0", "dcos-variant": "enterprise"})
        return f"https://127.0.0.1:{stub.port}"

    return make


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*CA_VARIABLES, "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def quick(url: str, **settings: Any) -> Http:
    return Http(url, **{"backoff": 0.01, "retries": 1, "name": "DC/OS", **settings})


# -- certificates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelled", [str, lambda pem: pem.replace("\n", "\\n")], ids=["lines", "one line"])
def test_a_ca_can_be_given_as_text(secured, ours, spelled):
    url = secured(ours)
    assert quick(url, ca_cert=spelled(ours.ca.read_text())).get("/x") == 1


def test_an_invalid_certificate_text_is_a_usage_error_without_a_path():
    with pytest.raises(UsageError, match="The text of the CA certificate cannot be used") as caught:
        Http("https://host", ca_cert="-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    assert "--ca-cert" in caught.value.remedy


@pytest.mark.parametrize("name", CA_VARIABLES)
def test_the_environments_ca_is_trusted_where_none_is_given(secured, authorities, monkeypatch, name):
    ours, stranger = authorities
    url = secured(ours)
    monkeypatch.setenv(name, str(ours.ca))
    assert quick(url).get("/x") == 1
    with pytest.raises(UnavailableError, match="not trusted"):
        quick(url, ca_cert=str(stranger.ca)).get("/x")


@pytest.mark.parametrize("name", CA_VARIABLES)
def test_an_environment_variable_that_names_a_missing_ca_is_a_usage_error(monkeypatch, tmp_path, name):
    monkeypatch.setenv(name, str(tmp_path / "missing.pem"))
    with pytest.raises(UsageError, match=r"missing\.pem") as caught:
        Http("https://host")
    assert name in caught.value.remedy


# -- the cluster's own CA, by its fingerprint --------------------------------------------------------------------------


def test_the_clusters_own_ca_is_trusted_if_its_fingerprint_matches(stub, secured, authorities, answer):
    ours, stranger = authorities
    url = secured(ours)
    bundle = stranger.ca.read_text() + ours.ca.read_text()
    stub.tell("GET", CA, answer(200, bundle, "application/x-x509-ca-cert"))
    pem = pinned_ca(url, ours.fingerprint)
    assert pem == ours.ca.read_text()  # and not the stranger's, which anybody could have put beside it
    connect(cluster_url=url, ca_cert=pem, credentials=Token("t0ken"))
    assert [asked.path for asked in stub.asked] == [CA, VERSION]
    assert "authorization" not in stub.asked[0].headers


def test_another_ca_is_refused_with_both_fingerprints(stub, secured, authorities, answer):
    ours, stranger = authorities
    url = secured(stranger)
    stub.tell("GET", CA, answer(200, stranger.ca.read_text(), "application/x-x509-ca-cert"))
    with pytest.raises(UnavailableError, match="has another CA than --ca-sha256") as caught:
        pinned_ca(url, ours.fingerprint)
    for one in authorities:
        assert one.fingerprint.partition("=")[2] in caught.value.message
    assert [(asked.path, "authorization" in asked.headers) for asked in stub.asked] == [(CA, False)]


def test_an_interceptor_that_presents_the_right_ca_is_not_trusted(stub, secured, authorities, answer):
    """A CA is public: whoever serves it need not have its key."""
    ours, stranger = authorities
    url = secured(stranger)
    stub.tell("GET", CA, answer(200, ours.ca.read_text() + stranger.ca.read_text(), "text/plain"))
    pem = pinned_ca(url, ours.fingerprint)
    with pytest.raises(UnavailableError, match="not trusted"):
        connect(cluster_url=url, ca_cert=pem, credentials=Password("me", "s3cret"))
    assert [asked.path for asked in stub.asked] == [CA]


@pytest.mark.parametrize(
    "content", ["", "<html>hello</html>", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"]
)
def test_a_document_that_is_not_a_ca_is_refused(stub, secured, ours, answer, content):
    url = secured(ours)
    stub.tell("GET", CA, answer(200, content, "text/plain"))
    with pytest.raises(UnavailableError, match="wanted"):
        pinned_ca(url, ours.fingerprint)


def test_an_open_dcos_serves_no_ca(secured, ours):
    with pytest.raises(UnavailableError, match="does not serve its CA") as caught:
        pinned_ca(secured(ours), ours.fingerprint)
    assert "--ca-cert" in caught.value.remedy


def test_a_pin_without_https_is_a_usage_error(ours):
    with pytest.raises(UsageError, match="--ca-sha256 needs"):
        pinned_ca("http://127.0.0.1", ours.fingerprint)


@pytest.mark.parametrize("prefix", ["", "sha256:", "SHA-256:", "sha256 Fingerprint="])
def test_every_spelling_of_a_fingerprint_is_accepted(prefix):
    digits = "0123456789abcdef" * 4
    colons = ":".join(re.findall("..", digits.upper()))
    assert fingerprint(f" {prefix}{digits}\n") == fingerprint(prefix + colons) == digits


@pytest.mark.parametrize("text", ["", "abc", "0" * 63, "0" * 65, "g" * 64, "sha1:" + "0" * 40])
def test_an_invalid_fingerprint_is_refused_with_the_command_to_get_one(text):
    with pytest.raises(UsageError, match="is not a SHA-256 fingerprint") as caught:
        fingerprint(text)
    assert "openssl x509" in caught.value.remedy


# -- plain http --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]:1", "https://dcos"])
def test_an_encrypted_or_local_url_is_confidential(url):
    assert confidential(url)


@pytest.mark.parametrize("url", ["http://dcos", "http://10.0.0.1", "http://localhost.evil", "http://127.0.0.1.evil"])
@pytest.mark.parametrize("way", ["cluster_url", "marathon_url"])
def test_h24_a_secret_is_never_sent_unencrypted(url, way, monkeypatch):
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("something was sent")

    monkeypatch.setattr(socket, "getaddrinfo", never)
    for credentials in (Token("t0ken"), Password("me", "s3cret")):
        with pytest.raises(UsageError, match="unencrypted") as caught:
            connect(**{way: url}, credentials=credentials)
        assert "--insecure" in caught.value.remedy


def test_an_unencrypted_metronome_is_refused_too():
    with pytest.raises(UsageError, match="unencrypted to metronome"):
        connect(marathon_url="https://marathon", metronome_url="http://metronome:9000", credentials=Token("t"))


# -- proxies -----------------------------------------------------------------------------------------------------------


@dataclass
class Proxy:
    """A forward proxy that leads every name to the stub. ``asked``: method and target of each request."""

    url: str
    target: int
    answer: int = 200
    asked: list[tuple[str, str]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _note(self) -> bool:
            proxy.asked.append((self.command, self.path))
            proxy.headers.append({name.lower(): value for name, value in self.headers.items()})
            if proxy.answer != 200:
                self.send_response(proxy.answer)
                self.send_header("Content-Length", "0")
                self.end_headers()
            return proxy.answer == 200

        def do_CONNECT(self) -> None:
            if not self._note():
                return
            with socket.create_connection(("127.0.0.1", proxy.target)) as inner:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=_pump, args=(inner, self.connection), daemon=True)
                back.start()
                _pump(self.connection, inner)
                back.join(5)
            self.close_connection = True

        def _forward(self) -> None:
            if not self._note():
                return
            parts = urlsplit(self.path)
            inner = http.client.HTTPConnection("127.0.0.1", proxy.target, timeout=10)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            inner.request(self.command, parts.path, body, dict(self.headers.items()))
            reply = inner.getresponse()
            content = reply.read()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.headers.get("Content-Type", ""))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            inner.close()

        do_GET = do_POST = do_PUT = do_DELETE = _forward

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.fixture
def proxy(stub, monkeypatch) -> Iterator[Proxy]:
    """The environment's proxy, for everything."""
    found = Proxy("", stub.port)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(found)) as server:
        server.daemon_threads = True
        server.block_on_close = False
        found.url = f"http://me:pr0xy@127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, found.url)
        yield found
        server.shutdown()


def test_https_goes_through_the_proxy_which_sees_no_content(stub, proxy, secured, ours):
    secured(ours)
    stub.json(PATH, {"token": "t0ken"}, method="POST")
    stub.json("/service/marathon/v2/info", {"name": "marathon"})
    cluster = connect(
        cluster_url="https://dcos.test", ca_cert=str(ours.ca), credentials=Password("me", "s3cret-of-mine")
    )
    assert cluster.marathon.http.get("/v2/info") == {"name": "marathon"}
    assert stub.asked[-1].headers["authorization"] == "token=t0ken"
    assert set(proxy.asked) == {("CONNECT", "dcos.test:443")}
    assert "authorization" not in {name for headers in proxy.headers for name in headers}
    assert all(headers["proxy-authorization"].startswith("Basic ") for headers in proxy.headers)
    assert "proxy-authorization" not in {name for asked in stub.asked for name in asked.headers}


def test_the_clusters_ca_is_fetched_through_the_proxy(stub, proxy, secured, ours, answer):
    secured(ours)
    stub.tell("GET", CA, answer(200, ours.ca.read_text(), "text/plain"))
    assert pinned_ca("https://dcos.test", ours.fingerprint) == ours.ca.read_text()


def test_plain_http_goes_through_the_proxy(stub, proxy):
    stub.json("/v2/info", {"name": "marathon"})
    assert connect(marathon_url="http://marathon.test:8080").marathon.http.get("/v2/info") == {"name": "marathon"}
    assert proxy.asked == [("GET", "http://marathon.test:8080/v2/info")]


def test_no_proxy_names_what_is_reached_directly(proxy, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "unknown.invalid")
    with pytest.raises(UnavailableError, match="cannot be resolved"):
        quick("http://unknown.invalid").get("/x")
    assert proxy.asked == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_needs_no_proxy(stub, proxy, host):
    stub.json("/x", 1)
    assert quick(f"http://{host}:{stub.port}").get("/x") == 1
    assert proxy.asked == []


def test_a_proxy_that_refuses_is_named_without_its_password(proxy):
    proxy.answer = 403
    with pytest.raises(UnavailableError, match="the proxy fails") as caught:
        quick("https://dcos.test").get("/x")
    assert "HTTPS_PROXY" in caught.value.remedy
    assert "pr0xy" not in str(caught.value)


def test_insecure_allows_a_login_over_http(stub, proxy):
    stub.json(VERSION, {"version": "2.0.0"})
    stub.json("/service/marathon/v2/info", {})
    cluster = connect(cluster_url="http://dcos.test", insecure=True, credentials=Token("t0ken"))
    cluster.marathon.http.get("/v2/info")
    assert stub.asked[-1].headers["authorization"] == "token=t0ken"


def test_an_unencrypted_marathon_beside_the_cluster_gets_no_token(stub, proxy, secured, ours):
    """The proxy leads http to the stub, which speaks https: only what would be sent counts."""
    secured(ours)
    cluster = connect(
        cluster_url="https://dcos.test", marathon_url="http://m.test", ca_cert=str(ours.ca), credentials=Token("t0ken")
    )
    with pytest.raises(Exception, match=r"m\.test"):
        cluster.marathon.http.request("GET", "/v2/info")
    assert ("GET", "http://m.test/v2/info") in proxy.asked
    assert "authorization" not in {name for headers in proxy.headers for name in headers}
