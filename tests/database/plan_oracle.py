"""The document of a stored plan, written out plainly: what the joined fragments must equal."""

import math
from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Any

from database.plan_documents import known_exercises
from domain.exercises.catalogue import load_catalogue
from domain.planning import reasons, splits, warmups
from domain.planning.batch import WEEKS
from domain.planning.inputs import GOALS
from domain.planning.movements import movements
from domain.vocabulary import KG_PER_LB


def payload(row: Mapping[str, Any], *, locale: str = "en") -> dict[str, Any]:
    """A row of `plans.plans` as the API's JSON without `userId`, value by value."""
    refusal = None
    if row["refusal"]:
        code, sentence = reasons.refusal(row["refusal"], locale)
        refusal = {"code": code, "sentence": sentence}
    unit = "lb" if row["in_pounds"] else "kg"
    weeks = [_week(row, week, locale, unit) for week in range(WEEKS)] if refusal is None else []
    return {
        "planId": str(row["plan_id"]),
        "asOf": row["as_of"].astimezone(UTC).isoformat(),
        "generatedAt": row["generated_at"].astimezone(UTC).isoformat(),
        "engineVersion": row["engine_version"],
        "inputsHash": f"{row['inputs_hash'] & (2**64 - 1):016x}",
        "goal": GOALS[row["goal"]].value,
        "startsOn": row["starts_on"].isoformat(),
        "weightUnit": unit,
        "refusal": refusal,
        "weeks": weeks,
    }


def _week(row: Mapping[str, Any], week: int, locale: str, unit: str) -> dict[str, Any]:
    days = len(row["session_day"])
    first = 0
    sessions = []
    for number, (day, slots) in enumerate(zip(row["session_day"], row["session_slots"], strict=True)):
        on = row["starts_on"] + timedelta(days=7 * week + day)
        sessions.append(
            {
                "day": on.isoweekday(),
                "date": on.isoformat(),
                "name": splits.session_name(row["split"], days, number) if days <= 6 else f"Session {number + 1}",
                "minutes": row["session_minutes"][number][week],
                "exercises": [_exercise(row, slot, week, locale, unit) for slot in range(first, first + slots)],
            }
        )
        first += slots
    return {"week": week + 1, "isDeload": week + 1 == row["deload_week"], "sessions": sessions}


def _exercise(row: Mapping[str, Any], slot: int, week: int, locale: str, unit: str) -> dict[str, Any]:
    identity, name, measured_in = known_exercises().get(row["exercise_key"][slot], (str(row["exercise_key"][slot]), "", "reps"))
    load = row["load_kg"][slot][week]
    load = None if load is None or math.isnan(load) else round(float(load), 3)
    rep_min, rep_max, reserve = row["rep_min"][slot], row["rep_max"][slot], row["reserve"][slot][week]
    why = row["load_reason"][slot][week]
    reason = reasons.BY_NUMBER[why]
    if why == row["load_reason"][slot][0] and not (reason.code.startswith("week.")):
        numbers = dict(zip(reason.numbers, (float(f"{value:.6g}") for value in row["numbers"][slot]), strict=False))
    else:
        before = row["load_kg"][slot][max(week - 1, 0)]
        numbers = {"reserve": reserve, "fewest_reps": rep_min, "most_reps": rep_max}
        if before is not None and not math.isnan(before):
            numbers["load_kg"] = round(float(before), 3)
    numbers = {name: value for name, value in numbers.items() if not (isinstance(value, float) and math.isnan(value))}
    ramp = _warmups(row, slot, load, rep_max, unit)
    return {
        "exerciseId": identity,
        "name": name,
        "measuredIn": measured_in,
        "sets": row["sets"][slot][week],
        "repsMin": rep_min,
        "repsMax": rep_max,
        "loadKg": load,
        "rir": reserve,
        "restSeconds": row["rest_seconds"][slot],
        "supersetGroup": row["superset"][slot] or None,
        "warmupSets": ramp,
        "reason": {
            "code": reason.code,
            "numbers": {_camel(name): value for name, value in numbers.items()},
            "sentence": reasons.sentence(why, numbers, locale, unit),
        },
        "exerciseReason": _plain_reason(row["exercise_reason"][slot], locale),
        "setsReason": _plain_reason(row["sets_reason"][slot], locale),
    }


def _warmups(row: Mapping[str, Any], slot: int, load: float | None, reps: int, unit: str) -> list[dict[str, Any]]:
    count = row["warmup_sets"][slot]
    if load is None or not count:
        return []
    lightest, step = _warmup_grid(row["exercise_key"][slot], unit)
    return [{"loadKg": round(kg, 3), "reps": done} for kg, done in warmups.ramp(load, reps, step=step, lightest=lightest, sets=count)]


def _warmup_grid(exercise_key: int, unit: str) -> tuple[float, float]:
    table, row = movements(load_catalogue()), int(load_catalogue().rows_of([exercise_key])[0])
    if unit == "lb":
        return float(table.lightest_lb[row]) * KG_PER_LB, float(table.step_lb[row]) * KG_PER_LB
    return float(table.lightest_kg[row]), float(table.step_kg[row])


def _plain_reason(number: int, locale: str) -> dict[str, str]:
    reason = reasons.BY_NUMBER[number]
    return {"code": reason.code, "sentence": reason.sentences.get(locale, reason.sentences["en"])}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
