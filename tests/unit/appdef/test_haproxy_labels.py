"""Labels of marathon-lb: findings for labels that freeze it, that HAProxy refuses or that it ignores; good labels pass.

``labels.jsonl.gz`` holds what the real marathon-lb (9e669ec) did with made-up labels, and ``haproxy -c`` with its
configuration. One row: labels, ports, haproxy_map, verdict (frozen, runs, ok), good (made to be accepted).
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from definition_samples import BRIDGE, with_labels, with_ports

from bgci.appdef.haproxy_label_table import LABELS, LabelKind
from bgci.appdef.haproxy_labels import check_labels
from bgci.appdef.haproxy_values import Effect, LabelFinding
from bgci.appdef.validate import check_definition

ROOT = Path(__file__).parents[3]
VERDICTS = ROOT / "tests" / "data" / "marathon_lb" / "labels.jsonl.gz"
SERVER = "  server {serverName} {host_ipv4}:{port} id {serverId}{healthCheckOptions}{otherOptions}\n"


def found(ports: int = 1, haproxy_map: bool = False, **labels: str) -> list[LabelFinding]:
    """The findings of labels of port 0, given without HAPROXY_0_."""
    numbers = range(10102, 10102 + ports)
    definition = with_ports(BRIDGE, *numbers, alt=",".join(str(port + 100) for port in numbers))
    definition = with_labels(definition, **{f"HAPROXY_0_{name}": value for name, value in labels.items()})
    return check_labels(definition, haproxy_map=haproxy_map)


def effects(**labels: Any) -> set[Effect]:
    return {finding.effect for finding in found(**labels)}


def test_h42_h43_verdicts_of_the_real_marathon_lb_agree() -> None:
    with gzip.open(VERDICTS, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert len(rows) > 1000
    for row in rows:
        definition = with_ports(BRIDGE, *range(10102, 10102 + row["ports"]), alt="")
        findings = check_labels(with_labels(definition, **row["labels"]), haproxy_map=row["haproxy_map"])
        if row["verdict"] == "frozen":
            assert Effect.FROZEN in {finding.effect for finding in findings}, row
        elif row["good"]:
            assert findings == [], row


@pytest.mark.parametrize("name", ["BIND_OPTIONS", "SSL_CERT", "BALANCE"])
def test_h48_lines_after_an_option_add_no_section_and_no_port(name: str) -> None:
    value = {"BALANCE": "leastconn"}.get(name, "accept-proxy")
    assert found(**{name: f"{value}\n  option httplog"}) == []
    messages = [finding.message for finding in found(**{name: f"{value}\nfrontend other\n  bind *:10103\n"})]
    assert any("opens the section 'frontend other'" in message for message in messages)
    assert any("binds '*:10103'" in message for message in messages)


@pytest.mark.parametrize("text", ["high", "", "1.0", "0x10", "1__0", "-", "1e3", "1,2", "9" * 5000])
@pytest.mark.parametrize("name", ["BACKEND_WEIGHT", "PORT", "BACKEND_HEALTHCHECK_PORT_INDEX"])
def test_h42_number_that_python_refuses_freezes_marathon_lb(name: str, text: str) -> None:
    assert Effect.FROZEN in effects(**{name: text})


@pytest.mark.parametrize("text", ["0", " 2 ", "+3", "1_0", "-1", "٣", "00"])
def test_number_that_python_accepts_passes(text: str) -> None:
    assert found(BACKEND_WEIGHT=text) == []


@pytest.mark.parametrize("text", ["true", "T", "Yes", "y", "false", "F", "no", "N", "0", "off", ""])
def test_flag_that_marathon_lb_reads_as_written_passes(text: str) -> None:
    assert found(STICKY=text) == []


@pytest.mark.parametrize("text", ["1", "on", "true ", "enabled"])
def test_flag_that_marathon_lb_reads_as_false_is_found(text: str) -> None:
    assert effects(STICKY=text) == {Effect.MISLED}


@pytest.mark.parametrize("text", ["", "a", "a:b", "a:b:c:d", "r:u:p:"])
def test_auth_without_three_parts_freezes_marathon_lb_and_is_not_shown(text: str) -> None:
    findings = found(AUTH=text, VHOST="a.example.com")
    assert [finding.effect for finding in findings] == [Effect.FROZEN]
    assert len(text) < 3 or text not in str(findings[0])


@pytest.mark.parametrize("text", ["r::p", ":u:p", "r:u:", 'r"x:u:p', "r:u:p q", "r:u:p#q"])
def test_auth_that_haproxy_refuses_is_found(text: str) -> None:
    assert effects(AUTH=text, VHOST="a.example.com") == {Effect.LEFT_OUT}


@pytest.mark.parametrize(
    ("labels", "effect"),
    [
        ({"MODE": "udp"}, Effect.LEFT_OUT),
        ({"MODE": ""}, Effect.LEFT_OUT),
        ({"MODE": "tcp", "VHOST": "a.example.com"}, Effect.LEFT_OUT),
        ({"BALANCE": "round-robin"}, Effect.LEFT_OUT),
        ({"BACKEND_NETWORK_ALLOWED_ACL": "10.1.40.0/24,10.1.55.43"}, Effect.LEFT_OUT),
        ({"BIND_ADDR": "10.0.0.1:80"}, Effect.LEFT_OUT),
        ({"VHOST": "a.example.com\n"}, Effect.LEFT_OUT),
        ({"VHOST": "a.example.com\u00a0"}, Effect.LEFT_OUT),
        ({"VHOST": "a.example.com,"}, Effect.LEFT_OUT),
        ({"VHOST": "http://a.example.com"}, Effect.MISLED),
        ({"VHOST": "a.example.com", "PATH": "api"}, Effect.MISLED),
        ({"VHOST": "\ud800"}, Effect.FROZEN),
        ({"GROUP": "external, internal"}, Effect.MISLED),
        ({"PATH": "/api"}, Effect.IGNORED),
        ({"AUTH": "r:u:p"}, Effect.IGNORED),
        ({"REDIRECT_TO_HTTPS": "true"}, Effect.IGNORED),
        ({"HTTP_BACKEND_PROXYPASS_PATH": "/x"}, Effect.MISLED),
        ({"MAP_HTTP_FRONTEND_ACL": "x"}, Effect.IGNORED),
        ({"BACKEND_HEALTHCHECK_PORT_INDEX": "1"}, Effect.FROZEN),
    ],
)
def test_wrong_value_is_found(labels: dict[str, str], effect: Effect) -> None:
    assert effects(**labels) == {effect}


@pytest.mark.parametrize(
    "labels",
    [
        {"MODE": "HTTP", "VHOST": "A.example.com,b.example.com", "PATH": "-i /a /b", "BACKEND_WEIGHT": "10"},
        {"AUTH": "my realm:user:$6$salt$hash", "VHOST": "a.example.com", "REDIRECT_TO_HTTPS": "Yes"},
        {"BALANCE": "source\n  hash-type consistent", "BIND_OPTIONS": "accept-proxy", "BIND_ADDR": "::"},
        {"BALANCE": "hdr(host)", "BACKEND_NETWORK_ALLOWED_ACL": "10.1.40.0/24 10.1.55.43 ::1"},
        {"FRONTEND_HEAD": "", "FRONTEND_BACKEND_GLUE": "", "VHOST": "a.example.com"},
        {"BACKEND_SERVER_OPTIONS": "# ours\r\n" + SERVER.replace("\n", "\r\n") + "  timeout server 60s\r\n"},
        {"BACKEND_HEAD": "backend {backend}\n  mode {mode}\n  acl x hdr(a) -m reg ^[0-9]{{2}}$\n"},
        {"BACKEND_HTTP_OPTIONS": "  http-request set-header X-Forwarded-Proto https if { ssl_fc }\n"},
        {"BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS": "check inter 1s rise 1 fastinter 300ms downinter 300ms"},
    ],
)
def test_good_labels_pass(labels: dict[str, str]) -> None:
    assert found(**labels) == []


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("HAPROXY_O_VHOST", "HAPROXY_0_VHOST"),
        ("HAPROXY_l_VHOST", "HAPROXY_1_VHOST"),
        ("HAPROXY_0_VHOTS", "HAPROXY_0_VHOST"),
        ("haproxy_0_vhost", "HAPROXY_0_VHOST"),
        ("HAPROXY_{0}_MODE", "HAPROXY_0_MODE"),
        ("HAPROXY_{n}_MODE", "HAPROXY_0_MODE"),
        ("HAPROXY_00_MODE", "HAPROXY_0_MODE"),
        ("HAPROXY-0-STICKY", "HAPROXY_0_STICKY"),
        ("HAPROXY_0_STICKY ", "HAPROXY_0_STICKY"),
        ("HAPROXY0_VHOST", "HAPROXY_0_VHOST"),
        ("HAPROX_0_VHOST", "HAPROXY_0_VHOST"),
        ("HA_PROXY_0_VHOST", "HAPROXY_0_VHOST"),
        ("H\u0410PROXY_0_VHOST", "HAPROXY_0_VHOST"),
        ("HAPR\u041eXY_0_VHOST", "HAPROXY_0_VHOST"),
        ("HAPROXY_VHOST", "HAPROXY_0_VHOST"),
        ("HAPROXY_0_BACKEND_SERVER_OPTION", "HAPROXY_0_BACKEND_SERVER_OPTIONS"),
        ("HAPROXY_DEPLOYMENT_COLOR", "HAPROXY_DEPLOYMENT_COLOUR"),
    ],
)
def test_h55_unknown_name_is_found_with_the_nearest_known_name(key: str, nearest: str) -> None:
    definition = with_labels(with_ports(BRIDGE, 10102, 10103, alt="10112,10113"), **{key: "x"})
    (finding,) = check_labels(definition)
    assert f"write {nearest}" in finding.remedy


@pytest.mark.parametrize("key", ["PROXY_HOST", "haproxy.team/owner", "HTTP_PROXY", "VIP_0", "traefik.enable", ""])
def test_label_of_another_tool_passes(key: str) -> None:
    assert check_labels(with_labels(BRIDGE, **{key: "x"})) == []


def test_h55_index_beyond_the_ports_is_found() -> None:
    (finding,) = check_labels(with_labels(BRIDGE, HAPROXY_1_BACKEND_WEIGHT="high"))
    assert finding.effect is Effect.IGNORED
    assert "write HAPROXY_0_BACKEND_WEIGHT" in finding.remedy


@pytest.mark.parametrize(
    "label", [label for label in LABELS if label.per_port and label.default], ids=lambda one: one.name
)
def test_default_of_the_table_passes_its_own_check(label: Any) -> None:
    if label.kind in (LabelKind.TEMPLATE, LabelKind.FRAGMENT, LabelKind.VERBATIM, LabelKind.FLAG, LabelKind.BALANCE):
        assert found(**{label.name: label.default}) == []


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "}",
        "{}",
        "{0}",
        "{nope}",
        "{BACKEND}",
        "{backend!x}",
        "{backend:d}",
        "{backend.nope}",
        "{mode:99999}",
        "${X}",
    ],
)
def test_h43_text_that_format_refuses_freezes_marathon_lb(text: str) -> None:
    assert Effect.FROZEN in effects(BACKEND_HEAD=f"backend {{backend}}\n  # {text}\n")


def test_h43_host_name_that_can_be_missing_is_not_formatted_with_a_width() -> None:
    assert Effect.FROZEN in effects(HTTP_FRONTEND_APPID_ACL="  acl x hdr(host) -i {hostname:>9}\n")


def test_haproxy_map_gives_other_placeholders() -> None:
    text = "  acl x hdr(host) -i {hostname}\n"
    assert effects(HTTP_FRONTEND_ACL=text, VHOST="a.example.com") == set()
    assert effects(HTTP_FRONTEND_ACL=text, VHOST="a.example.com", haproxy_map=True) == {Effect.FROZEN}


@pytest.mark.parametrize(
    ("name", "text", "effect"),
    [
        ("BACKEND_SERVER_OPTIONS", SERVER.replace("{otherOptions}", ""), Effect.UNDRAINED),
        ("BACKEND_SERVER_OPTIONS", SERVER.replace("{otherOptions}", "{otherOptions}weight 9"), Effect.LEFT_OUT),
        ("BACKEND_SERVER_OPTIONS", SERVER.replace("{serverName}", "web"), Effect.MISLED),
        ("BACKEND_SERVER_OPTIONS", SERVER.replace("{host_ipv4}:{port}", "10.0.0.1:80"), Effect.MISLED),
        ("BACKEND_SERVER_OPTIONS", SERVER.replace("{port}", "8080"), Effect.MISLED),
        ("BACKEND_SERVER_OPTIONS", SERVER.rstrip(), Effect.LEFT_OUT),
        ("BACKEND_SERVER_OPTIONS", SERVER.rstrip() + "\\n", Effect.LEFT_OUT),
        ("BACKEND_SERVER_OPTIONS", SERVER.replace("{otherOptions}", "{otherOptions} disabled"), Effect.MISLED),
        ("BACKEND_SERVER_OPTIONS", SERVER.replace("{otherOptions}", "{otherOptions} enabled"), Effect.UNDRAINED),
        ("BACKEND_SERVER_OPTIONS", SERVER.replace("{otherOptions}", " weight 0{otherOptions}"), Effect.MISLED),
        ("BACKEND_SERVER_OPTIONS", SERVER.replace("{port} id", "{port}id"), Effect.MISLED),
        ("BACKEND_SERVER_OPTIONS", SERVER.replace("{host_ipv4}:{port}", "{port}:{host_ipv4}"), Effect.MISLED),
        ("BACKEND_SERVER_OPTIONS", "", Effect.MISLED),
        ("BACKEND_HEAD", "backend web\n  mode {mode}\n", Effect.MISLED),
        ("BACKEND_HEAD", "  mode {mode}\n", Effect.MISLED),
        ("BACKEND_HEAD", "defaults\n  timeout server 1h\nbackend {backend}\n", Effect.MISLED),
        ("BACKEND_HEAD", "backend {backend}\n  server spare 10.0.0.9:80 backup\n", Effect.MISLED),
        ("BACKEND_HTTP_OPTIONS", "backend other_{backend}\n", Effect.LEFT_OUT),
        ("BACKEND_HTTP_OPTIONS", "  http-request deny if {{ ssl_fc }}\n", Effect.LEFT_OUT),
        ("FRONTEND_HEAD", "frontend web\n  bind *:{servicePort}\n", Effect.MISLED),
        ("FRONTEND_HEAD", "frontend {backend}\n  bind *:10102\n", Effect.MISLED),
        ("FRONTEND_HEAD", "frontend {backend}\n  bind *:{servicePort},*:80\n", Effect.MISLED),
        ("FRONTEND_HEAD", "frontend {backend}\n  mode {mode}\n", Effect.MISLED),
        ("FRONTEND_BACKEND_GLUE", "  default_backend web_10102\n", Effect.MISLED),
        ("USERLIST_HEAD", "userlist people\n  user {user} password {passwd}\n", Effect.MISLED),
        ("BACKEND_SERVER_HTTP_HEALTHCHECK_OPTIONS", "check\n  inter 1s", Effect.LEFT_OUT),
    ],
)
def test_h46_h48_harmful_template_is_found(name: str, text: str, effect: Effect) -> None:
    assert effect in effects(**{name: text})


def test_label_with_an_error_is_found_at_render() -> None:
    definition = with_labels(BRIDGE, HAPROXY_0_BACKEND_WEIGHT="high")
    (finding,) = check_definition(definition, app_id="/web", allow_no_health_check=False)
    assert finding.path == "$.labels.HAPROXY_0_BACKEND_WEIGHT"
    assert finding.remedy


def test_documentation_page_is_generated_from_the_table() -> None:
    done = subprocess.run([sys.executable, "tools/labels", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
