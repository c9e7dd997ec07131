"""Users with every kind of activity, requests for plans and latencies around an instant."""

import datetime
import random
import uuid

import psycopg
import pytest

from tests.conftest import Database
from tests.dbt_project.population import add_population

AS_OF = datetime.datetime(2025, 7, 2, 22, 30, tzinfo=datetime.UTC)
"""Wednesday; already Thursday in the east, so that local and UTC dates differ."""
MARTS = (
    *("+readiness_scorecard", "+readiness_history", "+kpi_daily", "+metrics", "+clock", "+users", "+user_activity_days"),
    *("+retention_cohorts", "+feature_adoption", "+plan_requests_daily", "+api_latency_daily"),
)


def add_activity(connection: psycopg.Connection, dice: random.Random, users: int, as_of: datetime.datetime = AS_OF) -> None:
    """`users` people who signed up within 100 days (a few after as_of), train and open things, also before they signed up."""
    add_population(connection, dice.randrange(10**9), users, 12, as_of)
    for (user,) in connection.execute("select user_key from app.users").fetchall():
        signed_up = as_of - datetime.timedelta(
            days=dice.choice([-2, 0, 1, 6, 7, 8, 13, 14, 20, 21, 22, 35, 60, 99]), hours=dice.randrange(24)
        )
        connection.execute("update app.users set created_at = %s where user_key = %s", [signed_up, user])
        for _ in range(dice.choice([0, 0, 1, 5, 20])):
            occurred = as_of - datetime.timedelta(days=dice.choice([-1, 0, 0, 1, 5, 6, 7, 8, 13, 14, 30, 90]), hours=dice.randrange(24))
            add_opening(connection, user, dice.choice(["dashboard", "records", "plan", "workout", "settings"]), occurred, dice)


def add_opening(connection: psycopg.Connection, user: int, feature: str, occurred: datetime.datetime, dice: random.Random) -> None:
    connection.execute(
        "insert into app.usage_events (event_id, user_key, feature, occurred_at, platform, app_version) values (%s, %s, %s, %s, %s, %s)",
        [
            uuid.UUID(int=dice.getrandbits(128)),
            user,
            feature,
            occurred,
            dice.choice(["ios", "android", "", None]),
            dice.choice(["5.0", "5.1", None]),
        ],
    )


def add_requests(connection: psycopg.Connection, dice: random.Random, count: int, as_of: datetime.datetime = AS_OF) -> None:
    users = [row[0] for row in connection.execute("select user_key from app.users").fetchall()]
    for _ in range(count):
        asked = as_of - datetime.timedelta(minutes=dice.choice([-30, 0, 1, 100, 1440, 3000, 9000, 10079, 10080, 30000, 90000]))
        status = dice.choice(["succeeded", "succeeded", "succeeded", "failed", "running"])
        seconds = dice.choice([0.05, 0.05, 0.3, 1.0, 1.99, 2.0, 2.5, 40, 4000])
        finished = asked + datetime.timedelta(seconds=seconds) if status in ("succeeded", "failed") else None
        connection.execute(
            "insert into app.plan_requests (job_id, user_key, status, attempts, requested_at, started_at, finished_at, failure_code)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s)",
            [
                *(uuid.UUID(int=dice.getrandbits(128)), dice.choice(users), status, dice.choice([1, 1, 2, 3]), asked),
                *(asked + datetime.timedelta(seconds=seconds / 2), finished),
                dice.choice(["refused.no_exercise", "internal"]) if status == "failed" else None,
            ],
        )


def add_latencies(connection: psycopg.Connection, dice: random.Random, count: int, as_of: datetime.datetime = AS_OF) -> None:
    from database.api_latency import Histogram

    for number in range(count):
        histogram = Histogram()
        for _ in range(dice.randrange(1, 40)):
            histogram.add(dice.choice([0.05, 0.4, 3, 20, 49, 50, 51, 300, 1999, 2000, 2001, 60000]))
        route = dice.choice(["/api/v1/summary/{userId}", "/api/v1/plans/generate", "/healthz", "/api/v1/plans/status/{jobId} (waiting)"])
        minute = (as_of - datetime.timedelta(minutes=dice.choice([-5, 0, 30, 2000, 9000, 40000]), days=number % 3)).replace(second=0)
        connection.execute(
            "insert into ops.api_latency values (%s, %s, %s, %s, %s, %s, %s, %s) on conflict do nothing",
            [
                *(minute, "POST" if "generate" in route else "GET", route, dice.choice([200, 200, 200, 404, 500])),
                *(histogram.requests, histogram.total_ms, histogram.max_ms, histogram.buckets),
            ],
        )


def add_journeys(connection: psycopg.Connection, dice: random.Random, count: int, as_of: datetime.datetime = AS_OF) -> None:
    """Ways through the onboarding flow that stop anywhere, entered up to 80 days ago."""
    steps = ["welcome", "account", "goal", "experience", "equipment", "schedule", "notifications", "plan_preview"]
    for number in range(count):
        entered = as_of - datetime.timedelta(days=dice.choice([1, 10, 13, 14, 15, 20, 41, 42, 43, 80]), hours=dice.randrange(24))
        for position, step in enumerate(steps[: dice.choice([1, 2, 4, 8, 8, 8, 8])]):
            connection.execute(
                "insert into app.onboarding_events (event_id, anonymous_id, step, event_type, occurred_at) values (%s, %s, %s, 'completed', %s)",
                [uuid.UUID(int=dice.getrandbits(128)), f"anonymous-{number}", step, entered + datetime.timedelta(minutes=position)],
            )


@pytest.fixture
def dice() -> random.Random:
    return random.Random(11)


@pytest.fixture(scope="module")
def populated(module_database: Database) -> Database:
    """Everything at once, built as of AS_OF."""
    from tests.dbt_project.support import run_dbt

    dice = random.Random(12)
    with module_database.connect() as connection:
        add_activity(connection, dice, 60)
        add_requests(connection, dice, 150)
        add_latencies(connection, dice, 120)
        add_journeys(connection, dice, 80)
    run_dbt(module_database, "build", "--indirect-selection", "cautious", "--select", *MARTS, as_of=AS_OF)
    return module_database
