"""What analysts get: a role that can only read, marts that explain themselves, questions with answers, clients that work."""

import datetime
import json
import random
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from database.bootstrap import ANALYST_CONNECTIONS, bootstrap
from database.connection import Role, connect, url_for
from database.migrate import migrate
from database.population import load_sample
from stack.embedded_postgres import EmbeddedPostgres, binaries
from tests.conftest import PASSWORDS, PROJECT, Database
from tests.dbt_project.analytics.conftest import add_latencies, add_requests
from tests.dbt_project.analytics.plans import Slot, add_plan
from tests.dbt_project.support import run_dbt

AS_OF = datetime.datetime(2026, 3, 4, 12, tzinfo=datetime.UTC)
FOR_THE_API_ALONE = {"user_payloads"}
GUIDE = (PROJECT / "docs/analysts.md").read_text()
QUESTIONS = re.findall(r"^### (.+?)\n.*?```sql\n(.+?);\n```", GUIDE, flags=re.MULTILINE | re.DOTALL)


def add_plans_of_what_they_do(connection: psycopg.Connection) -> None:
    """Two plans for each of forty users, twelve and six weeks ago, of the exercises that they do most."""
    users = connection.execute(
        "select user_key from app.workouts group by user_key having count(*) > 15 order by user_key limit 40"
    ).fetchall()
    for (user,) in users:
        exercises = connection.execute(
            "select exercise_key, max(weight_kg) from app.workout_sets join app.workouts using (workout_key) where user_key = %s"
            " group by 1 order by count(*) desc, 1 limit 4",
            [user],
        ).fetchall()
        slots: list[Slot] = [(exercise, 3, 5, 8, weight and 0.8 * weight) for exercise, weight in exercises]
        for weeks, factor in ((12, 1.0), (6, 1.05)):
            week = [(day, [(e, n, low, high, load and load * factor) for e, n, low, high, load in slots]) for day in (0, 2, 4)]
            add_plan(connection, user, AS_OF.date() - datetime.timedelta(weeks=weeks), week)


@pytest.fixture(scope="module")
def platform(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """A database as `mesocycle up` makes it, with sample users and every mart built."""
    admin_url = postgres.url("test-superuser")
    name = f"analysts_{uuid.uuid4().hex[:8]}"
    urls = bootstrap(admin_url, database=name, passwords=PASSWORDS)
    migrate(urls[Role.OWNER])
    load_sample(urls[Role.OWNER], until=AS_OF, users=300)
    dice = random.Random(1)
    database = Database(urls, url_for(admin_url, database=name))
    with database.connect() as connection:
        add_requests(connection, dice, 60, AS_OF)
        add_latencies(connection, dice, 60, AS_OF)
        add_plans_of_what_they_do(connection)
    run_dbt(database, "run-operation", "prepare_change_tables", as_of=AS_OF)
    run_dbt(database, "build")
    yield database
    with connect(admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def relations(database: Database) -> list[str]:
    with database.connect() as connection:
        rows = connection.execute(
            "select relname from pg_class where relnamespace = 'marts'::regnamespace and relkind in ('r', 'v', 'm', 'p') and relname !~ '__retired_' order by 1"
        ).fetchall()
    return [row[0] for row in rows]


def analyst(database: Database, *, writing: bool = False) -> psycopg.Connection:
    """A connection of the role; `writing` first takes off the setting that any session may take off."""
    connection = database.connect(Role.ANALYST)
    if writing:
        connection.execute("set default_transaction_read_only = off")
    return connection


# What it may


def test_it_reads_every_mart_but_the_payloads_by_its_own_search_path(platform: Database) -> None:
    with analyst(platform) as connection:
        for relation in set(relations(platform)) - FOR_THE_API_ALONE:
            connection.execute(sql.SQL("select * from {} limit 1").format(sql.Identifier(relation)))


def test_its_sessions_are_limited(platform: Database) -> None:
    with analyst(platform) as connection:
        settings = {
            name: connection.execute(sql.SQL("show {}").format(sql.Identifier(name))).fetchone()[0]  # type: ignore[index]
            for name in (
                "transaction_read_only",
                "statement_timeout",
                "work_mem",
                "temp_file_limit",
                "search_path",
                "idle_in_transaction_session_timeout",
            )
        }
    assert settings == {
        "transaction_read_only": "on",
        "statement_timeout": "5min",
        "work_mem": "64MB",
        "temp_file_limit": "2GB",
        "search_path": "marts",
        "idle_in_transaction_session_timeout": "15min",
    }


def test_it_keeps_reading_through_a_full_rebuild(platform: Database) -> None:
    run_dbt(platform, "build", "--full-refresh", "--select", "user_activity_days+")
    with analyst(platform) as connection:
        for relation in (
            "user_activity_days",
            "retention_cohorts",
            "feature_adoption",
            "kpi_daily",
            "readiness_scorecard",
            "readiness_history",
        ):
            assert connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(relation))).fetchone() != (0,)


# What it must not


@pytest.mark.parametrize("schema", ["app", "plans", "ops", "staging", "intermediate"])
def test_it_sees_nothing_outside_of_marts(platform: Database, schema: str) -> None:
    with platform.connect() as owner:
        rows = owner.execute(
            "select relname from pg_class where relnamespace = %s::regnamespace and relkind in ('r', 'v', 'm')", [schema]
        ).fetchall()
    assert rows
    with analyst(platform) as connection:
        for (relation,) in rows:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(sql.SQL("select 1 from {} limit 1").format(sql.Identifier(schema, relation)))


def test_it_does_not_read_what_the_api_serves_to_users_themselves(platform: Database) -> None:
    for _ in range(2):
        with analyst(platform) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("select payload from marts.user_payloads")
        run_dbt(platform, "build", "--full-refresh", "--select", "user_payloads")


def test_a_write_is_refused_by_the_read_only_transaction(platform: Database) -> None:
    with analyst(platform) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("delete from marts.user_days")


@pytest.mark.parametrize(
    "statement",
    [
        "delete from marts.user_days",
        "update marts.user_activity_days set workouts = 100",
        "insert into marts.user_days select * from marts.user_days",
        "truncate marts.user_days",
        "drop table marts.user_days",
        "alter table marts.user_days add column mine int",
        "create table marts.mine (a int)",
        "create table public.mine (a int)",
        "create temporary table mine (a int)",
        "create view marts.mine as select 1",
        "create function marts.mine() returns int language sql return 1",
        "create schema mine",
        "create role mine",
        "create extension dblink",
        "refresh materialized view marts.user_summary",
        "begin; lock table marts.user_days in exclusive mode",
        "comment on table marts.user_days is 'mine'",
        "set role mesocycle_owner",
        "set session authorization mesocycle_owner",
        "set temp_file_limit = -1",
        "alter role mesocycle_owner password 'mine'",
        "alter role mesocycle_analyst connection limit -1",
        "alter database postgres set work_mem = '1GB'",
        "copy (select 1) to program 'cat'",
        "copy (select 1) to '/tmp/mine'",
        "select pg_read_file('postgresql.conf')",
        "select lo_create(0)",
        "select lo_from_bytea(0, 'x')",
        "select pg_advisory_lock(hashtext('mesocycle.build'))",
        "select pg_try_advisory_xact_lock(1)",
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'mesocycle_owner'",
        "select ops.record_api_latency(gen_random_uuid(), 1, '[]')",
        "select app.request_plan('test_user', gen_random_uuid(), null, 'me', null, null)",
        "do $$ begin execute 'delete from marts.user_days'; end $$",
    ],
)
def test_no_statement_writes_or_blocks_even_after_read_only_is_taken_off(platform: Database, statement: str) -> None:
    with platform.connect() as owner, analyst(platform, writing=True) as connection:
        assert owner.execute("select count(*) from pg_stat_activity where usename = 'mesocycle_owner'").fetchone() != (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)  # type: ignore[arg-type]


def test_there_are_only_so_many_connections(platform: Database) -> None:
    held = []
    try:
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            for _ in range(ANALYST_CONNECTIONS + 1):
                held.append(platform.connect(Role.ANALYST))
    finally:
        for connection in held:
            connection.close()
    assert len(held) <= ANALYST_CONNECTIONS


def test_a_view_that_appears_tomorrow_is_readable_and_a_table_of_another_schema_is_not(platform: Database) -> None:
    with platform.connect() as owner:
        owner.execute("create view marts.tomorrow as select 1 as one; create table staging.tomorrow (one int)")
    try:
        with analyst(platform) as connection:
            assert connection.execute("select one from tomorrow").fetchone() == (1,)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("select one from staging.tomorrow")
    finally:
        with platform.connect() as owner:
            owner.execute("drop view marts.tomorrow; drop table staging.tomorrow")


# Nothing about persons


def test_no_mart_holds_an_id_of_the_app_or_what_a_user_typed(platform: Database) -> None:
    with platform.connect() as owner:
        texts = [row[0] for row in owner.execute("select user_id from app.users").fetchall()]
        texts += [
            row[0]
            for row in owner.execute("select distinct anonymous_id from app.onboarding_events where anonymous_id is not null").fetchall()
        ]
        customs = owner.execute(
            "select distinct name from app.exercises where user_key is not null union select distinct exercise_id from app.exercises where user_key is not null"
        ).fetchall()
        assert customs
        texts += [row[0] for row in customs]
        columns = owner.execute(
            """
            select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
            where c.relnamespace = 'marts'::regnamespace and c.relkind in ('r', 'v', 'm') and a.attnum > 0 and not a.attisdropped
              and a.atttypid in ('text'::regtype, 'varchar'::regtype, 'uuid'::regtype, 'json'::regtype, 'jsonb'::regtype, 'text[]'::regtype)
            """
        ).fetchall()
        found = [
            (relation, column)
            for relation, column in columns
            if relation not in FOR_THE_API_ALONE
            and owner.execute(
                sql.SQL("select 1 from {} where {}::text = any(%s) limit 1").format(
                    sql.Identifier("marts", relation), sql.Identifier(column)
                ),
                [texts],
            ).fetchone()
        ]
    assert len(columns) > 30
    assert found == []


def test_no_mart_has_a_column_for_it(platform: Database) -> None:
    forbidden = {
        "user_id",
        "anonymous_id",
        "email",
        "name",
        "notes",
        "birth_year",
        "body_weight_kg",
        "time_zone",
        "session_id",
        "failure_message",
        "limitations",
    }
    with platform.connect() as owner:
        rows = owner.execute(
            "select table_name, column_name from information_schema.columns where table_schema = 'marts' and column_name = any(%s)",
            [list(forbidden)],
        ).fetchall()
    assert rows == []


def test_a_year_of_birth_is_only_known_as_a_decade(platform: Database) -> None:
    with analyst(platform) as connection:
        bands = {row[0] for row in connection.execute("select distinct birth_years from users where birth_years is not null").fetchall()}
    assert bands
    assert all(re.fullmatch(r"(19\d0-19\d9|before 1950|2000 and later)", band) for band in bands)


# Documentation where they are


def test_every_relation_column_and_function_of_the_marts_has_a_comment(platform: Database) -> None:
    with analyst(platform) as connection:
        silent = connection.execute(
            """
            select c.relname, coalesce(a.attname, '') from pg_class c
            join lateral (select attname, attnum from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped union all select null, 0) a on true
            where c.relnamespace = 'marts'::regnamespace and c.relkind in ('r', 'v', 'm', 'p') and c.relname !~ '__retired_'
              and coalesce(col_description(c.oid, nullif(a.attnum, 0)), case when a.attnum = 0 then obj_description(c.oid, 'pg_class') end, '') = ''
            union all
            select proname, '()' from pg_proc where pronamespace = 'marts'::regnamespace and coalesce(obj_description(oid, 'pg_proc'), '') = ''
            """
        ).fetchall()
    assert silent == []


def test_the_guide_names_every_mart(platform: Database) -> None:
    assert [relation for relation in relations(platform) if relation not in FOR_THE_API_ALONE and f"`{relation}`" not in GUIDE] == []


def test_there_are_a_dozen_questions() -> None:
    assert len(QUESTIONS) >= 12
    assert len(QUESTIONS) == GUIDE.count("```sql")
    assert all(question.endswith("?") for question, _ in QUESTIONS)


@pytest.mark.parametrize(("question", "query"), QUESTIONS, ids=[question for question, _ in QUESTIONS])
def test_a_question_gets_an_answer(platform: Database, question: str, query: str) -> None:
    with analyst(platform) as connection:
        rows = connection.execute(query).fetchall()  # type: ignore[arg-type]
    assert rows
    assert any(cell is not None for row in rows for cell in row[1:])


def test_first_weeks_are_counted_as_a_plain_loop_counts_them(platform: Database) -> None:
    query = dict(QUESTIONS)["Do people who train more in their first week stay longer?"]
    with analyst(platform) as connection:
        found = {days: (users, float(share)) for days, users, share in connection.execute(query).fetchall()}  # type: ignore[arg-type]
        people = connection.execute("select user_key, signed_up_on from users").fetchall()
        trained: dict[int, list[datetime.date]] = {}
        for user, day in connection.execute("select user_key, local_date from user_activity_days where workouts > 0").fetchall():
            trained.setdefault(user, []).append(day)
    counts: dict[int, list[int]] = {}
    for user, first in people:
        ages = [(day - first).days for day in trained.get(user, [])]
        if (AS_OF.date() - first).days >= 56:
            row = counts.setdefault(min(4, sum(0 <= age < 7 for age in ages)), [0, 0])
            row[0] += 1
            row[1] += any(28 <= age <= 55 for age in ages)
    assert found == {days: (users, pytest.approx(100 * stayed / users, abs=0.051)) for days, (users, stayed) in counts.items()}


def test_the_documentation_site_shows_lineage_to_the_api(platform: Database, tmp_path: Path) -> None:
    run_dbt(platform, "docs", "generate", "--static", "--target-path", str(tmp_path))
    page = (tmp_path / "static_index.html").read_text()
    assert "exposure.mesocycle.api_readiness" in page
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    parents = manifest["parent_map"]

    def ancestors(node: str) -> set[str]:
        return {node}.union(*(ancestors(parent) for parent in parents.get(node, [])))

    assert "source.mesocycle.app.usage_events" in ancestors("exposure.mesocycle.api_readiness")
    assert "source.mesocycle.app.workout_sets" in ancestors("exposure.mesocycle.api_summary")


# Real clients


def test_psql_tells_what_a_column_means(platform: Database) -> None:
    result = subprocess.run(
        [binaries() / "psql", platform.urls[Role.ANALYST], "-X", "-c", r"\d+ retention_cohorts"], capture_output=True, text=True, check=True
    )
    assert "Observed users with a workout in the week." in result.stdout


def test_pandas_reads_a_mart_through_sqlalchemy(platform: Database) -> None:
    import pandas as pd
    from sqlalchemy import create_engine

    engine = create_engine(platform.urls[Role.ANALYST].replace("postgresql://", "postgresql+psycopg://"))
    frame = pd.read_sql("select * from retention_cohorts order by cohort_week_on, week_number", engine)
    engine.dispose()
    assert len(frame) > 50
    assert frame["trained_share"].between(0, 1).all()


def test_adbc_reads_every_mart_into_arrow(platform: Database) -> None:
    import adbc_driver_postgresql.dbapi as adbc

    with adbc.connect(platform.urls[Role.ANALYST]) as connection, connection.cursor() as cursor:
        for relation in set(relations(platform)) - FOR_THE_API_ALONE:
            cursor.execute(f'select * from "{relation}"')
            table = cursor.fetch_arrow_table()
            assert table.num_columns > 0
            assert not [field.name for field in table.schema if "opaque" in str(field.type) and "json" not in str(field.type)]


def test_duckdb_reads_a_mart_with_its_postgres_extension(platform: Database) -> None:
    import duckdb

    connection = duckdb.connect()
    try:
        connection.execute("load postgres")
    except duckdb.Error:
        pytest.skip("DuckDB's postgres extension is not installed on this machine, and tests download nothing")
    connection.execute(f"attach '{platform.urls[Role.ANALYST]}' as marts (type postgres, schema 'marts', read_only)")
    row = connection.execute("select count(*) from marts.retention_cohorts").fetchone()
    assert row is not None
    assert row[0] > 50


# The check in Dagster


def test_the_check_turns_red_only_when_a_promise_that_was_kept_is_broken(platform: Database) -> None:
    from orchestration.defs.analytics.scorecard import no_met_criterion_is_lost
    from orchestration.resources import Warehouse

    warehouse = Warehouse(owner_url=platform.urls[Role.OWNER], pipeline_url=platform.urls[Role.PIPELINE])
    with platform.connect() as owner:
        rows = owner.execute(
            "select criterion from marts.readiness_scorecard where not is_met and last_met_on >= %s",
            [AS_OF.date() - datetime.timedelta(days=28)],
        ).fetchall()
    result = no_met_criterion_is_lost(warehouse)
    assert result.passed == (not rows)
    assert result.metadata["lost"].value == [row[0] for row in rows]
    # Nobody opens or trains any more: what was met is lost, and after four weeks it's no news.
    run_dbt(
        platform,
        "build",
        "--indirect-selection",
        "cautious",
        "--select",
        "changes",
        "user_activity_days+",
        as_of=AS_OF + datetime.timedelta(days=10),
    )
    lost = no_met_criterion_is_lost(warehouse)
    assert not lost.passed
    assert "active_users" in lost.metadata["lost"].value
    run_dbt(
        platform,
        "build",
        "--indirect-selection",
        "cautious",
        "--select",
        "changes",
        "user_activity_days+",
        as_of=AS_OF + datetime.timedelta(days=60),
    )
    assert "active_users" not in no_met_criterion_is_lost(warehouse).metadata["lost"].value
