"""The performance monitor against a real API, a real worker and a real Postgres; and its arithmetic."""

import datetime
import random
import threading
import uuid
from collections.abc import Iterator

import numpy as np
import pytest

from api.tokens import generate_key_pair, issue_token
from database.connection import Role
from database.population import load_sample
from domain.planning.reasons import REFUSALS
from orchestration.plan_worker import Worker
from stack.home import free_port
from stack.monitor import (
    CRITERIA,
    Load,
    Measured,
    Operation,
    Plans,
    drive,
    percentile,
    read_targets,
    report,
    save,
    schedule,
    some_users,
    wait_for_plans,
)
from tests.conftest import Database
from tests.dbt_project.support import run_dbt

TARGETS = {
    "plan_request_p95": {"label": "a", "unit": "ms", "target": 50.0},
    "api_p95": {"label": "b", "unit": "ms", "target": 2000.0},
    "plan_ready_p95": {"label": "c", "unit": "ms", "target": 2000.0},
    "error_share": {"label": "d", "unit": "share", "target": 0.01},
}


@pytest.fixture(scope="module")
def running(module_database: Database) -> Iterator[tuple[Database, int, str]]:
    """A database with built marts, the API's port, and a service token."""
    import os
    import subprocess
    import sys

    from stack.platform import wait_for
    from tests.conftest import PROJECT

    as_of = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    load_sample(module_database.url, until=as_of, users=60)
    run_dbt(
        module_database,
        "build",
        "--indirect-selection",
        "cautious",
        "--select",
        "+user_payloads",
        "+metrics",
        "+readiness_scorecard",
        as_of=as_of,
    )
    with module_database.connect() as connection:
        connection.execute("insert into ops.builds (kind, as_of, finished_at, succeeded) values ('marts', %s, now(), true)", [as_of])
    private_key, jwks = generate_key_pair()
    port = free_port(8790, set())
    environment = os.environ | {"MESOCYCLE_API_DATABASE_URL": module_database.urls[Role.API], "MESOCYCLE_API_JWKS": jwks}
    process = subprocess.Popen([sys.executable, "-m", "api", "--port", str(port), "--workers", "1"], env=environment, cwd=PROJECT)
    worker = Worker(module_database.urls[Role.PIPELINE])
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        assert wait_for(f"http://127.0.0.1:{port}/healthz", 60)
        yield module_database, port, issue_token(private_key, "monitor", ["service"])
    finally:
        process.terminate()
        process.wait(timeout=30)
        worker.stopping.set()
        thread.join(timeout=60)


def test_a_run_measures_every_operation_and_is_kept(running: tuple[Database, int, str]) -> None:
    database, port, token = running
    seen = []
    with database.connect(Role.PIPELINE, autocommit=False) as connection:
        users, targets = some_users(connection), read_targets(connection)
        assert set(targets) == set(CRITERIA)
        load = Load("127.0.0.1", port, token, schedule(4, 25, users, random.Random(1)))
        started_at = datetime.datetime.now(datetime.UTC)
        elapsed = drive(load, lambda: seen.append(sum(len(one.milliseconds) for one in load.measured.values())))
        plans = wait_for_plans(connection, load.job_ids)
        result = report(load.measured, plans, targets, seconds=elapsed)
        key = save(connection, started_at, result)
    assert result["requests"] == 100
    assert result["errors"] == 0, load.first_error
    assert seen == sorted(seen)
    assert all(row["requests"] > 0 and row["p50Ms"] <= row["p95Ms"] <= row["p99Ms"] <= row["maxMs"] for row in result["operations"])
    assert plans.milliseconds
    assert plans.unfinished == 0
    with database.connect() as owner:
        row = owner.execute("select passed, requests, errors, report from ops.monitor_runs where run_key = %s", [key]).fetchone()
        probes = owner.execute("select count(*) from app.onboarding_events where flow = 'monitor'").fetchone()
    assert row == (result["passed"], 100, 0, result)
    assert probes == (len(load.measured[Operation.EVENT].milliseconds),)


def test_probes_count_in_no_funnel(running: tuple[Database, int, str]) -> None:
    database = running[0]
    with database.connect() as connection:
        before = connection.execute("select count(*) from marts.onboarding_journeys").fetchone()
    run_dbt(database, "build", "--indirect-selection", "cautious", "--select", "+onboarding_journeys")
    with database.connect() as connection:
        assert connection.execute("select count(*) from marts.onboarding_journeys").fetchone() == before


def test_where_nobody_answers_every_request_is_an_error_and_no_target_is_met() -> None:
    port = free_port(8890, set())
    load = Load("127.0.0.1", port, "token", schedule(0.5, 40, ["ann"], random.Random(1)))
    drive(load, lambda: None, interval_seconds=0.05)
    result = report(load.measured, Plans([], 0, 0), TARGETS, seconds=load.elapsed)
    assert (result["requests"], result["errors"]) == (20, 20)
    assert not result["passed"]
    assert load.first_error is not None


def test_arrivals_are_evenly_spaced_and_as_many_as_asked_for() -> None:
    arrivals = schedule(10, 40, ["ann", "bob"], random.Random(2))
    assert len(arrivals) == 400
    assert np.allclose(np.diff([arrival.due for arrival in arrivals]), 1 / 40)
    assert {arrival.operation for arrival in arrivals} == set(Operation)
    assert {arrival.user_id for arrival in arrivals} == {"ann", "bob"}


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 100, 101])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95, 0.99, 1.0])
def test_a_percentile_is_the_smallest_value_that_enough_values_do_not_exceed(count: int, share: float) -> None:
    dice = random.Random(count)
    values = [dice.random() for _ in range(count)]
    assert percentile(values, share) == pytest.approx(np.percentile(values, 100 * share, method="inverted_cdf"))
    assert percentile([], share) is None


def measured(**milliseconds: list[float]) -> dict[Operation, Measured]:
    names = {operation.name.lower(): operation for operation in Operation}
    return {operation: Measured() for operation in Operation} | {names[name]: Measured(values) for name, values in milliseconds.items()}


def verdicts(result: dict) -> dict[str, bool]:
    return {row["criterion"]: row["isMet"] for row in result["targets"]}


def test_all_targets_met_means_passed() -> None:
    result = report(measured(summary=[10.0] * 90, plan_request=[20.0] * 10), Plans([800.0], 0, 0), TARGETS, seconds=10)
    assert verdicts(result) == dict.fromkeys(CRITERIA, True)
    assert result["passed"]


def test_a_target_itself_is_missed_because_the_promise_says_below() -> None:
    result = report(measured(summary=[2000.0], plan_request=[50.0]), Plans([2000.0], 0, 0), TARGETS, seconds=1)
    assert verdicts(result) == {"plan_request_p95": False, "api_p95": False, "plan_ready_p95": False, "error_share": True}
    assert not result["passed"]


def test_a_plan_that_never_came_is_an_error_and_leaves_its_time_unknown() -> None:
    result = report(measured(plan_request=[5.0]), Plans([100.0], 0, 1), TARGETS, seconds=1)
    assert not verdicts(result)["plan_ready_p95"]
    assert not verdicts(result)["error_share"]


def test_waiting_for_plans_ends_though_nobody_makes_them(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("insert into app.users (user_id) values ('ann')")
        job = uuid.uuid4()
        connection.execute("insert into app.plan_requests (job_id, user_key) select %s, user_key from app.users", [job])
    with database.connect(Role.PIPELINE, autocommit=False) as connection:
        assert wait_for_plans(connection, [job], seconds=0.3) == Plans([], 0, 1)


def test_a_refused_plan_is_an_answer_and_no_error(database: Database) -> None:
    with database.connect() as connection:
        connection.execute("insert into app.users (user_id) values ('ann'), ('ben')")
        jobs = [uuid.uuid4(), uuid.uuid4()]
        for job, user, code in zip(jobs, ("ann", "ben"), (REFUSALS[2][0], "internal"), strict=True):
            connection.execute(
                "insert into app.plan_requests (job_id, user_key, status, started_at, finished_at, failure_code)"
                " select %s, user_key, 'failed', now(), now(), %s from app.users where user_id = %s",
                [job, code, user],
            )
    with database.connect(Role.PIPELINE, autocommit=False) as connection:
        assert wait_for_plans(connection, jobs, seconds=0.3) == Plans([], 1, 0)
