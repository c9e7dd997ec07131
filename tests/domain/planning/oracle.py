"""The engine for one user, slow and plain: what `plan_batch` must agree with. Scalars, lists and dictionaries; no numpy in the rules."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from domain.exercises.catalogue import Catalogue
from domain.planning import schemes, splits
from domain.planning.inputs import AREAS, EQUIPMENT, GOALS, LEVELS, NO_DATE, PlanningInputs
from domain.planning.movements import BARS, CANDIDATES, COMPOUND_NEEDS
from domain.planning.rpe_chart import share_of_maximum
from domain.planning.splits import CHOICES, FALLBACKS, ISOLATION, MAIN, NEED_OF_PATTERN, SECONDARY, Need
from domain.planning.supersets import are_antagonists
from domain.vocabulary import Equipment, ExperienceLevel, Goal, MovementPattern, Muscle

KG_PER_LB = 0.45359237
MOST_SETS = {"beginner": 14, "intermediate": 18, "advanced": 22}


@dataclass
class Exercise:
    row: int
    key: int
    pattern: MovementPattern
    need: Need | None
    dose: int
    requires: set[str]
    tags: dict[str, str]
    muscles: dict[str, float]
    seconds: float
    setup: int
    compound: bool
    heavy: bool
    step: dict[str, float]
    lightest: dict[str, float]
    kind: str
    family: str
    ratio: float
    cold: dict[int, float]
    priority: int
    barbell: bool
    few_reps: bool
    on_bar: bool


def exercises(catalogue: Catalogue) -> list[Exercise]:
    found = []
    for row, entry in enumerate(catalogue.frame.to_dict("records")):
        words = lambda name, entry=entry: [word for word in str(entry[name]).split("|") if word]  # noqa: E731
        pattern = MovementPattern(entry["movement_pattern"])
        carries = entry["load_type"] == "external" and entry["step_kg"] > 0
        dose = 2 if entry["measured_in"] == "seconds" else 0 if carries else 1
        need = NEED_OF_PATTERN.get(pattern)
        if entry["measured_in"] == "meters" or entry["load_type"] == "assisted" or entry["failure_safety"] == "avoid":
            need = None
        bar = BARS.get(Equipment(entry["equipment"]), (0.0, 0.0)) if entry["equipment"] else (0.0, 0.0)
        male, female = entry["cold_start_ratio"], entry["cold_start_ratio_female"]
        found.append(
            Exercise(
                row=row,
                key=int(entry["exercise_key"]),
                pattern=pattern,
                need=need,
                dose=dose,
                requires=set(words("requires")),
                tags=dict(tag.split(":") for tag in words("contraindications")),
                muscles=dict.fromkeys(words("primary_muscles"), 1.0) | dict.fromkeys(words("secondary_muscles"), 0.5),
                seconds=entry["seconds_per_repetition"] * (2 if entry["laterality"] == "unilateral" else 1),
                setup=int(entry["setup_seconds"]),
                compound=bool(entry["is_compound"]),
                heavy=bool(entry["is_compound"]) and carries and entry["fatigue"] >= 3,
                step={"kg": entry["step_kg"] or 1.0, "lb": (entry["step_lb"] or 1.0) * KG_PER_LB},
                lightest={"kg": max(bar[0], entry["step_kg"]), "lb": max(bar[1], entry["step_lb"]) * KG_PER_LB},
                kind=entry["equipment"],
                family=entry["substitution_family"],
                ratio=entry["family_load_ratio"],
                cold={-1: min(male, female), 0: female, 1: male},
                priority=int(entry["priority"]),
                barbell=entry["equipment"] == "barbell",
                on_bar=bool(entry["equipment"]) and Equipment(entry["equipment"]) in BARS,
                few_reps=bool(entry["is_compound"]) and bool(entry["equipment"]) and Equipment(entry["equipment"]) in BARS,
            )
        )
    return found


@dataclass
class Session:
    """One session of an exercise as the log has it; what was prescribed is known of the newest one."""

    on: int
    load: float
    top: int
    fewest: int
    at_top: int
    working: int
    rpe: float
    e1rm: float
    prescribed: float = math.nan
    prescribed_sets: int = 0

    def lifted_less(self) -> bool:
        return self.prescribed > 0 and self.load < self.prescribed * 0.995


@dataclass
class Slot:
    day: int
    place: int
    exercise: Exercise
    role: int
    choice_reason: str
    sets: int = 0
    rep_min: int = 0
    rep_max: int = 0
    rest: int = 0
    warmups: int = 0
    superset: int = 0
    sets_reason: str = "sets.scheme"
    by_phase: list[int] = field(default_factory=list)
    loads: list[float | None] = field(default_factory=list)
    reserve: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def work(self) -> int:
        return math.ceil(self.rep_max * self.exercise.seconds - 1e-9)

    def fixed(self) -> int:
        return self.exercise.setup + self.warmups * (6 * math.ceil(self.exercise.seconds) + 45)

    def alone(self, sets: int) -> int:
        return self.fixed() + sets * (self.work() + self.rest) - self.rest if sets > 0 else 0


class User:
    """One user's inputs, cleaned."""

    def __init__(self, inputs: PlanningInputs, catalogue: Catalogue) -> None:
        assert len(inputs) == 1
        get = lambda name: getattr(inputs, name)[0].item()  # noqa: E731
        self.goal = GOALS[get("goal")] if 0 <= get("goal") < len(GOALS) else Goal.GENERAL_FITNESS
        self.level = LEVELS[get("experience")] if 0 <= get("experience") < len(LEVELS) else ExperienceLevel.BEGINNER
        self.sex = get("sex") if get("sex") in (0, 1) else -1
        self.days = min(max(get("days_per_week"), 1), 6)
        self.no_days = get("days_per_week") < 1
        self.minutes = min(max(get("session_minutes"), 0), 180)
        self.weekdays = [day for day in range(7) if get("weekdays") >> day & 1]
        self.equipment = {word for place, word in enumerate(EQUIPMENT) if get("equipment") >> place & 1}
        self.caution = {word for place, word in enumerate(AREAS) if get("limits_caution") >> place & 1}
        self.avoid = {word for place, word in enumerate(AREAS) if get("limits_avoid") >> place & 1}
        self.returning = {word for place, word in enumerate(AREAS) if get("limits_returning") >> place & 1}
        self.eased_on = get("limits_eased_on")
        self.unit = "lb" if get("in_pounds") else "kg"
        self.plate = get("smallest_plate_kg")
        listed = inputs.inventories[get("inventory")] if 0 <= get("inventory") < len(inputs.inventories) else None
        self.listed = (
            {"barbell": listed.barbell_kg, "dumbbell": listed.dumbbell_kg} | dict.fromkeys(("machine", "cable"), listed.stack_kg)
            if listed
            else {}
        )
        self.disliked = set(inputs.disliked.keys.tolist())
        self.preferred = set(inputs.preferred.keys.tolist())
        body = get("body_weight_kg")
        self.body = body if 25 <= body <= 400 else {-1: 60.0, 0: 62.0, 1: 75.0}[self.sex]
        today, last = get("today"), NO_DATE
        history = inputs.history
        log: dict[int, list[Session]] = {}
        for row, key in enumerate(history.exercise_key.tolist()):
            rows = [
                Session(
                    *(
                        getattr(history, name)[row, place].item()
                        for name in (
                            "session_on",
                            "top_load_kg",
                            "top_reps",
                            "fewest_reps",
                            "sets_at_top",
                            "working_sets",
                            "rpe",
                            "e1rm_kg",
                        )
                    )
                )
                for place in range(history.session_on.shape[1])
            ]
            rows[0].prescribed = history.prescribed_kg[row].item()
            rows[0].prescribed_sets = history.prescribed_sets[row].item()
            log[key] = rows
            if rows[0].on <= today:
                last = max(last, rows[0].on)
        self._calendar(get, today, last, log)
        weeks = max(self.reference - self.eased_on, 0) // 7
        self.weeks_back = weeks if self.returning and self.eased_on > NO_DATE and weeks < 3 else -1
        born = get("birth_year")
        age = 1970 + self.reference / 365.2425 - born if born > 0 else math.nan
        self.age = age if 8 <= age <= 110 else math.nan
        for rows in log.values():
            for session in rows:
                if session.on < self.reference - 730:
                    session.on, session.load, session.top, session.fewest, session.at_top = NO_DATE, 0.0, 0, 0, 0
                    session.rpe = session.e1rm = math.nan
        by_key = {int(key): row for row, key in enumerate(catalogue.exercise_key)}
        self.log = {by_key[key]: rows for key, rows in log.items() if key in by_key}

    def _calendar(self, get: Any, today: int, last: int, log: dict[int, list[Session]]) -> None:
        started = get("mesocycle_started_on")
        previous = get("previous_goal")
        fresh = started <= NO_DATE or started > today or (previous >= 0 and GOALS[previous] != self.goal)
        judged_from = started
        if fresh:
            started = today
        week = (today - started) // 7
        self.starts_on = started + 7 * week
        self.reference = max(self.starts_on, last)
        self.weeks_off = (self.reference - last) / 7 if last > NO_DATE else 0.0
        phase = week % 4
        if self.weeks_off >= 3:
            started, phase = self.starts_on, 0
        recent = [rows for rows in log.values() if self.reference - rows[0].on <= 14 and all(s.e1rm > 0 for s in rows[:3])]
        worse = [
            rows
            for rows in recent
            if max(s.e1rm for s in rows[:2]) < 0.97 * max((s.e1rm for s in rows[2:] if not math.isnan(s.e1rm)), default=0)
        ]
        tired = len(worse) >= 2 and 2 * len(worse) >= len(recent)
        if tired and (phase in (1, 2) or fresh) and self.weeks_off <= 2:
            started, phase = self.starts_on - 21, 3
        self.mesocycle_started_on, self.phase = started, phase
        # The log holds six sessions of an exercise: a day before the sixth may have been one too, and is taken for one.
        dates = [[s.on for s in rows if s.on > NO_DATE] for rows in log.values()]
        before = max((min(each) for each in dates if len(each) == 6), default=NO_DATE)
        possible = [day for day in range(self.starts_on - 28, self.starts_on) if day < before or any(day in each for each in dates)]
        self.low_adherence = NO_DATE < judged_from <= self.starts_on - 28 and len(possible) < self.days * 3 / 2


def layoff_factor(weeks: float, age: float) -> float:
    cut = max(weeks - 2, 0) * (0.06 if age >= 65 else 0.04)
    return 1 - min(cut, 0.40)


def week_factor(first: float, week: int) -> float:
    return 1 - (1 - first) * max(0.0, 1 - week / 3)


class Plan:
    """The plan of one user."""

    def __init__(self, inputs: PlanningInputs, catalogue: Catalogue, known: list[Exercise]) -> None:
        self.user = User(inputs, catalogue)
        self.exercises = known
        self.by_row = {exercise.row: exercise for exercise in known}
        self.base = self.user.body * (0.8 if self.user.age >= 60 else 1) * {0: 1.0, 1: 1.25, 2: 1.45}[LEVELS.index(self.user.level)] * 0.65
        self.estimates = {row: self._estimate(rows) for row, rows in self.user.log.items()}
        self.refusal = 0
        self.slots: list[Slot] = []
        user = self.user
        self.phases = [(user.phase + week) % 4 for week in range(4)]
        if user.minutes < 10:
            self.refusal = 1
        if user.no_days:
            self.refusal = 3
        self._choose()
        self._dose()
        self._limit()
        starts_small = self._start_small()
        for day in range(user.days):
            self._fit(day)
        self._weeks(starts_small)
        if not self.refusal and not any(slot.sets for slot in self.slots):
            self.refusal = 2
        minutes = [[self._minutes(day, phase) for phase in range(4)] for day in range(user.days)]
        if not self.refusal and any(value > user.minutes for row in minutes for value in row):
            self.refusal = 1
        self.minutes = [[row[phase] for phase in self.phases] for row in minutes]
        self.slots = [] if self.refusal else [slot for slot in self.slots if slot.sets > 0]
        for slot in self.slots:
            self._load(slot)

    # Exercises

    def _fit_score(self, exercise: Exercise) -> int:
        user = self.user
        score = exercise.priority + 200
        compound_need = exercise.need in COMPOUND_NEEDS
        if compound_need and not exercise.compound:
            score -= 40
        if exercise.need == Need.LATERAL_RAISE and exercise.compound:
            score -= 40
        if user.goal in (Goal.STRENGTH, Goal.POWERLIFTING) and exercise.barbell and compound_need:
            score += 8
        if user.goal in (Goal.STRENGTH, Goal.POWERLIFTING, Goal.HYPERTROPHY) and exercise.dose == 0:
            score += 10
        if user.level is ExperienceLevel.BEGINNER and exercise.need == Need.VERTICAL_PULL and exercise.dose == 1 and exercise.requires:
            score -= 18
        return score

    def _allowed(self, exercise: Exercise) -> bool:
        user = self.user
        if exercise.need is None or not exercise.requires <= user.equipment:
            return False
        return all(not (area in user.avoid or (area in user.caution and severity == "avoid")) for area, severity in exercise.tags.items())

    def _ranked(self, need: Need, allowed: Any, *, personal: bool) -> list[Exercise]:
        def score(exercise: Exercise) -> int:
            value = self._fit_score(exercise)
            if personal:
                value -= 25 * any(area in self.user.caution and severity == "caution" for area, severity in exercise.tags.items())
                # Users are classed by 12.5 kg of what they could start with; a class counts by its middle.
                start = (min(int(self.base / 12.5), 7) + 0.5) * 12.5
                value -= 60 * (exercise.dose == 0 and exercise.lightest["kg"] > exercise.cold[self.user.sex] * start * 0.8)
            return value

        members = [exercise for exercise in self.exercises if exercise.need == need and allowed(exercise)]
        return sorted(members, key=lambda exercise: (-score(exercise), exercise.row))

    def _choose(self) -> None:
        user = self.user
        own = {need: self._ranked(need, self._allowed, personal=True)[:CANDIDATES] for need in Need}
        has_equipment = lambda exercise: exercise.requires <= user.equipment  # noqa: E731
        split = splits.SPLITS[1 if user.goal is Goal.POWERLIFTING else 0][user.days - 1]
        for day, template in enumerate(split):
            taken: set[int] = set()
            for place, (need, choice, role) in enumerate(template):
                pool, borrowed = own[need], False
                for other in FALLBACKS[need]:
                    if not pool:
                        pool, borrowed = own[other], bool(own[other])
                exercise, reason = self._pick(need, choice, pool, borrowed, has_equipment)
                if exercise is None or exercise.row in taken:
                    continue
                taken.add(exercise.row)
                self.slots.append(Slot(day, place, exercise, role if exercise.compound else ISOLATION, reason))

    def _pins(self, need: Need) -> list[tuple[Exercise, bool]]:
        user = self.user
        found: dict[int, tuple[int, bool]] = {}
        for row, rows in user.log.items():
            age = user.reference - rows[0].on
            if age <= 120:
                preferred = self.by_row[row].key in user.preferred
                quality = min(max(sum(s.top > 0 for s in rows) * 1000 + 120 - age, 0), 2**18 - 1)
                found[row] = (quality + 2**18 * preferred, preferred)
        for exercise in self.exercises:
            if exercise.key in user.preferred and exercise.row not in found:
                found[exercise.row] = (2**18, True)
        pins = [
            (quality, self.by_row[row], preferred)
            for row, (quality, preferred) in found.items()
            if self.by_row[row].need == need
            and (need not in COMPOUND_NEEDS or self.by_row[row].compound)
            and self._allowed(self.by_row[row])
            and self.by_row[row].key not in user.disliked
        ]
        pins.sort(key=lambda pin: (-pin[0], pin[1].row))
        return [(exercise, preferred) for _, exercise, preferred in pins[:CHOICES]]

    def _pick(self, need: Need, choice: int, pool: list[Exercise], borrowed: bool, has_equipment: Any) -> tuple[Exercise | None, str]:
        pins = self._pins(need)
        pinned = {exercise.row for exercise, _ in pins}
        left = [exercise for exercise in pool if exercise.key not in self.user.disliked and exercise.row not in pinned]
        if choice < len(pins) or not left:
            if not pins:
                return None, ""
            exercise, preferred = pins[min(choice, len(pins) - 1)]
            return exercise, "exercise.preferred" if preferred else "exercise.familiar"
        exercise = left[min(choice - len(pins), len(left) - 1)]
        if borrowed:
            return exercise, "exercise.other_movement"
        if any(other.key in self.user.disliked for other in pool[: pool.index(exercise)]):
            return exercise, "exercise.not_disliked"
        unlimited = next(iter(self._ranked(need, has_equipment, personal=False)), None)
        ideal = next(iter(self._ranked(need, lambda _: True, personal=False)), None)
        if unlimited is not None and not self._allowed(unlimited):
            return exercise, "exercise.spares_area"
        if unlimited is not ideal:
            return exercise, "exercise.other_equipment"
        return exercise, "exercise.variant" if choice else "exercise.best"

    # Sets

    def _dose(self) -> None:
        user = self.user
        for slot in self.slots:
            role = slot.role
            if role == MAIN and self._heavy_goal() and slot.exercise.dose == 0 and not slot.exercise.few_reps:
                role = SECONDARY
            scheme = schemes.scheme(user.goal, user.level, role, slot.exercise.dose)
            slot.sets, (slot.rep_min, slot.rep_max), slot.rest = scheme.sets, scheme.reps, scheme.rest_seconds
            if user.low_adherence and slot.role != MAIN and slot.sets > 2:
                slot.sets -= 1
                slot.sets_reason = "sets.adherence"
            if (self._careful(slot.exercise) or self._returning(slot.exercise)) and slot.sets > 2:
                slot.sets -= 1
                slot.sets_reason = "sets.spared"
        for day in range(user.days):
            seen = False
            for slot in self._day(day):
                if slot.exercise.heavy and slot.role == MAIN:
                    slot.warmups = 2 if seen else 3
                    seen = True
                elif slot.exercise.heavy and slot.role == SECONDARY:
                    slot.warmups = 1
                if user.minutes < 40:
                    slot.warmups = max(slot.warmups - 1, 0)

    def _heavy_goal(self) -> bool:
        return self.user.goal in (Goal.STRENGTH, Goal.POWERLIFTING) and self.user.level is not ExperienceLevel.BEGINNER

    def _careful(self, exercise: Exercise) -> bool:
        return any(area in self.user.caution and severity == "caution" for area, severity in exercise.tags.items())

    def _returning(self, exercise: Exercise) -> bool:
        return self.user.weeks_back >= 0 and any(area in self.user.returning for area in exercise.tags)

    def _supported(self) -> dict[Muscle, float]:
        """Fractional sets per muscle that the last four weeks support in the first week."""
        weeks = [dict.fromkeys(Muscle, 0.0) for _ in range(4)]
        for row, rows in self.user.log.items():
            counts = [0, 0, 0, 0]
            for session in rows:
                back = self.user.starts_on - session.on
                if 1 <= back <= 28:
                    counts[(back - 1) // 7] += session.working
            for week, count in zip(weeks, counts, strict=True):
                for muscle, share in self.by_row[row].muscles.items():
                    week[Muscle(muscle)] += min(count, 30) * share
        floor = {"beginner": 8.0, "intermediate": 10.0, "advanced": 12.0}[self.user.level]
        most = {muscle: max(week[muscle] for week in weeks) for muscle in Muscle}
        return {muscle: min(max(math.floor(value * 2 * 1.2 + 1e-9) / 2, floor), 63.5) for muscle, value in most.items()}

    def _start_small(self) -> bool:
        """Cut the first week to what the last four support; whether anything had to be cut."""
        supported = self._supported()
        factor = 2 / 3 if self.user.weeks_off > 6 else 0.75 if self.user.weeks_off > 2 else 1.0
        for slot in self.slots:
            slot.by_phase = [math.ceil(slot.sets * factor - 1e-3)]
        wanted = [slot.by_phase[0] for slot in self.slots]

        def total() -> dict[Muscle, float]:
            sums = dict.fromkeys(Muscle, 0.0)
            for slot in self.slots:
                for muscle, share in slot.exercise.muscles.items():
                    sums[Muscle(muscle)] += slot.by_phase[0] * share
            return sums

        if all(value <= supported[muscle] for muscle, value in total().items()):
            return False
        most = dict(zip(map(id, self.slots), wanted, strict=True))
        for slot in self.slots:
            is_first = not any(other.sets > 0 and other.place < slot.place for other in self._day(slot.day))
            slot.by_phase = [min(most[id(slot)], 2) if is_first else 0]

        def raise_to(slot: Slot, sets: int) -> None:
            before, slot.by_phase[0] = slot.by_phase[0], min(sets, most[id(slot)])
            now = total()
            own = [Muscle(muscle) for muscle, share in slot.exercise.muscles.items() if share == 1]
            if any(now[muscle] > supported[muscle] for muscle in own):
                slot.by_phase[0] = before

        for slot in self._by_importance():
            if slot.by_phase[0] == 0:
                raise_to(slot, 2)
            if slot.role == MAIN and slot.by_phase[0] == 2:
                raise_to(slot, 3)
        for sets in range(3, max(wanted) + 1):
            for slot in self._by_importance():
                if 0 < slot.by_phase[0] < min(sets, most[id(slot)]):
                    raise_to(slot, slot.by_phase[0] + 1)
        for slot in self.slots:
            slot.sets = slot.sets if slot.by_phase[0] else 0
        return True

    def _day(self, day: int) -> list[Slot]:
        return [slot for slot in self.slots if slot.day == day]

    def _by_importance(self) -> list[Slot]:
        return sorted(self.slots, key=lambda slot: (slot.place, slot.day))

    def _limit(self) -> None:
        bound = MOST_SETS[self.user.level]
        total = dict.fromkeys(Muscle, 0.0)
        for slot in self._by_importance():
            planned = slot.sets
            while slot.sets > 0 and any(total[Muscle(m)] + slot.sets * share > bound for m, share in slot.exercise.muscles.items()):
                slot.sets -= 1
            if slot.sets == 1 != planned:
                slot.sets = 0
            if slot.sets != planned:
                slot.sets_reason = "sets.muscle_limit"
            for muscle, share in slot.exercise.muscles.items():
                total[Muscle(muscle)] += slot.sets * share

    def _budget(self) -> int:
        whole = self.user.minutes * 60
        return whole - min(180, whole // 10)

    def _seconds(self, day: int, sets: list[int] | None = None) -> int:
        slots = self._day(day)
        sets = [slot.sets for slot in slots] if sets is None else sets
        total = sum(slot.alone(count) for slot, count in zip(slots, sets, strict=True))
        for place, one in enumerate(slots):
            for other_place in range(place + 1, len(slots)):
                other = slots[other_place]
                if one.superset and one.superset == other.superset:
                    total -= max(0, min(sets[place], sets[other_place]) * (min(one.rest, other.rest) - 15))
        return total

    def _fit(self, day: int) -> None:
        slots = self._day(day)
        too_long = lambda: self._seconds(day) > self._budget()  # noqa: E731

        def shorten(role: int, rest: int) -> None:
            if too_long():
                for slot in slots:
                    if slot.role == role:
                        slot.rest = min(slot.rest, rest)

        def pair(roles: tuple[int, ...]) -> None:
            for place, one in enumerate(slots):
                for other in slots[place + 1 :]:
                    fits = one.role in roles and other.role in roles and one.sets > 0 and other.sets > 0
                    fits = fits and not one.superset and not other.superset
                    fits = fits and are_antagonists(one.exercise.pattern, other.exercise.pattern)
                    if fits and not (one.exercise.barbell and other.exercise.barbell) and too_long():
                        one.superset = other.superset = max(slot.superset for slot in slots) + 1

        def take(slot: Slot, to: int) -> None:
            slot.sets, slot.sets_reason = to, "sets.time"
            if to == 0 and slot.superset:
                number = slot.superset
                for other in slots:
                    if other.superset == number:
                        other.superset = 0

        def reduce(role: int, fewest: int) -> None:
            for slot in reversed(slots):
                while too_long() and slot.role == role and slot.sets > fewest:
                    take(slot, slot.sets - 1)

        def drop(roles: tuple[int, ...]) -> None:
            for slot in reversed(slots):
                if too_long() and slot.role in roles and slot.sets > 0 and sum(other.sets > 0 for other in slots) > 1:
                    take(slot, 0)

        shorten(ISOLATION, 60)
        pair((ISOLATION,))
        reduce(ISOLATION, 2)
        drop((ISOLATION,))
        shorten(SECONDARY, 90)
        pair((SECONDARY, MAIN))
        reduce(SECONDARY, 2)
        shorten(MAIN, 90)
        reduce(MAIN, 2)
        drop((MAIN, SECONDARY, ISOLATION))
        for slot in reversed(slots):
            if too_long() and slot.sets > 1:
                take(slot, 1)

    def _weeks(self, starts_small: bool) -> None:
        user = self.user
        builds = user.goal is Goal.HYPERTROPHY and user.level is not ExperienceLevel.BEGINNER
        builds = builds and not user.low_adherence
        for slot in self.slots:
            slot.by_phase = [min(slot.by_phase[0], slot.sets)]
        grows = starts_small or builds or user.weeks_off > 2
        for slot in self.slots:
            if slot.by_phase[0] < slot.sets:
                slot.sets_reason = "sets.layoff" if user.weeks_off > 2 else "sets.recent_volume"
        for number in (1, 2):
            self._grow(builds, self._supported() if number <= user.phase < 3 else {}) if grows else [
                slot.by_phase.append(slot.by_phase[-1]) for slot in self.slots
            ]
        for slot in self.slots:
            slot.by_phase.append(max(math.floor(slot.by_phase[0] * 0.6 + 0.5), min(slot.by_phase[0], 1)))

    def _grow(self, builds: bool, supported: dict[Muscle, float]) -> None:
        left = {day: self._budget() - self._seconds(day, [slot.by_phase[-1] for slot in self._day(day)]) for day in range(self.user.days)}
        total = dict.fromkeys(Muscle, 0.0)
        for slot in self.slots:
            for muscle, share in slot.exercise.muscles.items():
                total[Muscle(muscle)] += slot.by_phase[-1] * share
        limit = {muscle: math.floor(value * 2 * 1.2 + 1e-9) / 2 for muscle, value in total.items()}
        for slot in self._by_importance():
            now = slot.by_phase[-1]
            most = max(min(slot.sets + (2 if slot.role == MAIN else 1), 5), slot.sets) if builds else slot.sets
            cost = slot.work() + slot.rest
            after = {Muscle(muscle): total[Muscle(muscle)] + share for muscle, share in slot.exercise.muscles.items()}
            room = all(value <= min(limit[m], MOST_SETS[self.user.level], supported.get(m, 99.0)) for m, value in after.items())
            if 0 < now < most and cost <= left[slot.day] and room:
                now += 1
                left[slot.day] -= cost
                total.update(after)
            slot.by_phase.append(now)

    def _minutes(self, day: int, phase: int) -> int:
        work = self._seconds(day, [slot.by_phase[phase] for slot in self._day(day)])
        return math.ceil((work + self.user.minutes * 60 - self._budget()) / 60) if work > 0 else 0

    # Loads

    def _estimate(self, rows: list[Session]) -> tuple[float, float]:
        usable = [(place, s) for place, s in enumerate(rows) if 0.5 <= s.e1rm <= 600]
        if not usable:
            return math.nan, math.nan
        weights = [math.exp(-place / 0.7) for place, _ in usable]
        total = sum(weights)
        mean = sum(w * math.log(s.e1rm) for w, (_, s) in zip(weights, usable, strict=True)) / total
        spread = sum(w * (math.log(s.e1rm) - mean) ** 2 for w, (_, s) in zip(weights, usable, strict=True)) / total
        age = self.user.reference - max(s.on for _, s in usable)
        return math.exp(mean), min(math.sqrt((spread + 0.04**2) / max(total, 1) + (age * 0.0008) ** 2), 0.25)

    def _strength(self) -> float:
        """Geometric mean of logged maxima over a beginner's of that body weight."""
        multiples = [
            min(max(estimate[0] / (self.by_row[row].cold[self.user.sex] * self.user.body), 0.5), 4.0)
            for row, estimate in self.estimates.items()
            if not math.isnan(estimate[0]) and self.by_row[row].cold[self.user.sex] > 0
        ]
        return math.exp(sum(map(math.log, multiples)) / len(multiples)) if multiples else 0.0

    def _listed(self, exercise: Exercise) -> tuple[float, ...]:
        if exercise.on_bar and (totals := self.user.listed.get("barbell", ())):
            return tuple(total - totals[0] + exercise.lightest[self.user.unit] for total in totals) if not exercise.barbell else totals
        return self.user.listed.get(exercise.kind, ())

    def _step(self, exercise: Exercise) -> float:
        plate = self.user.plate
        return plate * 2 if exercise.on_bar and 0 < plate <= 25 else exercise.step[self.user.unit]

    def _floor(self, exercise: Exercise, load: float) -> float:
        if listed := self._listed(exercise):
            return max((kg for kg in listed if kg <= load + 1e-3), default=listed[0])
        lightest, step = exercise.lightest[self.user.unit], self._step(exercise)
        return lightest + max(math.floor((load - lightest) / step + 2e-3), 0) * step

    def _ceiling(self, exercise: Exercise, load: float) -> float:
        if listed := self._listed(exercise):
            return min((kg for kg in listed if kg >= load - 1e-3), default=listed[-1])
        lightest, step = exercise.lightest[self.user.unit], self._step(exercise)
        return lightest + max(math.ceil((load - lightest) / step - 2e-3), 0) * step

    def _next(self, exercise: Exercise, load: float) -> float:
        """The next load up by the 2-10 % rule."""
        rise = self._ceiling(exercise, load * 1.02)
        return rise if rise <= load * 1.1 else self._ceiling(exercise, load + self._step(exercise) * 0.01)

    def _load(self, slot: Slot) -> None:
        user, exercise = self.user, slot.exercise
        careful = int(self._careful(exercise))
        returning = self._returning(exercise)
        back = (user.weeks_off > 2) + (user.weeks_off > 6)
        reserve = schemes.reserve_table()[LEVELS.index(user.level)].tolist()
        first_reserve = min(reserve[0 if user.phase == 3 else user.phase] + careful + back + returning, 4)
        guess = 0
        if exercise.dose == 0:
            load, before_break, factor, reason = self._first(slot, first_reserve)
            guess = int(reason in ("load.cold_start", "load.from_strength", "load.from_related", "load.lightest"))
            self._project(slot, load, before_break, factor, reason)
        else:
            code = "load.bodyweight" if exercise.dose == 1 else "load.by_feel"
            slot.loads = [None] * 4
            slot.reasons = ["week.deload_sets" if phase == 3 else code for phase in self.phases]
        values = []
        for week, phase in enumerate(self.phases):
            ease = careful + (guess + back if week == 0 else int(back > 1 and week == 1))
            ease += returning and user.weeks_back + week < 3
            values.append(None if phase == 3 else min(reserve[phase] + ease, 4))
        easiest = 5 if max(value for value in values if value is not None) == 4 else 4
        slot.reserve = [easiest if value is None else value for value in values]

    def _first(self, slot: Slot, reserve: int) -> tuple[float, float, float, str]:
        user, exercise = self.user, slot.exercise
        rows = user.log.get(exercise.row)
        maximum, doubt, reason = exercise.cold[user.sex] * self.base, 0.25, "load.cold_start"
        by_strength = self._strength() * user.body * 0.7
        if by_strength > self.base:
            maximum, reason = exercise.cold[user.sex] * by_strength, "load.from_strength"
        known = self.estimates.get(exercise.row, (math.nan, math.nan))
        if not math.isnan(known[0]):
            maximum, doubt, reason = *known, "load.from_e1rm"
        elif exercise.ratio > 0:
            related = [
                (estimate, other)
                for row, estimate in self.estimates.items()
                if (other := self.by_row[row]).family == exercise.family and other.ratio > 0 and not math.isnan(estimate[0])
            ]
            if related:
                estimate, other = min(related, key=lambda pair: pair[0][1])
                maximum, reason = estimate[0] * exercise.ratio / other.ratio * 0.9, "load.from_related"
                doubt = math.sqrt(estimate[1] ** 2 + 0.12**2)
        middle = (slot.rep_min + slot.rep_max) // 2
        wanted = (
            maximum
            * (1 if reason in ("load.cold_start", "load.from_strength") else 1 - 0.5 * doubt)
            * float(share_of_maximum(middle + reserve, 10))
        )
        load = self._floor(exercise, wanted)
        if rows is not None and (progress := self._progress(slot, rows, load)) is not None:
            load, reason, wanted = progress
        before_break = load
        factor = 1.0
        if user.weeks_off > 2 and reason != "load.cold_start":
            factor = layoff_factor(user.weeks_off, user.age)
            wanted = load * factor
            load, reason = self._floor(exercise, wanted), "load.layoff"
        trained_since = rows is not None and rows[0].on >= min(user.eased_on, user.reference)
        if self._returning(exercise) and not trained_since and (share := 1 - 0.3 * (1 - user.weeks_back / 3)) < factor - 1e-6:
            factor, wanted = share, before_break * share
            load, reason = self._floor(exercise, wanted), "load.after_limit"
        if load > wanted * 1.1 + 1e-6 and wanted > 0:
            reason = "load.lightest"
        return load, before_break, factor, reason

    def _progress(self, slot: Slot, rows: list[Session], estimated: float) -> tuple[float, str, float] | None:
        """The load, its reason, and the load that would be right."""
        user, exercise = self.user, slot.exercise
        last, before = rows[0], rows[1]
        sets = max(slot.sets, 1)
        near = slot.rep_min - 3 <= last.top <= slot.rep_max + 3 and last.at_top >= min(2, sets)
        if not (0 < last.load <= 600 and user.reference - last.on <= 21):
            return None
        if not near:
            most = self._floor(exercise, last.prescribed) if last.lifted_less() else math.inf
            return (most, "progress.hold.lifted_less", most) if estimated > most + 1e-6 else None
        missed = last.fewest < slot.rep_min
        missed_before = before.load >= last.load * 0.995 and 0 < before.fewest < slot.rep_min
        newest = [s.e1rm for s in rows[:4]]
        stalled = all(e > 0 for e in newest) and max(newest[:3]) <= newest[3] * 1.005 and last.load >= rows[3].load * 0.995
        if last.fewest >= slot.rep_max and last.at_top >= (last.prescribed_sets or sets) and not last.lifted_less():
            after, reason = self._next(exercise, last.load), "progress.double.load_up"
            if 6 <= last.rpe < 8.5:
                after = max(after, self._floor(exercise, last.load * (1 + min((8.5 - last.rpe) * 0.025, 0.10))))
            target = after
            if after <= last.load * 1.005:
                after, reason, target = self._floor(exercise, last.load), "progress.double.heaviest", last.load
        elif (missed and missed_before) or stalled:
            target = last.load * 0.9
            after = self._floor(exercise, target)
            reason = "progress.double.load_down" if missed and missed_before else "progress.stall.reset"
        else:
            target = last.load
            after = self._floor(exercise, target)
            reason = "progress.double.hold_missed" if missed else "progress.double.add_reps"
            if last.lifted_less() and not missed:
                reason = "progress.hold.lifted_less"
        for place in range(len(rows) - 1):
            later, earlier = rows[place], rows[place + 1]
            if NO_DATE in (later.on, earlier.on) or later.on - earlier.on <= 14 or not 0 <= user.reference - later.on < 21:
                continue
            factor = week_factor(layoff_factor((later.on - earlier.on) / 7, user.age), max((user.reference - later.on) // 7, 0))
            due = self._floor(exercise, min(earlier.load * factor, last.load * 1.1))
            if due > after + 1e-6 and not missed and not last.lifted_less():
                after, target, reason = due, due, "progress.layoff_return"
            break
        return after, reason, target

    def _project(self, slot: Slot, load: float, before_break: float, factor: float, reason: str) -> None:
        exercise = slot.exercise
        waves = slot.role == MAIN and self._heavy_goal() and exercise.few_reps
        waves = waves and reason != "progress.hold.lifted_less"
        returning = reason in ("load.layoff", "load.after_limit")
        working = load
        for week, phase in enumerate(self.phases):
            code = reason
            if week:
                after_deload = self.phases[week - 1] == 3
                code = "week.after_deload" if after_deload else "week.hold"
                up = self._next(exercise, working)
                if waves and not returning and phase != 3 and not after_deload and working + 1e-6 < up <= working * 1.1 + 1e-6:
                    working, code = up, "week.load_up"
                if returning and phase != 3:
                    due = before_break * week_factor(factor, week)
                    due = self._floor(exercise, min(due, working * 1.1))
                    if due > working + 1e-6:
                        working, code = due, "week.layoff_return"
            if phase == 3:
                light = min(self._floor(exercise, working * 0.9), working, *(kg for kg in slot.loads[:1] if kg is not None))
                slot.loads.append(light)
                slot.reasons.append("week.deload")
            else:
                slot.loads.append(working)
                slot.reasons.append(code)


def session_days(user: User) -> list[int]:
    table = splits.weekday_table()
    mask = sum(1 << day for day in user.weekdays)
    chosen = table[user.days - 1, mask, : user.days].tolist()
    return sorted((day - (user.starts_on + 3) % 7) % 7 for day in chosen)


def compare(batch: Any, place: int, plan: Plan, names: dict[int, str]) -> list[str]:
    """Differences between the engine's plan and the oracle's, as sentences; empty where they agree."""
    from domain.planning import reasons

    one = batch.take(np.array([place]))
    wrong: list[str] = []

    def same(what: str, engine: Any, oracle: Any) -> None:
        if engine != oracle:
            wrong.append(f"{what}: the engine says {engine}, the oracle {oracle}")

    same("refusal", int(one.refusal[0]), plan.refusal)
    same("start", int(one.starts_on[0]), plan.user.starts_on)
    same("mesocycle", int(one.mesocycle_started_on[0]), plan.user.mesocycle_started_on)
    held = [day for day in range(plan.user.days) if any(slot.day == day for slot in plan.slots)]
    same("slots per session", one.session_slots.tolist(), [sum(slot.day == day for slot in plan.slots) for day in held])
    same("days", one.session_day.tolist(), [session_days(plan.user)[day] for day in held])
    same("minutes", one.session_minutes.tolist(), [plan.minutes[day] for day in held])
    same("exercises", [names[int(key)] for key in one.exercise_key], [names[slot.exercise.key] for slot in plan.slots])
    if wrong:
        return wrong
    for place_, slot in enumerate(plan.slots):
        what = f"{names[slot.exercise.key]} on day {slot.day}"
        same(f"{what}: range", (int(one.rep_min[place_]), int(one.rep_max[place_])), (slot.rep_min, slot.rep_max))
        same(f"{what}: rest", int(one.rest_seconds[place_]), slot.rest)
        same(f"{what}: superset", int(one.superset[place_]), slot.superset)
        same(f"{what}: warm-ups", int(one.warmup_sets[place_]), slot.warmups)
        same(f"{what}: sets", one.sets[place_].tolist(), [slot.by_phase[phase] for phase in plan.phases])
        same(f"{what}: reserve", one.reserve[place_].tolist(), slot.reserve)
        same(f"{what}: choice", reasons.BY_NUMBER[int(one.exercise_reason[place_])].code, slot.choice_reason)
        same(f"{what}: reason of sets", reasons.BY_NUMBER[int(one.sets_reason[place_])].code, slot.sets_reason)
        same(f"{what}: reasons", [reasons.BY_NUMBER[int(number)].code for number in one.load_reason[place_]], slot.reasons)
        loads = [None if math.isnan(kg) else kg for kg in one.load_kg[place_].tolist()]
        if any(
            (a is None) != (b is None) or (a is not None and b is not None and abs(a - b) > 2e-3)
            for a, b in zip(loads, slot.loads, strict=True)
        ):
            wrong.append(f"{what}: loads: the engine says {loads}, the oracle {slot.loads}")
    return wrong
