"""Marts as files: the same rows as in Postgres, whole or not at all, in little memory however large."""

import csv
import datetime
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from database.connection import Role
from stack.exports import ExportFormat, UnknownMart, export, find_mart
from tests.conftest import PROJECT, Database

MEASURED_EXPORT = """
import re, sys
from pathlib import Path
import stack.cli  # as the command does: what it imports counts, too
from database.connection import connect
from stack.exports import ExportFormat, export, find_mart
url, name, form, target = sys.argv[1:]
with connect(url) as connection:
    mart = find_mart(connection, name)
    print(export(url, connection, mart, Path(target), ExportFormat(form), lambda rows: None))
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""
"""Peak memory from /proc: getrusage would tell the peak of the test's own process, which a child takes over."""


@pytest.fixture(scope="module")
def marts(module_database: Database) -> Database:
    """A small mart with every type that marts have, and a large one (about 270 MB as text)."""
    with module_database.connect() as owner:
        owner.execute(
            """
            create table marts.odd as select
              n::bigint as user_key, n::smallint as small, n / 7.0::double precision as ratio, n::numeric / 3 as exact, n % 2 = 0 as is_even,
              date '2024-02-28' + n as day_on, timestamptz '2024-03-31 00:30Z' + n * interval '1 hour' as at,
              case when n % 3 = 0 then null else E'a "quoted", text\\nof two lines, Übung ' || n end as words,
              jsonb_build_object('chest', n) as sets_by_muscle, array[n, n + 1]::bigint[] as buckets
            from generate_series(1, 500) as n
            """
        )
        owner.execute(
            "create table marts.large as select n as user_key, n * 1.5::float8 as value, md5(n::text) || md5((n + 1)::text) as words, now() as at"
            " from generate_series(1, 2500000) as n"
        )
    return module_database


def write(database: Database, name: str, form: ExportFormat, target: Path) -> int:
    url = database.urls[Role.ANALYST]
    with database.connect(Role.ANALYST, autocommit=False) as connection:
        return export(url, connection, find_mart(connection, name), target, form, lambda rows: None)


def test_a_parquet_file_holds_the_rows_with_their_types(marts: Database, tmp_path: Path) -> None:
    assert write(marts, "odd", ExportFormat.PARQUET, tmp_path / "odd.parquet") == 500
    table = parquet.read_table(tmp_path / "odd.parquet")
    with marts.connect() as owner:
        cursor = owner.execute("select *, exact::float8 as exact, sets_by_muscle::text as sets_by_muscle from marts.odd order by user_key")
        names = [column.name for column in cursor.description or []]
        expected = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    assert sorted(table.to_pylist(), key=lambda row: row["user_key"]) == expected
    assert str(table.schema.field("user_key").type) == "int64"
    assert str(table.schema.field("at").type) == "timestamp[us, tz=UTC]"
    assert str(table.schema.field("buckets").type).startswith("list")


def test_a_csv_file_holds_the_rows_with_a_header(marts: Database, tmp_path: Path) -> None:
    assert write(marts, "odd", ExportFormat.CSV, tmp_path / "odd.csv") == 500
    with (tmp_path / "odd.csv").open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["user_key"]))
    assert len(rows) == 500
    with marts.connect() as owner:
        for row, (key, words, at) in zip(rows, owner.execute("select user_key, words, at from marts.odd order by user_key"), strict=True):
            assert (int(row["user_key"]), row["words"] or None) == (key, words)
            assert datetime.datetime.fromisoformat(row["at"]) == at


@pytest.mark.parametrize("form", list(ExportFormat))
def test_a_large_mart_is_streamed_in_less_than_200_mb(marts: Database, tmp_path: Path, form: ExportFormat) -> None:
    result = subprocess.run(
        [sys.executable, "-c", MEASURED_EXPORT, marts.urls[Role.ANALYST], "large", form.value, str(tmp_path / "large")],
        capture_output=True, text=True, check=True, cwd=PROJECT,
    )  # fmt: skip
    rows, megabytes = map(int, result.stdout.split())
    assert rows == 2_500_000
    assert megabytes < 200


@pytest.mark.parametrize("form", list(ExportFormat))
def test_an_export_that_fails_leaves_the_old_file_and_nothing_else(marts: Database, tmp_path: Path, form: ExportFormat) -> None:
    target = tmp_path / "large"
    target.write_text("before")
    calls = 0

    def interrupted(rows: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise KeyboardInterrupt

    url = marts.urls[Role.ANALYST]
    with marts.connect(Role.ANALYST, autocommit=False) as connection, pytest.raises(KeyboardInterrupt):
        export(url, connection, find_mart(connection, "large"), target, form, interrupted)
    assert [path.name for path in tmp_path.iterdir()] == ["large"]
    assert target.read_text() == "before"


def test_progress_only_grows_and_ends_at_the_number_of_rows(marts: Database, tmp_path: Path) -> None:
    for form in ExportFormat:
        seen: list[int] = []
        url = marts.urls[Role.ANALYST]
        with marts.connect(Role.ANALYST, autocommit=False) as connection:
            mart = find_mart(connection, "large")
            assert mart.rows == 2_500_000
            export(url, connection, mart, tmp_path / f"large.{form}", form, seen.append)
        assert seen == sorted(seen)
        assert len(seen) > 10
        assert seen[-1] == 2_500_000


def test_a_mart_goes_by_its_name_with_or_without_its_schema_and_an_unknown_one_is_told_the_others(marts: Database) -> None:
    with marts.connect(Role.ANALYST) as connection:
        assert find_mart(connection, "marts.odd") == find_mart(connection, "odd")
        with pytest.raises(UnknownMart, match="large, odd"):
            find_mart(connection, "evens")


@pytest.mark.parametrize("name", ["odd; drop table marts.odd", 'odd"', "../odd", "pg_class", ""])
def test_a_name_is_only_a_name(marts: Database, name: str) -> None:
    with marts.connect(Role.ANALYST) as connection, pytest.raises(UnknownMart):
        find_mart(connection, name)


def test_what_analysts_may_not_read_is_no_mart_to_them(marts: Database) -> None:
    with marts.connect() as owner:
        owner.execute("create table marts.hidden as select 1 as one; revoke all on marts.hidden from mesocycle_analyst")
    try:
        with marts.connect(Role.ANALYST) as connection, pytest.raises(UnknownMart, match="large, odd"):
            find_mart(connection, "hidden")
    finally:
        with marts.connect() as owner:
            owner.execute("drop table marts.hidden")
