"""When things break: a real Postgres stopped, started again and frozen under load; a pool that is full; SIGTERM in the middle."""

import asyncio
import contextlib
import shutil
import signal
import socket
import tempfile
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest

from api.errors import Problem
from database.bootstrap import bootstrap
from database.connection import Role, connect
from database.migrate import migrate
from stack.embedded_postgres import EmbeddedPostgres
from tests.api.conftest import Keys, listening, serving, settings_for
from tests.api.running import serving_process
from tests.conftest import FAST_SETTINGS, PASSWORDS, Database

USERS = 50


@pytest.fixture(scope="module")
def cluster():
    """A Postgres of our own that may be broken, with a payload for each user."""
    folder = Path(tempfile.mkdtemp(prefix="mesocycle-faults-"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = EmbeddedPostgres(folder / "data", port)
    server.create("faults")
    server.start(FAST_SETTINGS)
    urls = bootstrap(server.url("faults"), database="mesocycle", passwords=PASSWORDS)
    migrate(urls[Role.OWNER])
    with connect(urls[Role.OWNER], autocommit=True) as connection:
        connection.execute("insert into app.users (user_id) select 'user-' || n from generate_series(1, %s) n", [USERS])
        connection.execute(
            "create table marts.user_payloads (user_key bigint, resource text, payload text not null, primary key (user_key, resource))"
        )
        connection.execute(
            "insert into marts.user_payloads select user_key, 'summary/30d', '{\"workouts\":' || user_key || '}' from app.users"
        )
        connection.execute("insert into ops.builds (kind, as_of, finished_at, succeeded) values ('marts', now(), now(), true)")
    yield server, Database(urls, server.url("faults"))
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


def processes(server: EmbeddedPostgres) -> list[psutil.Process]:
    postmaster = psutil.Process(server.pid)
    return [postmaster, *postmaster.children(recursive=True)]


def freeze(server: EmbeddedPostgres) -> list[psutil.Process]:
    frozen = processes(server)
    for process in frozen:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    return frozen


def thaw(frozen: list[psutil.Process]) -> None:
    for process in frozen:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


async def ask(client: httpx.AsyncClient, keys_header, user: int = 1, resource: str = "summary") -> httpx.Response:
    return await client.get(f"/api/v1/{resource}/user-{user}", headers=keys_header)


async def until(client, header, wanted, seconds: float, user: int = 1) -> float:
    """Seconds until an answer satisfies `wanted`; fails after `seconds`."""
    start = time.monotonic()
    while not wanted(response := await ask(client, header, user)):
        assert time.monotonic() - start < seconds, response.text
        await asyncio.sleep(0.02)
    return time.monotonic() - start


@pytest.mark.parametrize("fast_lane", [True, False])
def test_without_postgres_last_known_answers_are_served_and_writes_refused_until_it_returns(cluster, keys: Keys, fast_lane) -> None:
    server, database = cluster

    async def run():
        async with listening(settings_for(database, keys, stale_seconds=3, fast_lane=fast_lane)) as client:
            header = keys.header("backend", "service")
            known = await ask(client, header)
            assert known.status_code == 200
            server.stop()
            try:
                stopped_at = time.monotonic()
                stale = await ask(client, header)
                assert stale.status_code == 200
                assert stale.content == known.content
                assert stale.headers["warning"].startswith("110 ")
                assert 0 <= int(stale.headers["age"]) <= 5
                same = await client.get("/api/v1/summary/user-1", headers=header | {"If-None-Match": known.headers["etag"]})
                assert same.status_code == 304
                unknown = await ask(client, header, user=2)
                write = await client.post("/api/v1/plans/generate", json={"userId": "user-1"}, headers=header)
                window = await client.get("/api/v1/summary/user-1?from=2025-01-01", headers=header)
                readiness = await client.get("/readyz")
                for response in (unknown, write, window, readiness):
                    assert response.status_code == 503
                    assert response.json()["type"] == "urn:mesocycle:problem:database-unavailable"
                    assert int(response.headers["retry-after"]) >= 1
                assert (await client.get("/healthz")).status_code == 200
                await asyncio.sleep(max(0, 3.2 - (time.monotonic() - stopped_at)))
                assert (await ask(client, header)).status_code == 503
            finally:
                server.start(FAST_SETTINGS)
            seconds = await until(client, header, lambda r: r.status_code == 200 and "warning" not in r.headers, 5)
            write = await client.post("/api/v1/plans/generate", json={"userId": "user-1"}, headers=header)
            assert write.status_code == 202
            return seconds

    assert asyncio.run(run()) < 1.0
    with connect(database.url) as connection:
        (requests,) = connection.execute("select count(*) from app.plan_requests where user_key = 1").fetchone()
    assert requests == 1  # the refused write was not done, nor half done


def test_who_was_erased_while_postgres_was_away_is_not_a_last_known_answer_when_it_goes_again(cluster, keys: Keys) -> None:
    _, database = cluster

    def shut_out(is_out: bool) -> None:
        with connect(database.admin_url, autocommit=True) as admin:
            admin.execute(f"alter role mesocycle_api {'nologin' if is_out else 'login'}")
            if is_out:
                admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'mesocycle_api'")

    async def run():
        async with listening(settings_for(database, keys)) as client:
            header = keys.header("backend", "service")
            with connect(database.url, autocommit=True) as owner:
                owner.execute("insert into app.users (user_id) values ('user-777')")
                assert (await ask(client, header, user=777)).status_code == (await ask(client, header)).status_code == 200
                try:
                    shut_out(True)
                    await until(client, header, lambda r: "warning" in r.headers, 5, user=777)
                    owner.execute("delete from app.users where user_id = 'user-777'")
                    shut_out(False)
                    await until(client, header, lambda r: r.status_code == 200 and "warning" not in r.headers, 5)
                    shut_out(True)
                    await until(client, header, lambda r: "warning" in r.headers, 5)
                    return (await ask(client, header, user=777)).status_code
                finally:
                    shut_out(False)

    assert asyncio.run(run()) == 503


@pytest.mark.parametrize("fast_lane", [True, False])
def test_a_frozen_postgres_does_not_freeze_the_api(cluster, keys: Keys, fast_lane) -> None:
    server, database = cluster

    async def run():
        async with listening(settings_for(database, keys, query_seconds=0.5, connect_seconds=0.5, fast_lane=fast_lane)) as client:
            header = keys.header("backend", "service")
            for user in range(1, USERS + 1):
                assert (await ask(client, header, user)).status_code == 200
            assert (await client.get("/api/v1/summary/user-1?from=2025-01-01", headers=header)).status_code == 503  # no user_days here
            frozen = freeze(server)
            try:
                start = time.monotonic()
                responses = await asyncio.gather(*(ask(client, header, user) for user in range(1, USERS + 1)))
                assert time.monotonic() - start < 5
                assert {response.status_code for response in responses} == {200}
                slowest = 0.0
                for _ in range(10):
                    start = time.monotonic()
                    assert (await ask(client, header)).headers["warning"].startswith("110 ")
                    slowest = max(slowest, time.monotonic() - start)
                writes = await asyncio.gather(
                    *(client.post("/api/v1/plans/generate", json={"userId": f"user-{n}"}, headers=header) for n in range(3, 23))
                )
                assert {response.status_code for response in writes} == {503}
            finally:
                thaw(frozen)
            return slowest, await until(client, header, lambda r: r.status_code == 200 and "warning" not in r.headers, 5)

    slowest, recovered = asyncio.run(run())
    assert slowest < 1.5
    assert recovered < 1.5  # half a second of which a connection attempt may still be waiting for its time to be over


def test_restarts_under_load_never_answer_500(cluster, keys: Keys) -> None:
    server, database = cluster

    async def run():
        statuses: dict[int, int] = {}
        async with serving(settings_for(database, keys)) as client:
            header = keys.header("backend", "service")
            is_over = False

            async def load(number: int) -> None:
                while not is_over:
                    user = 1 + number % USERS
                    response = await ask(client, header, user)
                    statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
                    if number % 8 == 0:
                        response = await client.post("/api/v1/plans/generate", json={"userId": f"user-{user}"}, headers=header)
                        statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
                    await asyncio.sleep(0.01)

            workers = [asyncio.create_task(load(number)) for number in range(16)]
            for _ in range(2):
                await asyncio.sleep(0.5)
                await asyncio.to_thread(server.stop)
                await asyncio.sleep(0.5)
                await asyncio.to_thread(server.start, FAST_SETTINGS)
            with connect(database.admin_url, autocommit=True) as admin:
                admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'mesocycle_api'")
            await asyncio.sleep(1)
            is_over = True
            await asyncio.gather(*workers)
            assert (await ask(client, header)).status_code == 200
        return statuses

    statuses = asyncio.run(run())
    assert set(statuses) <= {200, 202, 503}, statuses
    assert statuses[200] > 100


def test_connections_for_payloads_share_the_work_and_none_is_lost(cluster, keys: Keys, caplog) -> None:
    _, database = cluster

    async def run():
        async with serving(settings_for(database, keys, reader_connections=4)) as client:
            reader = client.application.state.reader
            while reader._connected < 4:
                await asyncio.sleep(0.01)

            async def ask_often(number: int) -> int:
                bodies = set()
                for turn in range(60):
                    bodies.add((await reader.read(f"user-{1 + number % USERS}", "summary/30d")).body)
                    for _ in range((number + turn) % 4):  # so that requests meet a batch at every stage of its way
                        await asyncio.sleep(0)
                return len(bodies)

            return set(await asyncio.gather(*(ask_often(number) for number in range(40))))

    assert asyncio.run(run()) == {1}
    assert "failed" not in caplog.text


def test_after_a_restart_no_request_meets_a_dead_connection(cluster, keys: Keys) -> None:
    server, database = cluster

    async def run():
        async with serving(settings_for(database, keys, reader_connections=3, pulse_seconds=60)) as client:
            reader = client.application.state.reader
            while reader._connected < 3:
                await asyncio.sleep(0.01)
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start, FAST_SETTINGS)
            with contextlib.suppress(Problem):
                await reader.read("user-1", "summary/30d")  # the first may find out
            while not reader.is_connected:
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            return await asyncio.gather(*(reader.read(f"user-{1 + n}", "summary/30d") for n in range(USERS)), return_exceptions=True)

    assert [found for found in asyncio.run(run()) if isinstance(found, Exception)] == []


def test_a_full_pool_refuses_fast_instead_of_queueing(cluster, keys: Keys) -> None:
    _, database = cluster

    async def run():
        settings = settings_for(database, keys, pool_size=2, pool_waiting=4, pool_wait_seconds=0.3, query_seconds=5)
        async with serving(settings) as client:
            header = keys.header("backend", "service")
            pool = client.application.state.database
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(2):
                    await stack.enter_async_context(pool.connection())
                start = time.monotonic()
                responses = await asyncio.gather(
                    *(client.post("/api/v1/plans/generate", json={"userId": "user-1"}, headers=header) for _ in range(30))
                )
                assert time.monotonic() - start < 2
                assert {response.status_code for response in responses} == {503}
                assert {response.json()["type"] for response in responses} == {"urn:mesocycle:problem:overloaded"}
                assert (await ask(client, header)).status_code == 200  # payloads have a connection of their own
            return (await client.post("/api/v1/plans/generate", json={"userId": "user-1"}, headers=header)).status_code

    assert asyncio.run(run()) == 202


def test_the_memory_for_last_known_answers_is_bounded(cluster, keys: Keys) -> None:
    _, database = cluster

    async def run():
        async with serving(settings_for(database, keys, stale_bytes=10_000)) as client:
            header = keys.header("backend", "service")
            for _ in range(3):
                for user in range(1, USERS + 1):
                    assert (await ask(client, header, user)).status_code == 200
            memory = client.application.state.reader.memory
            return memory.bytes, len(memory), sum(len(item.body) + 600 for item in memory._items.values())

    counted, entries, recounted = asyncio.run(run())
    assert counted == recounted <= 10_000
    assert entries > 5


def test_sigterm_answers_what_runs_and_then_ends(cluster, keys: Keys) -> None:
    _, database = cluster
    with serving_process(database.urls[Role.API], keys.jwks, drain_seconds=5) as server:
        header = keys.header("user-1")
        with httpx.Client(base_url=server.url) as client:
            job = client.post("/api/v1/plans/generate", json={"userId": "user-1"}, headers=header).json()
            answers: list[int] = []

            def hold() -> None:
                response = httpx.get(server.url + job["statusUrl"], headers=header | {"Prefer": "wait=2"}, timeout=20)
                answers.append(response.status_code)

            waiting = threading.Thread(target=hold)
            waiting.start()
            time.sleep(0.7)
            server.process.send_signal(signal.SIGTERM)
            waiting.join(15)
            assert server.process.wait(15) in (0, -signal.SIGTERM)  # uvicorn raises the signal again at its end
            assert answers == [200]
            with pytest.raises(httpx.TransportError):
                httpx.get(server.url + "/healthz")
