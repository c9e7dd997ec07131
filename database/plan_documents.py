"""A stored plan as it is served: the current row, and its JSON, joined from fragments that many plans share.

A document is 57 kB, its row under 3 kB, so documents aren't stored: they are joined when they're asked for, in a fraction of a
millisecond, from texts that were written once for an exercise, a reason with its numbers, or a warm-up.
"""

import json
import math
from collections.abc import Mapping
from datetime import UTC, timedelta
from functools import lru_cache
from typing import Any, Final

import psycopg

from database.json_names import camel
from domain.exercises.catalogue import load_catalogue
from domain.planning import reasons, splits, warmups
from domain.planning.batch import WEEKS
from domain.planning.inputs import GOALS
from domain.planning.movements import movements
from domain.vocabulary import KG_PER_LB

CURRENT_PLAN_SQL: Final = "select * from plans.plans where user_key = {user_key} order by as_of desc limit 1"
"""One user's current plan by one probe of the primary key; format with a placeholder of the caller's driver."""


def current_plan(connection: psycopg.Connection, user_key: int) -> dict[str, Any] | None:
    """The row of a user's current plan, or None."""
    with connection.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        return cursor.execute(CURRENT_PLAN_SQL.format(user_key="%s"), [user_key]).fetchone()


@lru_cache(maxsize=1)
def known_exercises() -> dict[int, tuple[str, str, str]]:
    """exercise_key -> (id, name, what it is measured in), of the project's catalogue."""
    frame = load_catalogue().frame
    return {
        int(key): (str(identity), str(name), str(unit))
        for key, identity, name, unit in zip(frame["exercise_key"], frame["exercise_id"], frame["name"], frame["measured_in"], strict=True)
    }


def render(user_id: str, row: Mapping[str, Any], *, locale: str = "en") -> bytes:
    """The JSON that the API serves for a row of `plans.plans`, as UTF-8: no query, no arithmetic beyond dates and the warm-up ramp.

    Deterministic: the same row gives the same bytes, so `plan_id` and the software's version make a strong ETag. Loads in kg,
    rounded to the gram; sentences in `locale`.
    """
    unit = "lb" if row["in_pounds"] else "kg"
    refusal, weeks = "null", ""
    if row["refusal"]:
        code, sentence = reasons.refusal(row["refusal"], locale)
        refusal = _json({"code": code, "sentence": sentence})
    else:
        weeks = _weeks(row, locale, unit)
    text = (
        f'{{"userId":{_json(user_id)},"planId":"{row["plan_id"]}","asOf":"{row["as_of"].astimezone(UTC).isoformat()}",'
        f'"generatedAt":"{row["generated_at"].astimezone(UTC).isoformat()}","engineVersion":{_json(row["engine_version"])},'
        f'"inputsHash":"{row["inputs_hash"] & (2**64 - 1):016x}","goal":"{GOALS[row["goal"]].value}",'
        f'"startsOn":"{row["starts_on"].isoformat()}","weightUnit":"{unit}","refusal":{refusal},"weeks":[{weeks}]}}'
    )
    return text.encode()


def _weeks(row: Mapping[str, Any], locale: str, unit: str) -> str:
    prescriptions = [_prescriptions(row, slot, locale, unit) for slot in range(len(row["exercise_key"]))]
    days, deload = row["session_day"], row["deload_week"] - 1
    names = [
        _json(splits.session_name(row["split"], len(days), number) if len(days) <= 6 else f"Session {number + 1}")
        for number in range(len(days))
    ]
    weeks = []
    for week in range(WEEKS):
        first, sessions = 0, []
        for number, slots in enumerate(row["session_slots"]):
            on = row["starts_on"] + timedelta(days=7 * week + days[number])
            exercises = ",".join([of_weeks[week] for of_weeks in prescriptions[first : first + slots]])
            sessions.append(
                f'{{"day":{on.isoweekday()},"date":"{on.isoformat()}","name":{names[number]},'
                f'"minutes":{row["session_minutes"][number][week]},"exercises":[{exercises}]}}'
            )
            first += slots
        weeks.append(f'{{"week":{week + 1},"isDeload":{"true" if week == deload else "false"},"sessions":[{",".join(sessions)}]}}')
    return ",".join(weeks)


def _prescriptions(row: Mapping[str, Any], slot: int, locale: str, unit: str) -> list[str]:
    """What is asked of one slot in each of the four weeks."""
    key, rep_min, rep_max, ramp = row["exercise_key"][slot], row["rep_min"][slot], row["rep_max"][slot], row["warmup_sets"][slot]
    head = _exercise(key)
    reps = f',"repsMin":{rep_min},"repsMax":{rep_max},"loadKg":'
    rest = f',"restSeconds":{row["rest_seconds"][slot]},"supersetGroup":{row["superset"][slot] or "null"},"warmupSets":'
    tail = _choices(row["exercise_reason"][slot], row["sets_reason"][slot], locale)
    sets, reserve, why = row["sets"][slot], row["reserve"][slot], row["load_reason"][slot]
    loads = [None if load is None or math.isnan(load) else round(load, 3) for load in row["load_kg"][slot]]
    out = []
    for week in range(WEEKS):
        load = loads[week]
        if why[week] == why[0] and not _is_about_the_week(why[0]):
            numbers = tuple([None if math.isnan(value) else value for value in row["numbers"][slot]])
            reason = _load_reason(why[0], numbers, locale, unit)
        else:
            reason = _week_reason(why[week], reserve[week], rep_min, rep_max, loads[max(week - 1, 0)], locale, unit)
        warmup = _warmup(key, load, rep_max, ramp, unit) if ramp and load is not None else "[]"
        out.append(
            f'{head}{sets[week]}{reps}{"null" if load is None else load},"rir":{reserve[week]}{rest}{warmup},"reason":{reason}{tail}'
        )
    return out


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=4096)
def _exercise(exercise_key: int) -> str:
    identity, name, measured_in = known_exercises().get(exercise_key, (str(exercise_key), "", "reps"))
    return f'{{"exerciseId":{_json(identity)},"name":{_json(name)},"measuredIn":{_json(measured_in)},"sets":'


@lru_cache(maxsize=4096)
def _choices(exercise_reason: int, sets_reason: int, locale: str) -> str:
    """Why this exercise, and why so many sets: the end of a prescription."""
    return f',"exerciseReason":{_plain_reason(exercise_reason, locale)},"setsReason":{_plain_reason(sets_reason, locale)}}}'


def _plain_reason(number: int, locale: str) -> str:
    reason = reasons.BY_NUMBER[number]
    return _json({"code": reason.code, "sentence": reason.sentences.get(locale, reason.sentences["en"])})


@lru_cache(maxsize=1024)
def _is_about_the_week(number: int) -> bool:
    return reasons.BY_NUMBER[number].code.startswith("week.")


@lru_cache(maxsize=65536)
def _load_reason(number: int, values: tuple[float | None, ...], locale: str, unit: str) -> str:
    """The first week's reason with the numbers that the engine stored."""
    named = zip(reasons.BY_NUMBER[number].numbers, values, strict=False)
    return _reason(number, {name: float(f"{value:.6g}") for name, value in named if value is not None}, locale, unit)


@lru_cache(maxsize=65536)
def _week_reason(number: int, reserve: int, rep_min: int, rep_max: int, load_before: float | None, locale: str, unit: str) -> str:
    """A later week's reason: its numbers are the plan's own."""
    numbers: dict[str, float] = {"reserve": reserve, "fewest_reps": rep_min, "most_reps": rep_max}
    if load_before is not None:
        numbers["load_kg"] = load_before
    return _reason(number, numbers, locale, unit)


def _reason(number: int, numbers: Mapping[str, float], locale: str, unit: str) -> str:
    return _json(
        {
            "code": reasons.BY_NUMBER[number].code,
            "numbers": {camel(name): value for name, value in numbers.items()},
            "sentence": reasons.sentence(number, numbers, locale, unit),
        }
    )


@lru_cache(maxsize=65536)
def _warmup(exercise_key: int, load: float, reps: int, sets: int, unit: str) -> str:
    """The warm-up sets before a load."""
    lightest, step = _warmup_grid(exercise_key, unit)
    ramp = warmups.ramp(load, reps, step=step, lightest=lightest, sets=sets)
    return _json([{"loadKg": round(kg, 3), "reps": done} for kg, done in ramp])


@lru_cache(maxsize=2048)
def _warmup_grid(exercise_key: int, unit: str) -> tuple[float, float]:
    table, row = movements(load_catalogue()), int(load_catalogue().rows_of([exercise_key])[0])
    if unit == "lb":
        return float(table.lightest_lb[row]) * KG_PER_LB, float(table.step_lb[row]) * KG_PER_LB
    return float(table.lightest_kg[row]), float(table.step_kg[row])
