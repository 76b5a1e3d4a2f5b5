"""The effect of each kind of bad label on a real HAProxy, as measured on the real marathon-lb with HAProxy 2.6."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from lb_world import PORT, Balancer, Json, World, a_world, an_app, colour, until

SERVER = "  server {serverName} {host_ipv4}:{port} id {serverId}{cookieOptions}{healthCheckOptions}{otherOptions}"
SYNTAX = {"0_BACKEND_SERVER_OPTIONS": f"{SERVER} timeout server 30s\n"}
"""HAProxy refuses these: a server line, and a keyword that needs a line of its own, in one."""


def in_a_world(directory: Path, story: Callable[[World], Awaitable[None]]) -> None:
    async def told() -> None:
        async with a_world(directory) as world:
            await story(world)

    asyncio.run(told())


async def answer(url: str, path: str = "/", **headers: str) -> str:
    async with aiohttp.request("GET", url + path, headers=headers, allow_redirects=False) as response:
        return f"{response.status} {await response.text()}"


async def gives(balancer: Balancer, expected: str) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        return await answer(balancer.service) == expected
    return False


async def looked(world: World, *apps: Json) -> None:
    """Marathon shows these apps, and the balancer has processed them: a poll begins when the one before has ended."""
    await world.marathon.show(*apps)
    await looked_again(world)


async def looked_again(world: World) -> None:
    looks = world.marathon.looks
    for count in (1, 2):
        await world.marathon.publish()
        await until(lambda count=count: world.marathon.looks >= looks + count)


async def seems_normal(balancer: Balancer, before: list[int]) -> None:
    """The endpoints do not show that marathon-lb is frozen."""
    assert await balancer.pids() == before
    assert "web_10101" in await balancer.get("/_haproxy_getconfig")
    assert await balancer.servers()


@pytest.mark.parametrize("label", ["0_BACKEND_WEIGHT", "0_PORT", "0_AUTH"])
def test_label_that_is_not_a_number_freezes_every_app_from_its_creation_on(tmp_path: Path, label: str) -> None:
    async def story(world: World) -> None:
        one, two = await world.task("one"), await world.task("two")
        world.marathon.apps = [an_app("/web", one)]
        balancer = await world.balancer()
        pids = await balancer.pids()
        bad = an_app("/bad", instances=0, GROUP="other", **{label: "high"})
        await looked(world, an_app("/web", two), bad)
        assert await answer(balancer.service) == "200 one"
        await seems_normal(balancer, pids)
        await world.marathon.show(an_app("/web", two))
        await until(lambda: gives(balancer, "200 two"), why="the end of the freeze")

    in_a_world(tmp_path, story)


def test_replica_that_starts_beside_an_unreadable_label_never_opens_a_port(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        web = an_app("/web", await world.task("one"))
        world.marathon.apps = [web, an_app("/bad", instances=0, **{"0_BACKEND_WEIGHT": "high"})]
        balancer = await world.balancer()
        await looked_again(world)
        for url in (balancer.url, balancer.service):
            with pytest.raises(aiohttp.ClientConnectionError):
                await answer(url)
        await world.marathon.show(web)
        await until(lambda: gives(balancer, "200 one"))

    in_a_world(tmp_path, story)


def test_stray_brace_freezes_every_app_from_the_first_healthy_task_on(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        tasks = [await world.task(f"t{number}") for number in range(4)]
        brace = {"0_BACKEND_HEAD": "\nbackend {backend}}\n", "0_PORT": "10102"}
        world.marathon.apps = [an_app("/web", tasks[0])]
        balancer = await world.balancer("--health-check")
        sick = {**tasks[3], "healthCheckResults": [{"alive": False}]}
        await world.marathon.show(an_app("/web", tasks[1]), an_app("/bad", sick, **brace))
        await until(lambda: gives(balancer, "200 t1"), why="an update before the first healthy task")
        pids = await balancer.pids()
        await looked(world, an_app("/web", tasks[2]), an_app("/bad", tasks[3], **brace))
        assert await answer(balancer.service) == "200 t1"
        await seems_normal(balancer, await balancer.pids() if len(pids) != 2 else pids)

    in_a_world(tmp_path, story)


def test_refused_configuration_leaves_its_app_out_and_breaks_pairs_of_others(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        old = [await world.task(f"old{number}") for number in range(2)]
        new = [await world.task(f"new{number}") for number in range(2)]
        bad = an_app("/bad", await world.task("bad"), **SYNTAX, **{"0_PORT": "10102"})
        pair = [colour("blue", *old, day=1, target=2), colour("green", *new[:1], day=2, target=2)]
        world.marathon.apps = pair
        balancer = await world.balancer()
        assert len(await balancer.rows()) == 3
        await world.marathon.show(*pair, bad)
        names = await until(lambda: duplicates(balancer), why="servers that stand in the backend twice")
        assert set(names) == {"web_10101"}
        assert "bad_10102" not in await balancer.get("/_haproxy_getconfig")

    in_a_world(tmp_path, story)


async def duplicates(balancer: Balancer) -> list[str]:
    """The backends with a server name that they have more than once."""
    names = Counter((backend, row["svname"]) for backend, _, row in await balancer.rows())
    return [backend for (backend, _), count in names.items() if count > 1]


def test_an_invalid_app_alone_causes_no_reload(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        one = await world.task("one")
        world.marathon.apps = [an_app("/web", one)]
        balancer = await world.balancer()
        before, config = await balancer.pids(), await balancer.get("/_haproxy_getconfig")
        await looked(world, an_app("/web", one, **SYNTAX))
        assert await answer(balancer.service) == "200 one"
        assert (await balancer.pids(), await balancer.get("/_haproxy_getconfig")) == (before, config)
        await world.marathon.show(an_app("/web", one, **SYNTAX), an_app("/other", one, **{"0_PORT": "10102"}))
        await until(lambda: absent(balancer), why="left out beside a valid app")

    in_a_world(tmp_path, story)


async def absent(balancer: Balancer) -> bool:
    try:
        await answer(balancer.service)
    except aiohttp.ClientError:
        return True
    return False


def test_h56_baseline_posted_again_beside_a_bad_revision_is_served_after_the_revision_is_scaled(tmp_path: Path) -> None:
    """The later ``lastScalingAt`` leads. While the bad revision leads, the posted baseline is in maintenance."""

    async def story(world: World) -> None:
        # The tasks with the lowest ids drain.
        old, new = await world.task("a"), await world.task("b")
        other = an_app("/other", await world.task("other"), **{"0_PORT": "10102"})
        bad: dict[str, Any] = {"day": 2, "target": 1, **SYNTAX}
        world.marathon.apps = [colour("green", new, **bad), other]
        balancer = await world.balancer()
        await until(lambda: absent(balancer), why="the bad revision alone is left out")
        blue = colour("blue", old, day=1, target=1, scaled="11:00:00")
        await world.marathon.show(blue, colour("green", new, **bad), other)
        await until(lambda: has(balancer, old["ports"][0], "MAINT"))
        await world.marathon.show(blue, colour("green", new, scaled="12:00:00", **bad), other)
        await until(lambda: gives(balancer, "200 b"))

    in_a_world(tmp_path, story)


@pytest.mark.parametrize("live_first", [True, False])
def test_of_two_apps_in_conflict_the_one_listed_later_is_left_out(tmp_path: Path, *, live_first: bool) -> None:
    async def story(world: World) -> None:
        live = an_app("/web", await world.task("live"))
        literal = {"0_PORT": "10102", "0_FRONTEND_HEAD": f"\nfrontend web_{PORT}\n  bind {{bindAddr}}:10102\n"}
        other = an_app("/other", await world.task("other"), **literal)
        world.marathon.apps = [live]
        balancer = await world.balancer()
        if live_first:
            await looked(world, live, other)
            assert await answer(balancer.service) == "200 live"
        else:
            await world.marathon.show(other, live)
            await until(lambda: absent(balancer), why="the live app is left out")

    in_a_world(tmp_path, story)


def test_tls_to_a_server_that_speaks_http_works_until_the_checks_have_failed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        one = await world.task("one")
        port = one["ports"][0]
        world.marathon.apps = [an_app("/web", one)]
        balancer = await world.balancer()
        await until(lambda: has(balancer, port, "UP"))
        worker = max(await balancer.pids())
        tls = {"0_BACKEND_SERVER_OPTIONS": f"{SERVER} ssl verify none\n"}
        await world.marathon.show(an_app("/web", one, **tls))
        await until(lambda: replaced(balancer, worker))
        seen = [(await balancer.servers())[port]]
        assert seen[0].startswith("UP"), "inherited through the state file"

        async def down() -> bool:
            seen.append((await balancer.servers())[port])
            return seen[-1] == "DOWN"

        await until(down)
        falling = [status for status in dict.fromkeys(seen) if re.fullmatch(r"UP [1-3]/4", status)]
        assert falling == sorted(falling, reverse=True)
        assert falling
        assert await answer(balancer.service) != "200 one"

    in_a_world(tmp_path, story)


async def has(balancer: Balancer, port: int, status: str) -> bool:
    return (await balancer.servers()).get(port) == status


async def replaced(balancer: Balancer, worker: int) -> bool:
    return max(await balancer.pids()) != worker


def test_server_line_without_other_options_drains_no_task(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        old, new = await world.task("old"), await world.task("new")
        line = {"0_BACKEND_SERVER_OPTIONS": SERVER.replace("{otherOptions}", "") + "\n"}
        blue = colour("blue", old, day=1, target=1, **line)
        world.marathon.apps = [blue]
        balancer = await world.balancer()
        await world.marathon.show(blue, colour("green", new, day=2, target=1))
        await until(lambda: has(balancer, new["ports"][0], "UP"))
        assert "MAINT" not in (await balancer.servers()).values()

    in_a_world(tmp_path, story)


@pytest.mark.parametrize(
    "labels", [{}, {"0_PORT": "10102", "0_FRONTEND_HEAD": "\nfrontend x\n  bind {bindAddr}:10101\n  mode http\n"}]
)
def test_stranger_on_a_service_port_gets_its_share_of_the_requests(tmp_path: Path, labels: dict[str, str]) -> None:
    async def story(world: World) -> None:
        ours = an_app("/web", await world.task("ours"))
        stranger = an_app("/stranger", await world.task("stranger"), **labels)
        world.marathon.apps = [ours, stranger]
        balancer = await world.balancer()
        seen: set[str] = set()

        async def both() -> bool:
            seen.add(await answer(balancer.service))
            return seen == {"200 ours", "200 stranger"}

        await until(both)

    in_a_world(tmp_path, story)


def test_stranger_with_our_group_label_is_in_our_backend(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        ours, stranger = await world.task("ours"), await world.task("stranger")
        app = an_app("/ta/web", stranger, DEPLOYMENT_GROUP="web", **{"0_PORT": "10101"})
        world.marathon.apps = [colour("blue", ours, day=1), app]
        balancer = await world.balancer()
        backends = {port: backend for backend, port, _ in await balancer.rows()}
        assert backends == {ours["ports"][0]: "web_10101", stranger["ports"][0]: "web_10101"}

    in_a_world(tmp_path, story)


def test_h49_deletion_without_a_task_event_is_seen_at_the_next_signal_only(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.marathon.apps = [an_app("/web", await world.task("one"))]
        balancer = await world.balancer()
        heard = await until(lambda: world.marathon.subscribed)
        assert heard == {"api_post_event", "health_status_changed_event", "status_update_event"}
        await looked_again(world)
        world.marathon.apps = []
        await world.marathon.publish("app_terminated_event")
        assert await answer(balancer.service) == "200 one"
        await balancer.get("/_mlb_signal/hup")
        await until(lambda: absent(balancer))

    in_a_world(tmp_path, story)


def test_live_configuration_is_valid_in_any_directory(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.marathon.apps = [an_app("/web", await world.task("one"), **{"0_VHOST": "web.example"})]
        balancer = await world.balancer()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "live.cfg").write_text(await balancer.get("/_haproxy_getconfig"))
        check = await asyncio.create_subprocess_exec("haproxy", "-c", "-f", "live.cfg", cwd=tmp_path / "elsewhere")
        assert await check.wait() == 0

    in_a_world(tmp_path, story)


def test_statistics_page_shows_the_workers_pid_and_uptime(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.marathon.apps = [an_app("/web", await world.task("one"))]
        balancer = await world.balancer()
        page = await balancer.get("/haproxy?stats")
        assert re.search(rf"pid = </b> {max(await balancer.pids())} ", page)
        assert re.search(r"uptime = </b> 0d 0h\d\dm\d\ds", page)

    in_a_world(tmp_path, story)


def test_virtual_hosts_paths_and_users_are_in_force_on_the_http_port(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        tasks = {name: await world.task(name) for name in ("plain", "path", "auth", "secure")}
        settings: dict[str, dict[str, str]] = {
            "plain": {"0_VHOST": "web.example,www.example"},
            "path": {"0_VHOST": "web.example", "0_PATH": "/health", "0_PORT": "10102"},
            "auth": {"0_VHOST": "auth.example", "0_AUTH": "realm:user:$5$x$secret", "0_PORT": "10103"},
            "secure": {"0_VHOST": "secure.example", "0_REDIRECT_TO_HTTPS": "true", "0_PORT": "10104"},
        }
        world.marathon.apps = [an_app(f"/{name}", task, **settings[name]) for name, task in tasks.items()]
        balancer = await world.balancer()
        url = balancer.http_url
        assert await answer(url, Host="www.example") == "200 plain"
        assert await answer(url, Host="web.example:8080") == "200 plain"
        assert await answer(url, "/health", Host="web.example") == "200 ok"
        assert (await answer(url, Host="auth.example"))[:3] == "401"
        assert (await answer(url, Host="secure.example"))[:3] == "301"
        assert (await answer(url, Host="other.example"))[:3] == "503"
        assert await secure_answer(balancer, "secure.example") == "200 secure"

    in_a_world(tmp_path, story)


async def secure_answer(balancer: Balancer, host: str) -> str:
    """The answer of the https port to a client that names this host in its TLS handshake."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address, _, port = balancer.https_url.removeprefix("https://").partition(":")
    reader, writer = await asyncio.open_connection(address, int(port), ssl=context, server_hostname=host)
    writer.write(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
    reply = (await reader.read()).decode()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return f"{reply.split()[1]} {reply.rpartition(chr(10))[2]}"


@pytest.mark.parametrize(("networks", "expected"), [("127.0.0.0/8 10.0.0.1", "200"), ("10.0.0.0/8", "403")])
def test_backend_answers_the_networks_that_its_label_allows(tmp_path: Path, networks: str, expected: str) -> None:
    async def story(world: World) -> None:
        label = {"0_BACKEND_NETWORK_ALLOWED_ACL": networks}
        world.marathon.apps = [an_app("/web", await world.task("one"), **label)]
        balancer = await world.balancer()
        assert (await answer(balancer.service))[:3] == expected

    in_a_world(tmp_path, story)
