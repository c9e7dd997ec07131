"""Profile columns made usable: unknown words get their default, absurd numbers are unknown; where in a mesocycle each user stands."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.planning import layoff, limits
from domain.planning.batch import WEEKS
from domain.planning.inputs import GOALS, LEVELS, NO_DATE, SEXES, PlanningInputs
from domain.vocabulary import ExperienceLevel, Goal

LONGEST_SESSION_MINUTES: Final = 180
RESTART_AFTER_WEEKS: Final = 3.0
POOR_ADHERENCE: Final = 0.5
JUDGED_DAYS: Final = 28
JUDGED_BITS: Final = np.uint32(((1 << JUDGED_DAYS) - 1) << 1)
BUILDING_WEEKS: Final = 3
TIRED_DROP: Final = 0.97
GENERAL: Final = GOALS.index(Goal.GENERAL_FITNESS)
BEGINNER: Final = LEVELS.index(ExperienceLevel.BEGINNER)


@dataclass(frozen=True)
class Profiles:
    """Profile columns made usable: unknown codes have their default, absurd numbers are unknown."""

    goal: NDArray[np.int8]
    experience: NDArray[np.int8]
    sex: NDArray[np.int8]
    """-1 unknown."""
    age: NDArray[np.float32]
    """Years at the reference day; NaN unknown, as is body weight."""
    body_weight: NDArray[np.float32]
    days: NDArray[np.int8]
    """1-6."""
    no_days: NDArray[np.bool_]
    minutes: NDArray[np.int16]
    weekday_mask: NDArray[np.uint8]
    equipment: NDArray[np.uint32]
    caution: NDArray[np.uint16]
    avoid: NDArray[np.uint16]
    returning: NDArray[np.uint16]
    """Areas that come back after a limitation; 0 where that was long ago."""
    weeks_back: NDArray[np.int8]
    """Since their limitation ended; -1 where nothing comes back."""
    weeks_off: NDArray[np.float32]
    """Since the last training, at the reference day; 0 for who never trained."""
    starts_on: NDArray[np.int32]
    mesocycle_started_on: NDArray[np.int32]
    phase: NDArray[np.int8]
    reference: NDArray[np.int32]
    low_adherence: NDArray[np.bool_]

    @classmethod
    def of(cls, inputs: PlanningInputs) -> "Profiles":
        goal = np.where((inputs.goal >= 0) & (inputs.goal < len(GOALS)), inputs.goal, GENERAL).astype(np.int8)
        experience = np.where((inputs.experience >= 0) & (inputs.experience < len(LEVELS)), inputs.experience, BEGINNER).astype(np.int8)
        sex = np.where((inputs.sex >= 0) & (inputs.sex < len(SEXES)), inputs.sex, -1).astype(np.int8)
        days = np.clip(inputs.days_per_week, 1, 6).astype(np.int8)
        last = _last_training(inputs)
        starts_on, mesocycle, phase, reference, weeks_off = _calendar(inputs, goal, last)
        weeks_back = limits.weeks_back(inputs.limits_returning, inputs.limits_eased_on, reference)
        year = 1970 + reference / 365.2425
        age = np.where(inputs.birth_year > 0, year - inputs.birth_year, np.nan).astype(np.float32)
        age = np.where((age >= 8) & (age <= 110), age, np.float32(np.nan)).astype(np.float32)
        weight = np.where((inputs.body_weight_kg >= 25) & (inputs.body_weight_kg <= 400), inputs.body_weight_kg, np.float32(np.nan))
        return cls(
            goal=goal,
            experience=experience,
            sex=sex,
            age=age,
            body_weight=weight.astype(np.float32),
            days=days,
            no_days=inputs.days_per_week < 1,
            minutes=np.clip(inputs.session_minutes, 0, LONGEST_SESSION_MINUTES).astype(np.int16),
            weekday_mask=(inputs.weekdays & 127).astype(np.uint8),
            equipment=inputs.equipment,
            avoid=inputs.limits_avoid,
            caution=inputs.limits_caution,
            returning=np.where(weeks_back >= 0, inputs.limits_returning, 0).astype(np.uint16),
            weeks_back=weeks_back,
            weeks_off=weeks_off,
            starts_on=starts_on,
            mesocycle_started_on=mesocycle,
            phase=phase,
            reference=reference,
            low_adherence=_low_adherence(inputs, days, starts_on),
        )

    def take(self, users: NDArray[np.intp]) -> "Profiles":
        return Profiles(**{name: getattr(self, name)[users] for name in self.__dataclass_fields__})

    def of_users(self, start: int, stop: int) -> "Profiles":
        return Profiles(**{name: getattr(self, name)[start:stop] for name in self.__dataclass_fields__})


def _last_training(inputs: PlanningInputs) -> NDArray[np.int32]:
    """Date of each user's last session of anything; NO_DATE without one. Dates after today don't count."""
    history = inputs.history
    if not len(history):
        return np.full(len(inputs), NO_DATE, dtype=np.int32)
    newest = history.session_on[:, 0]
    owner = np.repeat(np.arange(len(inputs)), np.diff(history.offsets))
    newest = np.where(newest > inputs.today[owner], NO_DATE, newest)
    padded = np.append(newest, NO_DATE)
    last = np.maximum.reduceat(padded, np.minimum(history.offsets[:-1], len(newest)))
    return np.where(np.diff(history.offsets) > 0, last, NO_DATE).astype(np.int32)


def _low_adherence(inputs: PlanningInputs, days: NDArray[np.int8], starts_on: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether fewer than half of the building weeks' sessions of the last four weeks before the plan's start were done for certain.

    Judged only where a mesocycle ran that long, so that one of the weeks was its deload, which the log leaves out. The plan's days
    count, not those asked for. A day with any logged exercise is a session. The log holds the last `SESSIONS_KEPT` sessions of
    each exercise, so of an exercise with so many nothing is known of the days before the oldest: each of those may have been a
    session and counts as one. Nobody who did half is judged low, and the count never falls when newer sessions push older ones out.
    """
    judged = (inputs.mesocycle_started_on > NO_DATE) & (inputs.mesocycle_started_on <= starts_on - JUDGED_DAYS)
    if not judged.any():
        return judged
    history = inputs.history
    if not len(history):
        return judged
    back = np.repeat(starts_on, np.diff(history.offsets))[:, None] - history.session_on
    inside = (back >= 1) & (back <= JUDGED_DAYS)
    day_bits = np.where(inside, np.left_shift(np.uint32(1), np.where(inside, back, 0).astype(np.uint32)), np.uint32(0))
    # Bit d is the day d days before the start. Where a row isn't full, its oldest is NO_DATE, far before the window.
    of_row = np.left_shift(JUDGED_BITS, np.clip(back[:, -1], 0, JUDGED_DAYS).astype(np.uint32)) & JUDGED_BITS
    for place in range(day_bits.shape[1]):
        of_row = of_row | day_bits[:, place]
    of_user = np.bitwise_or.reduceat(np.append(of_row, np.uint32(0)), np.minimum(history.offsets[:-1], len(of_row)))
    possible = np.where(np.diff(history.offsets) > 0, np.bitwise_count(of_user), 0)
    return judged & (possible < days * BUILDING_WEEKS * POOR_ADHERENCE)


def _calendar(
    inputs: PlanningInputs, goal: NDArray[np.int8], last: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int8], NDArray[np.int32], NDArray[np.float32]]:
    """(first day of the plan, first day of the mesocycle, week of the mesocycle 0-3, reference day, weeks off).

    The plan covers four weeks from the start of the user's running week; the mesocycle runs on through new plans. It starts anew
    with the first plan, with another goal, and with each week that begins after three weeks off. A deload comes in its fourth
    week, or now, when most of what was trained lately got worse. Ages and breaks are counted to the *reference day*, the later
    of the week's start and the last training, so that a day on which nothing happens changes nothing in the plan.
    """
    today, started = inputs.today, inputs.mesocycle_started_on
    fresh = (started <= NO_DATE) | (started > today) | ((inputs.previous_goal >= 0) & (inputs.previous_goal != goal))
    started = np.where(fresh, today, started).astype(np.int32)
    week = (today - started) // 7
    starts_on = (started + week * 7).astype(np.int32)
    reference = np.maximum(starts_on, last).astype(np.int32)
    weeks_off = np.where(last > NO_DATE, (reference - last) / 7, 0).astype(np.float32)
    away = weeks_off >= RESTART_AFTER_WEEKS
    started = np.where(away, starts_on, started)
    phase = np.where(away, 0, week % WEEKS)
    tired = _tired(inputs, reference) & ((phase == 1) | (phase == 2) | fresh) & (weeks_off <= layoff.FREE_WEEKS)
    started = np.where(tired, starts_on - 21, started).astype(np.int32)
    phase = np.where(tired, 3, phase).astype(np.int8)
    return starts_on, started, phase, reference, weeks_off


def _tired(inputs: PlanningInputs, reference: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether at least two exercises, and half of those trained in the last two weeks, were worse twice in a row.

    Worse: both of the last two sessions' estimates at least 3 % below the best of the up to four before.
    """
    history = inputs.history
    if not len(history):
        return np.zeros(len(inputs), dtype=bool)
    owner = np.repeat(np.arange(len(inputs)), np.diff(history.offsets))
    recent = reference[owner] - history.session_on[:, 0] <= 14
    for place in range(3):
        recent &= history.e1rm_kg[:, place] > 0
    before = np.zeros(len(history), dtype=np.float32)
    for place in range(2, history.e1rm_kg.shape[1]):
        before = np.fmax(before, history.e1rm_kg[:, place])
    worse = recent & (np.maximum(history.e1rm_kg[:, 0], history.e1rm_kg[:, 1]) < before * np.float32(TIRED_DROP))
    running = np.concatenate([[0], np.cumsum(worse)])
    worse_count = running[history.offsets[1:]] - running[history.offsets[:-1]]
    running = np.concatenate([[0], np.cumsum(recent)])
    recent_count = running[history.offsets[1:]] - running[history.offsets[:-1]]
    return (worse_count >= 2) & (worse_count * 2 >= recent_count)
