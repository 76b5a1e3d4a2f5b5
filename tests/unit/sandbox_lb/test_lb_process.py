"""The whole load balancer: a real HAProxy, a stub Marathon, tasks that answer with their names."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from lb_world import PORT, Balancer, World, a_world, an_app, colour, haproxies_below, lives, until

from bgci.errors import UnavailableError
from bgci.sandbox.loadbalancer.haproxy import HAProxy
from bgci.sandbox.loadbalancer.haproxy_config import HEAD
from bgci.sandbox.loadbalancer.ports import claim, is_taken


def in_a_world(directory: Path, story: Callable[[World], Awaitable[None]]) -> None:
    async def told() -> None:
        async with a_world(directory) as world:
            await story(world)

    asyncio.run(told())


async def answer(url: str, **headers: str) -> str:
    async with aiohttp.request("GET", url, headers=headers) as response:
        return f"{response.status} {await response.text()}"


async def keeps_alive(balancer: Balancer, seen: Counter[str]) -> None:
    """A client that never repeats a request: a connection cut at the wrong moment is a failure it counts."""
    while True:
        reader, writer = await asyncio.open_connection(balancer.address, PORT)
        try:
            head = ""
            while "connection: close" not in head:
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.split("content-length:")[1].split()[0])
                seen[f"{head.split()[1]} {(await reader.readexactly(length)).decode()}"] += 1
                await asyncio.sleep(0.02)
        except (OSError, asyncio.IncompleteReadError) as error:
            seen[repr(error)] += 1
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def load(balancer: Balancer) -> AsyncIterator[Counter[str]]:
    """Requests all the time, over kept and over fresh connections; the counter has what was answered."""
    seen: Counter[str] = Counter()

    async def client() -> None:
        while True:
            try:
                seen[await answer(balancer.service)] += 1
            except aiohttp.ClientError as error:
                seen[repr(error)] += 1
            await asyncio.sleep(0.01)

    clients = [client(), client(), keeps_alive(balancer, seen), keeps_alive(balancer, seen)]
    tasks = [asyncio.create_task(one) for one in clients]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends


def test_apps_appear_change_and_vanish_with_the_events(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        one, two = await world.task("one"), await world.task("two")
        world.marathon.apps = [an_app("/team/web", one)]
        balancer = await world.balancer()
        assert await answer(balancer.service) == "200 one"
        assert await answer(balancer.appid_url, **{"X-Marathon-App-Id": "/team/web"}) == "200 one"
        assert len(await balancer.pids()) == 2

        await world.marathon.show(an_app("/team/web", two))
        await until(lambda: gives(balancer, "200 two"))
        assert f"server 127_0_0_1_{two['ports'][0]} " in await balancer.get("/_haproxy_getconfig")

        await world.marathon.show()
        await until(lambda: refused(balancer), why="no frontend without a task")
        assert "Service ready" in await balancer.get("/_haproxy_health_check")

    in_a_world(tmp_path, story)


async def gives(balancer: Balancer, expected: str) -> bool:
    return await answer(balancer.service) == expected


async def refused(balancer: Balancer) -> bool:
    try:
        await answer(balancer.service)
    except aiohttp.ClientError:
        return True
    return False


def test_h40_a_server_back_from_maint_waits_for_two_checks_and_a_fresh_one_does_not(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        old, new, fresh = [await world.task(name) for name in ("old", "new", "fresh")]
        old_port, new_port, fresh_port = (task["ports"][0] for task in (old, new, fresh))
        blue, green = colour("blue", old, day=1, target=1), colour("green", new, day=2, target=1)
        world.marathon.apps = [blue, green]
        world.failing = {"old"}
        balancer = await world.balancer()
        servers = await balancer.servers()
        assert servers[old_port] == "MAINT"
        assert servers[new_port].startswith("UP")
        assert await answer(balancer.service) == "200 new"

        await world.marathon.show(colour("blue", old, fresh, day=1, target=1))
        servers = await until(lambda: serving(balancer, fresh_port))
        assert servers[old_port] == "DOWN", "although nothing has checked it since"
        assert servers[fresh_port].startswith("UP")
        assert await answer(balancer.service) == "200 fresh"
        world.failing.clear()
        await until(lambda: has(balancer, old_port, "UP"))
        assert world.passed["old"] >= 2

    in_a_world(tmp_path, story)


async def serving(balancer: Balancer, port: int) -> dict[int, str]:
    servers = await balancer.servers()
    return servers if port in servers else {}


async def has(balancer: Balancer, port: int, status: str) -> bool:
    return (await balancer.servers()).get(port) == status


def test_h18_reloads_lose_no_request_and_an_old_worker_lives_until_its_last_connection_ends(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        tasks = [await world.task(f"t{number}") for number in range(6)]
        world.marathon.apps = [an_app("/web", *tasks[:1])]
        balancer = await world.balancer()
        slow = asyncio.create_task(answer(f"{balancer.service}/held"))
        async with load(balancer) as seen:
            await until(lambda: seen.total() > 50)
            for count in range(2, 7):
                await world.marathon.show(an_app("/web", *tasks[:count]))
                port = tasks[count - 1]["ports"][0]
                await until(lambda port=port: serving(balancer, port))
            pids = await balancer.pids()
            # The counters start at 0 in each worker, so only the pids show that a session is left.
            assert len(pids) > 2
            asked = seen.total()
            await until(lambda: seen.total() > asked + 100)
        assert {text for text in seen if not text.startswith("200 t")} == set()
        assert len(seen) == 6
        assert len(await balancer.pids()) > 2
        world.release.set()
        assert await slow == "200 t0"
        await until(lambda: count_is(balancer, 2), why="the old workers' end")
        assert min(await balancer.pids()) == min(pids)

    in_a_world(tmp_path, story)


async def count_is(balancer: Balancer, count: int) -> bool:
    return len(await balancer.pids()) == count


def test_h38_after_an_error_of_marathon_the_configuration_stays_until_a_reload_request(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        one, two = await world.task("one"), await world.task("two")
        world.marathon.apps = [an_app("/web", one)]
        balancer = await world.balancer()
        world.marathon.status = 503
        looks = world.marathon.looks
        await world.marathon.show(an_app("/web", two))
        await until(lambda: world.marathon.looks > looks)
        assert await answer(balancer.service) == "200 one"
        world.marathon.status = 200
        assert await balancer.get("/_mlb_signal/hup") == "Sent SIGHUP signal to marathon-lb"
        await until(lambda: gives(balancer, "200 two"))

    in_a_world(tmp_path, story)


def test_h09_one_broken_pair_stops_the_updates_of_every_app_until_it_is_fixed(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        one, two, other = [await world.task(name) for name in ("one", "two", "other")]
        pair = [colour("blue", other, day=1), colour("green", other, day=2, target=1)]
        for app in pair:
            app["labels"]["HAPROXY_0_PORT"] = "10102"
        target = pair[1]["labels"].pop("HAPROXY_DEPLOYMENT_TARGET_INSTANCES")
        world.marathon.apps = [an_app("/lone", one)]
        balancer = await world.balancer()
        looks = world.marathon.looks
        await world.marathon.show(an_app("/lone", two), *pair)
        await until(lambda: world.marathon.looks > looks)
        assert await answer(balancer.service) == "200 one"
        pair[1]["labels"]["HAPROXY_DEPLOYMENT_TARGET_INSTANCES"] = target
        await world.marathon.publish()
        await until(lambda: gives(balancer, "200 two"))

    in_a_world(tmp_path, story)


def test_an_app_that_makes_the_configuration_invalid_is_left_out(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        one = await world.task("one")
        broken = an_app("/broken", one, **{"0_BALANCE": "sideways", "0_PORT": "10102"})
        world.marathon.apps = [broken, an_app("/web", one)]
        balancer = await world.balancer()
        assert await answer(balancer.service) == "200 one"
        assert "broken" not in await balancer.get("/_haproxy_getconfig")

    in_a_world(tmp_path, story)


def test_a_reload_without_change_replaces_the_worker_only(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.marathon.apps = [an_app("/web", await world.task("one"))]
        balancer = await world.balancer()
        config, before = await balancer.get("/_haproxy_getconfig"), await balancer.pids()
        await balancer.get("/_mlb_signal/usr1")
        after = await until(lambda: other_pids(balancer, before))
        assert set(before) & set(after) == {min(before)}
        assert await balancer.get("/_haproxy_getconfig") == config

    in_a_world(tmp_path, story)


async def other_pids(balancer: Balancer, before: list[int]) -> list[int]:
    pids = await balancer.pids()
    return pids if len(pids) == 2 and pids != before else []


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_haproxy_outlives_the_process(tmp_path: Path, how: signal.Signals) -> None:
    async def story(world: World) -> None:
        one, two = await world.task("one"), await world.task("two")
        world.marathon.apps = [an_app("/web", one)]
        balancer = await world.balancer()
        slow = asyncio.create_task(answer(f"{balancer.service}/held"))
        await until(lambda: busy(balancer, one["ports"][0]))
        await world.marathon.show(an_app("/web", two))
        await until(lambda: count_is(balancer, 3), why="an old worker with a connection")
        pids = await balancer.pids()
        assert sorted(haproxies_below(tmp_path)) == sorted(pids)
        balancer.process.send_signal(how)
        await balancer.process.wait()
        await until(lambda: not any(map(lives, pids)))
        with pytest.raises(aiohttp.ClientError):
            await slow
        assert (tmp_path / "ready.json").exists() == (how == signal.SIGKILL)

    in_a_world(tmp_path, story)


async def busy(balancer: Balancer, port: int) -> bool:
    stats = await balancer.get("/haproxy?stats;csv")
    return any(line.split(",")[1].endswith(f"_{port}") and line.split(",")[4] == "1" for line in stats.splitlines())


def test_a_haproxy_that_ends_is_started_again(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.marathon.apps = [an_app("/web", await world.task("one"))]
        balancer = await world.balancer()
        master = min(await balancer.pids())
        os.kill(master, signal.SIGKILL)
        await until(lambda: refused(balancer))
        await until(lambda: not_refused(balancer))
        assert await answer(balancer.service) == "200 one"

    in_a_world(tmp_path, story)


async def not_refused(balancer: Balancer) -> bool:
    return not await refused(balancer)


def test_without_marathon_no_port_opens_until_marathon_answers(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.marathon.status = 503
        world.marathon.apps = [an_app("/web", await world.task("one"))]
        balancer = await world.balancer()
        assert await refused(balancer)
        with pytest.raises(aiohttp.ClientConnectionError):
            await balancer.get("/_haproxy_health_check")
        world.marathon.status = 200
        balancer.process.send_signal(signal.SIGHUP)
        await until(lambda: not_refused(balancer))

    in_a_world(tmp_path, story)


def test_an_app_with_an_occupied_port_is_left_out_until_the_port_is_free(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        one = await world.task("one")
        world.marathon.apps = [an_app("/web", one)]
        balancer = await world.balancer()
        with socket.socket() as other:
            other.bind((balancer.address, 10102))
            other.listen()
            await world.marathon.show(
                an_app("/other", one, **{"0_PORT": "10102"}), an_app("/web", await world.task("two"))
            )
            await until(lambda: gives(balancer, "200 two"))
            assert "other_10102" not in await balancer.get("/_haproxy_getconfig")
        await world.marathon.publish()
        await until(lambda: answers(f"http://{balancer.address}:10102", "200 one"))

    in_a_world(tmp_path, story)


async def answers(url: str, expected: str) -> bool:
    with contextlib.suppress(aiohttp.ClientError):
        return await answer(url) == expected
    return False


def test_a_configuration_that_cannot_be_loaded_leaves_the_old_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        monkeypatch.chdir(tmp_path)
        haproxy = HAProxy()
        good = HEAD + f"frontend x\n  mode http\n  bind 127.0.0.1:{free_port()}\n"
        await haproxy.start(good)
        try:
            taken = await world.serve(world.marathon.routes())
            with pytest.raises(UnavailableError, match=f"cannot bind socket.*{taken}"):
                await haproxy.reload(f"{good}  bind 127.0.0.1:{taken}\n")
            assert await haproxy.settled() == good
            workers = haproxy.workers()
            assert len(workers) == 1
            await haproxy.reload(good)
            assert haproxy.workers() != workers
        finally:
            await haproxy.stop()

    in_a_world(tmp_path, story)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_taken_port_is_an_expected_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        port = await world.serve(world.marathon.routes())
        config = f"defaults\n timeout client 1s\nfrontend x\n mode http\n bind 127.0.0.1:{port}\n"
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UnavailableError, match=f"cannot bind socket.*{port}"):
            await HAProxy().start(config)

    in_a_world(tmp_path, story)


def test_a_claimed_port_is_free_for_a_haproxy_and_taken_for_others() -> None:
    with claim("127.0.0.1", 0) as claimed:
        port = claimed.getsockname()[1]
        assert is_taken("127.0.0.1", port)
        with pytest.raises(UnavailableError, match="is taken"):
            claim("127.0.0.1", port)
        with socket.socket() as sharing:
            sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sharing.bind(("127.0.0.1", port))
    assert not is_taken("127.0.0.1", port)
    assert not is_taken("*", port)


def test_an_address_of_another_machine_is_an_expected_failure() -> None:
    with pytest.raises(UnavailableError, match="cannot listen on"):
        claim("192.0.2.1", 0)
