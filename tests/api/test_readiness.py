"""The scorecard over HTTP and in the terminal: who may read it, and that both tell what the mart holds."""

import asyncio
import json

import pytest
from rich.console import Console

from database.connection import Role
from database.readiness import COLUMNS, READ
from stack.commands import readiness
from tests.api.conftest import AS_OF, Keys, serving, settings_for
from tests.conftest import Database
from tests.dbt_project.support import run_dbt

PATH = "/api/v1/readiness"


def get(database: Database, keys: Keys, headers: dict[str, str]):
    async def run():
        async with serving(settings_for(database, keys)) as client:
            return await client.get(PATH, headers=headers)

    return asyncio.run(run())


@pytest.fixture
def scored(built: Database) -> Database:
    run_dbt(built, "build", "--indirect-selection", "cautious", "--select", "+readiness_scorecard", as_of=AS_OF)
    return built


def test_nobody_without_a_token_reads_it(built: Database, keys: Keys) -> None:
    assert get(built, keys, {}).status_code == 401


def test_a_user_may_not_read_it(built: Database, keys: Keys) -> None:
    assert get(built, keys, keys.header("lifter", "user")).status_code == 403


def test_before_the_first_build_it_says_so(database: Database, keys: Keys) -> None:
    response = get(database, keys, keys.header("anna", "analyst"))
    assert response.status_code == 503
    assert response.json()["type"] == "urn:mesocycle:problem:not-built-yet"


def test_it_is_the_row_of_the_mart_for_analysts_services_and_the_terminal(scored: Database, keys: Keys) -> None:
    bodies = [get(scored, keys, keys.header("anna", scope)).json() for scope in ("analyst", "service")]
    with scored.connect(Role.ANALYST) as connection:
        text = connection.execute(READ).fetchone()[0]  # type: ignore[index]
        columns = ", ".join(COLUMNS)
        rows = connection.execute(f"select {columns} from marts.readiness_scorecard order by position").fetchall()
    assert bodies[0] == bodies[1] == json.loads(text)
    body = bodies[0]
    assert body["asOf"].startswith("2025-07-01T12:00:00")
    assert [list(criterion.values()) for criterion in body["criteria"]] == json.loads(json.dumps(rows, default=str))
    assert len(body["criteria"]) == 8
    assert body["isReady"] == all(criterion["isMet"] for criterion in body["criteria"])
    assert body["missing"] == [criterion["criterion"] for criterion in body["criteria"] if not criterion["isMet"]]


def test_the_terminal_shows_every_criterion_with_target_value_and_verdict(scored: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with scored.connect(Role.ANALYST) as connection:
        scorecard = json.loads(connection.execute(READ).fetchone()[0])  # type: ignore[index]
    console = Console(width=160, record=True, file=None, quiet=False)
    monkeypatch.setattr(readiness, "console", console)
    readiness.show(scorecard, evidence=True)
    text = console.export_text()
    for criterion in scorecard["criteria"]:
        assert criterion["label"] in text
        assert readiness.shown(criterion["target"], criterion["unit"]) in text
        assert criterion["evidence"][:40] in text
    assert "Not ready" in text


@pytest.mark.parametrize(
    ("value", "unit", "signed", "text"),
    [
        (0.85, "share", False, "85.0 %"),
        (-0.021, "share", True, "-2.1 %"),
        (3.25, "ms", False, "3.2 ms"),
        (2000.0, "ms", False, "2,000 ms"),
        (12.0, "users", True, "+12"),
        (None, "ms", False, "–"),
    ],
)
def test_values_are_written_with_their_unit(value: float | None, unit: str, signed: bool, text: str) -> None:
    assert readiness.shown(value, unit, signed=signed) == text
