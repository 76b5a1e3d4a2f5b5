"""The log of requests that did not end normally."""

from __future__ import annotations

from dataclasses import replace

from bgci.sandbox.loadbalancer.haproxy_config import LOG_SOCKET, Listen, render
from bgci.sandbox.loadbalancer.services import services_of

LISTEN = Listen("127.0.0.9", 9090, 9091)


def app(**labels):
    task = {"id": "t", "host": "10.0.1.7", "ports": [31001], "ipAddresses": [], "healthCheckResults": []}
    definition = {"id": "/web", "labels": labels, "tasks": [task], "healthChecks": [], "networks": [{"mode": "host"}]}
    return {**definition, "portDefinitions": [{"port": 10101}], "instances": 1}


def text(listen, **labels):
    return render(services_of([app(HAPROXY_GROUP="external", **labels)], resolve=lambda host: host), listen)


def test_requests_are_logged_only_on_request():
    assert LOG_SOCKET not in text(LISTEN)
    logged = text(replace(LISTEN, log_requests=True), HAPROXY_0_MODE="http")
    assert f"log               unix@{LOG_SOCKET} local0" in logged
    assert "log-format" in logged


def test_tcp_frontends_have_no_http_log_format():
    assert "log-format" not in text(replace(LISTEN, log_requests=True), HAPROXY_0_MODE="tcp")
