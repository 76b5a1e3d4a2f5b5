"""The app's part of HAProxy's configuration, as marathon-lb writes it."""

from __future__ import annotations

from typing import Any

from definition_samples import BRIDGE, with_labels, with_ports

from bgci.appdef.haproxy_sections import haproxy_sections


def text(definition: dict[str, Any] = BRIDGE, **labels: str) -> str:
    return haproxy_sections(with_labels(definition, **labels)).text


def test_app_without_labels_of_its_own_has_marathon_lbs_defaults() -> None:
    assert text() == (
        "\nfrontend bgci_check_http_appid_in\n  bind 127.0.0.1:9091\n  mode http\n"
        "  acl app__web hdr(x-marathon-app-id) -i /web\n  use_backend web_10102 if app__web\n"
        "\nfrontend web_10102\n  bind *:10102\n  mode http\n  use_backend web_10102\n"
        "\nbackend web_10102\n  balance roundrobin\n  mode http\n  option forwardfor\n"
        "  http-request set-header X-Forwarded-Port %[dst_port]\n"
        "  http-request add-header X-Forwarded-Proto https if { ssl_fc }\n"
        "  option  httpchk GET /\n  timeout check 20s\n"
        "  server 192_0_2_1_31000 192.0.2.1:31000 id 1 check inter 3s fall 4 disabled\n"
        "  server 192_0_2_2_31000 192.0.2.2:31000 id 2 check inter 3s fall 4\n"
    )


def test_label_replaces_a_template_and_port_and_group_name_the_backend() -> None:
    found = text(
        HAPROXY_0_PORT="80",
        HAPROXY_DEPLOYMENT_GROUP="/team/web",
        HAPROXY_0_BACKEND_HEAD="\r\nbackend {backend}\r\n  mode {mode}\r\n",
    )
    assert "\nbackend team_web_80\n  mode http\n  option forwardfor" in found
    assert "bind *:80\n" in found


def test_one_virtual_host_with_path_auth_and_cookie_has_its_lines() -> None:
    found = text(
        HAPROXY_0_VHOST="A.example.com",
        HAPROXY_0_PATH="/a",
        HAPROXY_0_AUTH="my realm:me:$6$s$h",
        HAPROXY_0_STICKY="yes",
    )
    assert "userlist user_web_10102\n  user me password $6$s$h\n" in found
    assert (
        '  http-request auth realm "my realm" if host_a_example_com_web path_web_10102 !auth_a_example_com_web' in found
    )
    assert "  use_backend web_10102 if { ssl_fc_sni a.example.com } path_web_10102\n" in found
    assert "  cookie mesosphere_server_id insert indirect nocache\n" in found


def test_several_virtual_hosts_with_a_redirect_have_their_lines() -> None:
    found = text(HAPROXY_0_VHOST="a.example.com,b.example.com", HAPROXY_0_REDIRECT_TO_HTTPS="true")
    assert "  acl host_a_example_com_web hdr(host) -i b.example.com\n" in found
    assert "  redirect scheme https code 301 if !{ ssl_fc } host_a_example_com_web\n" in found


def test_port_that_is_not_enabled_has_no_section() -> None:
    two = with_ports(BRIDGE, 10102, 10103, alt="1,2")
    found = haproxy_sections(with_labels(two, HAPROXY_0_ENABLED="no", HAPROXY_1_MODE="tcp"))
    assert found.names == {"web_10103", "user_web_10103"}
    assert "frontend web_10103\n  bind *:10103\n  mode tcp\n" in found.text
    assert "http" not in found.text
