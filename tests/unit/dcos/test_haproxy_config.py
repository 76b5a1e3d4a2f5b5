"""The servers of a port in the live configuration (hazard 53)."""

from __future__ import annotations

from bgci.dcos.haproxy_config import ServerLine, parse_config, strangers

LIVE = """
global
  daemon
defaults
  timeout client 50s
listen stats
  bind 0.0.0.0:9090
  mode http
frontend marathon_http_in
  bind *:80
  use_backend web_10101 if host_web  # a rule
frontend web_10101
  bind *:10101
  mode http
  use_backend web_10101
frontend other_10101
  bind 10.0.0.1:10101 ssl crt /etc/x.pem
  use_backend other_10101
backend web_10101
  balance roundrobin
  server 10_0_1_7_31417 10.0.1.7:31417 id 5 check inter 3s fall 3
  server 10_0_1_7_31418 10.0.1.7:31418 id 6 check inter 3s fall 3 disabled
  server 10_0_1_9_31000 10.0.1.9:31000 id 7 check inter 3s fall 3
backend other_10101
  server 10_0_1_8_31000 10.0.1.8:31000
"""
OURS = ("10_0_1_7_31417", "10_0_1_7_31418")


def test_config_names_frontends_by_port_and_servers_by_backend() -> None:
    config = parse_config(LIVE)
    assert [frontend.name for frontend in config.serving(10101)] == ["web_10101", "other_10101"]
    assert config.backends["web_10101"][1] == ServerLine("10_0_1_7_31418", "10.0.1.7:31418", disabled=True)


def test_h53_servers_that_are_not_ours_are_strangers_with_their_share() -> None:
    found = strangers(parse_config(LIVE), 10101, OURS, replica="http://lb:9090")
    assert [(one.server, one.address, one.share) for one in found] == [
        ("10_0_1_9_31000", "10.0.1.9:31000", 0.25),  # one of two in rotation, of one of two frontends
        ("10_0_1_8_31000", "10.0.1.8:31000", 0.5),
    ]
    assert str(found[0]) == "an unknown app (not ours) at 10.0.1.9:31000, server 10_0_1_9_31000 of http://lb:9090"


def test_a_port_without_servers_has_no_strangers() -> None:
    assert strangers(parse_config(LIVE), 10200, (), replica="http://lb:9090") == []


def test_text_that_is_not_a_configuration_has_no_servers() -> None:
    assert parse_config("<html>\n\x00 server\nbind") == parse_config("")
