"""A second implementation of the summary and the weeks, in pandas over raw rows, and its comparison with the marts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import psycopg

from database.freshness import captured_snapshot, unseen
from domain.vocabulary import SummaryRange

COMPARED = ("workouts", "active_days", "training_minutes", "sets", "reps", "volume_kg", "avg_rpe", "exercises")
"""Columns of user_summary that are computed a second time."""
COMPARED_BY_WEEK = ("workouts", "active_days", "training_minutes", "sets", "reps", "volume_kg")
"""Columns of user_weeks that are."""
BEHIND = f"""
behind as (
  select workouts.user_key from app.workouts where {unseen("workouts")}
  union
  select whose.user_key
  from app.workouts join intermediate.exercise_sessions as whose on whose.workout_key = workouts.workout_key
  where {unseen("workouts")}
  union
  select workout_deletions.user_key from app.workout_deletions where {unseen("workout_deletions")}
  union
  select user_deletions.user_key from app.user_deletions where {unseen("user_deletions")}
)
"""  # noqa: S608 - our own names
"""Users with a change that the last build hasn't seen, also those whose workout is another one's now: their marts are rightly behind."""
SAMPLE_USERS = 200
TOLERANCE = 1e-9
SIX_HOURS = 6 * 3600

WORKOUTS = """
select w.user_key, w.workout_key, (w.started_at at time zone z.time_zone)::date as local_date, w.duration_seconds,
  (clock.as_of at time zone z.time_zone)::date as today
from app.workouts w join intermediate.user_zones z using (user_key) cross join staging.change_cursor clock
where w.deleted_at is null and w.user_key = any(%s) and pg_visible_in_snapshot(w.xid, clock.snapshot)
"""
SETS = """
select workout_key, exercise_key, set_type, weight_kg, coalesce(reps, 0) as reps, rpe,
  coalesce(duration_seconds, 0) as seconds, coalesce(distance_m, 0) as metres
from app.workout_sets where workout_key = any(%s)
"""


@dataclass(frozen=True)
class Reconciliation:
    """What a comparison found: users compared and, by column, how many rows (user and range, or week) differ."""

    users: int
    rows: int
    differences: dict[str, int]
    examples: tuple[str, ...]

    @property
    def agrees(self) -> bool:
        return not any(self.differences.values())


def reconcile(connection: psycopg.Connection, *, rotation: int, users: int = SAMPLE_USERS) -> Reconciliation:
    """Compare a sample of users, another one for each `rotation` (a build's number, say), with the raw rows.

    Users with a change that the last build hasn't seen are left out: their marts are rightly behind.
    """
    keys = sample(connection, rotation, users)
    expected = summarise(*read_raw(connection, keys), keys)
    actual = read_marts(connection, keys)
    return compare(expected, actual, len(keys))


def reconcile_weeks(connection: psycopg.Connection, *, rotation: int, users: int = SAMPLE_USERS) -> Reconciliation:
    """The same for the weeks of the timeline."""
    keys = sample(connection, rotation, users)
    query = f"select user_key, week_on, {', '.join(COMPARED_BY_WEEK)} from marts.user_weeks where user_key = any(%s)"  # noqa: S608 - our own names
    actual = _frame(connection, query, keys).set_index(["user_key", "week_on"])
    return compare(by_week(*read_raw(connection, keys)), actual, len(keys), COMPARED_BY_WEEK)


def sample(connection: psycopg.Connection, rotation: int, users: int) -> list[int]:
    """Up to `users` keys in the order of a hash that turns with `rotation`."""
    rows = connection.execute(
        f"""
        with {BEHIND}
        select user_key from intermediate.user_zones zones
        where not exists (select from behind where behind.user_key = zones.user_key)
        order by hashint8extended(user_key, %(rotation)s), user_key limit %(users)s
        """,  # noqa: S608 - our own names
        {"snapshot": captured_snapshot(connection), "rotation": rotation, "users": users},
    )
    return sorted(int(key) for (key,) in rows)


def read_raw(connection: psycopg.Connection, keys: Sequence[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    workouts = _frame(connection, WORKOUTS, list(keys))
    return workouts, _frame(connection, SETS, [int(key) for key in workouts["workout_key"]])


def read_marts(connection: psycopg.Connection, keys: Sequence[int]) -> pd.DataFrame:
    query = f"select user_key, range, {', '.join(COMPARED)} from marts.user_summary where user_key = any(%s)"  # noqa: S608 - our own names
    return _frame(connection, query, list(keys)).set_index(["user_key", "range"])


def counting_rows(workouts: pd.DataFrame, sets: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(workouts, working sets) that count, up to today; `age` is in days, `minutes` 0 where the duration is unknown."""
    real = sets[(sets["reps"] > 0) | (sets["seconds"] > 0) | (sets["metres"] > 0)]
    counting = workouts[workouts["workout_key"].isin(real["workout_key"])].copy()
    counting["age"] = (pd.to_datetime(counting["today"]) - pd.to_datetime(counting["local_date"])).dt.days
    counting = counting[counting["age"] >= 0]
    seconds = counting["duration_seconds"].astype("float64")
    counting["minutes"] = seconds.where(seconds <= SIX_HOURS).fillna(0) / 60
    working = real[real["set_type"] != "warmup"].merge(counting[["workout_key", "user_key", "local_date", "age"]], on="workout_key")
    working["volume"] = working["weight_kg"].astype("float64").fillna(0) * working["reps"]
    return counting, working


def summarise(workouts: pd.DataFrame, sets: pd.DataFrame, keys: Sequence[int]) -> pd.DataFrame:
    """One row per user and range with the columns of COMPARED, from raw workouts and sets; zeros where a user did nothing."""
    counting, working = counting_rows(workouts, sets)
    parts = []
    for summary_range in SummaryRange:
        days = np.inf if summary_range.days is None else summary_range.days
        of_workouts = counting[counting["age"] < days].groupby("user_key")
        of_sets = working[working["age"] < days].groupby("user_key")
        part = pd.DataFrame(
            {
                "workouts": of_workouts["workout_key"].nunique(),
                "active_days": of_workouts["local_date"].nunique(),
                "training_minutes": of_workouts["minutes"].sum(),
                "sets": of_sets.size(),
                "reps": of_sets["reps"].sum(),
                "volume_kg": of_sets["volume"].sum(),
                "avg_rpe": of_sets["rpe"].mean(),
                "exercises": of_sets["exercise_key"].nunique(),
            }
        ).reindex(pd.Index(keys, name="user_key"))
        filled = part.astype("float64")
        filled[[name for name in COMPARED if name != "avg_rpe"]] = filled[[name for name in COMPARED if name != "avg_rpe"]].fillna(0)
        parts.append(filled.assign(range=summary_range.value))
    return pd.concat(parts).reset_index().set_index(["user_key", "range"])


def by_week(workouts: pd.DataFrame, sets: pd.DataFrame) -> pd.DataFrame:
    """One row per user and Monday of a week with a workout, with the columns of COMPARED_BY_WEEK."""
    counting, working = counting_rows(workouts, sets)
    for rows in (counting, working):
        dates = pd.to_datetime(rows["local_date"])
        rows["week_on"] = (dates - pd.to_timedelta(dates.dt.weekday, unit="D")).dt.date
    of_workouts = counting.groupby(["user_key", "week_on"])
    of_sets = working.groupby(["user_key", "week_on"])
    weeks = pd.DataFrame(
        {
            "workouts": of_workouts["workout_key"].nunique(),
            "active_days": of_workouts["local_date"].nunique(),
            "training_minutes": of_workouts["minutes"].sum(),
            "sets": of_sets.size(),
            "reps": of_sets["reps"].sum(),
            "volume_kg": of_sets["volume"].sum(),
        }
    )
    return weeks.astype("float64").fillna(0)


def compare(expected: pd.DataFrame, actual: pd.DataFrame, users: int, columns: Sequence[str] = COMPARED) -> Reconciliation:
    """Count the rows that differ by column; a row that one side lacks differs in every column."""
    both = expected.join(actual, how="outer", lsuffix="_expected", rsuffix="_actual")
    missing = ~(both.index.isin(expected.index) & both.index.isin(actual.index))
    differences, examples = {}, []
    for column in columns:
        left = both[f"{column}_expected"].astype("float64").to_numpy()
        right = both[f"{column}_actual"].astype("float64").to_numpy()
        wrong = ~np.isclose(left, right, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True) | missing
        differences[column] = int(wrong.sum())
        for place in np.flatnonzero(wrong)[:3]:
            user, name = both.index[place]
            examples.append(f"user_key {user}, {name}, {column}: raw rows say {left[place]:.12g}, the mart {right[place]:.12g}")
    return Reconciliation(users, len(both), differences, tuple(examples))


def compare_totals(connection: psycopg.Connection) -> dict[str, tuple[float, float]]:
    """(raw rows, marts) of the workouts and working sets of everybody up to the last build, for the nightly check.

    Users with a change that it hasn't seen are left out on both sides, as they are of the samples.
    """
    row = connection.execute(
        f"""
        with {BEHIND},
        seen as (
          select w.workout_key from app.workouts w join intermediate.user_zones z using (user_key)
          where w.deleted_at is null and not exists (select from behind where behind.user_key = w.user_key)
        ),
        raw as (
          select count(distinct s.workout_key) as workouts, count(*) filter (where s.set_type <> 'warmup') as sets
          from app.workout_sets s join seen using (workout_key)
          where s.reps > 0 or s.duration_seconds > 0 or s.distance_m > 0
        ),
        days as (
          select coalesce(sum(workouts), 0) as workouts, coalesce(sum(sets), 0) as sets
          from marts.user_days d where not exists (select from behind where behind.user_key = d.user_key)
        )
        select raw.workouts, raw.sets, days.workouts, days.sets from raw, days
        """,  # noqa: S608 - our own names
        {"snapshot": captured_snapshot(connection)},
    ).fetchone()
    assert row is not None
    return {"workouts": (float(row[0]), float(row[2])), "sets": (float(row[1]), float(row[3]))}


def _frame(connection: psycopg.Connection, query: str, keys: list[int]) -> pd.DataFrame:
    cursor = connection.execute(query, [keys])
    assert cursor.description is not None
    return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])
