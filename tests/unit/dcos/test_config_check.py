"""``haproxy -c`` on a live configuration with the app's sections: the app's errors are found, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bgci.appdef.haproxy_labels import check_labels
from bgci.appdef.haproxy_sections import haproxy_sections
from bgci.dcos.config_check import MINIMAL, ConfigCheck, find_program

SERVER = "  server {serverName} {host_ipv4}:{port} id {serverId}{healthCheckOptions}{otherOptions}"
# Another app's sections, our own as they run, and what the program here cannot take: Lua, certificates, old keywords.
LUA = "global\n  lua-load /marathon-lb/getpids.lua\n  user nobody"
LIVE = f"""{MINIMAL.replace("global", LUA)}
frontend marathon_http_in
  bind *:80
  mode http
  acl host_web hdr(host) -i web.example.com
  use_backend web_10102 if host_web
frontend marathon_https_in
  bind *:443 ssl crt /etc/ssl/missing.pem
  mode http
frontend web_10102
  bind *:10102
  mode http
  use_backend web_10102
frontend other_10103
  bind *:10103
  mode http
  use_backend missing
backend web_10102
  mode http
  server 10_0_0_1_31000 10.0.0.1:31000
backend other_10103
  mode http
  reqirep x y
  server a agent.invalid:80
"""


@pytest.fixture(scope="module")
def check() -> ConfigCheck:
    found = find_program()
    assert found, "tools/setup installs haproxy"
    return found


def definition(**labels: str) -> dict[str, Any]:
    """A valid app with labels of port 0, given without HAPROXY_0_."""
    return {
        "id": "/web",
        "networks": [{"mode": "container/bridge"}],
        "container": {"portMappings": [{"containerPort": 80, "servicePort": 10102}]},
        "healthChecks": [{"protocol": "HTTP", "path": "/", "portIndex": 0}],
        "labels": {"HAPROXY_DEPLOYMENT_GROUP": "web", **{f"HAPROXY_0_{name}": value for name, value in labels.items()}},
    }


@pytest.mark.parametrize("live", [MINIMAL, LIVE], ids=["minimal", "live"])
@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("BACKEND_SERVER_OPTIONS", f"{SERVER}  timeout server 600s\n", "unknown keyword 'timeout'"),
        ("BACKEND_HTTP_OPTIONS", "  option forwrdfor\n", "unknown option 'forwrdfor'"),
        ("BIND_OPTIONS", "nonsense", "unknown keyword 'nonsense'"),
        ("BALANCE", "uri depth x", "expects a positive integer"),
        ("BACKEND_HEAD", "backend {backend}\n  mode {mode}\n  timeout servr 1m\n", "servr"),
    ],
)
def test_h44_label_that_haproxy_refuses_is_named(
    check: ConfigCheck, live: str, name: str, text: str, said: str
) -> None:
    app = definition(**{name: text})
    assert check_labels(app) == []
    (finding,) = check.findings(app, live=live)
    assert finding.path == f"$.labels.HAPROXY_0_{name}"
    assert said in finding.message


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"VHOST": "web.example.com", "AUTH": "realm:user:$6$salt$hash", "PATH": "/a", "REDIRECT_TO_HTTPS": "true"},
        {"VHOST": "web.example.com,www.example.com", "STICKY": "true", "HTTP_BACKEND_REDIR": "/x"},
        {"MODE": "tcp", "BACKEND_NETWORK_ALLOWED_ACL": "10.0.0.0/8 ::1"},
        {"SSL_CERT": "/etc/ssl/of-the-load-balancer.pem"},
        {"USE_HSTS": "true"},
        {"VHOST": "web.example.com", "HTTP_BACKEND_PROXYPASS_PATH": "/x"},
        {"BACKEND_HTTP_OPTIONS": "  errorfile 503 /errors/503.http\n  http-request lua.log\n"},
    ],
    ids=lambda labels: "-".join(labels) or "none",
)
def test_good_labels_pass_beside_bad_labels_of_other_apps(check: ConfigCheck, labels: dict[str, str]) -> None:
    app = definition(**labels)
    assert check.findings(app) == []
    assert check.findings(app, live=LIVE, replica="http://lb:9090") == []


def test_removed_keyword_is_a_finding_only_for_the_same_version_of_haproxy(check: ConfigCheck) -> None:
    app = definition(USE_HSTS="true")
    assert check.findings(app, version="2.0.17") == []
    (finding,) = check.findings(app, version=check.version)
    assert "not supported anymore" in finding.message


def test_section_of_another_app_with_our_name_is_found(check: ConfigCheck) -> None:
    sections = haproxy_sections(definition(BACKEND_HEAD="backend {backend}\n  mode {mode}\nbackend other_10103\n"))
    assert any("other_10103" in error.message for error in check.errors(LIVE, sections))


def test_environment_is_not_shown_in_the_messages(check: ConfigCheck, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BGCI_TOKEN", "s3cret")
    (finding,) = check.findings(definition(BACKEND_HTTP_OPTIONS='  option "${BGCI_TOKEN}"\n'))
    assert "s3cret" not in str(finding)


@pytest.mark.parametrize(
    "opening",
    ["global", "\tglobal # x", '"global"', "'global'", "gl\\obal", '"gl$NOTHING"obal', "\\x67lobal", "no global"],
)
@pytest.mark.parametrize("where", ["label", "live"])
def test_no_code_of_the_checkout_runs(check: ConfigCheck, tmp_path: Path, opening: str, where: str) -> None:
    """A pull request can bring labels and Lua, and name a load balancer of its own."""
    script, ran = tmp_path / "evil.lua", tmp_path / "ran"
    script.write_text(f'io.open("{ran}", "w"):close()')
    lines = f"\n{opening}\n  lua-load {script}\n"
    if where == "live":
        check.errors(MINIMAL + lines, haproxy_sections(definition()))
    else:
        found = check.errors(MINIMAL, haproxy_sections(definition(BALANCE=f"roundrobin{lines}")))
        assert [error.line for error in found if "it could run code" in error.message] == [opening.strip()]
    assert not ran.exists()


def test_no_filter_that_loads_a_library_is_tried(check: ConfigCheck, tmp_path: Path) -> None:
    config = tmp_path / "ot.cfg"
    config.write_text("[x]\n  ot-tracer y\n")
    lines = f"roundrobin\n  filter opentracing id x config {config}\n"
    assert check.errors(MINIMAL, haproxy_sections(definition(BALANCE=lines))) == []
    assert check.errors(MINIMAL, haproxy_sections(definition(BALANCE=lines.replace("opentracing", "cache"))))
