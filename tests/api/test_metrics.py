"""The service's own latency as data: what is counted, that it arrives once, and that Prometheus and the mart tell the same."""

import asyncio
import re
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import orjson
import pytest

from api.app import create_app
from api.metrics import UNKNOWN, Metrics
from api.postgres import Database as Pool
from database.api_latency import BOUNDS_MS, RECORD, Histogram, quantile
from database.connection import Role
from tests.api.conftest import Keys, serving, settings_for
from tests.conftest import Database
from tests.dbt_project.support import run_dbt


def counted(database: Database) -> dict[tuple[str, str, int], int]:
    with database.connect() as connection:
        rows = connection.execute("select method, route, status, sum(requests)::int from ops.api_latency group by 1, 2, 3").fetchall()
    return {(method, route, status): requests for method, route, status, requests in rows}


def with_client(database: Database, keys: Keys, body: Callable[[httpx.AsyncClient], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        async with serving(settings_for(database, keys)) as client:
            return await body(client)

    return asyncio.run(run())


def test_every_answer_is_counted_under_its_route_not_under_an_id(built: Database, keys: Keys) -> None:
    async def ask(client: httpx.AsyncClient) -> None:
        header = keys.header("lifter")
        for _ in range(3):
            await client.get("/api/v1/summary/lifter", headers=header)  # the second time past the framework
        await client.get("/api/v1/summary/lifter?range=999d", headers=header)
        await client.get("/api/v1/records/lifter")
        await client.get("/api/v1/summary/m%C3%BCller%2F%C3%BC", headers=keys.header("müller/ü"))
        await client.get("/api/v1/summary/../../etc/passwd")
        await client.post("/api/v1/plans/generate", headers=header, json={"userId": "lifter"})
        await client.request("BREW", "/healthz")

    with_client(built, keys, ask)
    found = counted(built)
    assert found[("GET", "/api/v1/summary/{userId}", 200)] == 4
    assert found[("GET", "/api/v1/summary/{userId}", 422)] == 1
    assert found[("GET", "/api/v1/records/{userId}", 401)] == 1
    assert found[("POST", "/api/v1/plans/generate", 202)] == 1
    assert found[("(other)", "/healthz", 405)] == 1
    assert [key for key in found if key[1] == UNKNOWN]
    assert not [key for key in found if "lifter" in key[1] or "ller" in key[1]]


def test_what_was_counted_is_delivered_when_the_process_ends(built: Database, keys: Keys) -> None:
    async def ask(client: httpx.AsyncClient) -> None:
        await client.get("/healthz")
        assert counted(built) == {}

    with_client(built, keys, ask)
    assert counted(built) == {("GET", "/healthz", 200): 1}


def test_it_is_delivered_once_a_minute_without_anybody_asking(built: Database, keys: Keys) -> None:
    async def run() -> None:
        pool = Pool(settings_for(built, keys))
        metrics = Metrics(pool, seconds=0.05)
        async with metrics.running():
            metrics.add("GET", "/a", 200, 1.0)
            for _ in range(200):
                if counted(built):
                    break
                await asyncio.sleep(0.02)
            assert counted(built) == {("GET", "/a", 200): 1}
        await pool.close()

    asyncio.run(run())


def test_a_batch_that_is_sent_twice_counts_once(built: Database, keys: Keys) -> None:
    histogram = Histogram()
    histogram.add(3)
    row = {"minute": "2025-07-01T12:00:00Z", "method": "GET", "route": "/a", "status": 200, "requests": 1, "total_ms": 3, "max_ms": 3}
    rows = orjson.dumps([row | {"buckets": histogram.buckets}]).decode()
    process = "00000000-0000-4000-8000-000000000001"

    async def run() -> list[bool]:
        pool = Pool(settings_for(built, keys))
        answers = [(await pool.fetchrow(RECORD, process, number, rows))[0] for number in (1, 1, 2, 1)]  # type: ignore[index]
        await pool.close()
        return answers

    assert asyncio.run(run()) == [True, False, True, False]
    assert counted(built) == {("GET", "/a", 200): 2}


def test_what_cannot_be_delivered_is_kept_until_it_can(built: Database, keys: Keys) -> None:
    async def run() -> None:
        settings = settings_for(built, keys)
        unreachable = Pool(settings.model_copy(update={"database_url": type(settings.database_url)("postgresql://x@127.0.0.1:1/x")}))
        metrics = Metrics(unreachable)
        metrics.add("GET", "/a", 200, 1.0)
        assert not await metrics.flush()
        metrics.add("GET", "/a", 200, 1.0)
        assert not await metrics.flush()
        metrics._database = Pool(settings)
        assert await metrics.flush()
        await metrics._database.close()

    asyncio.run(run())
    assert counted(built) == {("GET", "/a", 200): 2}


def test_an_error_nobody_caught_counts_as_500_and_a_caller_who_left_as_499(built: Database, keys: Keys) -> None:
    async def breaks(scope, receive, send):
        raise RuntimeError("a defect")

    async def leaves(scope, receive, send):
        return

    async def run() -> None:
        pool = Pool(settings_for(built, keys))
        metrics = Metrics(pool)
        scope = {"type": "http", "method": "GET", "path": "/x", "raw_path": b"/x", "headers": []}
        with pytest.raises(RuntimeError):
            await metrics.around(breaks, [])(scope, None, None)  # type: ignore[arg-type]
        await metrics.around(leaves, [])(scope, None, None)  # type: ignore[arg-type]
        await metrics.flush()
        await pool.close()

    asyncio.run(run())
    assert counted(built) == {("GET", UNKNOWN, 500): 1, ("GET", UNKNOWN, 499): 1}


def test_a_call_that_asked_to_wait_has_a_route_of_its_own(built: Database, keys: Keys) -> None:
    async def ask(client: httpx.AsyncClient) -> None:
        accepted = (await client.post("/api/v1/plans/generate", headers=keys.header("lifter"), json={"userId": "lifter"})).json()
        await client.get(accepted["statusUrl"], headers=keys.header("lifter") | {"Prefer": "wait=1"})
        await client.get(accepted["statusUrl"], headers=keys.header("lifter"))

    with_client(built, keys, ask)
    found = counted(built)
    assert found[("GET", "/api/v1/plans/status/{jobId} (waiting)", 200)] == 1
    assert found[("GET", "/api/v1/plans/status/{jobId}", 200)] == 1


def test_prometheus_and_the_mart_tell_the_same_numbers_over_two_processes(built: Database, keys: Keys) -> None:
    async def ask(client: httpx.AsyncClient) -> str:
        for _ in range(5):
            await client.get("/api/v1/summary/lifter", headers=keys.header("lifter"))
        await client.get("/api/v1/records/lifter")
        return (await client.get("/metrics")).text

    with_client(built, keys, ask)
    text = with_client(built, keys, ask)
    samples = dict(re.findall(r"^(\w+(?:\{.*\})?) (\S+)$", text, flags=re.MULTILINE))
    name = "mesocycle_http_request_duration_seconds"
    summary = 'method="GET",route="/api/v1/summary/{userId}",status="200"'
    assert samples[f"{name}_count{{{summary}}}"] == "10"
    assert samples[f'{name}_bucket{{{summary},le="+Inf"}}'] == "10"
    with built.connect() as connection:
        connection.execute("update ops.api_latency set minute = '2025-07-01 10:00Z' where true and minute <> '2025-07-01 10:00Z'")
    run_dbt(built, "build", "--select", "changes", "stg_api_latency", "api_latency_daily")
    with built.connect() as connection:
        row = connection.execute(
            "select requests, mean_ms * requests / 1000, buckets from marts.api_latency_daily where route = '/api/v1/summary/{userId}'"
        ).fetchone()
    assert row is not None
    assert row[0] == 10
    assert row[1] == pytest.approx(float(samples[f"{name}_sum{{{summary}}}"]), rel=1e-6)
    cumulative = [int(samples[f'{name}_bucket{{{summary},le="{bound / 1000:g}"}}']) for bound in BOUNDS_MS]
    assert cumulative == [sum(row[2][: number + 1]) for number in range(len(BOUNDS_MS))]


def test_counters_of_prometheus_never_fall_and_need_no_token(built: Database, keys: Keys) -> None:
    async def ask(client: httpx.AsyncClient) -> list[float]:
        totals = []
        for _ in range(3):
            await client.get("/healthz")
            response = await client.get("/metrics")
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
            totals.append(sum(float(value) for value in re.findall(r"_count\{.*\} (\S+)", response.text)))
        return totals

    totals = with_client(built, keys, ask)
    assert totals == sorted(totals)
    assert totals[-1] > totals[0]


def test_the_bounds_in_python_and_in_postgres_are_the_same_and_hold_the_promises(built_template: Database) -> None:
    with built_template.connect() as connection:
        row = connection.execute("select marts.latency_bounds_ms()").fetchone()
    assert row is not None
    assert tuple(row[0]) == BOUNDS_MS
    assert {50, 2000} <= set(BOUNDS_MS)
    assert list(BOUNDS_MS) == sorted(BOUNDS_MS)


def test_a_quantile_in_postgres_is_the_one_in_python(built_template: Database) -> None:
    import random

    dice = random.Random(5)
    with built_template.connect() as connection:
        for _ in range(200):
            buckets = [dice.choice([0, 0, 0, 1, 2, 50]) for _ in range(len(BOUNDS_MS) + 1)]
            share = dice.choice([0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 1.0])
            row = connection.execute("select marts.histogram_quantile(%s::bigint[], %s)", [buckets, share]).fetchone()
            assert row is not None
            expected = quantile(buckets, share)
            assert row[0] == (pytest.approx(expected) if expected is not None else None)


def test_a_quantile_lies_within_its_bucket_of_the_exact_one() -> None:
    import random

    dice = random.Random(6)
    histogram = Histogram()
    times = sorted(dice.lognormvariate(2, 1.5) for _ in range(5000))
    for milliseconds in times:
        histogram.add(milliseconds)
    for share in (0.5, 0.9, 0.95, 0.99):
        exact = times[int(share * len(times))]
        low = max([0.0, *(bound for bound in BOUNDS_MS if bound < exact)])
        high = min(bound for bound in BOUNDS_MS if bound >= exact)
        found = quantile(histogram.buckets, share)
        assert found is not None
        assert low * 0.99 <= found <= high * 1.01


def test_a_value_on_a_bound_belongs_below_it() -> None:
    histogram = Histogram()
    histogram.add(50.0)
    assert histogram.buckets[BOUNDS_MS.index(50)] == 1


def test_the_api_may_only_record_and_read_totals(built: Database) -> None:
    import psycopg

    for statement in (
        "insert into ops.api_latency values (now(), 'GET', '/', 200, 1, 1, 1, array_fill(1::bigint, array[37]))",
        "delete from ops.api_latency_totals",
        "insert into ops.monitor_runs (started_at, passed, requests, errors, report) values (now(), true, 1, 0, '{}')",
    ):
        with built.connect(Role.API) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


def test_every_route_that_exists_has_a_template(built_template: Database, keys: Keys) -> None:
    application = create_app(settings_for(built_template, keys))
    from api.metrics import _Templates

    templates = _Templates(application.router.routes)
    for route in application.router.routes:
        path = getattr(route, "path", None)
        if path:
            concrete = re.sub(r"\{[^}]*\}", "0198c5a2-7f3e-7d11-9a55-3c1f0a5c7e42", path)
            assert templates.find(concrete) == path
