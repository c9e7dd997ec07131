"""When simulated people train, what they lift, how they get stronger, stall, stop and come back."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from domain.exercises.catalogue import Catalogue
from domain.simulation.columns import Columns, instants, text
from domain.simulation.onboarding import Journeys
from domain.simulation.people import DAY, HOUR, SECOND, TIME_ZONES, People, Period, Traits, ZoneOffsets
from domain.simulation.programme import (
    ERA_WEEKS,
    SESSIONS,
    SLOTS,
    Choices,
    dislikes,
    exercise_count,
    exercises_of,
    repetition_range,
    session_of,
)
from domain.simulation.randomness import below, normal, then, uniform
from domain.vocabulary import KG_PER_LB, Equipment, LoadType, SetType

SOURCE: Final = b"simulation"
CUSTOM_NAMES: Final = (
    "Uncle Bob's Row",
    "Cable Thing by the Window",
    "Physio Drill 2",
    "Garage Sled Substitute",
    "Rope Finisher",
    "Old Machine in the Corner",
    "Towel Grip Special",
    "Sandbag Shouldering Complex",
)
"""What people name exercises of their own; none means anything in the catalogue."""
HAVE_CUSTOM: Final = 0.07
WORKOUT_NOTES: Final = ("Felt strong today", "Slept badly", "Gym was packed, swapped the order", "Knee a bit sore", "New shoes!")
SET_NOTES: Final = ("grip slipped", "last one was ugly", "easy", "paused reps")
BREAK_WINDOW: Final = 112
"""In each stretch of so many days most people have one break."""
MOVES: Final = 0.03
"""Share of people who move to another time zone."""

LEVEL_STRENGTH: Final = np.array([1.1, 1.55, 1.95])
"""Strength at sign-up by level, as a multiple of the catalogue's cold start."""
LEVEL_GAIN: Final = np.array([0.42, 0.18, 0.07])
"""What somebody gains in the long run by training, and below over how many weeks most of it."""
GAIN_WEEKS: Final = np.array([20.0, 26.0, 34.0])
LOAD_STEP: Final = 0.04
"""People raise a load when they have become this much stronger, and until then do more repetitions."""


@dataclass(frozen=True)
class Calendar:
    """One entry per workout, in order of user and start."""

    user: NDArray[np.intp]
    """Position of the user in the block."""
    start: NDArray[np.int64]
    """Microseconds since 1970."""
    turn: NDArray[np.int64]
    """Number of the workout among the user's, from 0."""
    weeks: NDArray[np.float64]
    """Weeks of training behind it: breaks of more than ten days take some back."""


@dataclass(frozen=True)
class Training:
    """Rows of `app.workouts`, `app.workout_sets` and custom exercises; `user` is the position in the block, `workout` a row of workouts.

    A set's `exercise_key` is the catalogue's, or -1 - row of `custom_exercises`.
    """

    workouts: Columns
    sets: Columns
    custom_exercises: Columns
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    """Microseconds since 1970, by what really happened (an app that was left running knows it later)."""
    user: NDArray[np.intp]


def final_zone(people: People, period: Period) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Index of the zone that each user lives in at the end, and since when (microseconds)."""
    moves = uniform(then(people.bits, 400)) < MOVES
    at = people.instant + (uniform(then(people.bits, 401)) * (period.until - people.instant)).astype(np.int64)
    elsewhere = (people.zone + 1 + below(then(people.bits, 402), len(TIME_ZONES) - 1)) % len(TIME_ZONES)
    return np.where(moves, elsewhere, people.zone), np.where(moves, at, period.until)


def plan_calendar(people: People, traits: Traits, journeys: Journeys, period: Period, offsets: ZoneOffsets) -> Calendar:
    """All workouts that everybody starts until the end of the period."""
    person, count = people.bits, len(people)
    finished = journeys.finished_at >= 0
    trains = np.where(finished, uniform(then(person, 410)) < 0.87, uniform(then(person, 410)) < 0.06) | people.is_named
    begin = np.where(finished, journeys.finished_at, people.instant)
    first_day = begin // DAY + np.where(people.is_named, 0, below(then(person, 411), 4))
    # Some try it for two weeks; the others stay for half a year or more, on average.
    quits_early = uniform(then(person, 412)) < 0.16
    stays = np.where(quits_early, 2 + 12 * uniform(then(person, 413)), 14 - np.log1p(-uniform(then(person, 413))) * 230)
    last_day = np.where(people.is_named, np.iinfo(np.int64).max, first_day + stays.astype(np.int64))

    day = period.first_day + np.arange(period.days)[None, :]
    since = day - first_day[:, None]
    on = trains[:, None] & (since >= 0) & (day <= last_day[:, None])
    weekday = (day + 3) % 7  # 1970 began on a Thursday
    planned = np.take_along_axis(traits.weekdays, np.broadcast_to(weekday, (count, period.days)), axis=1)
    daily = then(person[:, None], 414, day)
    luck = uniform(daily)
    on &= np.where(planned, luck < traits.steadiness[:, None], luck < 0.04)
    window = then(person[:, None], 415, np.maximum(since, 0) // BREAK_WINDOW)
    begins = uniform(then(window, 0)) * (BREAK_WINDOW - 20)
    lasts = np.where(uniform(then(window, 1)) < 0.55, np.minimum(11 * np.exp(0.7 * normal(then(window, 2))), 75), 0)
    within = np.maximum(since, 0) % BREAK_WINDOW
    on &= ~((within >= begins) & (within < begins + lasts)) | people.is_named[:, None]

    user, column = np.nonzero(on)
    # A few come back in the evening of the same day.
    twice = uniform(then(daily[user, column], 1)) < 0.006
    user, column = np.concatenate([user, user[twice]]), np.concatenate([column, column[twice]])
    second = np.arange(len(user)) >= len(twice)
    bits = then(daily[user, column], 2, second)
    habit = uniform(then(person, 416))
    hour = np.where(habit < 0.57, 18.2, np.where(habit < 0.82, 6.9, 12.4)) + 0.9 * normal(then(person, 417))
    hour = np.clip(hour[user] + 0.6 * normal(bits) + 4.5 * second, 0.05, 23.9)
    zone, moved_at = final_zone(people, period)
    local = (period.first_day + column) * DAY + (hour * HOUR).astype(np.int64)
    lives_in = np.where(local >= moved_at[user], zone[user], people.zone[user])
    start = local - offsets.at(lives_in, local)
    start -= start % SECOND
    kept = (start > begin[user] + 5 * 60 * SECOND) & (start < period.until)
    user, start = user[kept], start[kept]
    order = np.lexsort((start, user))
    user, start = user[order], start[order]
    first = np.searchsorted(user, np.arange(count))
    turn = np.arange(len(user)) - first[user]

    gap = np.diff(start, prepend=start[:1]) / DAY
    gap[turn == 0] = 0
    step = np.minimum(gap, 10) - 0.35 * np.maximum(gap - 10, 0)
    total = np.cumsum(step)
    weeks = (total - total[first[user]] if len(user) else total) / 7
    return Calendar(user, start, turn, np.maximum(weeks, -3))


def train(
    people: People, traits: Traits, journeys: Journeys, period: Period, offsets: ZoneOffsets, catalogue: Catalogue, choices: Choices
) -> Training:
    """Everything that a block of users did until the end of the period."""
    calendar = plan_calendar(people, traits, journeys, period, offsets)
    user, workout_bits = calendar.user, then(people.bits[calendar.user], 420, calendar.start // SECOND)
    session = session_of(traits, user, calendar.turn)
    disliked = dislikes(catalogue, people.bits)
    era = (np.maximum(calendar.weeks, 0) // ERA_WEEKS).astype(np.int64)
    chosen = exercises_of(catalogue, choices, traits, people.bits, user, session, era, disliked)
    slot_number = np.broadcast_to(np.arange(SLOTS)[None, :], chosen.shape)
    wanted = slot_number < exercise_count(traits, user, then(workout_bits, 1))[:, None]
    has_custom = uniform(then(people.bits, 421)) < HAVE_CUSTOM
    custom = has_custom[user][:, None] & (slot_number == 3) & (uniform(then(workout_bits, 2)) < 0.6)[:, None]
    forgotten = uniform(then(workout_bits, 3)) < 0.003  # started by mistake: no set at all
    there = wanted & ((chosen >= 0) | custom) & ~forgotten[:, None]

    sets, seconds_of_workout = _lift(people, traits, calendar, chosen, custom, there, workout_bits, catalogue)
    users_with_custom = np.flatnonzero(has_custom)
    row_of_user = np.full(len(people), -1, dtype=np.int64)
    row_of_user[users_with_custom] = np.arange(len(users_with_custom))
    is_custom = sets["exercise_key"] < 0
    sets["exercise_key"][is_custom] = (-1 - row_of_user[user[sets["workout"][is_custom]]]).astype(np.int32)
    custom_exercises = {
        "user": users_with_custom,
        "name": text(CUSTOM_NAMES)[below(then(people.bits[users_with_custom], 422), len(CUSTOM_NAMES))],
    }
    workouts, end = _workouts(people, calendar, session, seconds_of_workout, workout_bits, period)
    # A workout that is still going on at the end of the period isn't there yet.
    done = end <= period.until
    row = np.cumsum(done) - 1
    kept = done[sets["workout"]]
    sets = {name: column[kept] for name, column in sets.items()}
    sets["workout"] = row[sets["workout"]]
    return Training(
        workouts={name: column[done] for name, column in workouts.items()},
        sets=sets,
        custom_exercises=custom_exercises,
        start=calendar.start[done],
        end=end[done],
        user=user[done],
    )


def _lift(
    people: People,
    traits: Traits,
    calendar: Calendar,
    chosen: NDArray[np.int64],
    custom: NDArray[np.bool_],
    there: NDArray[np.bool_],
    workout_bits: NDArray[np.uint64],
    catalogue: Catalogue,
) -> tuple[Columns, NDArray[np.int64]]:
    """All sets, in order of workout and position, and the seconds that each workout takes."""
    words = catalogue.frame
    workout, slot = np.nonzero(there)
    user, weeks = calendar.user[workout], calendar.weeks[workout]
    is_custom = custom[workout, slot]
    row = np.where(is_custom, 0, chosen[workout, slot])
    bits = then(workout_bits[workout], 10, slot)
    key = np.where(is_custom, -1, catalogue.exercise_key[row])
    habit = then(people.bits[user], 423, np.where(is_custom, 0, key))  # what doesn't change for a user and an exercise

    def of_exercise(column: str, of_custom: Any) -> NDArray[Any]:
        return np.where(is_custom, of_custom, words[column].to_numpy()[row])

    external = of_exercise("load_type", "external") == LoadType.EXTERNAL
    assisted = of_exercise("load_type", "external") == LoadType.ASSISTED
    on_body = of_exercise("load_type", "external") == LoadType.BODYWEIGHT
    by_seconds = of_exercise("measured_in", "reps") == "seconds"
    by_meters = of_exercise("measured_in", "reps") == "meters"
    by_reps = ~by_seconds & ~by_meters
    is_compound = of_exercise("is_compound", False).astype(bool)
    pounds = traits.in_pounds[user]
    step = np.where(pounds, of_exercise("step_lb", 5.0), of_exercise("step_kg", 2.5))
    unit = np.where(pounds, KG_PER_LB, 1.0)
    lowest, highest = repetition_range(traits, user, slot, is_compound)

    # Strength: a start that fits body, level and talent; gains that flatten out, with plateaus on the way; a form of the day.
    level = traits.level[user]
    gain = LEVEL_GAIN[level] * (0.6 + 0.8 * uniform(then(people.bits, 424)))[user]
    wave = 1.9 * np.sin(2 * np.pi * (weeks / (8 + 5 * uniform(then(habit, 1))) + uniform(then(habit, 2))))
    progress = gain * -np.expm1(-(weeks + wave + 2) / GAIN_WEEKS[level])
    ratio = np.where(traits.is_female[user], of_exercise("cold_start_ratio_female", 0.16), of_exercise("cold_start_ratio", 0.25))
    base = traits.body_weight_kg[user] * ratio * LEVEL_STRENGTH[level] * traits.talent[user] * np.exp(0.1 * normal(habit))
    strength = base * (1 + progress)
    today = strength * np.exp(0.022 * normal(then(bits, 1)))

    # Load: what allows the lowest repetitions at the strength that the user knows of, in steps that the gym has.
    spare = 1 + below(then(people.bits, 425), 3)[user]
    phase = uniform(then(habit, 3))
    known = np.exp((np.floor(np.log(np.maximum(strength, 1e-6)) / LOAD_STEP + phase) - phase) * LOAD_STEP)
    wished = known / (1 + (lowest + spare) / 30)
    barbell = of_exercise("equipment", "") == Equipment.BARBELL
    bar = np.where(pounds, 45.0, 20.0)
    least = np.where(barbell & is_compound, bar, np.where(barbell, np.where(pounds, 25.0, 10.0), step))
    safe_step = np.where(step > 0, step, 1.0)
    load = np.maximum(np.rint(wished / unit / safe_step) * step, least) * unit
    by_load = external & (step > 0) & (ratio > 0)
    too_heavy = by_load & by_reps & (load > 0.97 * strength)

    body_capacity = (
        np.where(is_compound, 9.0, 16.0) * (0.6 + 0.45 * LEVEL_STRENGTH[level]) * traits.talent[user] ** 2 * (1 + 2.2 * progress)
    )
    body_capacity *= np.exp(0.25 * normal(then(habit, 4)) + 0.05 * normal(then(bits, 1)))
    added = np.where(on_body & (step > 0) & (body_capacity > 16), np.rint((body_capacity - 14) / 3) * step * unit, 0.0)
    writes_zero = uniform(then(people.bits, 426)) < 0.5
    help_kg = np.maximum(traits.body_weight_kg[user] * np.where(ratio > 0, ratio, 0.3) * (1 - progress) / unit, 5)
    help_kg = np.where(step > 0, np.rint(help_kg / safe_step) * step * unit, np.nan)
    weight = np.full(len(row), np.nan)
    weight = np.where(external & (step > 0), np.where(ratio > 0, load, np.maximum(step * 2, least) * unit), weight)
    weight = np.where(on_body & by_reps, np.where(added > 0, added, np.where(writes_zero[user], 0.0, np.nan)), weight)
    weight = np.where(assisted, help_kg, weight)

    # Sets per exercise: warm-ups ahead of heavy compound lifts, then working sets.
    cardio = by_seconds & (of_exercise("equipment", "") == Equipment.CARDIO_MACHINE)
    # Below three steps a lighter set would round to the same load.
    warms = by_load & by_reps & is_compound & (load >= 2.99 * step * unit) & (slot < 2) & (uniform(then(people.bits, 427)) < 0.75)[user]
    warm_up_sets = np.where(warms, np.where(load >= 2.2 * least * unit, 3, np.where(load > 1.4 * least * unit, 2, 0)), 0)
    working_sets = np.where(cardio, 1, np.where(slot == 0, 3 + below(then(habit, 5), 3), 2 + below(then(habit, 5), 3)))
    working_sets = np.maximum(working_sets - (uniform(then(bits, 2)) < 0.08), 1)
    working_sets = np.where(too_heavy, 0, working_sets)
    warm_up_sets = np.where(too_heavy, 0, warm_up_sets)
    each = warm_up_sets + working_sets

    # From here on one entry per set; `of` is its row above.
    of = np.repeat(np.arange(len(row)), each)
    ahead = np.cumsum(each) - each
    number = np.arange(len(of)) - ahead[of]
    is_warm_up = number < warm_up_sets[of]
    turn = number - warm_up_sets[of]
    last = turn == working_sets[of] - 1
    set_bits = then(bits[of], 20, number)
    ramps = (uniform(then(people.bits, 428)) < 0.18)[user] & (slot == 0) & by_load & by_reps
    share = np.where(is_warm_up, 0.4 + 0.2 * (number + 3 - warm_up_sets[of]), 1.0)
    share = np.where(ramps[of] & ~is_warm_up, 1 - 0.05 * (working_sets[of] - 1 - turn), share)
    drops = (
        last & ~is_warm_up & (working_sets[of] >= 3) & by_load[of] & by_reps[of] & ~is_compound[of] & (uniform(then(set_bits, 1)) < 0.12)
    )
    share = np.where(drops, 0.72, share)
    lightened = np.maximum(np.rint(weight[of] * share / unit[of] / safe_step[of]) * step[of], least[of]) * unit[of]
    set_weight = np.where(share != 1.0, lightened, weight[of])
    capacity = today[of] * 0.985 ** np.maximum(turn, 0) * np.exp(0.01 * normal(then(set_bits, 2)))
    possible = 30 * (capacity / np.maximum(set_weight, 0.1) - 1)
    possible = np.where(by_load[of], possible, body_capacity[of] * 0.9 ** np.maximum(turn, 0) - np.where(added[of] > 0, 8, 0))
    possible = np.where(assisted[of], highest[of] - 1 + 3 * normal(then(set_bits, 3)), possible)
    possible = np.maximum(possible, 1.0)
    fails = last & ~drops & ~is_warm_up & by_reps[of] & (uniform(then(set_bits, 4)) < 0.04)
    reps = np.clip(np.floor(possible - spare[of]), np.maximum(lowest[of] - 3, 1), highest[of])
    reps = np.where(fails, np.minimum(np.floor(possible), highest[of] + 4), np.minimum(reps, np.maximum(np.floor(possible), 1)))
    reps = np.where(is_warm_up, np.maximum(10 - 2 * (number + 3 - warm_up_sets[of]), 3), reps)
    light = by_reps & ~by_load & ~on_body & ~assisted
    reps = np.where(light[of] & ~is_warm_up, lowest[of] + below(then(set_bits, 5), 9) + 2, reps)
    reps = np.clip(reps, 1, 60).astype(np.int16)
    effort = np.clip(np.rint((10 - (possible - reps)) * 2) / 2, 6, 10)
    logs_effort = (uniform(then(people.bits, 429)) < 0.36)[user][of] & (uniform(then(set_bits, 6)) < 0.85)
    logs_effort &= ~is_warm_up & by_reps[of] & (by_load | on_body)[of]

    hold = np.rint((25 + 50 * uniform(habit)) * (1 + progress) / 5)[of] * 5
    ride = np.rint(600 + 1500 * uniform(habit))[of] + np.rint(60 * normal(set_bits))
    span = np.where(cardio[of], ride, hold)
    speed = (2.1 + 1.2 * uniform(then(habit, 6)))[of]
    knows_distance = (uniform(then(habit, 7)) < 0.5)[of]
    distance = np.where(cardio[of] & knows_distance, np.rint(ride * speed), np.where(by_meters[of], 20 + 10 * below(habit, 4)[of], np.nan))
    rest = np.array([150.0, 105.0, 80.0])[np.where(slot == 0, 0, np.where(is_compound, 1, 2))][of]
    takes = np.where(cardio[of], ride, 12 + 3.5 * np.where(by_reps[of], reps, 8) + rest * (0.7 + 0.6 * uniform(then(set_bits, 7))))

    supersets = (uniform(then(people.bits, 430)) < 0.06)[user] & (slot >= 4)
    kinds = list(SetType)
    kind = np.where(
        is_warm_up,
        kinds.index(SetType.WARMUP),
        np.where(drops, kinds.index(SetType.DROP), np.where(fails, kinds.index(SetType.FAILURE), kinds.index(SetType.NORMAL))),
    )
    noted = np.where(uniform(then(set_bits, 8)) < 0.003, below(then(set_bits, 9), len(SET_NOTES)), len(SET_NOTES))
    in_workout = workout[of]
    first = np.searchsorted(in_workout, np.arange(len(calendar.user)))
    sets: Columns = {
        "workout": in_workout.astype(np.int64),
        "position": (np.arange(len(of)) - first[in_workout]).astype(np.int16),
        "exercise_key": key[of].astype(np.int32),
        "set_type": text([each.value for each in kinds])[kind],
        "weight_kg": set_weight,
        "reps": np.where(by_reps[of], reps, -1).astype(np.int16),
        "duration_seconds": np.where(by_seconds[of], span, np.nan).astype(np.float32),
        "distance_m": distance.astype(np.float64),
        "rpe": np.where(logs_effort, effort, np.nan).astype(np.float32),
        "superset": np.where(supersets[of], 1, -1).astype(np.int16),
        "notes": text([*SET_NOTES, ""])[noted],
    }
    seconds = np.bincount(in_workout, weights=takes, minlength=len(calendar.user))
    return sets, seconds.astype(np.int64)


def _workouts(
    people: People, calendar: Calendar, session: NDArray[np.int64], seconds: NDArray[np.int64], bits: NDArray[np.uint64], period: Period
) -> tuple[Columns, NDArray[np.int64]]:
    """Rows of `app.workouts`, and when each really ended."""
    user, start = calendar.user, calendar.start
    lasts = 240 + seconds + below(then(bits, 4), 300)
    end = start + lasts * SECOND
    left_running = uniform(then(bits, 5)) < 0.012
    shown = np.where(left_running, lasts + 6 * 3600 + below(then(bits, 6), 14 * 3600), lasts)
    # Left running until after the end of the period: nobody knows yet how long.
    unknown = (uniform(then(bits, 7)) < 0.02) | (start + shown * SECOND > period.until)
    offline = uniform(then(bits, 8)) < 0.05
    arrives = end + np.where(offline, (uniform(then(bits, 9)) * 40 * HOUR).astype(np.int64), 2 * SECOND)
    created = np.minimum(arrives, period.until)
    regrets = uniform(then(bits, 10)) < 0.018
    deleted = created + (uniform(then(bits, 11)) ** 3 * 6 * DAY).astype(np.int64)
    regrets &= (deleted <= period.until) & ~(people.is_named[user] & (calendar.turn < 3))
    names_them = uniform(then(people.bits, 431)) < 0.7
    noted = np.where(uniform(then(bits, 12)) < 0.02, below(then(bits, 13), len(WORKOUT_NOTES)), len(WORKOUT_NOTES))
    workouts: Columns = {
        "user": user.astype(np.int64),
        "started_at": instants(start),
        "duration_seconds": np.where(unknown, -1, shown).astype(np.int32),
        "source": np.full(len(user), SOURCE),
        "name": np.where(names_them[user], text([name for name, _ in SESSIONS])[session], b""),
        "notes": text([*WORKOUT_NOTES, ""])[noted],
        "deleted_at": instants(np.where(regrets, deleted, -1)),
        "created_at": instants(created),
        "updated_at": instants(np.where(regrets, deleted, created)),
    }
    return workouts, end
