"""Plan requests over HTTP: a job at once, one job per user, a status that can be waited for, and nobody else's."""

import asyncio
import threading
import time
import uuid
from collections.abc import Sequence
from datetime import datetime

import httpx
import psycopg
import pytest

from database.connection import Role
from database.plan_requests import Failure
from orchestration.plan_worker import Worker
from tests.api.conftest import Keys, serving, settings_for
from tests.conftest import Database

GENERATE = "/api/v1/plans/generate"
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def database(database: Database) -> Database:
    with database.connect() as connection:
        for user in ("lifter", "other", "müller/ü"):
            connection.execute("insert into app.users (user_id) values (%s)", [user])
        connection.execute(
            "insert into app.profiles (user_key, equipment, gym_equipment) select user_key, '{}', '{dumbbell,bench}' from app.users"
        )
        connection.execute("insert into ops.builds (kind, as_of, finished_at, succeeded) values ('marts', now(), now(), true)")
    return database


def drain(database: Database, **arguments: object) -> None:
    Worker(database.urls[Role.PIPELINE], **arguments).drain()  # type: ignore[arg-type]


async def ask(client: httpx.AsyncClient, keys: Keys, user: str = "lifter", **arguments: object) -> httpx.Response:
    headers = keys.header(user) | arguments.pop("headers", {})  # type: ignore[operator]
    return await client.post(GENERATE, json={"userId": user, "reason": "profile_changed"}, headers=headers)


async def test_a_request_is_answered_with_a_job_that_leads_to_the_plan(database: Database, keys: Keys) -> None:
    async with serving(settings_for(database, keys)) as client:
        answer = await ask(client, keys)
        assert answer.status_code == 202
        job = answer.json()
        assert uuid.UUID(job["jobId"]).version == 7
        assert job["status"] == "queued"
        assert answer.headers["location"] == job["statusUrl"] == f"/api/v1/plans/status/{job['jobId']}"
        queued = (await client.get(job["statusUrl"], headers=keys.header())).json()
        assert (queued["status"], queued["queuePosition"], queued["planUrl"]) == ("queued", 1, None)
        await asyncio.to_thread(drain, database)
        done = (await client.get(job["statusUrl"], headers=keys.header())).json()
        assert (done["status"], done["queuePosition"], done["failure"]) == ("succeeded", None, None)
        assert done["requestedAt"] <= done["startedAt"] <= done["finishedAt"]
        plan = await client.get(done["planUrl"], headers=keys.header())
        assert plan.status_code == 200
        assert len(plan.json()["weeks"]) == 4


async def test_a_second_request_gets_the_first_ones_job(database: Database, keys: Keys) -> None:
    async with serving(settings_for(database, keys)) as client:
        first, second = await ask(client, keys), await ask(client, keys)
        assert first.json()["jobId"] == second.json()["jobId"]
        other = await ask(client, keys, "other")
        assert other.json()["jobId"] != first.json()["jobId"]
        assert (await client.get(other.json()["statusUrl"], headers=keys.header("other"))).json()["queuePosition"] == 2


async def test_an_idempotency_key_stands_for_one_body(database: Database, keys: Keys) -> None:
    async with serving(settings_for(database, keys)) as client:
        header = {"Idempotency-Key": "tap-1"}
        first = await ask(client, keys, headers=header)
        await asyncio.to_thread(drain, database)
        again = await ask(client, keys, headers=header)
        assert (again.status_code, again.json()["jobId"], again.json()["status"]) == (202, first.json()["jobId"], "succeeded")
        changed = await client.post(GENERATE, json={"userId": "lifter"}, headers=keys.header() | header)
        assert changed.status_code == 422
        assert changed.json()["type"] == "urn:mesocycle:problem:idempotency-key-reused"


async def test_the_older_paths_work_as_curl_calls_them(database: Database, keys: Keys) -> None:
    async with serving(settings_for(database, keys)) as client:
        headers = keys.header("lifter") | {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await client.post("/generate", content=b'{"userId":"lifter"}', headers=headers)
        assert answer.status_code == 202
        status = await client.get(f"/status/{answer.json()['jobId']}", headers=keys.header())
        assert status.json()["status"] == "queued"


async def test_a_waiting_status_call_is_answered_when_the_job_changes(database: Database, keys: Keys) -> None:
    async with serving(settings_for(database, keys)) as client:
        url = (await ask(client, keys)).json()["statusUrl"]
        timer = threading.Timer(0.5, drain, [database])
        started = time.monotonic()
        timer.start()
        answer = await client.get(url, headers=keys.header() | {"Prefer": "respond-async, wait=20"})
        assert answer.json()["status"] == "succeeded"
        assert answer.headers["preference-applied"] == "wait=20"
        assert 0.4 < time.monotonic() - started < 8
        timer.join()


async def test_a_waiting_status_call_ends_after_its_time_with_the_status_as_it_is(database: Database, keys: Keys) -> None:
    async with serving(settings_for(database, keys)) as client:
        url = (await ask(client, keys)).json()["statusUrl"]
        started = time.monotonic()
        answer = await client.get(url, headers=keys.header() | {"Prefer": "wait=1"})
        assert answer.json()["status"] == "queued"
        assert 0.9 < time.monotonic() - started < 5


async def test_a_call_that_saw_an_older_status_is_answered_though_another_waits_for_the_next(database: Database, keys: Keys) -> None:
    async with serving(settings_for(database, keys)) as client:
        url = (await ask(client, keys)).json()["statusUrl"]
        early = asyncio.create_task(client.get(url, headers=keys.header() | {"Prefer": "wait=20"}))
        await asyncio.sleep(0.5)
        with database.connect() as connection:  # a worker's claim is not announced
            connection.execute(
                "update app.plan_requests set status = 'running', started_at = now(), claim = gen_random_uuid(), attempts = 1"
            )
        late = asyncio.create_task(client.get(url, headers=keys.header() | {"Prefer": "wait=2"}))
        done, _ = await asyncio.wait([early, late], return_when=asyncio.FIRST_COMPLETED)
        assert done == {early}
        assert early.result().json()["status"] == (await late).json()["status"] == "running"


async def test_many_waiting_calls_hold_no_database_connection(database: Database, keys: Keys) -> None:
    async with serving(settings_for(database, keys, pool_size=1, pool_waiting=300, pool_wait_seconds=20.0)) as client:
        url = (await ask(client, keys)).json()["statusUrl"]
        waiting = [asyncio.create_task(client.get(url, headers=keys.header() | {"Prefer": "wait=20"})) for _ in range(100)]
        await asyncio.sleep(1.0)
        assert (await client.get(url, headers=keys.header())).status_code == 200  # the pool's only connection is free
        await asyncio.to_thread(drain, database)
        answers = await asyncio.gather(*waiting)
        assert {answer.json()["status"] for answer in answers} == {"succeeded"}


async def test_a_failed_job_says_why(database: Database, keys: Keys) -> None:
    def refuse(connection: psycopg.Connection, user_keys: Sequence[int], as_of: datetime) -> dict[int, Failure]:
        return {key: Failure("refused.no_exercise", "There is nothing to train with.", final=True) for key in user_keys}

    async with serving(settings_for(database, keys)) as client:
        url = (await ask(client, keys)).json()["statusUrl"]
        await asyncio.to_thread(drain, database, planner=refuse)
        body = (await client.get(url, headers=keys.header())).json()
        assert body["status"] == "failed"
        assert body["failure"] == {"code": "refused.no_exercise", "message": "There is nothing to train with."}


async def test_nobody_asks_or_looks_for_somebody_else(database: Database, keys: Keys) -> None:
    async with serving(settings_for(database, keys)) as client:
        stranger = await client.post(GENERATE, json={"userId": "other"}, headers=keys.header("lifter"))
        assert stranger.status_code == 403
        url = (await ask(client, keys, "other")).json()["statusUrl"]
        assert (await client.get(url, headers=keys.header("lifter"))).status_code == 403
        assert (await client.get(url, headers=keys.header("backend", "service"))).status_code == 200
        assert (await client.get(url)).status_code == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"userId":"nobody"}', 404),
        (b"{}", 422),
        (b'{"userId":""}', 422),
        (b'{"userId":"lifter","reason":"Robert\'); drop"}', 422),
        (b'{"userId":"a\\u0000b"}', 422),
        (b"", 422),
    ],
)
async def test_a_wrong_request_is_refused_with_its_reason(database: Database, keys: Keys, body: bytes, status: int) -> None:
    async with serving(settings_for(database, keys)) as client:
        headers = keys.header("backend", "service") | {"Content-Type": "application/json"}
        answer = await client.post(GENERATE, content=body, headers=headers)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("job", "status"), [("nonsense", 422), ("0198c5a2-7f3e-7d11-9a55-3c1f0a5c7e42", 404)])
async def test_a_job_that_is_none_is_not_found(database: Database, keys: Keys, job: str, status: int) -> None:
    async with serving(settings_for(database, keys)) as client:
        assert (await client.get(f"/api/v1/plans/status/{job}", headers=keys.header())).status_code == status


async def test_a_user_id_with_a_slash_leads_to_its_plan(database: Database, keys: Keys) -> None:
    async with serving(settings_for(database, keys)) as client:
        url = (await ask(client, keys, "müller/ü")).json()["statusUrl"]
        await asyncio.to_thread(drain, database)
        plan_url = (await client.get(url, headers=keys.header("müller/ü"))).json()["planUrl"]
        assert (await client.get(plan_url, headers=keys.header("müller/ü"))).status_code == 200
