"""Plain, slow pandas over the app's raw rows: what the marts for analysts must say."""

import datetime
from typing import Any

import pandas as pd
import psycopg


def frame(connection: psycopg.Connection, query: str) -> pd.DataFrame:
    cursor = connection.execute(query)  # type: ignore[arg-type]
    assert cursor.description is not None
    return pd.DataFrame(cursor.fetchall(), columns=[column.name for column in cursor.description])


def monday(day: datetime.date) -> datetime.date:
    return day - datetime.timedelta(days=day.weekday())


def local(instant: datetime.datetime, zone: str) -> datetime.date:
    return pd.Timestamp(instant).tz_convert(zone).date()


def activity_days(connection: psycopg.Connection) -> dict[tuple[int, datetime.date], dict[str, Any]]:
    """(user, local date) -> what was done, from users, workouts, sets and usage events."""
    zones = dict(connection.execute("select user_key, time_zone from app.users").fetchall())
    days: dict[tuple[int, datetime.date], dict[str, Any]] = {}

    def day(user: int, instant: datetime.datetime) -> dict[str, Any]:
        names = ("workouts", "sets", "dashboard", "records", "plan", "workout", "opens")
        return days.setdefault(
            (user, local(instant, zones[user])), {**dict.fromkeys(names, 0), "platform": "(none)", "app_version": "(none)"}
        )

    sets: dict[int, list[str]] = {}
    for workout, kind, reps, seconds, metres in connection.execute(
        "select workout_key, set_type, reps, duration_seconds, distance_m from app.workout_sets"
    ).fetchall():
        if (reps or 0) > 0 or (seconds or 0) > 0 or (metres or 0) > 0:
            sets.setdefault(workout, []).append(kind)
    for workout, user, started, deleted in connection.execute(
        "select workout_key, user_key, started_at, deleted_at from app.workouts"
    ).fetchall():
        if deleted is None and workout in sets:
            found = day(user, started)
            found["workouts"] += 1
            found["sets"] += sum(kind != "warmup" for kind in sets[workout])
    for user, feature, occurred, platform, version in connection.execute(
        "select user_key, feature, occurred_at, platform, app_version from app.usage_events order by occurred_at, event_id desc"
    ).fetchall():
        found = day(user, occurred)
        found["opens"] += 1
        if feature in found:
            found[feature] += 1
        found["platform"], found["app_version"] = platform or "(none)", version or "(none)"
    return days


def retention(connection: psycopg.Connection, as_of: datetime.datetime) -> dict[tuple[datetime.date, int], tuple[int, ...]]:
    """(cohort week, week number) -> (users, observed, trained, active, trained_since)."""
    days = activity_days(connection)
    result: dict[tuple[datetime.date, int], list[int]] = {}
    people = connection.execute("select user_key, time_zone, created_at from app.users where created_at <= %s", [as_of]).fetchall()
    sizes: dict[datetime.date, int] = {}
    for _, zone, created in people:
        cohort = monday(local(created, zone))
        sizes[cohort] = sizes.get(cohort, 0) + 1
    for user, zone, created in people:
        first, today = local(created, zone), local(as_of, zone)
        cohort = monday(first)
        mine = {date: done for (who, date), done in days.items() if who == user}
        week = 0
        while week <= 103 and first + datetime.timedelta(days=7 * week + 7) <= today:
            begin = first + datetime.timedelta(days=7 * week)
            end = begin + datetime.timedelta(days=6)
            row = result.setdefault((cohort, week), [sizes[cohort], 0, 0, 0, 0])
            row[1] += 1
            row[2] += any(begin <= date <= end and done["workouts"] for date, done in mine.items())
            row[3] += any(begin <= date <= end for date in mine)
            # A later week counts as far as it has begun.
            row[4] += any(begin <= date <= today and done["workouts"] for date, done in mine.items())
            week += 1
    return {key: tuple(row) for key, row in result.items()}


def adoption(connection: psycopg.Connection, as_of: datetime.datetime) -> dict[tuple[datetime.date, str, str, str], tuple[int, int, int]]:
    """(week, segment_by, segment, feature) -> (active users, users, opens)."""
    weeks: dict[tuple[datetime.date, int], list[tuple[datetime.date, dict[str, Any]]]] = {}
    for (user, date), done in activity_days(connection).items():
        if date <= as_of.date():
            weeks.setdefault((monday(date), user), []).append((date, done))
    result: dict[tuple[datetime.date, str, str, str], list[int]] = {}
    for (week, _), found in weeks.items():
        opened = sorted((date, number) for number, (date, done) in enumerate(found) if done["opens"])
        last = found[opened[-1][1]][1] if opened else {"platform": "(none)", "app_version": "(none)"}
        for by, segment in (("(all)", "(all)"), ("platform", last["platform"]), ("app_version", last["app_version"])):
            for feature in ("dashboard", "records", "plan", "workout"):
                row = result.setdefault((week, by, segment, feature), [0, 0, 0])
                opens = sum(done[feature] for _, done in found)
                row[0] += 1
                row[1] += opens > 0
                row[2] += opens
    return {key: (row[0], row[1], row[2]) for key, row in result.items()}


def users_within(connection: psycopg.Connection, last_on: datetime.date, days: int, feature: str | None = None) -> int:
    """Distinct users with a day in the window (on which the feature was opened, or `workouts` done)."""
    first_on = last_on - datetime.timedelta(days=days - 1)
    return len(
        {u for (u, date), done in activity_days(connection).items() if first_on <= date <= last_on and (feature is None or done[feature])}
    )
