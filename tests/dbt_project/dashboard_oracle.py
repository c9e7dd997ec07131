"""What the marts of the dashboard must hold, computed from raw rows by plain loops, as oracle.py does it for the summaries."""

import datetime
import statistics
from collections import Counter, defaultdict
from fractions import Fraction
from typing import Any

import psycopg

from tests.dbt_project.oracle import best_before, compare, read_history, record_events, rows_of, session_bests, totals

Rows = dict[tuple[Any, ...], dict[str, Any]]
KEYS = {
    "user_weeks": ("user_key", "week_on"),
    "top_lifts": ("user_key", "rank"),
    "muscle_sets": ("user_key", "muscle"),
    "record_feed": ("user_key", "workout_key", "exercise_key"),
    "peer_percentiles": ("user_key", "measure"),
}
DAY = datetime.timedelta(days=1)


def monday(date: datetime.date) -> datetime.date:
    return date - date.weekday() * DAY


def expected_weeks(user: dict[str, Any], today: datetime.date) -> dict[datetime.date, dict[str, Any]]:
    past = [workout for workout in user["workouts"] if workout["date"] <= today]
    events = [date for date, _, _ in record_events(user) if date <= today]
    names = ("workouts", "active_days", "training_minutes", "sets", "reps", "volume_kg", "record_events")
    weeks = {}
    for start in {monday(workout["date"]) for workout in past}:
        numbers = totals(past, events, start, start + 6 * DAY)
        weeks[start] = {name: numbers[name] for name in names}
    return weeks


def line(points: list[tuple[int, Fraction]]) -> tuple[Fraction | None, Fraction | None]:
    """(slope, change from the first to the last point in %) of the least-squares line; None below three points."""
    if len(points) < 3:
        return None, None
    mean_x = Fraction(sum(x for x, _ in points), len(points))
    mean_y = sum((y for _, y in points), Fraction(0)) / len(points)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    start = mean_y + slope * (points[0][0] - mean_x)
    return slope, 100 * slope * (points[-1][0] - points[0][0]) / start if start > 0 else None


def expected_lifts(user: dict[str, Any], today: datetime.date) -> dict[int, dict[str, Any]]:
    this_week = monday(today)
    best: dict[int, dict[int, Fraction]] = defaultdict(dict)
    sessions: Counter[tuple[int, int]] = Counter()
    for workout in user["workouts"]:
        ago = (this_week - monday(workout["date"])).days // 7
        if workout["date"] > today or ago > 51:
            continue
        for exercise in {one["exercise"] for one in workout["sets"]}:
            value = session_bests(workout, exercise).get("e1rm")
            if value is not None:
                best[exercise][-ago] = max(best[exercise].get(-ago, Fraction(0)), value)
                sessions[exercise, 52] += 1
                sessions[exercise, 12] += ago < 12
    order = sorted(best, key=lambda key: (-sessions[key, 12], -sessions[key, 52], -max(best[key].values()), key))
    lifts = {}
    for rank, exercise in enumerate(order[:5], 1):
        curve = sorted(best[exercise].items())
        slope_12w, trend_12w = line([point for point in curve if point[0] > -12])
        slope_52w, trend_52w = line(curve)
        lifts[rank] = {
            "exercise_key": exercise,
            "sessions_12w": sessions[exercise, 12],
            "sessions_52w": sessions[exercise, 52],
            "e1rm_kg": max(best[exercise].values()),
            "latest_e1rm_kg": curve[-1][1],
            "latest_week_on": this_week + 7 * curve[-1][0] * DAY,
            "slope_12w_kg_per_week": slope_12w,
            "trend_12w_pct": trend_12w,
            "slope_52w_kg_per_week": slope_52w,
            "trend_52w_pct": trend_52w,
            "weeks_on": [this_week + 7 * week * DAY for week, _ in curve],
            "weekly_e1rm_kg": [float(value) for _, value in curve],
        }
    return lifts


def muscle_shares(exercise: dict[str, Any]) -> dict[str, float]:
    return dict.fromkeys(exercise["secondary"], 0.5) | dict.fromkeys(exercise["primary"], 1.0)


def expected_muscles(
    user: dict[str, Any], planned: list[tuple[datetime.date, int, int]], exercises: dict[int, dict[str, Any]], today: datetime.date
) -> dict[str, dict[str, Any]]:
    """`planned`: (date, exercise, sets) of what was prescribed by the plan current on the date."""
    found: dict[str, dict[str, float]] = defaultdict(
        lambda: dict.fromkeys(("planned_sets_week", "done_sets_week", "planned_sets_28d", "done_sets_28d"), 0.0)
    )

    def add(exercise: int, sets: int, *names: str) -> None:
        for muscle, share in muscle_shares(exercises[exercise]).items():
            for name in names:
                found[muscle][name] += share * sets

    start = monday(today)
    for date, exercise, sets in planned:
        if start <= date <= start + 6 * DAY:
            add(exercise, sets, "planned_sets_week")
        if today - 27 * DAY <= date <= today:
            add(exercise, sets, "planned_sets_28d")
    for workout in user["workouts"]:
        if not today - 27 * DAY <= workout["date"] <= today:
            continue
        for one in workout["sets"]:
            if one["working"]:
                add(one["exercise"], 1, "done_sets_28d", *(["done_sets_week"] if workout["date"] >= start else []))
    return {muscle: numbers for muscle, numbers in found.items() if any(numbers.values())}


def expected_feed(user: dict[str, Any], today: datetime.date) -> dict[tuple[int, int], dict[str, Any]]:
    workouts = {workout["key"]: workout for workout in user["workouts"]}
    feed = {}
    for date, key, exercise in record_events(user):
        if date > today:
            continue
        before, now = best_before(user, key, exercise), session_bests(workouts[key], exercise)
        feed[key, exercise] = {
            "achieved_at": workouts[key]["started_at"],
            "achieved_on": date,
            "weight_kg": now.get("weight"),
            "previous_weight_kg": before.get("weight"),
            "is_weight_record": now.get("weight", 0) > before.get("weight", 0),
            "e1rm_kg": now.get("e1rm"),
            "previous_e1rm_kg": before.get("e1rm"),
            "is_e1rm_record": now.get("e1rm", 0) > before.get("e1rm", 0),
        }
    return feed


def measures(user: dict[str, Any], today: datetime.date) -> dict[str, Any]:
    """Value by measure, and whether the user trained in the last 30 days."""
    past = [workout for workout in user["workouts"] if workout["date"] <= today]
    recent = totals(past, [], today - 29 * DAY, today)
    trends = [lift["trend_12w_pct"] for lift in expected_lifts(user, today).values() if lift["trend_12w_pct"] is not None]
    trend = statistics.fmean(float(value) for value in trends) if trends else None
    return {
        "is_active": recent["workouts"] > 0,
        "values": {"workouts": recent["workouts"], "sets": recent["sets"], "volume_kg": recent["volume_kg"], "e1rm_trend_pct": trend},
    }


def standing(value: float, points: list[float]) -> float:
    """How many of the points lie below, equals counting half."""
    return sum(point < value - 0.0005 for point in points) + sum(abs(point - value) <= 0.0005 for point in points) / 2


def expected_peers(
    user: dict[str, Any], profile: tuple[str, str] | None, groups: dict[tuple[Any, ...], dict[str, Any]], today: datetime.date
) -> dict[str, dict[str, Any]]:
    """`groups`: rows of peer_quantiles by (date, goal, experience level, measure)."""
    own = measures(user, today)
    rows = {}
    for measure, value in own["values"].items():
        group = groups.get((today, *(profile or ()), measure)) if own["is_active"] and value is not None else None
        points = group["points"] if group else None
        reason = (
            "no_profile" if profile is None
            else "no_recent_workouts" if not own["is_active"]
            else "no_trend" if value is None
            else "group_too_small" if points is None
            else None
        )  # fmt: skip
        rows[measure] = {
            "goal": profile and profile[0],
            "experience_level": profile and profile[1],
            "peers": group["users"] if group else None,
            "peer_median": points[49] if points else None,
            "percentile": None if reason else standing(round(float(value), 3), points),
            "reason": reason,
        }
    return rows


def expected_groups(connection: psycopg.Connection, as_of: datetime.datetime) -> dict[tuple[str, str, str], list[float]]:
    """By goal, experience level and measure: the values of the active members, in order."""
    users = read_history(connection)
    found: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for key, (goal, level) in read_profiles(connection).items():
        own = measures(users[key], as_of.astimezone(users[key]["zone"]).date())
        for measure, value in own["values"].items():
            if own["is_active"] and value is not None:
                found[goal, level, measure].append(round(float(value), 3))
    return {group: sorted(values) for group, values in found.items()}


def read_profiles(connection: psycopg.Connection) -> dict[int, tuple[str, str]]:
    return {key: (goal, level) for key, goal, level in connection.execute("select user_key, goal, experience_level from app.profiles")}


def expected_marts(connection: psycopg.Connection, as_of: datetime.datetime) -> dict[str, Rows]:
    """Every row that each mart of the dashboard must hold."""
    users, profiles = read_history(connection), read_profiles(connection)
    exercises = {
        key: {"primary": primary, "secondary": secondary}
        for key, primary, secondary in connection.execute("select exercise_key, primary_muscles, secondary_muscles from app.exercises")
    }
    planned = defaultdict(list)
    for user, date, exercise, sets in connection.execute(
        "select user_key, prescribed.session_on, prescribed.exercise_key, prescribed.sets from plans.planned_sessions"
        " join plans.prescriptions as prescribed using (user_key, plan_id, week, session)"
    ):
        planned[user].append((date, exercise, sets))
    groups = rows_of(connection, "select * from marts.peer_quantiles", ("day_on", "goal", "experience_level", "measure"))
    wanted: dict[str, Rows] = {name: {} for name in KEYS}
    for key, user in users.items():
        today = as_of.astimezone(user["zone"]).date()
        wanted["user_weeks"] |= {(key, week): row for week, row in expected_weeks(user, today).items()}
        wanted["top_lifts"] |= {(key, rank): row for rank, row in expected_lifts(user, today).items()}
        wanted["muscle_sets"] |= {(key, muscle): row for muscle, row in expected_muscles(user, planned[key], exercises, today).items()}
        wanted["record_feed"] |= {(key, *which): row for which, row in expected_feed(user, today).items()}
        wanted["peer_percentiles"] |= {(key, name): row for name, row in expected_peers(user, profiles.get(key), groups, today).items()}
    return wanted


def differences(connection: psycopg.Connection, as_of: datetime.datetime) -> list[str]:
    """Every difference between the dashboard's marts and this module, in words."""
    found = []
    for name, wanted in expected_marts(connection, as_of).items():
        found += compare(name, wanted, rows_of(connection, f"select * from marts.{name}", KEYS[name]))
    return found
