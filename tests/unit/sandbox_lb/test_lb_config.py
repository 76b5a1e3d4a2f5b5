"""The served apps and HAProxy's configuration, rule by rule as the real marathon-lb makes them."""

from __future__ import annotations

import pytest
from lb_world import CHECK, PORT, Json, a_task, an_app, colour

from bgci.sandbox.loadbalancer.haproxy_config import Listen, bound, render, server_id
from bgci.sandbox.loadbalancer.services import HealthMemory, services_of

LISTEN = Listen("127.0.0.9", 9090, 9091)


def text(
    *apps: Json, groups: tuple[str, ...] = ("*",), listen: Listen = LISTEN, memory: HealthMemory | None = None
) -> str:
    return render(services_of(apps, resolve=lambda host: host, memory=memory), listen, groups)


def section(config: str, name: str) -> list[str]:
    """The lines below this line, up to the next empty one; none if there is no such section."""
    blocks = (block.splitlines() for block in config.split("\n\n"))
    return next(([line.strip() for line in block[1:]] for block in blocks if block[0] == name), [])


def servers(config: str, backend: str = "backend web_10101") -> list[str]:
    return [line for line in section(config, backend) if line.startswith("server ")]


def test_an_app_gets_a_frontend_on_its_service_port_and_a_backend_with_its_tasks() -> None:
    config = text(an_app("/team/web", a_task("b", 31002), a_task("a", 31001)))
    name = "team_web_10101"
    assert section(config, f"frontend {name}") == [
        "bind 127.0.0.9:10101",
        "mode http",
        f"use_backend {name}",
    ]
    assert section(config, f"backend {name}") == [
        "balance roundrobin",
        "mode http",
        "option forwardfor",
        "http-request set-header X-Forwarded-Port %[dst_port]",
        "http-request add-header X-Forwarded-Proto https if { ssl_fc }",
        "option  httpchk GET /health",
        "timeout check 1s",
        "server 127_0_0_1_31001 127.0.0.1:31001 id 25902 check inter 1s fall 4",
        "server 127_0_0_1_31002 127.0.0.1:31002 id 3704 check inter 1s fall 4",
    ]


def test_both_colours_are_one_backend_of_the_group_and_the_draining_ones_are_disabled() -> None:
    config = text(colour("blue", a_task("o", 31001), day=1), colour("green", a_task("n", 31002), day=2))
    assert [line.split()[1::9] for line in servers(config)] == [
        ["127_0_0_1_31001", "disabled"],
        ["127_0_0_1_31002"],
    ]
    assert "acl app__web hdr(x-marathon-app-id) -i /web" in section(config, "frontend marathon_http_appid_in")


def test_an_app_without_a_usable_task_has_no_frontend() -> None:
    config = text(an_app("/web", a_task("a", state="TASK_KILLING"), a_task("b", host="")))
    assert "web_10101" not in config
    assert "web_10101" not in text(an_app("/web", a_task("c", ports=[])) | {"container": {}})


@pytest.mark.parametrize("state", ["TASK_RUNNING", "TASK_LOST", "TASK_UNREACHABLE"])
def test_running_lost_and_unreachable_tasks_are_servers(state: str) -> None:
    assert servers(text(an_app("/web", a_task("a", state=state))))


def test_the_host_name_is_part_of_the_servers_name_unless_it_is_an_address() -> None:
    services = services_of([an_app("/web", a_task("a", 31001, host="node1.local"))], resolve=lambda _: "10.0.1.7")
    assert " node1_local_10_0_1_7_31001 10.0.1.7:31001 " in render(services, LISTEN)


def test_a_host_without_an_address_is_left_out() -> None:
    assert services_of([an_app("/web", a_task("a"))], resolve=lambda _: "") == []


def test_container_networks_are_reached_at_the_tasks_own_address() -> None:
    task = a_task("a", ports=[], ipAddresses=[{"ipAddress": "9.0.0.5"}])
    app = an_app("/web", task, a_task("b", ports=[], ipAddresses=[])) | {"networks": [{"mode": "container"}]}
    assert [line.split()[1] for line in servers(text(app))] == ["127_0_0_1_9_0_0_5_80"]


def test_host_networks_take_the_ports_of_the_port_definitions() -> None:
    app = an_app("/web", a_task("a", ports=[31001, 31002])) | {
        "networks": [{"mode": "host"}],
        "portDefinitions": [{"port": 10200}, {"port": 10201}],
        "container": {},
    }
    config = text(app)
    assert servers(config, "backend web_10200")[0].split()[2] == "127.0.0.1:31001"
    # The second port has no check of its own, so HAProxy does not check it: its status is "no check".
    assert servers(config, "backend web_10201") == ["server 127_0_0_1_31002 127.0.0.1:31002 id 3704"]


def test_labels_change_port_mode_address_balance() -> None:
    labels = {"0_PORT": "10500", "0_MODE": "TCP", "0_BIND_ADDR": "127.0.0.77", "0_BALANCE": "leastconn"}
    config = text(an_app("/web", a_task("a", 31001), **labels))
    assert section(config, "frontend web_10500") == ["bind 127.0.0.77:10500", "mode tcp", "use_backend web_10500"]
    assert bound(config) == {("127.0.0.9", 9090), ("127.0.0.9", 9091), ("127.0.0.77", 10500)}
    assert section(config, "backend web_10500") == [
        "balance leastconn",
        "mode tcp",
        "server 127_0_0_1_31001 127.0.0.1:31001 id 25902 check inter 1s fall 4",
    ]
    assert "x-marathon-app-id" not in config


def test_the_host_name_is_none_in_templates_of_an_app_without_virtual_hosts() -> None:
    labels = {"0_HTTP_FRONTEND_APPID_ACL": "  # for {hostname}\n"}
    assert "# for None" in section(text(an_app("/web", a_task("a"), **labels)), "frontend marathon_http_appid_in")


@pytest.mark.parametrize(("vhost", "mode"), [("web.example", "http"), (None, "tcp")])
def test_a_virtual_host_makes_it_http_unless_the_check_does(vhost: str | None, mode: str) -> None:
    app = an_app("/web", a_task("a"), **({} if vhost is None else {"0_VHOST": vhost}))
    app["healthChecks"] = [CHECK | {"protocol": "MESOS_HTTP"}]
    assert f"mode {mode}" in section(text(app), "backend web_10101")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BACKEND_WEIGHT", "high"),
        ("BACKEND_WEIGHT", ""),
        ("PORT", "10101/tcp"),
        ("BACKEND_HEALTHCHECK_PORT_INDEX", "one"),
        ("AUTH", "realm:user"),
        ("AUTH", "realm:user:pass:word"),
    ],
)
def test_an_unreadable_label_raises_without_any_task_and_in_any_group(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        text(an_app("/web", GROUP="other", **{f"0_{name}": value}), groups=("external",))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BACKEND_HEAD", "\nbackend {backend}}\n"),
        ("FRONTEND_HEAD", "\nfrontend {name}\n"),
        ("BACKEND_SERVER_OPTIONS", "  server {}\n"),
        ("HTTP_FRONTEND_ACL", "  acl x hdr(host) -i {vhost}\n"),
        ("HTTPS_FRONTEND_ACL", "  use_backend {backend} if { ssl_fc_sni x }\n"),
        ("HTTP_FRONTEND_APPID_ACL", "{0}"),
        ("FRONTEND_BACKEND_GLUE", "{backend:d}"),
    ],
)
def test_a_template_that_cannot_be_formatted_raises_as_soon_as_a_task_is_served(name: str, value: str) -> None:
    labels = {f"0_{name}": value, "0_VHOST": "web.example"}
    listen = Listen("127.0.0.9", 9090, 9091, 8080, 8443)
    assert text(an_app("/web", **labels), listen=listen)
    with pytest.raises((KeyError, ValueError, IndexError)):
        text(an_app("/web", a_task("a"), **labels), listen=listen)


def test_templates_without_placeholders_are_unchanged() -> None:
    labels = {"0_BACKEND_HTTP_OPTIONS": "  # {as it is\n", "0_USE_HSTS": "y", "0_BACKEND_HSTS_OPTIONS": "  # }\n"}
    lines = section(text(an_app("/web", a_task("a"), **labels)), "backend web_10101")
    assert lines[2:4] == ["# }", "# {as it is"]


def test_while_two_colours_run_the_old_apps_labels_are_in_force_for_both() -> None:
    blue = colour("blue", a_task("o", 31001), day=1, **{"0_BALANCE": "leastconn"})
    green = colour("green", a_task("n", 31002), day=2, **{"0_BALANCE": "random", "0_BACKEND_WEIGHT": "high"})
    assert "balance leastconn" in section(text(blue, green), "backend web_10101")


def test_a_mesos_check_alone_does_not_make_it_http() -> None:
    app = an_app("/web", a_task("a")) | {"healthChecks": [CHECK | {"protocol": "MESOS_HTTP"}]}
    assert "mode tcp" in section(text(app), "backend web_10101")


@pytest.mark.parametrize(
    ("labels", "groups", "served"),
    [
        ({}, ("*",), True),
        ({}, ("external",), False),
        ({"GROUP": "internal,external"}, ("external",), True),
        ({"GROUP": "external", "0_GROUP": "internal"}, ("external",), False),
        ({"GROUP": "internal", "0_GROUP": "external"}, ("external", "edge"), True),
        ({"0_ENABLED": "false"}, ("*",), False),
        ({"0_ENABLED": "yes"}, ("*",), True),
    ],
)
def test_groups_and_enabled_select_the_served_ports(
    labels: dict[str, str], groups: tuple[str, ...], served: bool
) -> None:
    assert bool(servers(text(an_app("/web", a_task("a"), **labels), groups=groups))) == served


def test_templates_can_be_replaced_by_labels() -> None:
    labels = {
        "0_BACKEND_HTTP_OPTIONS": "  option httplog\r\n",
        "0_BACKEND_SERVER_OPTIONS": "  server {serverName} {host_ipv4}:{port}{healthCheckOptions} weight 3\n",
    }
    lines = section(text(an_app("/web", a_task("a", 31001), **labels)), "backend web_10101")
    assert "option httplog" in lines
    assert lines[-1] == "server 127_0_0_1_31001 127.0.0.1:31001 check inter 1s fall 4 weight 3"


def test_a_check_on_another_port_of_the_app() -> None:
    app = an_app("/web", a_task("a", ports=[31001, 31002]), **{"0_BACKEND_HEALTHCHECK_PORT_INDEX": "1"})
    app["container"] = {
        "portMappings": [{"containerPort": 80, "servicePort": PORT}, {"containerPort": 81, "servicePort": 10102}]
    }
    app["healthChecks"] = [CHECK | {"portIndex": 1}]
    assert servers(text(app))[0].endswith("check inter 1s fall 4 port 31002")


def test_sticky_sessions_have_a_cookie_for_each_server() -> None:
    lines = section(text(an_app("/web", a_task("a"), **{"0_STICKY": "true"})), "backend web_10101")
    assert "cookie mesosphere_server_id insert indirect nocache" in lines
    assert " check cookie " in lines[-1]


def test_virtual_hosts_are_routed_on_the_http_port_heaviest_first() -> None:
    one = an_app("/one", a_task("a"), **{"0_VHOST": "Web.example,www.example"})
    two = an_app("/two", a_task("b"), **{"0_VHOST": "web.example", "0_PATH": "/api", "0_PORT": "10102"})
    lines = section(text(one, two, listen=Listen("127.0.0.9", 9090, 9091, 8080, 8443)), "frontend marathon_http_in")
    assert lines == [
        "bind 127.0.0.9:8080",
        "mode http",
        "http-request set-header Host %[req.hdr(host),field(1,:)]",
        "acl host_web_example_two hdr(host) -i web.example",
        "acl path_two_10102 path_beg /api",
        "use_backend two_10102 if host_web_example_two path_two_10102",
        "acl host_web_example_one hdr(host) -i web.example",
        "acl host_web_example_one hdr(host) -i www.example",
        "use_backend one_10101 if host_web_example_one",
    ]


def test_h39_with_the_health_check_option_results_that_vanish_drop_the_servers() -> None:
    memory = HealthMemory()
    assert servers(text(an_app("/web", a_task("a")), memory=memory))
    assert not servers(text(an_app("/web", a_task("a", alive=None)), memory=memory))


def test_with_the_health_check_option_missing_results_keep_the_last_known_health() -> None:
    silent = a_task("a")
    del silent["healthCheckResults"]
    memory = HealthMemory()
    assert not servers(text(an_app("/web", silent), memory=memory))
    assert servers(text(an_app("/web", a_task("a")), memory=memory))
    assert servers(text(an_app("/web", silent), memory=memory))


def test_the_memory_of_health_is_bounded() -> None:
    memory = HealthMemory(capacity=2)
    for name in "abc":
        memory.alive(a_task(name))
    assert [memory.alive({"id": name}) for name in "cba"] == [True, True, False]


def test_server_ids_are_stable_and_unique() -> None:
    taken: set[int] = set()
    assert server_id("127_0_0_1_31001", taken) == 25902
    assert server_id("127_0_0_1_31001", taken) != 25902
    assert len(taken) == 2
