"""The simulated population: blocks of users with everything that the app would have written about them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from domain.exercises.catalogue import Catalogue, load_catalogue
from domain.simulation import onboarding
from domain.simulation.columns import Columns, concatenate, frame, instants, rows_of, text
from domain.simulation.people import (
    CHANNELS,
    KITS,
    NAMED_USERS,
    TIME_ZONES,
    People,
    Period,
    Traits,
    ZoneOffsets,
    traits,
    users,
    visitors,
)
from domain.simulation.people import GOALS as GOAL_SHARES
from domain.simulation.people import LEVELS as LEVEL_SHARES
from domain.simulation.programme import Choices, dislikes, favourites
from domain.simulation.randomness import then, uniform
from domain.simulation.training import final_zone, train
from domain.simulation.usage import first_weeks, openings
from domain.vocabulary import BodyArea, OnboardingStep

BLOCK_USERS = 2000
"""Users per block: enough that numpy's calls cost nothing, few enough that a process stays below 500 MB however many users there are."""


@dataclass(frozen=True)
class Population:
    """A block of users. Tables have the names and columns of the app's; keys are positions in the block:

    `user` is a row of `users` (-1: nobody known yet), `workout` a row of `workouts`, a set's `exercise_key` the catalogue's or
    -1 - row of `custom_exercises`. Text is ASCII bytes, empty text and negative whole numbers are null (`columns`).
    """

    first_user: int
    users: Columns
    profiles: Columns
    custom_exercises: Columns
    workouts: Columns
    sets: Columns
    identity_links: Columns
    onboarding_events: Columns
    usage_events: Columns

    def __len__(self) -> int:
        return rows_of(self.users)

    def frame(self, table: str) -> pd.DataFrame:
        """One of the tables with text decoded and nulls as pandas has them."""
        return frame(getattr(self, table))


def simulate(
    users: int,
    months: float = 6,
    seed: int = 1,
    until: datetime | None = None,
    *,
    block_users: int = BLOCK_USERS,
    first_user: int = 0,
    catalogue: Catalogue | None = None,
) -> Iterator[Population]:
    """Users number `first_user` … `first_user + users - 1` and what they did in the `months` before `until`, in blocks.

    The same seed, months and until give the same bytes; a user's rows depend on nothing but these and the user's number, so neither
    the size of blocks nor the number of users matters. Users 0 and 1 are `test_user` and `test`. Nothing happens after `until`
    (an instant with a time zone; required, because nothing here reads the clock).

    Raises:
        ValueError: no `until`, an `until` without time zone, or a number of users, months or block size that makes no sense.
    """
    if until is None:
        raise ValueError("Say until when to simulate: nothing here reads the clock.")
    if users < 0 or block_users < 1 or first_user < 0:
        raise ValueError(f"Can't simulate {users} users from number {first_user} in blocks of {block_users}.")
    period = Period.ending(until, months)
    offsets = ZoneOffsets.over(period)
    book = catalogue or load_catalogue()
    return _blocks(users, seed, block_users, first_user, period, offsets, book, Choices.of(book))


def _blocks(
    count: int, seed: int, block_users: int, first_user: int, period: Period, offsets: ZoneOffsets, catalogue: Catalogue, choices: Choices
) -> Iterator[Population]:
    for start in range(first_user, first_user + count, block_users):
        size = min(block_users, first_user + count - start)
        yield _block(seed, start, size, period, offsets, catalogue, choices)


def _block(seed: int, first: int, count: int, period: Period, offsets: ZoneOffsets, catalogue: Catalogue, choices: Choices) -> Population:
    people = users(seed, first, count, period, offsets)
    who = traits(people, period)
    journeys, events = onboarding.walk(people, period, have_account=True)
    weights = [share * onboarding.CHANNEL_FACTOR[name] for name, share in CHANNELS.items()]
    lost = visitors(seed, people, onboarding.LOST_PER_USER, weights, period, offsets)
    _, events_of_lost = onboarding.walk(lost, period, have_account=False)
    training = train(people, who, journeys, period, offsets, catalogue, choices)
    zone, _ = final_zone(people, period)
    names = np.char.add(b"user_", np.char.zfill(people.number.astype("S"), 6))
    named = np.flatnonzero(people.is_named)
    names[named] = np.array(NAMED_USERS)[people.number[named]]
    return Population(
        first_user=first,
        users={
            "user_id": names,
            "time_zone": text(list(TIME_ZONES))[zone],
            "created_at": instants(people.instant),
        },
        profiles=_profiles(people, who, journeys, catalogue),
        custom_exercises=training.custom_exercises,
        workouts=training.workouts,
        sets=training.sets,
        identity_links=onboarding.links(people, journeys, period),
        onboarding_events=concatenate([events, events_of_lost, first_weeks(people, journeys, training, period)]),
        usage_events=openings(people, training, period),
    )


def _profiles(people: People, who: Traits, journeys: onboarding.Journeys, catalogue: Catalogue) -> Columns:
    """What onboarding was told, for users who came as far as the goal; what they didn't come to is as the app presets it."""
    steps = {step: journeys.completed_at[:, number] >= 0 for number, step in enumerate(OnboardingStep)}
    has = steps[OnboardingStep.GOAL]
    told = np.maximum(journeys.completed_at, 0).max(axis=1)

    def after(step: OnboardingStep, values: NDArray, preset: object) -> NDArray:
        return np.where(steps[step], values, np.asarray(preset, dtype=values.dtype))

    kit_words = text(["{" + ",".join(kit.equipment) + "}" for kit in KITS])[who.kit]
    in_gym = np.array([kit.place == "gym" for kit in KITS])[who.kit]
    has_equipment = steps[OnboardingStep.EQUIPMENT]
    days = who.weekdays @ (1 << np.arange(7))
    day_words = text(["{" + ",".join(str(day + 1) for day in range(7) if bits >> day & 1) + "}" for bits in range(128)])[days]
    areas = list(BodyArea)
    area = np.where(who.avoided > 0, np.log2(np.maximum(who.avoided, 1)), np.log2(np.maximum(who.cautious, 1))).astype(np.int64)
    kind = np.where(who.avoided > 0, 2, np.where(who.cautious > 0, 1, 0))
    limit_words = text(
        ["[]"] * len(areas)
        + [f'[{{"area": "{word}", "severity": "caution"}}]' for word in areas]
        + [f'[{{"area": "{word}", "severity": "avoid"}}]' for word in areas]
    )[kind * len(areas) + area]
    disliked, liked = dislikes(catalogue, people.bits), favourites(catalogue, people.bits)
    key_words = text([*("{" + str(key) + "}" for key in catalogue.exercise_key), "{}"])
    plates = _plates(people, who, in_gym)
    small = np.where(uniform(then(people.bits, 110)) < 0.2, np.where(who.in_pounds, 2.5 * 0.45359237, 0.5), np.nan)
    rows = np.flatnonzero(has)
    table: Columns = {
        "user": np.arange(len(people)),
        "goal": text(list(GOAL_SHARES))[who.goal],
        "experience_level": after(OnboardingStep.EXPERIENCE, text(list(LEVEL_SHARES))[who.level], b"beginner"),
        "days_per_week": after(OnboardingStep.SCHEDULE, who.days_per_week, 3).astype(np.int16),
        "weekdays": np.where(steps[OnboardingStep.SCHEDULE] & who.weekdays_are_told, day_words, b""),
        "session_minutes": after(OnboardingStep.SCHEDULE, who.session_minutes, 60).astype(np.int16),
        "equipment": np.where(has_equipment, kit_words, b"{}"),
        "gym_equipment": np.where(has_equipment & in_gym, kit_words, b""),
        "place": np.where(has_equipment & ~in_gym, b"home", b"gym"),
        "limitations": after(OnboardingStep.EXPERIENCE, limit_words, b"[]"),
        "disliked_exercise_keys": after(OnboardingStep.EQUIPMENT, key_words[disliked], b"{}"),
        "preferred_exercise_keys": after(OnboardingStep.EQUIPMENT, key_words[np.where(liked == disliked, -1, liked)], b"{}"),
        "sex": np.where(who.sex_is_told, np.where(who.is_female, b"female", b"male"), b""),
        "birth_year": np.where(uniform(then(people.bits, 111)) < 0.8, who.birth_year, -1).astype(np.int16),
        "body_weight_kg": np.where(uniform(then(people.bits, 112)) < 0.75, who.body_weight_kg, np.nan),
        "weight_unit": np.where(who.in_pounds, b"lb", b"kg"),
        "plates": np.where(has_equipment, plates, b""),
        "smallest_plate_kg": small,
        "updated_at": instants(told),
    }
    return {name: column[rows] for name, column in table.items()}


def _plates(people: People, who: Traits, in_gym: NDArray[np.bool_]) -> NDArray[np.bytes_]:
    """What some people with weights at home have listed of them; empty for everybody else."""
    lists = text(
        [
            "",
            '{"unit": "kg", "bar": 20, "plates": {"20": 4, "10": 2, "5": 4, "2.5": 2, "1.25": 2}}',
            '{"unit": "kg", "dumbbells": [2, 4, 6, 8, 10, 12.5, 15, 17.5, 20, 24]}',
            '{"unit": "lb", "bar": 45, "plates": {"45": 4, "25": 2, "10": 4, "5": 2, "2.5": 2}}',
            '{"unit": "lb", "dumbbells": [5, 10, 15, 20, 25, 30, 35, 40, 50]}',
        ]
    )
    bars = np.array(["barbell" in kit.equipment for kit in KITS])[who.kit]
    dumbbells = np.array(["dumbbell" in kit.equipment for kit in KITS])[who.kit]
    lists_them = ~in_gym & (uniform(then(people.bits, 113)) < 0.4)
    which = np.where(bars, 1, np.where(dumbbells, 2, 0))
    return lists[np.where(lists_them & (which > 0), which + 2 * who.in_pounds, 0)]
