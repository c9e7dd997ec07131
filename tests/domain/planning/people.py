"""Users for tests: described in words, or drawn by Hypothesis, as the engine's columns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
from hypothesis import strategies as st

from domain.exercises.catalogue import load_catalogue
from domain.planning import e1rm
from domain.planning.inputs import AREAS, EQUIPMENT, GOALS, LEVELS, NO_DATE, SESSIONS_KEPT, SEXES, History, KeyLists, PlanningInputs, bits
from domain.planning.plates import Inventory

TODAY = (date(2024, 5, 1) - date(1970, 1, 1)).days
GYM = (
    "barbell",
    "ez_bar",
    "dumbbell",
    "cable",
    "machine",
    "smith_machine",
    "pull_up_bar",
    "dip_bars",
    "bench",
    "rack",
    "plate",
    "cardio_machine",
)


@dataclass(frozen=True)
class Done:
    """One session of an exercise: days before today, load, repetitions of the sets at that load."""

    days_ago: int
    load: float
    reps: tuple[int, ...]
    rpe: float | None = None
    more_sets: int = 0
    """Working sets at other loads."""
    prescribed: float = float("nan")
    """What the plan asked for, kg and sets; read of the newest session only."""
    prescribed_sets: int = 0


@dataclass(frozen=True)
class Person:
    goal: str = "hypertrophy"
    experience: str = "intermediate"
    days: int = 3
    weekdays: tuple[int, ...] = ()
    """0 is Monday."""
    minutes: int = 60
    equipment: tuple[str, ...] = GYM
    caution: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    returning: tuple[str, ...] = ()
    eased: int | None = None
    """Days before today that the last limitation ended."""
    sex: str | None = "male"
    born: int = 1990
    body_weight: float = 80.0
    pounds: bool = False
    smallest_plate: float = float("nan")
    inventory: Inventory | None = None
    disliked: tuple[int, ...] = ()
    preferred: tuple[int, ...] = ()
    mesocycle_started: int | None = None
    """Days before today."""
    previous_goal: str | None = None
    log: dict[int, tuple[Done, ...]] = field(default_factory=dict)
    """By exercise_key; newest first."""


def key_of(name: str) -> int:
    frame = load_catalogue().frame
    found = frame.loc[frame["name"] == name, "exercise_key"]
    assert len(found) == 1, name
    return int(found.iloc[0])


def inputs_of(people: Sequence[Person], *, today: int = TODAY) -> PlanningInputs:
    inventories = tuple(person.inventory for person in people if person.inventory)
    numbers = iter(range(len(inventories)))

    def column(values: list[Any], dtype: Any) -> Any:
        return np.array(values, dtype=dtype)

    def code(word: str | None, universe: Sequence[str]) -> int:
        return universe.index(word) if word in universe else -1

    return PlanningInputs(
        user_key=column([1000 + place for place in range(len(people))], np.int64),
        today=column([today] * len(people), np.int32),
        goal=column([code(p.goal, GOALS) for p in people], np.int8),
        experience=column([code(p.experience, LEVELS) for p in people], np.int8),
        days_per_week=column([p.days for p in people], np.int8),
        weekdays=column([sum(1 << day for day in set(p.weekdays)) for p in people], np.uint8),
        session_minutes=column([p.minutes for p in people], np.int16),
        equipment=column([bits(p.equipment, EQUIPMENT) for p in people], np.uint32),
        limits_caution=column([bits(p.caution, AREAS) for p in people], np.uint16),
        limits_avoid=column([bits(p.avoid, AREAS) for p in people], np.uint16),
        limits_returning=column([bits(p.returning, AREAS) for p in people], np.uint16),
        limits_eased_on=column([NO_DATE if p.eased is None else today - p.eased for p in people], np.int32),
        sex=column([code(p.sex, SEXES) for p in people], np.int8),
        birth_year=column([p.born for p in people], np.int16),
        body_weight_kg=column([p.body_weight for p in people], np.float32),
        in_pounds=column([p.pounds for p in people], np.bool_),
        smallest_plate_kg=column([p.smallest_plate for p in people], np.float32),
        inventory=column([next(numbers) if p.inventory else -1 for p in people], np.int32),
        disliked=KeyLists.of([sorted(set(p.disliked)) for p in people]),
        preferred=KeyLists.of([sorted(set(p.preferred)) for p in people]),
        mesocycle_started_on=column([NO_DATE if p.mesocycle_started is None else today - p.mesocycle_started for p in people], np.int32),
        previous_goal=column([code(p.previous_goal, GOALS) for p in people], np.int8),
        history=_history(people, today),
        inventories=inventories,
    )


def _history(people: Sequence[Person], today: int) -> History:
    rows = [(key, sessions) for person in people for key, sessions in sorted(person.log.items())]
    shape = (len(rows), SESSIONS_KEPT)
    columns: dict[str, Any] = {
        "session_on": np.full(shape, NO_DATE, dtype=np.int32),
        "top_load_kg": np.zeros(shape, dtype=np.float32),
        "top_reps": np.zeros(shape, dtype=np.int16),
        "fewest_reps": np.zeros(shape, dtype=np.int16),
        "sets_at_top": np.zeros(shape, dtype=np.int16),
        "working_sets": np.zeros(shape, dtype=np.int16),
        "rpe": np.full(shape, np.nan, dtype=np.float32),
        "e1rm_kg": np.full(shape, np.nan, dtype=np.float32),
    }
    for row, (_, sessions) in enumerate(rows):
        for place, done in enumerate(sessions[:SESSIONS_KEPT]):
            rpe = np.nan if done.rpe is None else done.rpe
            columns["session_on"][row, place] = today - done.days_ago
            columns["top_load_kg"][row, place] = done.load
            columns["top_reps"][row, place] = max(done.reps)
            columns["fewest_reps"][row, place] = min(done.reps)
            columns["sets_at_top"][row, place] = len(done.reps)
            columns["working_sets"][row, place] = len(done.reps) + done.more_sets
            columns["rpe"][row, place] = rpe
            columns["e1rm_kg"][row, place] = np.float32(e1rm.from_set(done.load, max(done.reps), rpe))
    columns["prescribed_kg"] = np.array([sessions[0].prescribed for _, sessions in rows], dtype=np.float32)
    columns["prescribed_sets"] = np.array([sessions[0].prescribed_sets for _, sessions in rows], dtype=np.int16)
    offsets = np.concatenate([[0], np.cumsum([len(person.log) for person in people])]).astype(np.int64)
    return History(offsets=offsets, exercise_key=np.array([key for key, _ in rows], dtype=np.int32), **columns)


POPULAR = tuple(int(key) for key in load_catalogue().frame.query("priority >= 55")["exercise_key"])


@st.composite
def sessions(draw: st.DrawFn) -> tuple[Done, ...]:
    count = draw(st.integers(1, SESSIONS_KEPT))
    load = draw(st.sampled_from([0.0, 5.0, 12.5, 20.0, 42.5, 60.0, 100.0, 61.2349, 180.0]))
    days = draw(st.integers(0, 200))
    out = []
    for _ in range(count):
        reps = tuple(draw(st.lists(st.integers(1, 20), min_size=1, max_size=5)))
        rpe = draw(st.sampled_from([None, None, 6.0, 7.5, 8.0, 9.5]))
        lifted = max(load + draw(st.sampled_from([-5.0, -2.5, 0.0, 0.0, 2.5])), 0.0)
        asked = draw(st.sampled_from([float("nan"), float("nan"), lifted, lifted * 1.05, lifted * 0.9, 0.0]))
        out.append(Done(days, lifted, reps, rpe, draw(st.sampled_from([0, 0, 1, 4])), asked, draw(st.integers(0, 4))))
        days += draw(st.sampled_from([2, 3, 4, 7, 7, 14, 40, 300]))
    return tuple(out)


@st.composite
def drawn(draw: st.DrawFn) -> Person:
    """Anybody, sensible or not."""
    areas = st.lists(st.sampled_from(AREAS), max_size=2, unique=True).map(tuple)
    keys = st.lists(st.sampled_from(POPULAR), max_size=3, unique=True).map(tuple)
    return Person(
        goal=draw(st.sampled_from([*GOALS, "unknown"])),
        experience=draw(st.sampled_from([*LEVELS, "unknown"])),
        days=draw(st.integers(0, 7)),
        weekdays=draw(st.lists(st.integers(0, 6), max_size=7, unique=True).map(tuple)),
        minutes=draw(st.sampled_from([5, 12, 20, 25, 30, 40, 45, 60, 75, 90, 120, 600])),
        equipment=draw(
            st.one_of(
                st.just(GYM),
                st.just(GYM),
                st.lists(st.sampled_from(EQUIPMENT), max_size=6, unique=True).map(tuple),
                st.just(("dumbbell", "bench")),
                st.just(()),
            )
        ),
        caution=draw(areas),
        avoid=draw(st.one_of(st.just(()), areas)),
        returning=draw(st.one_of(st.just(()), areas)),
        eased=draw(st.sampled_from([None, 1, 8, 15, 27])),
        sex=draw(st.sampled_from([*SEXES, None])),
        born=draw(st.sampled_from([0, 1940, 1955, 1970, 1990, 2005, 2023])),
        body_weight=draw(st.sampled_from([float("nan"), 5.0, 45.0, 62.5, 80.0, 120.0])),
        pounds=draw(st.booleans()),
        smallest_plate=draw(st.sampled_from([float("nan"), float("nan"), 0.5, 1.25, 2.5])),
        inventory=draw(
            st.sampled_from(
                [
                    None,
                    None,
                    Inventory((20.0, 30.0, 45.0, 60.0, 62.5, 100.0), (4.0, 8.0, 14.0, 20.0)),
                    Inventory((), (5.0, 10.0), (5.0, 12.0, 30.0)),
                ]
            )
        ),
        disliked=draw(keys),
        preferred=draw(keys),
        mesocycle_started=draw(st.sampled_from([None, None, -3, 0, 6, 8, 15, 22, 29, 60])),
        previous_goal=draw(st.sampled_from([None, *GOALS])),
        log=draw(st.dictionaries(st.sampled_from([*POPULAR, 100_500]), sessions(), max_size=6)),
    )
