"""The whole load balancer: a real HAProxy, a stub Marathon, tasks that answer with their names."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from lb_world import Balancer, World, a_world, an_app, colour, haproxies_below, lives, until

from bgci.errors import UnavailableError
from bgci.sandbox.loadbalancer.haproxy import HAProxy


def in_a_world(directory: Path, story: Callable[[World], Awaitable[None]]) -> None:
    async def told() -> None:
        async with a_world(directory) as world:
            await story(world)

    asyncio.run(told())


async def answer(url: str, **headers: str) -> str:
    async with aiohttp.request("GET", url, headers=headers) as response:
        return f"{response.status} {await response.text()}"


@contextlib.asynccontextmanager
async def load(balancer: Balancer) -> AsyncIterator[Counter[str]]:
    """Requests all the time, over kept and over fresh connections; the counter has what was answered."""
    seen: Counter[str] = Counter()

    async def client(*, fresh: bool) -> None:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=fresh)) as session:
            while True:
                try:
                    async with session.get(balancer.service) as response:
                        seen[f"{response.status} {await response.text()}"] += 1
                except aiohttp.ClientError as error:
                    seen[repr(error)] += 1
                await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(client(fresh=fresh)) for fresh in (True, True, False)]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
        balancer = await world.balancer()
        servers = await balancer.servers()
        assert servers[old_port] == "MAINT"
        assert servers[new_port].startswith("UP")
        assert await answer(balancer.service) == "200 new"

        await world.marathon.show(colour("blue", old, fresh, day=1, target=1))
        servers = await until(lambda: serving(balancer, fresh_port))
        assert servers[old_port] in ("DOWN", "DOWN 1/2")
        assert servers[fresh_port].startswith("UP")
        assert await answer(balancer.service) == "200 fresh"
        began = time.monotonic()
        await until(lambda: has(balancer, old_port, "UP"))
        assert time.monotonic() - began > 0.5

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
        slow = asyncio.create_task(answer(f"{balancer.service}/?seconds=4"))
        async with load(balancer) as seen:
            await until(lambda: seen.total() > 50)
            for count in range(2, 7):
                await world.marathon.show(an_app("/web", *tasks[:count]))
                port = tasks[count - 1]["ports"][0]
                await until(lambda port=port: serving(balancer, port))
            assert not slow.done()
            pids = await balancer.pids()
            # The counters start anew in each worker, so only the pids tell that a session is left.
            assert len(pids) > 2
            await asyncio.sleep(1)
        assert {text for text in seen if not text.startswith("200 t")} == set()
        assert len(seen) == 6
        assert await slow == "200 t0"
        await until(lambda: count_is(balancer, 2), why="the old workers' end")
        assert min(await balancer.pids()) == min(pids)

    in_a_world(tmp_path, story)


async def count_is(balancer: Balancer, count: int) -> bool:
    return len(await balancer.pids()) == count


def test_h38_an_error_of_marathon_leaves_everything_as_it_was_until_a_nudge(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        one, two = await world.task("one"), await world.task("two")
        world.marathon.apps = [an_app("/web", one)]
        balancer = await world.balancer()
        world.marathon.status = 503
        looks = world.marathon.looks
        await world.marathon.show(an_app("/web", two))
        await until(lambda: world.marathon.looks > looks)
        world.marathon.status = 200
        assert await answer(balancer.service) == "200 one"
        looks = world.marathon.looks
        assert await balancer.get("/_mlb_signal/hup") == "Sent SIGHUP signal to marathon-lb"
        await until(lambda: gives(balancer, "200 two"))
        assert world.marathon.looks > looks

    in_a_world(tmp_path, story)


def test_h09_one_broken_pair_stops_the_updates_of_every_app_until_it_is_mended(tmp_path: Path) -> None:
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
def test_no_haproxy_outlives_the_process_however_it_ends(tmp_path: Path, how: signal.Signals) -> None:
    async def story(world: World) -> None:
        one, two = await world.task("one"), await world.task("two")
        world.marathon.apps = [an_app("/web", one)]
        balancer = await world.balancer()
        slow = asyncio.create_task(answer(f"{balancer.service}/?seconds=60"))
        await until(lambda: busy(balancer, one["ports"][0]))
        await world.marathon.show(an_app("/web", two))
        await until(lambda: count_is(balancer, 3), why="an old worker with a connection")
        pids = await balancer.pids()
        assert sorted(haproxies_below(tmp_path)) == sorted(pids)
        balancer.process.send_signal(how)
        await balancer.process.wait()
        await until(lambda: not any(map(lives, pids)), seconds=5)
        with pytest.raises(aiohttp.ClientError):
            await slow
        assert (tmp_path / "ready.json").exists() == (how == signal.SIGKILL)

    in_a_world(tmp_path, story)


async def busy(balancer: Balancer, port: int) -> bool:
    stats = await balancer.get("/haproxy?stats;csv")
    return any(line.split(",")[1].endswith(f"_{port}") and line.split(",")[4] == "1" for line in stats.splitlines())


def test_a_haproxy_that_dies_is_started_again(tmp_path: Path) -> None:
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


def test_it_starts_without_marathon_and_serves_as_soon_as_that_is_there(tmp_path: Path) -> None:
    async def story(world: World) -> None:
        world.marathon.status = 503
        world.marathon.apps = [an_app("/web", await world.task("one"))]
        balancer = await world.balancer()
        assert await refused(balancer)
        world.marathon.status = 200
        await balancer.get("/_mlb_signal/hup")
        await until(lambda: not_refused(balancer))

    in_a_world(tmp_path, story)


def test_a_taken_port_is_an_expected_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        port = await world.serve(world.marathon.routes())
        config = f"defaults\n timeout client 1s\nfrontend x\n mode http\n bind 127.0.0.1:{port}\n"
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UnavailableError, match=f"cannot bind socket.*{port}"):
            await HAProxy().start(config)

    in_a_world(tmp_path, story)
