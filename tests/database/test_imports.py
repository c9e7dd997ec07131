"""Exports into Postgres: merged once, whatever the order, age, format and unit of the files."""

import csv
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from database.imports import ImportReport, UnknownTimeZone, UnusableUserId, import_log
from domain.vocabulary import KG_PER_LB, WeightUnit
from domain.workout_logs import read_log
from tests.conftest import Database

HEADER = "Date,Workout Name,Duration,Exercise Name,Set Order,Weight,Reps,Distance,Seconds,Notes,Workout Notes,RPE"
HEVY_HEADER = (
    "title,start_time,end_time,description,exercise_title,superset_id,exercise_notes,set_index,set_type,weight_kg,reps,distance_km,"
    "duration_seconds,rpe"
)
FITNOTES_HEADER = "Date,Exercise,Category,Weight,Weight Unit,Reps,Distance,Distance Unit,Time,Comment"


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect() as connection:
        yield connection


@pytest.fixture(scope="module")
def module_connection(module_database: Database) -> Iterator[psycopg.Connection]:
    with module_database.connect() as connection:
        yield connection


def strong(*workouts: tuple[str, list[tuple[Any, ...]]], name: str = "Legs", duration: str = "1h") -> bytes:
    """A Strong export: (start, [(exercise, kg, reps)]) per workout."""
    rows = [
        f'{start},"{name}",{duration},"{one[0]}",{order},{one[1]},{one[2]},0,0,,,{one[3] if len(one) > 3 else ""}'
        for start, sets in workouts
        for order, one in enumerate(sets, start=1)
    ]
    return "\n".join([HEADER, *rows, ""]).encode()


def take(
    connection: psycopg.Connection,
    content: bytes,
    *,
    user: str = "me",
    unit: WeightUnit | None = WeightUnit.KG,
    timezone: str | None = None,
    name: str = "strong.csv",
) -> ImportReport:
    return import_log(connection, user, read_log(content, file_name=name, weight_unit=unit), timezone=timezone, file_name=name)


def state(connection: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Everything that an import writes except the log of imports, with the transaction that wrote it last."""
    tables = ("users", "exercises", "workouts", "workout_sets", "rejected_rows", "workout_deletions")
    return [
        row for table in tables for row in connection.execute(f"select t.*, t.xmin::text, t.ctid::text from app.{table} t order by t.ctid")
    ]


def live(connection: psycopg.Connection, user: str = "me") -> list[tuple[Any, ...]]:
    """(start in UTC, exercise, kg, reps) of every set that counts."""
    return connection.execute(
        """
        select to_char(w.started_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI'), e.name, s.weight_kg, s.reps
        from app.workouts w join app.users u using (user_key) join app.workout_sets s using (workout_key) join app.exercises e using (exercise_key)
        where u.user_id = %s and w.deleted_at is null
        order by w.started_at, s.position
        """,
        [user],
    ).fetchall()


def details(connection: psycopg.Connection, user: str = "me") -> list[tuple[Any, ...]]:
    """(seconds of the workout, kg, reps, RPE, metres) of every set that counts."""
    return connection.execute(
        """
        select w.duration_seconds, s.weight_kg, s.reps, s.rpe, s.distance_m
        from app.workouts w join app.users u using (user_key) join app.workout_sets s using (workout_key)
        where u.user_id = %s and w.deleted_at is null
        order by w.started_at, s.position
        """,
        [user],
    ).fetchall()


SQUAT = "Squat (Barbell)"
UNREADABLE = f'2024-03-02 10:00:00,"Legs",1h,"{SQUAT}",1,heavy,5,0,0,,,\n'.encode()
DAY_1 = ("2024-03-01 18:30:10", [(SQUAT, 60, 8), (SQUAT, 60, 8), (SQUAT, 65, 6)])
DAY_2 = ("2024-03-03 18:31:20", [(SQUAT, 62.5, 8), (SQUAT, 62.5, 7)])
DAY_3 = ("2024-03-05 18:32:30", [(SQUAT, 65, 8)])
DAY_4 = ("2024-03-07 18:33:40", [(SQUAT, 65, 9)])


# -- once ----------------------------------------------------------------------------------------------------------------


def test_an_import_writes_user_workouts_sets_and_the_log_of_the_file(connection: psycopg.Connection) -> None:
    report = take(connection, strong(DAY_1, DAY_2))
    assert (report.workouts_new, report.sets, report.workouts_unchanged, report.changed) == (2, 5, 0, True)
    assert live(connection) == [
        ("2024-03-01 18:30", SQUAT, 60.0, 8),
        ("2024-03-01 18:30", SQUAT, 60.0, 8),
        ("2024-03-01 18:30", SQUAT, 65.0, 6),
        ("2024-03-03 18:31", SQUAT, 62.5, 8),
        ("2024-03-03 18:31", SQUAT, 62.5, 7),
    ]
    log = connection.execute(
        "select source, weight_unit, time_zone, export_through::text, (report ->> 'sets')::int from app.imports"
    ).fetchall()
    assert log == [("strong", "kg", "UTC", "2024-03-03 18:31:20", 5)]
    workout = connection.execute(
        "select name, duration_seconds, source, has_start_time from app.workouts order by started_at limit 1"
    ).fetchone()
    assert workout == ("Legs", 3600, "strong", True)


def test_importing_a_file_twice_touches_no_row(connection: psycopg.Connection) -> None:
    content = strong(DAY_1, ("2024-03-02 10:00:00", [("Squat (Barbell)", 1341, 1), ("Wobble Thing", 10, 10)]))
    first = take(connection, content)
    before = state(connection)
    second = take(connection, content, name="again.csv")
    assert state(connection) == before
    assert (first.already_imported, second.already_imported, second.changed) == (False, True, False)
    assert connection.execute("select count(*) from app.imports").fetchone() == (1,)


def test_unusable_rows_are_kept_with_file_line_text_and_reason(connection: psycopg.Connection) -> None:
    content = strong(("2024-03-02 10:00:00", [(SQUAT, 100, 877777), (SQUAT, 1341, 1), (SQUAT, 100, 5)]), ("", [(SQUAT, 90, 5)]))
    report = take(connection, content, name="bad.csv")
    rows = connection.execute("select source, file_name, line, reason from app.rejected_rows order by line").fetchall()
    assert rows == [
        ("strong", "bad.csv", 2, "877777 reps in one set is impossible"),
        ("strong", "bad.csv", 3, "a load of 1,341 kg in Squat (Barbell) is impossible"),
        ("strong", "bad.csv", 5, "the row has no date"),
    ]
    assert (report.rejected_rows, report.sets) == (3, 1)


def test_a_newer_export_keeps_a_bad_row_only_once(connection: psycopg.Connection) -> None:
    bad = ("2024-03-02 10:00:00", [(SQUAT, 100, 877777), (SQUAT, 100, 5)])
    take(connection, strong(DAY_1, bad))
    take(connection, strong(DAY_1, bad, DAY_3))
    assert connection.execute("select count(*) from app.rejected_rows").fetchone() == (1,)


# -- newer and older -----------------------------------------------------------------------------------------------------


def test_a_newer_export_adds_and_edits_only_what_changed(connection: psycopg.Connection) -> None:
    take(connection, strong(DAY_1, DAY_2))
    before = dict(connection.execute("select workout_key, xid::text from app.workouts").fetchall())
    edited = (DAY_2[0], [(SQUAT, 62.5, 8), (SQUAT, 70, 7)])
    report = take(connection, strong(DAY_1, edited, DAY_3))
    assert (report.workouts_new, report.workouts_updated, report.workouts_unchanged, report.workouts_deleted) == (1, 1, 1, 0)
    after = dict(connection.execute("select workout_key, xid::text from app.workouts order by started_at").fetchall())
    assert [after[key] == xid for key, xid in before.items()] == [True, False]
    assert [row[2] for row in live(connection)] == [60.0, 60.0, 65.0, 62.5, 70.0, 65.0]


def test_an_older_export_after_a_newer_one_brings_back_no_old_state(connection: psycopg.Connection) -> None:
    edited = (DAY_2[0], [(SQUAT, 62.5, 8), (SQUAT, 70, 7)])
    take(connection, strong(DAY_1, edited, DAY_3))
    before = state(connection)
    report = take(connection, strong(DAY_1, DAY_2))
    assert (report.changed, report.workouts_unchanged) == (False, 2)
    assert state(connection) == before


def test_an_older_export_adds_what_no_newer_one_covers(connection: psycopg.Connection) -> None:
    take(connection, strong(DAY_2, DAY_3))
    report = take(connection, strong(DAY_1, DAY_2))
    assert (report.workouts_new, report.workouts_unchanged) == (1, 1)
    assert len(live(connection)) == 6


def test_a_state_that_a_newer_export_confirmed_yields_to_no_older_one(connection: psycopg.Connection) -> None:
    take(connection, strong(DAY_1))
    take(connection, strong(DAY_1, DAY_2, DAY_3))
    between = (DAY_1[0], [(SQUAT, 61, 8), (SQUAT, 60, 8), (SQUAT, 65, 6)])
    report = take(connection, strong(between, DAY_2))
    assert not report.changed
    assert live(connection)[0][2] == 60.0


def test_a_workout_that_was_moved_in_the_app_isnt_there_twice(connection: psycopg.Connection) -> None:
    take(connection, strong(DAY_1, DAY_2, DAY_3))
    moved = ("2024-03-03 08:00:00", DAY_2[1])
    report = take(connection, strong(DAY_1, moved, DAY_3, ("2024-03-09 10:00:00", [(SQUAT, 70, 5)])))
    assert (report.workouts_new, report.workouts_deleted) == (2, 1)
    assert [row[0] for row in live(connection)].count("2024-03-03 08:00") == 2
    assert "2024-03-03 18:31" not in {row[0] for row in live(connection)}
    older = take(connection, strong(DAY_1, DAY_2))
    assert not older.changed
    assert "2024-03-03 18:31" not in {row[0] for row in live(connection)}


def test_a_deleted_workout_isnt_brought_back_by_an_older_export(connection: psycopg.Connection) -> None:
    take(connection, strong(DAY_1, DAY_3, ("2024-03-09 10:00:00", [(SQUAT, 70, 5)])))
    report = take(connection, strong(DAY_1, DAY_2, DAY_3))
    assert (report.workouts_new, report.workouts_not_restored) == (0, 1)


@pytest.mark.parametrize("is_newer_first", [False, True])
def test_a_row_that_no_export_could_read_hides_no_deletion(connection: psycopg.Connection, is_newer_first: bool) -> None:
    older, newer = strong(DAY_1, DAY_2, DAY_3) + UNREADABLE, strong(DAY_1, DAY_3, DAY_4) + UNREADABLE
    for content in (newer, older) if is_newer_first else (older, newer):
        take(connection, content)
    assert [row[0][:10] for row in live(connection)] == ["2024-03-01"] * 3 + ["2024-03-05", "2024-03-07"]


@pytest.mark.parametrize("is_newer_first", [False, True])
def test_a_row_that_only_the_newer_export_could_not_read_is_no_deletion(connection: psycopg.Connection, is_newer_first: bool) -> None:
    older, newer = strong(DAY_1, DAY_2, DAY_3), strong(DAY_1, DAY_3, DAY_4) + UNREADABLE
    for content in (newer, older) if is_newer_first else (older, newer):
        take(connection, content)
    assert len(live(connection)) == 7


def test_a_workout_that_comes_back_in_a_newer_export_counts_again(connection: psycopg.Connection) -> None:
    day_4, day_5 = ("2024-03-07 10:00:00", [(SQUAT, 70, 5)]), ("2024-03-09 10:00:00", [(SQUAT, 72.5, 5)])
    take(connection, strong(DAY_1, DAY_2, DAY_3))
    take(connection, strong(DAY_1, DAY_3, day_4))
    take(connection, strong(DAY_1, DAY_2, DAY_3, day_4, day_5))
    assert sorted({row[0] for row in live(connection)}) == [
        "2024-03-01 18:30", "2024-03-03 18:31", "2024-03-05 18:32", "2024-03-07 10:00", "2024-03-09 10:00"
    ]  # fmt: skip


def test_what_the_user_deleted_here_stays_deleted(connection: psycopg.Connection) -> None:
    take(connection, strong(DAY_1, DAY_2))
    connection.execute("update app.workouts set deleted_at = now() where started_at < '2024-03-02'")
    take(connection, strong(DAY_1, DAY_2, DAY_3))
    assert {row[0] for row in live(connection)} == {"2024-03-03 18:31", "2024-03-05 18:32"}


def test_two_unrelated_histories_of_one_app_lie_side_by_side(connection: psycopg.Connection) -> None:
    take(connection, strong(DAY_1, DAY_3))
    report = take(
        connection,
        strong(("2024-03-02 07:00:00", [("Deadlift (Barbell)", 100, 5)]), ("2024-03-09 07:00:00", [("Deadlift (Barbell)", 105, 5)])),
    )
    assert (report.workouts_new, report.workouts_deleted) == (2, 0)
    older = take(
        connection,
        strong(("2024-03-04 07:00:00", [("Front Squat (Barbell)", 50, 5)]), ("2024-03-06 07:00:00", [("Front Squat (Barbell)", 50, 5)])),
    )
    assert (older.workouts_new, older.workouts_not_restored) == (2, 0)


def test_a_workout_that_the_app_recorded_is_never_replaced(connection: psycopg.Connection) -> None:
    take(connection, strong(DAY_1))
    connection.execute("update app.workouts set source = 'app', import_key = null, export_through = null")
    report = take(connection, strong((DAY_1[0], [(SQUAT, 999, 1), (SQUAT, 200, 2)]), DAY_2))
    assert (report.workouts_new, report.workouts_updated) == (1, 0)


# -- formats, units, zones -----------------------------------------------------------------------------------------------


def test_the_right_unit_corrects_an_import_with_the_wrong_one(connection: psycopg.Connection) -> None:
    content = strong(DAY_1)
    take(connection, content)
    report = take(connection, content, unit=WeightUnit.LB)
    assert (report.workouts_updated, report.already_imported) == (1, False)
    assert [row[2] for row in live(connection)] == [60 * KG_PER_LB, 60 * KG_PER_LB, 65 * KG_PER_LB]
    assert connection.execute("select count(*), min(weight_unit) from app.imports").fetchone() == (1, "lb")


def test_local_times_are_read_in_the_zone_asked_for_else_the_users_else_utc(connection: psycopg.Connection) -> None:
    take(connection, strong(DAY_1), user="asked", timezone="America/New_York")
    assert live(connection, "asked")[0][0] == "2024-03-01 23:30"
    take(connection, strong(DAY_1, DAY_2), user="asked")
    assert {row[0] for row in live(connection, "asked")} == {"2024-03-01 23:30", "2024-03-03 23:31"}
    connection.execute("insert into app.users (user_id, time_zone) values ('berliner', 'Europe/Berlin')")
    take(connection, strong(DAY_1), user="berliner")
    assert live(connection, "berliner")[0][0] == "2024-03-01 17:30"
    take(connection, strong(DAY_1), user="nobody")
    assert live(connection, "nobody")[0][0] == "2024-03-01 18:30"


def test_another_zone_asked_for_moves_the_workouts_instead_of_doubling_them(connection: psycopg.Connection) -> None:
    take(connection, strong(DAY_1, DAY_2))
    report = take(connection, strong(DAY_1, DAY_2), timezone="Europe/Berlin")
    assert (report.workouts_new, report.workouts_updated) == (0, 2)
    assert {row[0] for row in live(connection)} == {"2024-03-01 17:30", "2024-03-03 17:31"}


def test_a_zone_may_be_written_in_small_letters(connection: psycopg.Connection) -> None:
    take(connection, strong(DAY_1), timezone="europe/berlin")
    assert live(connection)[0][0] == "2024-03-01 17:30"
    assert take(connection, strong(DAY_1), timezone="Europe/Berlin").workouts_updated == 0
    assert connection.execute("select distinct time_zone from app.imports").fetchall() == [("Europe/Berlin",)]


@pytest.mark.parametrize("start", ["2024-03-31 02:30:00", "2024-10-27 02:30:00"])
def test_times_that_a_clock_change_skipped_or_repeated_are_read_and_met_again(connection: psycopg.Connection, start: str) -> None:
    take(connection, strong((start, [(SQUAT, 60, 8)])), timezone="Europe/Berlin")
    before = state(connection)
    report = take(connection, strong((start[:16], [(SQUAT, 60, 8)])), timezone="Europe/Berlin")
    assert (report.workouts_new, report.workouts_unchanged) == (0, 1)
    assert state(connection) == before


@pytest.mark.parametrize(
    ("start", "end", "seconds"),
    [
        ("31 Mar 2024, 01:30", "31 Mar 2024, 03:30", 3600),
        ("27 Oct 2024, 01:30", "27 Oct 2024, 03:30", 10800),
        ("26 Oct 2025, 02:50", "26 Oct 2025, 02:10", 1200),
        ("26 Oct 2025, 02:10", "26 Oct 2025, 02:50", 2400),
        ("30 Mar 2024, 23:00", "31 Mar 2024, 06:00", 6 * 3600),
        ("26 Oct 2024, 23:00", "27 Oct 2024, 05:00", None),
        ("5 Mar 2024, 18:00", "5 Mar 2024, 19:00", 3600),
        ("5 Mar 2024, 18:00", "5 Mar 2024, 17:59", None),
        ("5 Mar 2024, 18:00", "6 Mar 2024, 00:01", None),
    ],
)
def test_a_workout_lasts_as_long_as_it_did_whatever_the_clock_change_made_of_its_end(
    connection: psycopg.Connection, start: str, end: str, seconds: int | None
) -> None:
    row = f'Legs,"{start}","{end}",,{SQUAT},,,0,normal,60,8,,,'
    take(connection, f"{HEVY_HEADER}\n{row}".encode(), unit=None, timezone="Europe/Berlin", name="hevy.csv")
    assert connection.execute("select duration_seconds from app.workouts").fetchall() == [(seconds,)]


def fitnotes(*days: str) -> bytes:
    """An export without times: three sets of each day."""
    return "\n".join([FITNOTES_HEADER, *(f"{day},{SQUAT},Legs,{kg},kgs,{reps},,,," for day in days for _, kg, reps in DAY_1[1])]).encode()


def local_dates(connection: psycopg.Connection) -> list[tuple[str]]:
    """The date of each workout as the marts tell it."""
    return connection.execute(
        "select (w.started_at at time zone u.time_zone)::date::text from app.workouts w join app.users u using (user_key) order by 1"
    ).fetchall()


@pytest.mark.parametrize(
    ("own", "asked"),
    [
        *((own, asked)
          for own in ("UTC", "Pacific/Auckland", "Pacific/Pago_Pago", "Pacific/Kiritimati", "Asia/Kolkata")
          for asked in (None, "Pacific/Auckland", "Pacific/Pago_Pago")),
        ("america/los_angeles", "Pacific/Auckland"),
    ],
)  # fmt: skip
def test_a_day_without_a_time_is_the_users_day_whatever_the_zone_asked_for(
    connection: psycopg.Connection, own: str, asked: str | None
) -> None:
    connection.execute("insert into app.users (user_id, time_zone) values ('me', %s)", [own])
    take(connection, fitnotes("2024-01-10", "2024-07-10"), unit=None, timezone=asked, name="fitnotes.csv")
    assert local_dates(connection) == [("2024-01-10",), ("2024-07-10",)]
    before = state(connection)
    report = take(connection, fitnotes("2024-01-10", "2024-07-10"), unit=None, timezone="Asia/Tokyo", name="fitnotes.csv")
    assert (report.workouts_new, report.workouts_unchanged) == (0, 2)
    assert state(connection) == before


def test_a_day_without_a_time_stays_when_the_users_zone_changes(connection: psycopg.Connection) -> None:
    take(connection, fitnotes("2024-01-10"), unit=None, name="fitnotes.csv")
    connection.execute("update app.users set time_zone = 'Pacific/Auckland'")
    assert local_dates(connection) == [("2024-01-10",)]
    report = take(connection, fitnotes("2024-01-10", "2024-01-11"), unit=None, name="fitnotes.csv")
    assert (report.workouts_new, local_dates(connection)) == (1, [("2024-01-10",), ("2024-01-11",)])


def test_the_same_workout_from_another_app_is_met_by_its_minute(connection: psycopg.Connection) -> None:
    take(connection, strong(DAY_1))
    rows = [
        f'Legs,"1 Mar 2024, 18:30","1 Mar 2024, 19:30",,{SQUAT},,,{i},normal,{kg},{reps},,,' for i, (_, kg, reps) in enumerate(DAY_1[1])
    ]
    before = state(connection)
    report = take(connection, "\n".join([HEVY_HEADER, *rows]).encode(), unit=None, name="hevy.csv")
    assert (report.workouts_new, report.workouts_updated, report.workouts_unchanged) == (0, 0, 1)
    assert state(connection) == before


def test_a_day_without_times_is_the_workout_with_a_time(connection: psycopg.Connection) -> None:
    day = "\n".join([FITNOTES_HEADER, *(f"2024-03-01,{SQUAT},Legs,{kg},kgs,{reps},,,," for _, kg, reps in DAY_1[1])]).encode()
    take(connection, strong(DAY_1))
    before = state(connection)
    assert not take(connection, day, unit=None, name="fitnotes.csv").changed
    assert state(connection) == before


def test_a_workout_with_a_time_gives_it_to_the_day_without(connection: psycopg.Connection) -> None:
    day = "\n".join([FITNOTES_HEADER, *(f"2024-03-01,{SQUAT},Legs,{kg},kgs,{reps},,,," for _, kg, reps in DAY_1[1])]).encode()
    take(connection, day, unit=None, name="fitnotes.csv")
    assert connection.execute("select has_start_time, started_at::text from app.workouts").fetchall() == [(False, "2024-03-01 12:00:00+00")]
    report = take(connection, strong(DAY_1))
    assert (report.workouts_new, report.workouts_updated) == (0, 1)
    assert connection.execute("select has_start_time, count(*) over () from app.workouts").fetchall() == [(True, 1)]
    assert len(live(connection)) == 3


def test_a_day_and_a_workout_with_other_sets_are_two(connection: psycopg.Connection) -> None:
    take(connection, strong(DAY_1))
    report = take(
        connection, "\n".join([FITNOTES_HEADER, "2024-03-01,Deadlift,Back,140,kgs,3,,,,"]).encode(), unit=None, name="fitnotes.csv"
    )
    assert report.workouts_new == 1


def test_another_apps_export_fills_in_what_was_unknown_and_erases_nothing(connection: psycopg.Connection) -> None:
    take(connection, strong((DAY_3[0], [(SQUAT, 65, 8, 9)]), duration=""))
    row = f'Evening,"5 Mar 2024, 18:32","5 Mar 2024, 19:02",,{SQUAT},,deep,0,normal,65,8,,,'
    report = take(connection, f"{HEVY_HEADER}\n{row}".encode(), unit=None, name="hevy.csv")
    assert report.workouts_updated == 0  # Hevy's last minute is older than Strong's last second
    row = row.replace("18:32", "18:32:31")
    report = take(connection, f"{HEVY_HEADER}\n{row}".encode(), unit=None, name="hevy.csv")
    assert report.workouts_updated == 1
    found = connection.execute(
        "select w.name, w.duration_seconds, s.rpe, s.notes from app.workouts w join app.workout_sets s using (workout_key)"
    ).fetchall()
    assert found == [("Legs", 1769, 9.0, "deep")]


# -- exercises, users ----------------------------------------------------------------------------------------------------


def test_a_known_name_becomes_the_catalogue_exercise_and_an_unknown_one_the_users_own(connection: psycopg.Connection) -> None:
    sets = [("Squat (Barbell)", 60, 8), ("Zercher Moon Walk", 20, 8), ("zercher  moon walk", 20, 8), ("💪", 10, 8)]
    report = take(connection, strong(("2024-03-01 10:00:00", sets)))
    assert (report.exercises_matched, report.custom_exercises) == (1, 3)
    assert sorted(report.custom_exercises_created) == ["Zercher Moon Walk", "💪"]
    rows = connection.execute(
        "select name, user_key is null from app.workout_sets join app.exercises using (exercise_key) order by position"
    ).fetchall()
    assert rows == [("Squat (Barbell)", True), ("Zercher Moon Walk", False), ("Zercher Moon Walk", False), ("💪", False)]
    take(connection, strong(("2024-03-02 10:00:00", [("Zercher Moon Walk", 25, 8)])))
    take(connection, strong(("2024-03-02 10:00:00", [("Zercher Moon Walk", 25, 8)])), user="somebody else")
    assert connection.execute("select count(*) from app.exercises where name = 'Zercher Moon Walk'").fetchone() == (2,)


def test_the_users_own_assisted_exercise_is_one_in_every_language(connection: psycopg.Connection) -> None:
    sets = [(name, 40, 5) for name in ("Klimmzug (Unterstützt)", "Fondos asistidos", "Brustunterstütztes Rudern")]
    take(connection, strong(("2024-03-01 10:00:00", sets)))
    query = "select name from app.exercises where user_key is not null and load_type = 'assisted' order by name"
    assert connection.execute(query).fetchall() == [("Fondos asistidos",), ("Klimmzug (Unterstützt)",)]
    connection.execute("update app.exercises set load_type = 'external' where user_key is not null")  # as earlier versions had it
    take(connection, strong(("2024-03-01 10:00:00", sets), ("2024-03-02 10:00:00", sets[:2])))
    assert connection.execute(query).fetchall() == [("Fondos asistidos",), ("Klimmzug (Unterstützt)",)]


@pytest.mark.parametrize("user", ["", "x" * 129, "a\nb", "a\x00b", "a\x7fb"])
def test_an_unusable_user_id_is_refused_with_a_sentence(connection: psycopg.Connection, user: str) -> None:
    with pytest.raises(UnusableUserId, match="1 to 128 characters"):
        take(connection, strong(DAY_1), user=user)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "", "Europe"])
def test_an_unknown_time_zone_is_refused_with_a_sentence(connection: psycopg.Connection, zone: str) -> None:
    with pytest.raises(UnknownTimeZone, match="IANA"):
        take(connection, strong(DAY_1), timezone=zone)
    assert connection.execute("select count(*) from app.users").fetchone() == (0,)


def test_an_import_that_fails_leaves_nothing(connection: psycopg.Connection) -> None:
    take(connection, strong(DAY_1))
    before = state(connection)
    connection.execute("alter table app.workout_sets add constraint no_heavy_sets check (weight_kg < 64) not valid")
    with pytest.raises(psycopg.errors.CheckViolation):
        take(connection, strong(DAY_1, DAY_2, DAY_3))
    assert state(connection) == before
    assert connection.execute("select count(*) from app.imports").fetchone() == (1,)


def test_the_report_is_a_sentence_for_a_person(connection: psycopg.Connection) -> None:
    text = take(connection, strong(DAY_1, ("2024-03-02 10:00:00", [(SQUAT, 1341, 1)]))).sentence()
    assert "strong.csv: Strong, English headers, comma" in text
    assert "1 workout with 3 sets in 4 rows (1 row rejected)" in text
    assert "me: 1 workout new, 0 updated, 0 unchanged" in text


def test_many_reasons_are_counted_without_the_values_they_quote(connection: psycopg.Connection) -> None:
    sets = [(SQUAT, f'"{chr(97 + index)} lot"', 5) for index in range(20)]
    report = take(connection, strong(("2024-03-02 10:00:00", sets)))
    assert report.rejected == {"the weight “…” isn't a number": 20}
    assert connection.execute("select count(distinct reason) from app.rejected_rows").fetchone() == (20,)


# -- real exports --------------------------------------------------------------------------------------------------------


def _real(shared: Path, name: str) -> tuple[bytes, WeightUnit | None]:
    with (shared / "lifting-logs" / "MANIFEST.tsv").open() as manifest:
        unit = next(row["unit"] for row in csv.DictReader(manifest, delimiter="\t") if row["file"] == name)
    return (shared / "lifting-logs" / name).read_bytes(), None if unit == "in file" else WeightUnit(unit)


REAL = [
    "fitnotes_f1.csv", "fitnotes_f2.csv", "fitnotes_f3.csv", "fitnotes_f4.csv", "fitnotes_f4_lb.csv", "fitnotes_f6.csv", "hevy_h1.csv",
    "hevy_h1_long.csv", "hevy_h2.csv", "hevy_h3.csv", "hevy_h4.csv", "hevy_h6.csv", "strong_s1.csv", "strong_s10.csv", "strong_s1b_long.csv",
    "strong_s1m.csv", "strong_s2.csv", "strong_s3.csv", "strong_s4.csv", "strong_s5.csv", "strong_s6.csv", "strong_s7_two_units.csv",
    "strong_s8.csv", "strong_s9_de.csv", "strong_s9_fr.csv", "strong_sx_excel.csv",
]  # fmt: skip


def test_every_real_export_goes_in_whole_and_a_second_time_not_at_all(connection: psycopg.Connection, shared: Path) -> None:
    for name in REAL:
        content, unit = _real(shared, name)
        report = take(connection, content, user=name, unit=unit, name=name, timezone="Europe/Berlin")
        counts = connection.execute(
            """
            select count(distinct w.workout_key), count(s.*), coalesce(sum(s.weight_kg * s.reps), 0)
            from app.users u join app.workouts w using (user_key) join app.workout_sets s using (workout_key) where u.user_id = %s
            """,
            [name],
        ).fetchone()
        parsed = read_log(content, file_name=name, weight_unit=unit)
        volume = float((parsed.sets["weight_kg"] * parsed.sets["reps"].astype("float64")).sum())
        assert counts is not None
        assert counts[:2] == (report.workouts_new, report.sets) == (len(parsed.workouts), len(parsed.sets))
        assert counts[2] == pytest.approx(volume, rel=1e-12)
    before = state(connection)
    for name in REAL:
        content, unit = _real(shared, name)
        assert take(connection, content, user=name, unit=unit, name=name).already_imported
    assert state(connection) == before


@pytest.mark.parametrize(("first", "second"), [("strong_s1m.csv", "strong_sx_excel.csv"), ("strong_sx_excel.csv", "strong_s1m.csv")])
def test_a_history_that_a_spreadsheet_saved_changes_nothing(connection: psycopg.Connection, shared: Path, first: str, second: str) -> None:
    for name in (first, second):
        content, unit = _real(shared, name)
        report = take(connection, content, unit=unit, name=name)
    assert (report.workouts_new, report.workouts_updated, report.workouts_unchanged, report.workouts_deleted) == (0, 0, 7, 0)
    assert len(live(connection)) == 120


@pytest.mark.parametrize(
    ("first", "second", "new"), [("fitnotes_f4.csv", "fitnotes_f4_lb.csv", 1), ("fitnotes_f4_lb.csv", "fitnotes_f4.csv", 0)]
)
def test_a_history_in_pounds_and_in_kilograms_is_one(
    connection: psycopg.Connection, shared: Path, first: str, second: str, new: int
) -> None:
    for name in (first, second):
        content, unit = _real(shared, name)
        report = take(connection, content, unit=unit, name=name)
    assert (report.workouts_new, report.workouts_updated, report.workouts_unchanged) == (new, 0, 2)
    assert len(live(connection)) == 45


@pytest.mark.parametrize("name", ["strong_s1.csv", "hevy_h1.csv", "fitnotes_f1.csv"])
def test_a_real_export_cut_short_and_then_whole_equals_the_whole(database: Database, shared: Path, name: str) -> None:
    content, unit = _real(shared, name)
    lines = content.decode().splitlines()
    newest_first = name.startswith("hevy")
    half = len(lines) // 2
    part = "\n".join([lines[0], *(lines[half:] if newest_first else lines[1:half])]).encode()
    with database.connect() as connection:
        take(connection, part, user="in parts", unit=unit)
        take(connection, content, user="in parts", unit=unit)
        take(connection, content, user="at once", unit=unit)
        take(connection, part, user="at once", unit=unit)
        assert live(connection, "in parts") == live(connection, "at once")
        assert len(live(connection, "at once")) == len(read_log(content, file_name=name, weight_unit=unit).sets)


@pytest.mark.parametrize("is_newer_first", [False, True])
@pytest.mark.parametrize(
    ("before", "after", "now"),
    [
        ("1h,#,1,60,8,0,0,,,9", "1h,#,1,60,8,0,0,,,", (3600, 60.0, 8, None, None)),
        ("1h,#,1,60,8,0,0,,,9", "1h,#,1,60.05,8,0,0,,,9", (3600, 60.05, 8, 9.0, None)),
        ("1h,#,1,40,0,20,0,,,", "1h,#,1,40,0,29,0,,,", (3600, 40.0, None, None, 29.0)),
        ("2h,#,1,60,8,0,0,,,", "2h 0m 59s,#,1,60,8,0,0,,,", (7259, 60.0, 8, None, None)),
        ("2h,#,1,60,8,0,0,,,", "9h,#,1,60,8,0,0,,,", (None, 60.0, 8, None, None)),
    ],
)
def test_a_newer_export_of_one_form_is_believed_to_the_last_digit(
    connection: psycopg.Connection, before: str, after: str, now: tuple[Any, ...], is_newer_first: bool
) -> None:
    def export(workout: str, *more: str) -> bytes:
        rows = [f'2024-03-01 18:30:10,"Legs",{workout.replace("#", SQUAT)}', *more]
        return "\n".join([HEADER.replace("Distance", "Distance (meters)"), *rows, ""]).encode()

    older, newer = export(before), export(after, f'2024-03-05 18:30:10,"Legs",1h,"{SQUAT}",1,65,8,5,0,,,')
    for content in (newer, older) if is_newer_first else (older, newer):
        take(connection, content)
    assert details(connection)[0] == now
    assert not take(connection, newer + b"\n").changed


# -- any order -----------------------------------------------------------------------------------------------------------


@st.composite
def versions_and_order(draw: st.DrawFn) -> tuple[list[bytes], list[int]]:
    """Exports of one growing history, each newer than the one before, and an order to import them in, with repeats."""
    days: list[tuple[str, list[tuple[Any, ...]]]] = [
        (f"2024-03-{day:02} 18:30:{day:02}", [(SQUAT, 50 + day, 5), (SQUAT, 50 + day, 6)]) for day in range(1, 7)
    ]
    unreadable = draw(st.sampled_from([b"", UNREADABLE]))
    versions = [strong(*days) + unreadable]
    may_delete = True
    for day in range(7, 7 + draw(st.integers(1, 3))):
        days = [*days, (f"2024-03-{day:02} 18:30:{day:02}", [(SQUAT, 50 + day, 5)])]
        edited = draw(st.integers(0, len(days) - 1))
        rpe = draw(st.sampled_from(["", 7, 8.5]))
        if draw(st.booleans()):
            days[edited] = (days[edited][0], [(SQUAT, draw(st.integers(20, 200)), draw(st.integers(1, 12)), rpe)])
        else:
            days[edited] = (days[edited][0], [(SQUAT, *one[1:3], rpe) for one in days[edited][1]])
        if may_delete and draw(st.booleans()):
            # Within the span of every version: what lies before the first workout of an export, it says nothing about.
            days.pop(draw(st.integers(1, 4)))
            may_delete = False
        versions.append(strong(*days, duration=draw(st.sampled_from(["1h", "1h 1m", "59m"]))) + unreadable)
    order = draw(st.permutations(range(len(versions))))
    return versions, [*order, *draw(st.lists(st.sampled_from(order), max_size=3))]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(case=versions_and_order())
def test_whatever_the_order_of_the_exports_the_newest_one_stands(
    module_connection: psycopg.Connection, case: tuple[list[bytes], list[int]]
) -> None:
    versions, order = case
    users = [f"user {uuid.uuid4()}" for _ in range(2)]
    for index in order:
        take(module_connection, versions[index], user=users[0])
    take(module_connection, versions[-1], user=users[1])
    assert live(module_connection, users[0]) == live(module_connection, users[1])
    assert details(module_connection, users[0]) == details(module_connection, users[1])


def test_a_file_in_which_no_row_can_be_used_leaves_its_rows_and_reasons(connection: psycopg.Connection) -> None:
    report = take(connection, strong(("2024-03-02 10:00:00", [(SQUAT, 100, 877777)])))
    assert (report.workouts, report.sets, report.rejected_rows, report.changed) == (0, 0, 1, False)
    assert connection.execute("select reason from app.rejected_rows").fetchall() == [("877777 reps in one set is impossible",)]
    assert take(connection, strong(("2024-03-02 10:00:00", [(SQUAT, 100, 877777)]))).already_imported


def test_two_imports_for_one_user_at_once_wait_for_each_other(database: Database) -> None:
    content = [strong(DAY_1, DAY_2), strong(DAY_1, DAY_2, DAY_3)]

    def run(index: int) -> None:
        with database.connect() as connection:
            take(connection, content[index % 2])

    with database.connect() as connection, ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
        assert len(live(connection)) == 6


def test_every_example_goes_in_and_the_three_are_three_histories(connection: psycopg.Connection) -> None:
    examples = Path(__file__).parents[2] / "examples"
    for name, unit in (("strong", WeightUnit.KG), ("hevy", None), ("fitnotes", None)):
        report = take(connection, (examples / f"{name}.csv").read_bytes(), unit=unit, name=f"{name}.csv")
        assert (report.workouts_new, report.custom_exercises) == (report.workouts, 0)
