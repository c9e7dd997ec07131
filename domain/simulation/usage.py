"""What simulated people open in the app besides training, and their first weeks as a flow of events."""

from typing import Final

import numpy as np

from domain.simulation.columns import Columns, concatenate, instants, take, text
from domain.simulation.onboarding import Journeys, release_of, sent, version_names
from domain.simulation.people import DAY, PLATFORMS, SECOND, People, Period
from domain.simulation.randomness import then, uniform, uuids
from domain.simulation.training import Training
from domain.vocabulary import OnboardingEventType, UsageFeature

ADOPTION: Final = {UsageFeature.DASHBOARD: 0.458, UsageFeature.RECORDS: 0.38, UsageFeature.PLAN: 0.62}
"""Share of those who train that ever open it; after or before this share of workouts they do."""
OPENS: Final = {UsageFeature.DASHBOARD: 0.6, UsageFeature.RECORDS: 0.45, UsageFeature.PLAN: 0.5}

FLOW: Final = b"first_workout"


def openings(people: People, training: Training, period: Period) -> Columns:
    """Rows of `app.usage_events`: the plan is looked at before a workout, dashboard and records after it."""
    tables = []
    names = version_names(period)
    first_of_user = np.concatenate([[True], np.diff(training.user) != 0]) if len(training.user) else np.zeros(0, dtype=bool)
    for number, (feature, share) in enumerate(ADOPTION.items()):
        adopts = uniform(then(people.bits, 500 + number)) < share
        adopts |= people.is_named
        bits = then(people.bits[training.user], 510 + number, training.start // SECOND)
        opens = adopts[training.user] & ((uniform(bits) < OPENS[feature]) | first_of_user)
        user, bits = training.user[opens], bits[opens]
        pause = (uniform(then(bits, 1)) ** 2 * 3 * 3600 * SECOND).astype(np.int64)
        before = feature is UsageFeature.PLAN
        at = np.where(before, training.start[opens] - pause // 6 - SECOND, training.end[opens] + pause)
        release = release_of(at, then(people.bits, 201)[user], period)
        tables.append(
            {
                "event_id": uuids(then(bits, 2), then(bits, 3)),
                "user": user.astype(np.int64),
                "feature": np.full(len(user), feature.value.encode(), dtype="S9"),
                "occurred_at": instants(at),
                "received_at": instants(at + SECOND // 2),
                "platform": text([each.value for each in PLATFORMS])[people.platform[user]],
                "app_version": names[np.minimum(release, len(names) - 1)],
            }
        )
    table = concatenate(tables)
    return take(table, table["received_at"] <= instants(np.array([period.until])))


def first_weeks(people: People, journeys: Journeys, training: Training, period: Period) -> Columns:
    """Events of the flow `first_workout`: who looks at the plan, starts, completes, and is back in the second week."""
    count = len(people)
    never = np.iinfo(np.int64).max
    has = np.unique(training.user)
    first = np.searchsorted(training.user, has)
    start, end, again = np.full(count, never), np.full(count, never), np.full(count, never)
    start[has], end[has] = training.start[first], training.end[first]
    later = np.flatnonzero(training.start >= start[training.user] + 7 * DAY)
    with_later, first_later = np.unique(training.user[later], return_index=True)
    again[with_later] = training.start[later[first_later]]

    finished = journeys.finished_at >= 0
    draw = then(people.bits, 520)
    looks = finished & ((uniform(then(draw, 0)) < 0.9) | people.is_named)
    wait = np.where(uniform(then(draw, 1)) < 0.7, 20.0, 6 * 3600.0) * (0.2 + uniform(then(draw, 2)))
    looked = np.where(looks, np.minimum(journeys.finished_at + (wait * 1000).astype(np.int64) * 1000, start - SECOND), never)
    breaks_off = (uniform(then(draw, 3)) < 0.04) & ~people.is_named
    # (people, events): the true time of each, `never` where it didn't happen.
    kinds = [
        ("plan_viewed", OnboardingEventType.STARTED, looked),
        ("plan_viewed", OnboardingEventType.COMPLETED, np.where(looks, looked + 9 * SECOND, never)),
        ("workout_started", OnboardingEventType.COMPLETED, start),
        ("workout_completed", OnboardingEventType.ERROR, np.where(breaks_off & (end < never), end - SECOND, never)),
        ("workout_completed", OnboardingEventType.COMPLETED, np.where(breaks_off, never, end)),
        ("second_week", OnboardingEventType.COMPLETED, again),
    ]
    times = np.stack([at for _, _, at in kinds], axis=1)
    who, kind = np.nonzero(times < never)
    true_at = times[who, kind]
    duration = np.where(kind == 1, 9000, np.where(kind == 4, np.minimum((end - start)[who] // 1000, 2**31 - 1), -1))
    names = version_names(period)
    events = sent(
        people,
        who,
        true_at,
        then(draw[who], 10, kind),
        period,
        sitting=kind + 100,
        columns={
            "flow": np.full(len(who), FLOW),
            "flow_version": np.full(len(who), 1, dtype=np.int16),
            "step": text([step for step, _, _ in kinds])[kind],
            "event_type": text([each.value for _, each, _ in kinds])[kind],
            "duration_ms": duration.astype(np.int32),
            "error_code": np.where(kind == 3, b"sync_failed", b""),
            "app_version": names[np.minimum(release_of(true_at, then(people.bits, 201)[who], period), len(names) - 1)],
        },
    )
    events["user"] = who.astype(np.int64)
    events["anonymous_id"] = np.zeros(len(who), dtype="S21")
    return take(events, events["received_at"] <= instants(np.array([period.until])))
