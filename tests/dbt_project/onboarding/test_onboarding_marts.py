"""Onboarding's marts against a plain oracle: after a full build, and after every kind of change that an increment may bring."""

import csv
import random
import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from domain.vocabulary import OnboardingStep
from orchestration.dbt import DBT_PROJECT
from stack.commands.read import FUNNEL_SQL
from tests.conftest import Database
from tests.dbt_project.onboarding import journey_oracle as oracle
from tests.dbt_project.support import run_dbt, statuses

MODELS = ["build", "--select", "+onboarding_funnel", "+onboarding_errors", "+onboarding_dropouts", "+user_days", "+user_zones"]
"""The capture of changes begins anew where the summaries' tables are missing, so they're built, too (from no workouts)."""
UNTESTED = [*MODELS, "--exclude-resource-type", "test", "--exclude-resource-type", "unit_test"]
"""dbt's tests take longer than the build and prove less than the oracle: after a full build and after the last increment is enough."""
AS_OF = datetime(2024, 3, 20, 12, tzinfo=UTC)
FLOWS_FILE = DBT_PROJECT / "seeds" / "onboarding_flows.csv"


def flows() -> list[oracle.Flow]:
    steps: dict[tuple[str, int], list[tuple[str, bool]]] = {}
    windows = {}
    with FLOWS_FILE.open() as file:
        for row in csv.DictReader(file):
            key = (row["flow"], int(row["flow_version"]))
            steps.setdefault(key, []).append((row["step"], row["is_required"] == "true"))
            windows[key] = int(row["window_seconds"])
    return [oracle.Flow(name, version, tuple(steps[name, version]), windows[name, version]) for name, version in steps]


class People:
    """Writes random traces into app.*: mostly in order, with repeats, ties, skips, errors, detours and visits after the window."""

    def __init__(self, connection: psycopg.Connection, seed: int) -> None:
        self.connection = connection
        self.chance = random.Random(seed)
        self.flows = flows()
        self.users = 0

    def add_users(self, count: int) -> list[int]:
        rows = [(f"user-{self.users + index}",) for index in range(count)]
        self.users += count
        with self.connection.cursor() as cursor:
            cursor.executemany("insert into app.users (user_id) values (%s) returning user_key", rows, returning=True)
            keys = []
            while True:
                keys.append(cursor.fetchone()[0])  # type: ignore[index]
                if not cursor.nextset():
                    return keys

    def event(self, flow: oracle.Flow, step: str, kind: str, at: datetime, user: int | None, anonymous: str | None) -> tuple[Any, ...]:
        chance = self.chance
        trace = f"00-{chance.getrandbits(128):032x}-{chance.getrandbits(64):016x}-01" if chance.random() < 0.7 else None
        code = chance.choice(["network", "timeout", "validation", None]) if kind == "error" else None
        return (
            str(uuid.UUID(int=chance.getrandbits(128), version=4)), user, anonymous, flow.name, flow.version, step, kind, at,
            code, chance.choice(["ios", "android", None]), chance.choice(["1.0", "1.1"]), chance.choice(["ads", "friend", None, ""]), trace,
        )  # fmt: skip

    def walk(self, flow: oracle.Flow, start: datetime, user: int | None, anonymous: str | None) -> list[tuple[Any, ...]]:
        chance, events, at = self.chance, [], start
        persistence = chance.choice([0.5, 0.85, 0.99])
        for step, is_required in flow.steps:
            kinds = ["started"] * chance.choice([0, 1, 1, 1, 2])
            kinds += ["error"] * chance.choice([0, 0, 0, 1, 2])
            if chance.random() < persistence:
                kinds.append("completed" if is_required or chance.random() < 0.5 else "skipped")
            elif chance.random() < 0.5:
                kinds.append("skipped")
            for kind in kinds:
                at += timedelta(seconds=chance.choice([0, 0, 1, 5.5, 60, 3600, 86400, 400000]) * chance.choice([0, 1, 1]))
                events.append(self.event(flow, step, kind, at, user, anonymous))
            if chance.random() > persistence:
                break
        for _ in range(chance.choice([0, 0, 0, 2, 5])):  # out of order, before entry or long after
            at = start + timedelta(seconds=chance.choice([-86400, -5, 0, 30, 86400, flow.window_seconds, flow.window_seconds + 1, 2000000]))
            events.append(
                self.event(flow, chance.choice(flow.steps)[0], chance.choice(["started", "completed", "error"]), at, user, anonymous)
            )
        return events

    def write(self, events: list[tuple[Any, ...]]) -> None:
        self.chance.shuffle(events)
        with self.connection.cursor() as cursor:
            cursor.executemany(
                "insert into app.onboarding_events (event_id, user_key, anonymous_id, flow, flow_version, step, event_type, occurred_at, "
                "error_code, platform, app_version, acquisition_channel, traceparent) "
                "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                events,
            )

    def live(self, users: list[int], anonymous: list[str], since: datetime, days: int) -> None:
        events = []
        for user, name in [(user, None) for user in users] + [(None, name) for name in anonymous]:
            for flow in self.flows:
                if self.chance.random() < 0.8:
                    start = since + timedelta(seconds=self.chance.randint(0, days * 86400))
                    events += self.walk(flow, start, user, name)
        self.write(events)


def recorded_events(connection: psycopg.Connection) -> list[oracle.TraceEvent]:
    links = dict(connection.execute("select anonymous_id, user_key from app.identity_links").fetchall())
    rows = connection.execute(
        "select user_key, anonymous_id, app.anonymous_key(anonymous_id), flow, flow_version, step, event_type, occurred_at, event_id::text, "
        "error_code, platform, app_version, acquisition_channel, traceparent from app.onboarding_events"
    ).fetchall()
    found = []
    for user, anonymous, key, *rest, traceparent in rows:
        person = user if user is not None else links.get(anonymous, key)
        found.append(oracle.TraceEvent(person, *rest, trace_id=traceparent.split("-")[1] if traceparent else None))
    return found


def rows_of(connection: psycopg.Connection, relation: str) -> dict[tuple[Any, ...], dict[str, Any]]:
    cursor = connection.execute(f"select * from marts.{relation}")  # type: ignore[arg-type]
    names = [column.name for column in cursor.description or ()]
    key_names = {
        "onboarding_journeys": ["person_key", "flow", "flow_version"],
        "onboarding_steps": ["person_key", "flow", "flow_version", "position"],
        "onboarding_funnel": ["flow", "flow_version", "grain", "cohort_on", "segment_by", "segment", "position"],
        "onboarding_errors": ["flow", "flow_version", "grain", "cohort_on", "segment_by", "segment", "position", "error_code"],
    }[relation]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {tuple(row[name] for name in key_names): row for row in rows}


def assert_equals_oracle(connection: psycopg.Connection, as_of: datetime) -> list[oracle.Journey]:
    found = oracle.journeys(flows(), recorded_events(connection), as_of)
    expected = {
        "onboarding_journeys": oracle.journey_rows(found),
        "onboarding_steps": oracle.step_rows(found),
        "onboarding_errors": oracle.error_rows(found),
        "onboarding_funnel": oracle.funnel_rows(found),
    }
    for relation, wanted in expected.items():
        actual = rows_of(connection, relation)
        assert actual.keys() == wanted.keys(), relation
        for key, row in wanted.items():
            for name, value in row.items():
                got = actual[key][name]
                same = got == pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else got == value
                assert same, (relation, key, name, got, value)
    dropped = {key for key, row in expected["onboarding_journeys"].items() if row["status"] == "dropped"}
    listed = connection.execute(
        "select person_key, flow, flow_version, hours_since, last_event_at from marts.onboarding_dropouts"
    ).fetchall()
    assert {row[:3] for row in listed} == dropped
    assert all(row[3] == pytest.approx((as_of - row[4]).total_seconds() / 3600) for row in listed)
    return found


@pytest.fixture(scope="module")
def connection(module_database: Database) -> Iterator[psycopg.Connection]:
    with module_database.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def people(connection: psycopg.Connection) -> People:
    return People(connection, seed=5)


def rebuilds(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    return connection.execute("select model, rebuilt_at from staging.model_state where model like 'onboarding%' order by 1").fetchall()


@pytest.mark.timeout(900)  # seven builds, on a busy machine
def test_a_full_build_and_every_increment_equal_the_oracle(
    module_database: Database, connection: psycopg.Connection, people: People
) -> None:
    users = people.add_users(80)
    people.live(users, [f"device-{index}" for index in range(40)], AS_OF - timedelta(days=45), days=44)
    run_dbt(module_database, *MODELS, as_of=AS_OF)
    found = assert_equals_oracle(connection, AS_OF)
    assert {each.status for each in found} == {"completed", "dropped", "in_progress"}
    assert {step.outcome for each in found for step in each.steps} == {"completed", "skipped", "in_progress", "blocked", "abandoned"}
    built = rebuilds(connection)

    # New people, and late events of old ones.
    people.live(people.add_users(10), ["device-new"], AS_OF - timedelta(days=3), days=2)
    people.live(users[:15], ["device-1", "device-2"], AS_OF - timedelta(days=40), days=30)
    run_dbt(module_database, *UNTESTED)
    assert_equals_oracle(connection, AS_OF)
    scope = connection.execute("select is_all, batch = (select batch from staging.change_cursor) from staging.onboarding_trace_scope")
    assert scope.fetchall() == [(False, True)], "an increment sorted everybody's events"

    # Anonymous people turn out to be users: with journeys of their own, and without.
    late = people.add_users(1)
    connection.execute(
        "insert into app.identity_links (anonymous_id, user_key) values ('device-3', %s), ('device-4', %s), ('device-5', %s)",
        [users[0], users[0], late[0]],
    )
    run_dbt(module_database, *UNTESTED)
    assert_equals_oracle(connection, AS_OF)

    # Time passes without an event: windows close, and events that lay ahead come.
    later = AS_OF + timedelta(days=9)
    before = {key: row["status"] for key, row in rows_of(connection, "onboarding_journeys").items()}
    run_dbt(module_database, *UNTESTED, as_of=later)
    assert_equals_oracle(connection, later)
    after = {key: row["status"] for key, row in rows_of(connection, "onboarding_journeys").items()}
    assert any(before[key] == "in_progress" and after[key] == "dropped" for key in before)

    # Events and people are removed or corrected.
    connection.execute("delete from app.users where user_key = any(%s)", [users[1:4]])
    connection.execute("delete from app.onboarding_events where user_key = any(%s) and step = 'welcome'", [users[4:8]])
    connection.execute(
        "update app.onboarding_events set occurred_at = occurred_at + interval '3 days' where user_key = any(%s) and step = 'goal'",
        [users[8:14]],
    )
    connection.execute("delete from app.identity_links where anonymous_id = 'device-3'")
    run_dbt(module_database, *UNTESTED)
    assert_equals_oracle(connection, later)

    # History is replayed.
    run_dbt(module_database, *UNTESTED, as_of=AS_OF - timedelta(days=20))
    assert_equals_oracle(connection, AS_OF - timedelta(days=20))
    run_dbt(module_database, *MODELS, as_of=later)
    assert_equals_oracle(connection, later)
    assert rebuilds(connection) == built, "an increment rebuilt everything"


def test_following_every_chain_event_by_event_gives_the_same(module_database: Database, connection: psycopg.Connection) -> None:
    quick = rows_of(connection, "onboarding_steps")
    run_dbt(module_database, *UNTESTED, "--full-refresh", "--vars", "{follow_every_chain: true}")
    assert rows_of(connection, "onboarding_steps") == quick


def test_an_unchanged_source_writes_nothing(module_database: Database, connection: psycopg.Connection) -> None:
    def versions() -> list[tuple[Any, ...]]:
        return connection.execute(
            "select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_all_tables "
            "where schemaname in ('marts', 'intermediate') and relname <> 'onboarding_trace'"  # which every build makes anew
        ).fetchall()

    before = versions()
    run_dbt(module_database, *UNTESTED)
    connection.execute("select pg_stat_clear_snapshot()")
    assert versions() == before


def test_segments_sum_to_all_and_steps_of_the_flow_match_the_vocabulary(connection: psycopg.Connection) -> None:
    wrong = connection.execute(
        """
        select flow, grain, cohort_on, position, segment_by from marts.onboarding_funnel
        group by flow, flow_version, grain, cohort_on, position, segment_by
        having array[sum(entered), sum(reached), sum(completed), sum(dropped), sum(in_progress)] is distinct from (
            select array[entered, reached, completed, dropped, in_progress]::numeric[] from marts.onboarding_funnel as whole
            where whole.segment_by = '(all)' and whole.flow = onboarding_funnel.flow and whole.flow_version = onboarding_funnel.flow_version
                and whole.grain = onboarding_funnel.grain and whole.cohort_on = onboarding_funnel.cohort_on
                and whole.position = onboarding_funnel.position
        )
        """
    ).fetchall()
    assert wrong == []
    onboarding = next(flow for flow in flows() if flow.name == "onboarding")
    assert [step for step, _ in onboarding.steps] == list(OnboardingStep)


@pytest.mark.parametrize("segment_by", ["(all)", "platform", "acquisition_channel"])
def test_the_terminals_funnel_shows_the_marts_numbers(connection: psycopg.Connection, segment_by: str) -> None:
    day = connection.execute(
        "select cohort_on from marts.onboarding_funnel where flow = 'onboarding' and grain = 'day' and segment_by = '(all)' and position = 1 "
        "order by completed desc, cohort_on limit 1"
    ).fetchone()
    assert day
    parameters = {"flow": "onboarding", "segment_by": segment_by, "first": day[0], "last": day[0]}
    mart = connection.execute(
        "select segment, position, step, is_required, entered, reached, completed, dropped, in_progress, users_with_errors, median_seconds "
        "from marts.onboarding_funnel where flow = 'onboarding' and grain = 'day' and cohort_on = %s and segment_by = %s order by 1, 2",
        [day[0], segment_by],
    ).fetchall()
    assert connection.execute(FUNNEL_SQL, parameters).fetchall() == mart
    assert any(row[-1] is not None for row in mart)


def test_another_flow_is_a_row_of_data_and_rebuilds_the_journeys(
    module_database: Database, connection: psycopg.Connection, tmp_path: Path
) -> None:
    """A changed seed: welcome and account only. The project's copy is changed, not the project."""
    project = tmp_path / "project"
    shutil.copytree(DBT_PROJECT, project, ignore=shutil.ignore_patterns("target", "logs"))
    (project / "seeds" / "onboarding_flows.csv").write_text(
        "flow,flow_version,position,step,is_required,window_seconds\nonboarding,1,1,welcome,true,1209600\nonboarding,1,2,account,true,1209600\n"
    )
    built = rebuilds(connection)
    run_dbt(module_database, *UNTESTED, project=project)
    assert {key[1] for key in rows_of(connection, "onboarding_journeys")} == {"onboarding"}
    assert {key[-1] for key in rows_of(connection, "onboarding_funnel")} == {1, 2}
    changed = rebuilds(connection)
    assert all(old != new for old, new in zip(built, changed, strict=True))
    results = statuses(run_dbt(module_database, *UNTESTED, project=project))
    assert rebuilds(connection) == changed, "the same flow read again rebuilt everything"
    assert results["onboarding_funnel"] == "success"
