"""Who the simulated people are: where they live, what they train for and with, how strong and how steady they are."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from domain.simulation.randomness import Bits, below, choose, keys, normal, then, uniform
from domain.vocabulary import BodyArea, Equipment, ExperienceLevel, Goal, Platform, Sex

SECOND: Final = 1_000_000
"""Instants and spans are whole microseconds; instants count from 1970 in UTC."""
HOUR: Final = 3600 * SECOND
DAY: Final = 24 * HOUR

NAMED_USERS: Final = (b"test_user", b"test")
"""Users that documented example calls name; they finish onboarding first thing and train to the end."""

TIME_ZONES: Final[Mapping[str, float]] = {
    "Europe/Berlin": 0.15,
    "Europe/London": 0.12,
    "America/New_York": 0.16,
    "America/Chicago": 0.09,
    "America/Los_Angeles": 0.1,
    "America/Sao_Paulo": 0.07,
    "Europe/Madrid": 0.06,
    "Europe/Warsaw": 0.05,
    "Asia/Kolkata": 0.05,
    "Asia/Tokyo": 0.04,
    "Australia/Sydney": 0.04,
    "Africa/Johannesburg": 0.02,
    "Pacific/Auckland": 0.02,
    "Asia/Kathmandu": 0.01,
    "Pacific/Honolulu": 0.01,
    "UTC": 0.01,
}
"""Share of users per zone; two with odd quarters of an hour, and both sides of the date line."""
POUND_ZONES: Final = ("America/New_York", "America/Chicago", "America/Los_Angeles", "Pacific/Honolulu")

PLATFORMS: Final[Mapping[Platform, float]] = {Platform.IOS: 0.46, Platform.ANDROID: 0.44, Platform.WEB: 0.1}
CHANNELS: Final[Mapping[str, float]] = {
    "organic": 0.37,
    "paid_social": 0.24,
    "referral": 0.14,
    "search": 0.16,
    "influencer": 0.06,
    "": 0.03,
}
"""Acquisition channel; empty where it isn't known."""

GOALS: Final[Mapping[Goal, float]] = {
    Goal.STRENGTH: 0.2,
    Goal.HYPERTROPHY: 0.34,
    Goal.GENERAL_FITNESS: 0.24,
    Goal.FAT_LOSS: 0.17,
    Goal.POWERLIFTING: 0.05,
}
LEVELS: Final[Mapping[ExperienceLevel, float]] = {
    ExperienceLevel.BEGINNER: 0.46,
    ExperienceLevel.INTERMEDIATE: 0.38,
    ExperienceLevel.ADVANCED: 0.16,
}

_FREE_WEIGHTS = {Equipment.BARBELL, Equipment.DUMBBELL, Equipment.BENCH, Equipment.RACK, Equipment.PLATE}


@dataclass(frozen=True)
class Kit:
    """What somebody trains with, and how common that is."""

    place: str
    equipment: tuple[Equipment, ...]
    share: float


KITS: Final = (
    Kit("gym", tuple(Equipment), 0.44),
    Kit("gym", tuple(sorted({*_FREE_WEIGHTS, Equipment.CABLE, Equipment.MACHINE, Equipment.PULL_UP_BAR, Equipment.DIP_BARS})), 0.17),
    Kit("gym", tuple(sorted({*_FREE_WEIGHTS, Equipment.PULL_UP_BAR, Equipment.BOX, Equipment.TRAP_BAR, Equipment.SLED})), 0.05),
    Kit("home", tuple(sorted({*_FREE_WEIGHTS, Equipment.PULL_UP_BAR})), 0.09),
    Kit("home", (Equipment.BENCH, Equipment.DUMBBELL, Equipment.PULL_UP_BAR), 0.09),
    Kit("home", (Equipment.DUMBBELL,), 0.07),
    Kit("home", (Equipment.BAND, Equipment.PULL_UP_BAR), 0.04),
    Kit("home", (Equipment.KETTLEBELL,), 0.02),
    Kit("home", (), 0.03),
)


@dataclass(frozen=True)
class Period:
    """The simulated time: instants in microseconds since 1970, UTC."""

    start: int
    until: int

    @classmethod
    def ending(cls, until: datetime, months: float) -> Self:
        if until.tzinfo is None:
            raise ValueError("The end of a simulated period needs a time zone: an instant, not a local time.")
        if not 0 < months <= 240:
            raise ValueError(f"A simulated period lasts more than 0 and at most 240 months, not {months}.")
        end = int((until - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
        return cls(end - int(months * 30.4375 * DAY), end)

    @property
    def first_day(self) -> int:
        """Days since 1970 of the first local date that can occur anywhere."""
        return self.start // DAY - 1

    @property
    def days(self) -> int:
        """Number of local dates from the first to the last that can occur anywhere."""
        return self.until // DAY + 2 - self.first_day


@dataclass(frozen=True)
class ZoneOffsets:
    """How far local time is ahead of UTC, per zone and local date (taken at noon)."""

    names: tuple[str, ...]
    first_day: int
    offsets: NDArray[np.int64]
    """(zones, days) microseconds."""

    @classmethod
    def over(cls, period: Period) -> Self:
        rows = []
        for name in TIME_ZONES:
            zone = ZoneInfo(name)
            noons = (datetime(1970, 1, 1, 12, tzinfo=zone) + timedelta(days=period.first_day + day) for day in range(period.days))
            rows.append([int((noon.utcoffset() or timedelta()) / timedelta(microseconds=1)) for noon in noons])
        return cls(tuple(TIME_ZONES), period.first_day, np.array(rows, dtype=np.int64))

    def at(self, zone: NDArray[np.integer[Any]], instant: NDArray[np.int64]) -> NDArray[np.int64]:
        """Offset at an instant or a local time (the two differ by hours on the two days a year when clocks change)."""
        day = np.clip(instant // DAY - self.first_day, 0, self.offsets.shape[1] - 1)
        return self.offsets[zone, day]


@dataclass(frozen=True)
class People:
    """One entry per person in every array."""

    number: NDArray[np.int64]
    """Which user of the whole population; users are numbered from 0."""
    bits: Bits
    """Where everything that happens to this person is drawn from."""
    zone: NDArray[np.int64]
    """Index into TIME_ZONES, at sign-up; likewise the next into PLATFORMS and CHANNELS."""
    platform: NDArray[np.int64]
    channel: NDArray[np.int64]
    instant: NDArray[np.int64]
    """A user's sign-up; a visitor's first sight of the app."""
    is_named: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.number)

    def take(self, chosen: NDArray[Any]) -> "People":
        return People(**{each.name: getattr(self, each.name)[chosen] for each in fields(self)})


def users(seed: int, first: int, count: int, period: Period, offsets: ZoneOffsets) -> People:
    """Users number first … first + count - 1: everybody who makes an account during the period, a little more each week."""
    number = np.arange(first, first + count, dtype=np.int64)
    person = keys(seed, "user", number)
    share = uniform(then(person, 1)) ** 0.87
    people = _draw(person, number, period, offsets, share, list(CHANNELS.values()))
    named = number < len(NAMED_USERS)
    people.instant[named] = period.start + (number[named] + 1) * HOUR
    return people


def visitors(seed: int, users_of_block: People, per_user: float, weights: list[float], period: Period, offsets: ZoneOffsets) -> People:
    """People who leave before they have an account: `per_user` for each user, tied to the user's number but to nothing else of it."""
    person = keys(seed, "visitor", users_of_block.number)
    here = uniform(then(person, 0)) < per_user
    person, number = person[here], users_of_block.number[here]
    share = uniform(then(person, 1)) ** 0.87
    return _draw(person, number, period, offsets, share, weights, is_user=False)


def _draw(
    person: Bits,
    number: NDArray[np.int64],
    period: Period,
    offsets: ZoneOffsets,
    share: NDArray[np.float64],
    channels: list[float],
    *,
    is_user: bool = True,
) -> People:
    zone = choose(then(person, 2), list(TIME_ZONES.values())).astype(np.int64)
    day = ((period.start + share * (period.until - period.start)) // DAY).astype(np.int64)
    # Two of three come after work, the others over the day; nobody signs up outside the period.
    evening = uniform(then(person, 3)) < 0.62
    hour = np.where(evening, 19.5 + 1.9 * normal(then(person, 4)), 13.0 + 3.2 * normal(then(person, 4)))
    local = day * DAY + (np.clip(hour, 0.1, 23.9) * HOUR).astype(np.int64)
    instant = local - offsets.at(zone, local)
    outside = (instant < period.start) | (instant > period.until)
    instant = np.where(outside, (period.start + share * (period.until - period.start)).astype(np.int64), instant)
    return People(
        number=number,
        bits=person,
        zone=zone,
        platform=choose(then(person, 5), list(PLATFORMS.values())).astype(np.int64),
        channel=choose(then(person, 6), channels).astype(np.int64),
        instant=instant,
        is_named=(number < len(NAMED_USERS)) & is_user,
    )


@dataclass(frozen=True)
class Traits:
    """What onboarding asks and what training follows from; one entry per user."""

    goal: NDArray[np.int64]
    """Index into GOALS; likewise level into LEVELS, kit into KITS."""
    level: NDArray[np.int64]
    kit: NDArray[np.int64]
    is_female: NDArray[np.bool_]
    sex_is_told: NDArray[np.bool_]
    birth_year: NDArray[np.int64]
    body_weight_kg: NDArray[np.float64]
    in_pounds: NDArray[np.bool_]
    days_per_week: NDArray[np.int64]
    weekdays: NDArray[np.bool_]
    """(users, 7) the days on which the user means to train, Monday first."""
    weekdays_are_told: NDArray[np.bool_]
    session_minutes: NDArray[np.int64]
    avoided: NDArray[np.int64]
    """Bit per BodyArea that hurts too much; `cautious` likewise for areas to go easy on."""
    cautious: NDArray[np.int64]
    steadiness: NDArray[np.float64]
    """Probability that a planned session takes place."""
    talent: NDArray[np.float64]
    """Factor on strength."""


WEEKDAYS_OF: Final = {
    1: ((2,), (5,)),
    2: ((0, 3), (1, 4), (2, 6)),
    3: ((0, 2, 4), (1, 3, 5), (0, 3, 5)),
    4: ((0, 1, 3, 4), (0, 2, 4, 5), (1, 2, 4, 6)),
    5: ((0, 1, 2, 3, 4), (0, 1, 3, 4, 5), (0, 2, 3, 5, 6)),
    6: ((0, 1, 2, 3, 4, 5), (0, 1, 2, 4, 5, 6), (0, 1, 3, 4, 5, 6)),
}


def traits(people: People, period: Period) -> Traits:
    """Draw what kind of person each one is."""
    draw = then(people.bits, 100)
    goal = choose(then(draw, 1), list(GOALS.values())).astype(np.int64)
    level = choose(then(draw, 2), list(LEVELS.values())).astype(np.int64)
    kit = choose(then(draw, 3), [kit.share for kit in KITS]).astype(np.int64)
    goal[people.is_named], level[people.is_named], kit[people.is_named] = 1, 1, 0
    is_female = uniform(then(draw, 4)) < 0.43
    weight = np.where(is_female, 66 + 11 * normal(then(draw, 5)), 82 + 13 * normal(then(draw, 5)))
    days = 1 + choose(then(draw, 6), [0.03, 0.16, 0.4, 0.25, 0.12, 0.04]).astype(np.int64)
    days[people.is_named] = 4 - people.number[people.is_named]
    pattern = below(then(draw, 7), 3)
    table = np.zeros((7, 3, 7), dtype=bool)
    for count, patterns in WEEKDAYS_OF.items():
        for position in range(3):
            table[count, position, list(patterns[position % len(patterns)])] = True
    areas = len(BodyArea)
    hurt = uniform(then(draw, 8))
    area = below(then(draw, 9), areas)
    year = datetime.fromtimestamp(period.until / SECOND, UTC).year
    in_pound_zone = np.isin(people.zone, [list(TIME_ZONES).index(name) for name in POUND_ZONES])
    steadiness = np.clip(0.78 + 0.13 * normal(then(draw, 10)), 0.3, 0.98)
    steadiness[people.is_named] = 0.93
    return Traits(
        goal=goal,
        level=level,
        kit=kit,
        is_female=is_female,
        sex_is_told=uniform(then(draw, 11)) < 0.86,
        birth_year=year - 16 - np.minimum(below(then(draw, 12), 34) + below(then(draw, 13), 28), 60),
        body_weight_kg=np.round(np.clip(weight, 42, 160), 1),
        in_pounds=uniform(then(draw, 14)) < np.where(in_pound_zone, 0.82, 0.02),
        days_per_week=days,
        weekdays=table[days, pattern],
        weekdays_are_told=uniform(then(draw, 15)) < 0.7,
        session_minutes=np.array([30, 45, 60, 75, 90])[choose(then(draw, 16), [0.12, 0.27, 0.38, 0.13, 0.1])],
        avoided=np.where(hurt < 0.05, 1 << area, 0),
        cautious=np.where((hurt >= 0.05) & (hurt < 0.16), 1 << area, 0),
        steadiness=steadiness,
        talent=np.exp(0.16 * normal(then(draw, 17))),
    )


SEXES: Final = (Sex.FEMALE, Sex.MALE)
