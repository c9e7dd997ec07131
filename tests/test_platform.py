"""From a real export through Dagster to HTTP: what the API answers is what a plain count of the file says."""

import csv
import os
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from fastapi.testclient import TestClient

from database.catalogue import publish_catalogue
from database.connection import Role
from database.imports import import_log
from domain.exercises.matching import match
from domain.workout_logs import read_log
from tests.conftest import PROJECT, Database

AS_OF = datetime(2025, 7, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def export(request: pytest.FixtureRequest) -> Path:
    """A real Hevy export where the shared test data is there, else the project's own example."""
    real = PROJECT.parent / "shared" / "lifting-logs" / "hevy_h1.csv"
    return real if real.exists() else PROJECT / "examples" / "hevy.csv"


@pytest.fixture(scope="module")
def run(module_database: Database, export: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.ExecuteInProcessResult]:
    """Everything materialised through Dagster, as of a fixed instant, after importing `export` for two users."""
    database = module_database
    with database.connect(autocommit=False) as connection:
        publish_catalogue(connection)
        for user in ("me", "other"):
            import_log(connection, user, read_log(export.read_bytes(), file_name=export.name), timezone="UTC", file_name=export.name)
        connection.execute("insert into app.users (user_id) values ('newcomer')")
    environment = {
        "MESOCYCLE_OWNER_URL": database.urls[Role.OWNER],
        "MESOCYCLE_PIPELINE_URL": database.urls[Role.PIPELINE],
        "MESOCYCLE_DBT_TARGET": str(tmp_path_factory.mktemp("dbt")),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        from orchestration.definitions import defs
        from orchestration.jobs import REFRESH_JOB
        from orchestration.run import AS_OF_TAG

        with dg.DagsterInstance.ephemeral() as instance:
            job = defs().resolve_job_def(REFRESH_JOB)
            yield job.execute_in_process(instance=instance, tags={AS_OF_TAG: AS_OF.isoformat()})
    assert os.environ.get("MESOCYCLE_OWNER_URL") is None


@pytest.fixture(scope="module")
def client(run: dg.ExecuteInProcessResult, module_database: Database) -> Iterator[tuple[TestClient, str]]:
    from api.app import create_app
    from api.settings import Settings
    from api.tokens import generate_key_pair, issue_token

    private_key, key_set = generate_key_pair()
    settings = Settings(database_url=module_database.urls[Role.API], jwks=key_set)
    with TestClient(create_app(settings)) as client:
        yield client, issue_token(private_key, "me", ["user"])


def get(client: tuple[TestClient, str], path: str, status: int = 200) -> dict:
    response = client[0].get(path, headers={"Authorization": f"Bearer {client[1]}"})
    assert response.status_code == status, response.text
    return response.json()


def working_sets(export: Path) -> list[dict[str, str]]:
    with export.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["set_type"] != "warmup" and (row["reps"] or row["duration_seconds"])]


def local_date(row: dict[str, str]) -> datetime:
    return datetime.strptime(row["start_time"], "%d %b %Y, %H:%M")


def test_the_run_succeeds_and_materialises_every_mart(run: dg.ExecuteInProcessResult) -> None:
    assert run.success
    materialized = {event.asset_key.to_user_string() for event in run.get_asset_materialization_events() if event.asset_key}
    assert {"marts/user_summary", "marts/personal_records", "marts/onboarding_funnel"} <= materialized


@pytest.mark.parametrize("days", [7, 30, 90, 365, None])
def test_the_summary_is_what_a_plain_count_of_the_file_says(client: tuple[TestClient, str], export: Path, days: int | None) -> None:
    body = get(client, f"/api/v1/summary/me?range={f'{days}d' if days else 'all'}")
    first = AS_OF.replace(tzinfo=None).date() - timedelta(days=days - 1) if days else datetime.min.date()
    rows = [row for row in working_sets(export) if first <= local_date(row).date() <= AS_OF.date()]
    assert body["sets"] == len(rows)
    assert body["workouts"] == len({row["start_time"] for row in rows})
    assert body["activeDays"] == len({local_date(row).date() for row in rows})
    assert body["reps"] == sum(int(row["reps"] or 0) for row in rows)
    assert body["volumeKg"] == pytest.approx(sum(float(row["weight_kg"] or 0) * int(row["reps"] or 0) for row in rows), abs=1e-3)
    assert body["asOf"].startswith("2025-07-01T12:00:00")


def test_the_heaviest_sets_are_the_weight_records(client: tuple[TestClient, str], export: Path) -> None:
    heaviest: dict[str | int, float] = defaultdict(float)
    for row in working_sets(export):
        if local_date(row) <= AS_OF.replace(tzinfo=None) and row["weight_kg"] and int(row["reps"] or 0) > 0:
            name = row["exercise_title"]
            exercise = match(name) or name  # two names of one exercise share a record
            if "assisted" not in name.lower():
                heaviest[exercise] = max(heaviest[exercise], float(row["weight_kg"]))
    records = get(client, "/api/v1/records/me")["records"]
    found = sorted(record["value"] for record in records if record["recordType"] == "weight")
    expected = sorted(value for value in heaviest.values() if value > 0)
    assert found == pytest.approx(expected)


def test_a_plan_with_reasons_is_served(client: tuple[TestClient, str]) -> None:
    plan = get(client, "/api/v1/plans/me")
    assert len(plan["weeks"]) == 4
    exercises = [exercise for week in plan["weeks"] for session in week["sessions"] for exercise in session["exercises"]]
    assert exercises
    assert all(exercise["reason"]["code"] and exercise["reason"]["sentence"] for exercise in exercises)


def test_another_users_data_stays_closed(client: tuple[TestClient, str]) -> None:
    assert get(client, "/api/v1/summary/other", status=403)["type"]


def test_the_service_says_that_it_is_ready_and_how_old_its_marts_are(client: tuple[TestClient, str]) -> None:
    response = client[0].get("/readyz")
    assert response.status_code == 200
    assert "2025-07-01" in response.text
