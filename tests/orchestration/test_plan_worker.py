"""The plan worker: coalescing, batches, poison, crashes at every step, frozen workers, Postgres going away."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from database.connection import Role
from database.plan_requests import Claimed, ClaimLost, Failure, claim, finish, hold, overdue
from orchestration.plan_worker import Worker
from tests.conftest import PROJECT, Database


def add_users(database: Database, *user_ids: str) -> dict[str, int]:
    with database.connect() as connection:
        keys = {}
        for user_id in user_ids:
            row = connection.execute("insert into app.users (user_id) values (%s) returning user_key", [user_id]).fetchone()
            assert row
            keys[user_id] = row[0]
            connection.execute(
                "insert into app.profiles (user_key, equipment) values (%s, '{barbell,bench,rack,dumbbell,cable,machine}')", [row[0]]
            )
    return keys


def request(
    database: Database, user_id: str, *, key: str | None = None, body: bytes = b"x", role: Role = Role.API
) -> tuple[str, uuid.UUID]:
    with database.connect(role) as connection:
        row = connection.execute(
            "select outcome, job_id from app.request_plan(%s, %s, 'test', 'tests', %s, %s)", [user_id, uuid.uuid4(), key, body]
        ).fetchone()
    assert row
    return row[0], row[1]


def states(database: Database) -> dict[uuid.UUID, tuple[str, int, str | None]]:
    with database.connect() as connection:
        rows = connection.execute("select job_id, status, attempts, failure_code from app.plan_requests").fetchall()
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def events(database: Database) -> list[str]:
    with database.connect() as connection:
        return [row[0]["type"] for row in connection.execute("select cloud_event from app.read_plan_events()").fetchall()]


def count_planned(connection: psycopg.Connection, user_keys: Sequence[int], as_of: datetime) -> dict[int, Failure]:
    """A planner that records its calls in the database, in the worker's transaction: what is rolled back is not counted."""
    for user_key in user_keys:
        connection.execute("insert into ops.watermarks (name, xid) values (%s, '1')", [f"planned {user_key} {uuid.uuid4()}"])
    return {}


def planned(database: Database) -> int:
    with database.connect() as connection:
        row = connection.execute("select count(*) from ops.watermarks where name like 'planned %%'").fetchone()
    assert row
    return row[0]


def until(condition: object, seconds: float = 10.0) -> float:
    """Seconds until `condition()` holds; fails the test when it doesn't in time."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if condition():  # type: ignore[operator]
            return time.monotonic() - started
        time.sleep(0.02)
    pytest.fail(f"not within {seconds} s")


@pytest.fixture
def worker(database: Database) -> Iterator[Worker]:
    worker = Worker(database.urls[Role.PIPELINE], planner=count_planned)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    yield worker
    worker.stopping.set()
    thread.join(timeout=5)


# Requests


def test_a_second_request_gets_the_queued_jobs_id(database: Database) -> None:
    add_users(database, "ann")
    first, second = request(database, "ann"), request(database, "ann")
    assert (first[0], second[0]) == ("created", "coalesced")
    assert first[1] == second[1]


def test_a_request_after_its_user_was_taken_up_makes_a_new_job(database: Database) -> None:
    add_users(database, "ann")
    _, job = request(database, "ann")
    with database.connect(Role.PIPELINE) as connection:
        assert claim(connection, uuid.uuid4(), 500) == 1
    outcome, other = request(database, "ann")
    assert outcome == "created"
    assert other != job


def test_the_same_key_and_body_give_the_same_job_and_another_body_is_a_conflict(database: Database) -> None:
    add_users(database, "ann")
    _, job = request(database, "ann", key="k1", body=b"1")
    assert request(database, "ann", key="k1", body=b"1") == ("repeated", job)
    assert request(database, "ann", key="k1", body=b"2") == ("key_conflict", job)


def test_a_request_for_nobody_is_answered_as_such(database: Database) -> None:
    assert request(database, "nobody")[0] == "unknown_user"


def test_a_thousand_taps_make_one_plan(database: Database, worker: Worker) -> None:
    add_users(database, "ann")

    def tap() -> None:
        with database.connect(Role.API) as connection:
            for _ in range(100):
                connection.execute("select app.request_plan('ann', gen_random_uuid(), 'tap', 'tests', null, null)")

    worker.stopping.set()  # nobody works while the taps arrive, so that one job must serve them all
    threads = [threading.Thread(target=tap) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    Worker(database.urls[Role.PIPELINE], planner=count_planned).drain()
    assert planned(database) == 1
    assert events(database) == ["PlanGenerationRequested", "PlanGenerated"]


# Work


def test_a_batch_is_done_with_its_states_and_events(database: Database, worker: Worker) -> None:
    users = [f"user-{number}" for number in range(50)]
    add_users(database, *users)
    for user in users:
        request(database, user)
    until(lambda: {state[0] for state in states(database).values()} == {"succeeded"})
    assert planned(database) == 50
    assert sorted(events(database)) == ["PlanGenerated"] * 50 + ["PlanGenerationRequested"] * 50


def test_one_poisonous_request_fails_alone_after_three_attempts_and_the_rest_succeeds(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("database.plan_requests.BACKOFF_SECONDS", (0, 0))
    keys = add_users(database, *(f"user-{number}" for number in range(20)), "poison")
    jobs = {user: request(database, user)[1] for user in keys}

    def planner(connection: psycopg.Connection, user_keys: Sequence[int], as_of: datetime) -> dict[int, Failure]:
        count_planned(connection, user_keys, as_of)
        if keys["poison"] in user_keys:
            raise ZeroDivisionError("a profile that breaks the engine")
        return {}

    Worker(database.urls[Role.PIPELINE], planner=planner).drain()
    found = states(database)
    assert found.pop(jobs["poison"]) == ("failed", 3, "engine.error")
    assert set(found.values()) == {("succeeded", 1, None)}
    assert planned(database) == 20
    assert events(database).count("PlanGenerationFailed") == 1


def test_a_refusal_is_final_and_keeps_its_reason(database: Database) -> None:
    keys = add_users(database, "ann")
    _, job = request(database, "ann")
    refusal = Failure("refused.no_exercise", "There is nothing to train with.", final=True)
    Worker(database.urls[Role.PIPELINE], planner=lambda connection, user_keys, as_of: {keys["ann"]: refusal}).drain()
    assert states(database)[job] == ("failed", 1, "refused.no_exercise")


def test_two_workers_never_plan_a_request_twice(database: Database) -> None:
    users = [f"user-{number}" for number in range(200)]
    add_users(database, *users)
    workers = [Worker(database.urls[Role.PIPELINE], planner=count_planned) for _ in range(2)]
    threads = [threading.Thread(target=worker.run, daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    for user in users:
        request(database, user)
    until(lambda: all(state[0] == "succeeded" for state in states(database).values()), 20)
    for worker in workers:
        worker.stopping.set()
    for thread in threads:
        thread.join(timeout=5)
    assert planned(database) == 200


# Crashes

WORKER_SCRIPT = """
import sys, time
sys.path.insert(0, {project!r})
from orchestration import plan_worker
from tests.orchestration.test_plan_worker import count_planned
stop_at = {stop_at!r}
def pause(name):
    if name == stop_at:
        print("paused", flush=True)
        time.sleep(60)
def slow(connection, user_keys, as_of):
    pause("before planning")
    result = count_planned(connection, user_keys, as_of)
    pause("after writing plans")
    return result
hold, finish = plan_worker.hold, plan_worker.finish
def held(*arguments):
    pause("after claiming")
    return hold(*arguments)
def finished(*arguments):
    finish(*arguments)
    pause("before commit")
plan_worker.hold, plan_worker.finish = held, finished
plan_worker.TRANSACTION_SECONDS = {seconds}
plan_worker.Worker({url!r}, planner=slow).run()
"""


def paused_worker(database: Database, stop_at: str, seconds: int = 60) -> subprocess.Popen[str]:
    """A worker in a process of its own that stands still at one place of its batch."""
    script = WORKER_SCRIPT.format(project=str(PROJECT), stop_at=stop_at, url=database.urls[Role.PIPELINE], seconds=seconds)
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    assert process.stdout is not None
    assert process.stdout.readline() == "paused\n"
    return process


STEPS = ["after claiming", "before planning", "after writing plans", "before commit"]


@pytest.mark.parametrize("stop_at", STEPS)
def test_the_work_of_a_killed_worker_is_taken_up_within_five_seconds_and_done_once(database: Database, stop_at: str) -> None:
    users = [f"user-{number}" for number in range(5)]
    add_users(database, *users)
    for user in users:
        request(database, user)
    process = paused_worker(database, stop_at)
    other = Worker(database.urls[Role.PIPELINE], planner=count_planned)
    thread = threading.Thread(target=other.run, daemon=True)
    thread.start()
    process.send_signal(signal.SIGKILL)
    try:
        until(lambda: all(state[0] == "succeeded" for state in states(database).values()), 5)
    finally:
        process.wait()
        other.stopping.set()
        thread.join(timeout=5)
    assert planned(database) == 5
    assert events(database).count("PlanGenerated") == 5


@pytest.mark.parametrize("stop_at", ["after claiming", "before planning", "before commit"])
def test_a_frozen_worker_that_wakes_up_late_changes_nothing(database: Database, stop_at: str) -> None:
    add_users(database, "ann")
    request(database, "ann")
    process = paused_worker(database, stop_at, seconds=2)
    process.send_signal(signal.SIGSTOP)
    other = Worker(database.urls[Role.PIPELINE], planner=count_planned)
    thread = threading.Thread(target=other.run, daemon=True)
    thread.start()
    try:
        until(lambda: all(state[0] == "succeeded" for state in states(database).values()), 10)
        process.send_signal(signal.SIGCONT)
        time.sleep(1.0)
    finally:
        process.kill()
        process.wait()
        other.stopping.set()
        thread.join(timeout=5)
    assert planned(database) == 1
    assert events(database).count("PlanGenerated") == 1


def test_a_request_that_takes_every_worker_down_is_tried_alone_and_then_given_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestration.plan_worker.TRANSACTION_SECONDS", 1)
    monkeypatch.setattr("database.plan_requests.ORPHAN_SECONDS", 0)
    monkeypatch.setattr("database.plan_requests.LOSSES_IN_COMPANY", 2)
    monkeypatch.setattr("database.plan_requests.MOST_LOSSES", 3)
    keys = add_users(database, "poison", *(f"user-{number}" for number in range(5)))
    jobs = {user: request(database, user)[1] for user in keys}

    def planner(connection: psycopg.Connection, user_keys: Sequence[int], as_of: datetime) -> dict[int, Failure]:
        if keys["poison"] in user_keys:
            connection.execute("select pg_sleep(60)")  # Postgres ends the transaction, and with it everybody's work
        return count_planned(connection, user_keys, as_of)

    worker = Worker(database.urls[Role.PIPELINE], planner=planner)
    thread = threading.Thread(target=worker.run, daemon=True)
    thread.start()
    try:
        until(lambda: {state[0] for state in states(database).values()} == {"succeeded", "failed"}, 30)
    finally:
        worker.stopping.set()
        thread.join(timeout=5)
    found = states(database)
    assert found.pop(jobs["poison"]) == ("failed", 3, "worker.lost")
    assert {state[0] for state in found.values()} == {"succeeded"}
    assert planned(database) == 5
    assert events(database).count("PlanGenerationFailed") == 1


def test_a_claim_that_another_worker_took_over_is_fenced(database: Database) -> None:
    keys = add_users(database, "ann")
    _, job = request(database, "ann")
    late, winner = uuid.uuid4(), uuid.uuid4()
    with database.connect(Role.PIPELINE) as connection:
        claim(connection, late, 500)
        connection.execute("update app.plan_requests set started_at = now() - interval '1 minute'")
        claim(connection, winner, 500)
        assert hold(connection, late) == []
        with pytest.raises(ClaimLost), connection.transaction():
            finish(connection, late, [Claimed(job, keys["ann"], 1)], {}, datetime.fromisoformat("2024-05-01T00:00:00+00:00"))
    assert states(database)[job][0] == "running"


def test_the_worker_survives_a_restart_of_postgres(database: Database, worker: Worker) -> None:
    add_users(database, "ann", "bob")
    request(database, "ann")
    until(lambda: planned(database) == 1)
    with psycopg.connect(database.admin_url, autocommit=True) as admin:
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'mesocycle plan%'")
    request(database, "bob")
    until(lambda: planned(database) == 2)


def test_sigterm_finishes_the_batch(database: Database) -> None:
    add_users(database, "ann")
    request(database, "ann")
    script = Path(PROJECT)
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.plan_worker"],
        env={**os.environ, "MESOCYCLE_PIPELINE_URL": database.urls[Role.PIPELINE], "DAGSTER_HOME": ""},
        cwd=script,
    )
    until(lambda: states(database) and all(state[0] != "queued" for state in states(database).values()), 30)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    assert {state[0] for state in states(database).values()} == {"succeeded"}


# Events


def test_events_are_read_in_an_order_in_which_nothing_appears_behind_the_reader(database: Database) -> None:
    add_users(database, "ann", "bob")
    slow, quick = psycopg.connect(database.url), psycopg.connect(database.url)
    with slow, quick:
        slow.execute("select app.request_plan('ann', gen_random_uuid(), 'slow', 'tests', null, null)")
        quick.execute("select app.request_plan('bob', gen_random_uuid(), 'quick', 'tests', null, null)")
        quick.commit()
        assert events(database) == []  # the slow transaction began first and may still commit: its place comes before
        slow.commit()
    assert events(database) == ["PlanGenerationRequested"] * 2


def test_events_are_cloud_events(database: Database) -> None:
    add_users(database, "ann")
    _, job = request(database, "ann")
    with database.connect() as connection:
        row = connection.execute("select cloud_event from app.read_plan_events()").fetchone()
    assert row
    event = row[0]
    assert {name: event[name] for name in ("specversion", "source", "type", "subject", "datacontenttype")} == {
        "specversion": "1.0",
        "source": "/mesocycle/plans",
        "type": "PlanGenerationRequested",
        "subject": "ann",
        "datacontenttype": "application/json",
    }
    assert event["data"] == {"jobId": str(job), "userId": "ann", "reason": "test"}


def test_events_cannot_be_edited(database: Database) -> None:
    add_users(database, "ann")
    request(database, "ann")
    with database.connect() as connection, pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        connection.execute("update app.plan_events set data = '{}'")


def test_requests_that_wait_too_long_are_counted(database: Database) -> None:
    add_users(database, "ann")
    request(database, "ann")
    with database.connect() as connection:
        assert overdue(connection, 60) == 0
        connection.execute("update app.plan_requests set requested_at = now() - interval '2 minutes'")
        assert overdue(connection, 60) == 1
