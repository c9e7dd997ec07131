"""What the marts must hold, computed from raw rows by plain loops: slow, readable, and sharing nothing with the SQL."""

import datetime
from collections import defaultdict
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import psycopg

RANGES = {"7d": 7, "30d": 30, "90d": 90, "365d": 365, "all": None}
SIX_HOURS = 6 * 3600


def read_history(connection: psycopg.Connection) -> dict[int, dict[str, Any]]:
    """Each user's zone and counting workouts in order of start, each with its sets, as they stand in app.*."""
    users = {key: {"zone": ZoneInfo(zone), "workouts": []} for key, zone in connection.execute("select user_key, time_zone from app.users")}
    exercises = {
        key: {"load_type": load, "primary": primary, "secondary": secondary}
        for key, load, primary, secondary in connection.execute(
            "select exercise_key, load_type, primary_muscles, secondary_muscles from app.exercises"
        )
    }
    sets = defaultdict(list)
    for workout, position, exercise, kind, weight, reps, seconds, metres, rpe in connection.execute(
        "select workout_key, position, exercise_key, set_type, weight_kg, reps, duration_seconds, distance_m, rpe"
        " from app.workout_sets order by workout_key, position"
    ):
        if not reps and not seconds and not metres:
            continue  # no repetitions, no time, no distance: not a set
        sets[workout].append(
            {"position": position, "exercise": exercise, "working": kind != "warmup", "weight": weight, "reps": reps or 0, "rpe": rpe}
        )
    for workout, user, started_at, seconds in connection.execute(
        "select workout_key, user_key, started_at, duration_seconds from app.workouts where deleted_at is null"
        " order by started_at, workout_key"
    ):
        if sets[workout]:
            users[user]["workouts"].append(
                {
                    "key": workout,
                    "started_at": started_at,
                    "date": started_at.astimezone(users[user]["zone"]).date(),
                    "seconds": seconds if seconds is not None and seconds <= SIX_HOURS else None,
                    "sets": sets[workout],
                    "exercises": exercises,
                }
            )
    for user in users.values():
        user["planned"] = []
    for user, plan, week, session, date, wanted in connection.execute(
        "select user_key, plan_id, week, session, session_on, exercise_keys from plans.planned_sessions order by session_on, plan_id, week, session"
    ):
        users[user]["planned"].append({"key": (plan, week, session), "date": date, "exercises": set(wanted)})
    return users


def e1rm(weight: float, reps: int) -> Fraction | None:
    """The weight for one repetition, Epley for 2 to 12, undefined beyond; of the weight to 1e-8 kg, which a pound is a whole number of."""
    if reps == 1:
        return rounded(Fraction(weight))
    if 2 <= reps <= 12:
        return rounded(Fraction(weight)) * (1 + Fraction(reps, 30))
    return None


def rounded(value: Fraction) -> Fraction:
    """To 1e-8 kg, so that values that differ by less are equal, as the marts have it."""
    return Fraction(round(value * 10**8), 10**8)


def session_bests(workout: dict[str, Any], exercise: int) -> dict[str, Fraction]:
    """The best value of each record type in one workout's working sets of an exercise; types without a value are absent."""
    assisted = workout["exercises"][exercise]["load_type"] == "assisted"
    bests: dict[str, Fraction] = {}

    def offer(record_type: str, value: Fraction | None) -> None:
        if value is not None and value > 0:
            bests[record_type] = max(bests.get(record_type, Fraction(0)), value)

    total = Fraction(0)
    for one in workout["sets"]:
        if one["exercise"] != exercise or not one["working"]:
            continue
        offer("reps", Fraction(one["reps"]))
        if assisted or not one["weight"]:
            continue
        offer("weight", Fraction(one["weight"]))
        best = e1rm(one["weight"], one["reps"])
        offer("e1rm", None if best is None else rounded(best))
        volume = rounded(Fraction(one["weight"]) * one["reps"])
        offer("set_volume", volume)
        total += volume
    offer("workout_volume", total)
    return bests


def expected_records(user: dict[str, Any], as_of: datetime.datetime) -> dict[tuple[int, str], dict[str, Any]]:
    """By exercise and record type: the best value and the first workout that reached it."""
    today = as_of.astimezone(user["zone"]).date()
    records: dict[tuple[int, str], dict[str, Any]] = {}
    for workout in user["workouts"]:
        if workout["date"] > today:
            continue
        for exercise in {one["exercise"] for one in workout["sets"] if one["working"]}:
            for record_type, value in session_bests(workout, exercise).items():
                held = records.get((exercise, record_type))
                if held is None or value > held["value"]:
                    records[exercise, record_type] = {
                        "value": value,
                        "workout_key": workout["key"],
                        "achieved_at": workout["started_at"],
                        "achieved_on": workout["date"],
                    }
    return records


def sets_behind(workout: dict[str, Any], exercise: int, record_type: str, value: Fraction) -> set[tuple[Fraction | None, int]]:
    """(weight, repetitions) of the working sets that reach this value; the volume of a whole workout is no set's."""
    values = {
        "weight": lambda one: Fraction(one["weight"] or 0),
        "reps": lambda one: Fraction(one["reps"]),
        "e1rm": lambda one: rounded(e1rm(one["weight"] or 0, one["reps"]) or Fraction(0)),
        "set_volume": lambda one: rounded(Fraction(one["weight"] or 0) * one["reps"]),
    }
    if record_type == "workout_volume":
        return {(None, None)}  # type: ignore[arg-type]
    return {
        (rounded(Fraction(one["weight"])) if one["weight"] else None, one["reps"])
        for one in workout["sets"]
        if one["exercise"] == exercise and one["working"] and abs(values[record_type](one) - value) < Fraction(1, 10**6)
    }


def record_events(user: dict[str, Any]) -> list[tuple[datetime.date, int, int]]:
    """(date, workout, exercise) where the best weight or e1RM was strictly improved; first performances are none."""
    performed: set[int] = set()
    best: dict[tuple[int, str], Fraction] = defaultdict(Fraction)
    events = []
    for workout in user["workouts"]:
        for exercise in sorted({one["exercise"] for one in workout["sets"] if one["working"]}):
            bests = session_bests(workout, exercise)
            improved = [kind for kind in ("weight", "e1rm") if bests.get(kind, Fraction(0)) > best[exercise, kind]]
            if improved and exercise in performed:
                events.append((workout["date"], workout["key"], exercise))
            for kind in improved:
                best[exercise, kind] = bests[kind]
            performed.add(exercise)
    return events


def best_before(user: dict[str, Any], workout_key: int, exercise: int) -> dict[str, Fraction]:
    """The best value of each record type over the workouts that started before this one."""
    best: dict[str, Fraction] = {}
    for workout in user["workouts"]:
        if workout["key"] == workout_key:
            break
        for kind, value in session_bests(workout, exercise).items():
            best[kind] = max(best.get(kind, Fraction(0)), value)
    return best


def expected_summary(user: dict[str, Any], as_of: datetime.datetime) -> dict[str, dict[str, Any]]:
    """By range: every column of user_summary that comes from workouts."""
    today = as_of.astimezone(user["zone"]).date()
    past = [workout for workout in user["workouts"] if workout["date"] <= today]
    events = [date for date, _, _ in record_events(user)]
    completions = completed_sessions([session for session in user["planned"] if session["date"] <= today], past)
    current, longest = streaks({workout["date"] for workout in past}, today)
    return {
        name: {
            **totals(past, events, *window(today, days)),
            "current_streak_weeks": current,
            "longest_streak_weeks": longest,
            **previous(past, today, days),
            **adherence(completions, *window(today, days)),
        }
        for name, days in RANGES.items()
    }


def window(today: datetime.date, days: int | None) -> tuple[datetime.date, datetime.date]:
    """First and last date of a range; both count."""
    return (datetime.date.min if days is None else today - datetime.timedelta(days=days - 1)), today


def totals(workouts: list[dict[str, Any]], events: list[datetime.date], first: datetime.date, last: datetime.date) -> dict[str, Any]:
    inside = [workout for workout in workouts if first <= workout["date"] <= last]
    working = [(workout, one) for workout in inside for one in workout["sets"] if one["working"]]
    rpes = [one["rpe"] for _, one in working if one["rpe"] is not None]
    muscles: dict[str, float] = defaultdict(float)
    for workout, one in working:
        exercise = workout["exercises"][one["exercise"]]
        for muscle in exercise["primary"]:
            muscles[muscle] += 1
        for muscle in set(exercise["secondary"]) - set(exercise["primary"]):
            muscles[muscle] += 0.5
    return {
        "workouts": len(inside),
        "active_days": len({workout["date"] for workout in inside}),
        "training_minutes": sum(workout["seconds"] or 0 for workout in inside) / 60,
        "sets": len(working),
        "reps": sum(one["reps"] for _, one in working),
        "volume_kg": sum((one["weight"] or 0) * one["reps"] for _, one in working),
        "avg_rpe": sum(rpes) / len(rpes) if rpes else None,
        "exercises": len({one["exercise"] for _, one in working}),
        "record_events": sum(first <= date <= last for date in events),
        "first_workout_at": min((workout["started_at"] for workout in inside), default=None),
        "last_workout_at": max((workout["started_at"] for workout in inside), default=None),
        "sets_by_muscle": dict(muscles),
    }


def previous(workouts: list[dict[str, Any]], today: datetime.date, days: int | None) -> dict[str, Any]:
    """The same number of days just before."""
    if days is None:
        return {"previous_workouts": None, "previous_volume_kg": None, "volume_change_pct": None}
    before = totals(workouts, [], *window(today - datetime.timedelta(days=days), days))
    now = totals(workouts, [], *window(today, days))
    change = 100 * (now["volume_kg"] - before["volume_kg"]) / before["volume_kg"] if before["volume_kg"] else None
    return {"previous_workouts": before["workouts"], "previous_volume_kg": before["volume_kg"], "volume_change_pct": change}


def completed_sessions(planned: list[dict[str, Any]], workouts: list[dict[str, Any]]) -> list[tuple[datetime.date, bool]]:
    """(date, was it done?) of each planned session: by the first free workout within a day with working sets of half of its exercises."""
    taken: set[int] = set()
    result = []
    for session in planned:
        done = False
        for workout in workouts:
            contained = session["exercises"] & {one["exercise"] for one in workout["sets"] if one["working"]}
            near = abs((workout["date"] - session["date"]).days) <= 1
            if workout["key"] not in taken and near and 2 * len(contained) >= len(session["exercises"]):
                taken.add(workout["key"])
                done = True
                break
        result.append((session["date"], done))
    return result


def adherence(completions: list[tuple[datetime.date, bool]], first: datetime.date, last: datetime.date) -> dict[str, Any]:
    inside = [done for date, done in completions if first <= date <= last]
    return {
        "planned_sessions": len(inside),
        "completed_sessions": sum(inside),
        "adherence": sum(inside) / len(inside) if inside else None,
    }


def streaks(dates: set[datetime.date], today: datetime.date) -> tuple[int, int]:
    """(current, longest) runs of consecutive ISO weeks with a workout; the current one ends in this week or the last."""
    weeks = {date.isocalendar()[:2] for date in dates}

    def run_ending(monday: datetime.date) -> int:
        length = 0
        while monday.isocalendar()[:2] in weeks:
            length += 1
            monday -= datetime.timedelta(days=7)
        return length

    mondays = {date - datetime.timedelta(days=date.weekday()) for date in dates}
    this_monday = today - datetime.timedelta(days=today.weekday())
    current = run_ending(this_monday) or run_ending(this_monday - datetime.timedelta(days=7))
    return current, max((run_ending(monday) for monday in mondays), default=0)


def same(expected: Any, actual: Any) -> bool:
    """Equal, numbers to a relative 1e-9 (sums of floats differ in their last digit)."""
    if isinstance(expected, Fraction):
        expected = float(expected)
    if isinstance(expected, list) and isinstance(actual, list):
        return len(expected) == len(actual) and all(map(same, expected, actual))
    if isinstance(expected, float) and isinstance(actual, int | float):
        return abs(expected - actual) <= 1e-9 * max(1.0, abs(expected), abs(actual))
    if isinstance(expected, dict) and isinstance(actual, dict):
        return expected.keys() == actual.keys() and all(same(expected[key], actual[key]) for key in expected)
    return bool(expected == actual)


def differences(connection: psycopg.Connection, as_of: datetime.datetime) -> list[str]:
    """Every difference between the marts and this module, in words; an empty list when all is right."""
    users = read_history(connection)
    summaries = rows_of(connection, "select * from marts.user_summary", ("user_key", "range"))
    records = rows_of(connection, "select * from marts.personal_records", ("user_key", "exercise_key", "record_type"))
    wanted_summaries = {(user, name): row for user, history in users.items() for name, row in expected_summary(history, as_of).items()}
    wanted_records = {(user, *key): row for user, history in users.items() for key, row in expected_records(history, as_of).items()}
    return (
        compare("user_summary", wanted_summaries, summaries)
        + compare("personal_records", wanted_records, records)
        + [
            f"personal_records {key}: nobody lifted {row['weight_kg']!r} kg × {row['reps']}"
            for key, row in records.items()
            if key in wanted_records and not was_lifted(users[key[0]], key[1], row)
        ]
    )


def was_lifted(user: dict[str, Any], exercise: int, record: dict[str, Any]) -> bool:
    """Whether the weight and the repetitions beside a record are those of a set that reached it, to the last digit."""
    workout = next(workout for workout in user["workouts"] if workout["key"] == record["workout_key"])
    behind = sets_behind(workout, exercise, record["record_type"], Fraction(record["value"]))
    if record["record_type"] == "reps":
        # Of as many repetitions, those with the heaviest load; of an assisted exercise, those with the least help.
        hardest = min if workout["exercises"][exercise]["load_type"] == "assisted" else max
        behind = {hardest(behind, key=lambda one: one[0] or 0)}
    weight = record["weight_kg"]
    return any(
        reps == record["reps"] and (weight is None if lifted is None else weight is not None and weight == float(lifted))
        for lifted, reps in behind
    )


def compare(what: str, wanted: dict[tuple[Any, ...], dict[str, Any]], actual: dict[tuple[Any, ...], dict[str, Any]]) -> list[str]:
    """Rows that are missing or too many, and each value that differs."""
    found = [f"{what} {key} is missing" for key in sorted(wanted.keys() - actual.keys())]
    found += [f"{what} {key} should not be there" for key in sorted(actual.keys() - wanted.keys())]
    for key in wanted.keys() & actual.keys():
        for column, value in wanted[key].items():
            if not same(value, actual[key][column]):
                found.append(f"{what} {key}.{column}: expected {value!r}, is {actual[key][column]!r}")
    return found


def rows_of(connection: psycopg.Connection, query: str, key: tuple[str, ...]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """What a query returns, by its key."""
    cursor = connection.execute(query)
    assert cursor.description is not None
    names = [column.name for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor]
    return {tuple(row[name] for name in key): row for row in rows}
