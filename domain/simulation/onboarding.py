"""How simulated people go through onboarding: steps, errors, retries, breaks, and where they give up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from domain.simulation.columns import Columns, instants, text
from domain.simulation.people import CHANNELS, DAY, PLATFORMS, SECOND, People, Period
from domain.simulation.randomness import Bits, hexadecimal, normal, then, uniform, uuids
from domain.vocabulary import OnboardingEventType, OnboardingStep, Platform

FLOW: Final = b"onboarding"
FLOW_VERSION: Final = 1
STEPS: Final = tuple(OnboardingStep)
ACCOUNT: Final = STEPS.index(OnboardingStep.ACCOUNT)
LAST: Final = len(STEPS) - 1


@dataclass(frozen=True)
class StepHabits:
    """How a step goes for an ordinary person on an ordinary day."""

    seconds: float
    """Median time in the step."""
    gives_up: float
    """Probability of leaving here without any error."""
    errs: float
    """Probability of a first error."""
    errors: Mapping[str, float]
    skips: float = 0.0


HABITS: Final[Mapping[OnboardingStep, StepHabits]] = {
    OnboardingStep.WELCOME: StepHabits(6, 0.045, 0.006, {"network_timeout": 1}),
    OnboardingStep.ACCOUNT: StepHabits(36, 0.068, 0.12, {"validation_failed": 0.42, "email_taken": 0.34, "network_timeout": 0.24}),
    OnboardingStep.GOAL: StepHabits(12, 0.038, 0.007, {"network_timeout": 1}),
    OnboardingStep.EXPERIENCE: StepHabits(9, 0.027, 0.006, {"network_timeout": 1}),
    OnboardingStep.EQUIPMENT: StepHabits(29, 0.067, 0.03, {"network_timeout": 0.6, "validation_failed": 0.4}),
    OnboardingStep.SCHEDULE: StepHabits(21, 0.057, 0.02, {"validation_failed": 0.75, "network_timeout": 0.25}),
    OnboardingStep.NOTIFICATIONS: StepHabits(7, 0.013, 0.008, {"permission_denied": 1}, skips=0.37),
    OnboardingStep.PLAN_PREVIEW: StepHabits(
        33, 0.058, 0.075, {"payment_declined": 0.48, "network_timeout": 0.32, "plan_generation_failed": 0.2}
    ),
}
GIVES_UP_AFTER_ERROR: Final = {
    "network_timeout": 0.2,
    "validation_failed": 0.1,
    "email_taken": 0.24,
    "payment_declined": 0.36,
    "plan_generation_failed": 0.3,
    "permission_denied": 0.05,
}
ERRS_AGAIN: Final = 0.34
MOST_ERRORS: Final = 3
CHANNEL_FACTOR: Final[Mapping[str, float]] = {
    "organic": 0.95,
    "paid_social": 1.36,
    "referral": 0.7,
    "search": 0.9,
    "influencer": 1.15,
    "": 1.0,
}
"""On the probability of giving up, by where somebody came from; likewise by platform."""
PLATFORM_FACTOR: Final[Mapping[Platform, float]] = {Platform.IOS: 0.9, Platform.ANDROID: 1.05, Platform.WEB: 1.25}

LOST_PER_USER: Final = 0.178
"""People who leave in the first two steps for each one who makes an account; follows from the habits above."""
LEAVES_AT_WELCOME: Final = 0.37
"""Share of those that are gone before the account step."""

RELEASE_EVERY: Final = 34 * DAY
BAD_RELEASE: Final = 3
"""The release in which equipment photos time out on Android: what the funnel's users are to find. One is mended by the next."""
BAD_RELEASE_ERRS: Final = 0.26

_SLOTS: Final = 2 * MOST_ERRORS + 2
"""Events that a step can have: started, then error and started again up to three times, then its end."""


@dataclass(frozen=True)
class Journeys:
    """What became of each person: instants in microseconds, -1 where it didn't come to that."""

    completed_at: NDArray[np.int64]
    """(people, steps), by the true time; the optional step counts as completed when it was skipped."""

    @property
    def account_at(self) -> NDArray[np.int64]:
        return self.completed_at[:, ACCOUNT]

    @property
    def finished_at(self) -> NDArray[np.int64]:
        return self.completed_at[:, LAST]


def release_of(instant: NDArray[np.int64], bits: Bits, period: Period) -> NDArray[np.int64]:
    """Number of the app's release that somebody runs: a new one each 34 days, a quarter of the people a release behind."""
    newest = np.maximum(instant - period.start, 0) // RELEASE_EVERY
    return np.maximum(newest - (uniform(bits) < 0.25), 0).astype(np.int64)


def version_names(period: Period) -> NDArray[np.bytes_]:
    """Names of all releases up to the end of the period."""
    return text([f"5.{release}.0" for release in range((period.until - period.start) // RELEASE_EVERY + 1)])


def walk(people: People, period: Period, *, have_account: bool) -> tuple[Journeys, Columns]:
    """Everybody's way through the flow, and the events that the server had received by the end of the period.

    With `have_account`, `people.instant` is when the account was made; otherwise nobody gets beyond it and it's the first event.
    """
    count, steps = len(people), len(STEPS)
    draw = then(people.bits[:, None], 200, np.arange(steps)[None, :])  # (people, steps)
    release = release_of(people.instant, then(people.bits, 201), period)
    android = list(PLATFORMS).index(Platform.ANDROID)
    hit = (people.platform == android) & (release == BAD_RELEASE)

    # Errors, one after the other, each of which may be the end of it.
    channel = np.array([CHANNEL_FACTOR[name] for name in CHANNELS])[people.channel]
    platform = np.array([PLATFORM_FACTOR[name] for name in PLATFORMS])[people.platform]
    gives_up = np.array([HABITS[step].gives_up for step in STEPS]) * (channel * platform)[:, None]
    errs = np.repeat(np.array([[HABITS[step].errs for step in STEPS]]), count, axis=0)
    equipment = STEPS.index(OnboardingStep.EQUIPMENT)
    errs[hit, equipment] = BAD_RELEASE_ERRS
    code = _error_codes(draw, hit)
    first = uniform(then(draw, 1)) < errs
    errors = first.astype(np.int64)
    for number in range(1, MOST_ERRORS):
        errors += (errors == number) & (uniform(then(draw, 1 + number)) < ERRS_AGAIN)
    codes, after = list(GIVES_UP_AFTER_ERROR), np.array(list(GIVES_UP_AFTER_ERROR.values()))
    stays = (1 - after[code]) ** errors * (1 - np.minimum(gives_up, 0.9))
    leaves = uniform(then(draw, 5)) > stays
    leaves[people.is_named] = False
    errors[people.is_named] = 0
    if have_account:
        leaves[:, : ACCOUNT + 1] = False
    else:
        at_welcome = uniform(then(people.bits, 202)) < LEAVES_AT_WELCOME
        leaves[:, 0], leaves[:, 1] = at_welcome, True
        errors[:, 1] = np.where(uniform(then(people.bits, 203)) < 0.3, np.maximum(errors[:, 1], 1), errors[:, 1])
    gone = np.cumsum(leaves, axis=1)
    reaches = np.concatenate([np.ones((count, 1), dtype=bool), gone[:, :-1] == 0], axis=1)
    ends = reaches & ~leaves
    skip_share = np.array([HABITS[step].skips for step in STEPS])
    skips = ends & (uniform(then(draw, 6)) < skip_share) & ~people.is_named[:, None]

    # The clock: each event a little after the one before; a break of hours or days between some steps.
    slot = then(draw[:, :, None], 10, np.arange(_SLOTS)[None, None, :])  # (people, steps, slots)
    exists = np.zeros((count, steps, _SLOTS), dtype=bool)
    exists[:, :, 0] = reaches
    for number in range(MOST_ERRORS):
        tries = reaches & (errors > number)
        exists[:, :, 1 + 2 * number] = tries
        # Some screens start anew after an error, and the last error of somebody who leaves starts nothing.
        again = uniform(slot[:, :, 2 + 2 * number]) < 0.55
        exists[:, :, 2 + 2 * number] = tries & again & ~(leaves & (errors == number + 1))
    exists[:, :, -1] = ends
    seconds = np.array([HABITS[step].seconds for step in STEPS])[None, :] * np.exp(0.55 * normal(then(draw, 7)))
    attempts = (errors + 1)[:, :, None]
    gap = seconds[:, :, None] / attempts * (0.75 + 0.5 * uniform(then(slot, 1)))
    gap[:, :, 0] = 0.4 + 1.4 * uniform(then(draw, 8))
    gap[:, :, 2::2][:, :, :MOST_ERRORS] = 0.3
    pauses = (uniform(then(draw, 9)) < 0.035) & ~people.is_named[:, None]
    pauses[:, 0] = False
    pause_hours = np.minimum(np.exp(2.6 + 1.5 * normal(then(draw, 11))), 24 * 25)
    gap[:, :, 0] += np.where(pauses, pause_hours * 3600, 0)
    spans = np.where(exists, (gap * 1000).astype(np.int64) * 1000, 0).reshape(count, steps * _SLOTS)
    elapsed = np.cumsum(spans, axis=1).reshape(count, steps, _SLOTS)
    origin = people.instant - elapsed[:, ACCOUNT, -1] if have_account else people.instant
    at = origin[:, None, None] + elapsed  # true time of each event
    journeys = Journeys(np.where(ends & (at[:, :, -1] <= period.until), at[:, :, -1], -1))

    # From here on one entry per event.
    who, step, position = np.nonzero(exists)
    event = slot[who, step, position]
    true_at = at[who, step, position]
    is_end, is_error = position == _SLOTS - 1, position % 2 == 1
    is_error &= ~is_end
    starts = np.maximum.accumulate(np.where((position % 2 == 0) & exists[who, step, position], np.arange(len(who)), 0))
    duration = np.where(is_end | is_error, (true_at - true_at[starts]) // 1000, -1)
    kinds = text([kind.value for kind in OnboardingEventType])
    kind = np.where(
        is_end,
        np.where(
            skips[who, step],
            list(OnboardingEventType).index(OnboardingEventType.SKIPPED),
            list(OnboardingEventType).index(OnboardingEventType.COMPLETED),
        ),
        np.where(
            is_error,
            list(OnboardingEventType).index(OnboardingEventType.ERROR),
            list(OnboardingEventType).index(OnboardingEventType.STARTED),
        ),
    )
    first_try = position <= 2
    later_code = _error_codes_of_events(then(event, 2), step, hit[who])
    error = np.where(is_error, np.where(first_try, code[who, step], later_code), len(codes))
    sitting = np.cumsum(pauses & reaches, axis=1)[who, step]
    events = sent(
        people,
        who,
        true_at,
        event,
        period,
        sitting=sitting,
        columns={
            "flow": np.full(len(who), FLOW),
            "flow_version": np.full(len(who), FLOW_VERSION, dtype=np.int16),
            "step": text([each.value for each in STEPS])[step],
            "event_type": kinds[kind],
            "duration_ms": duration.astype(np.int32),
            "error_code": text([*codes, ""])[error],
            "app_version": version_names(period)[np.minimum(release[who], len(version_names(period)) - 1)],
        },
    )
    if have_account:
        # Most people come without a name and get one when their account is made; some sign in first.
        signed_in = uniform(then(people.bits, 210)) < 0.06
        keeps = uniform(then(people.bits, 211)) < 0.7
        named = signed_in[who] | (true_at >= people.instant[who])
        nameless = ~signed_in[who] & (~named | keeps[who])
        events["user"] = np.where(named, who, -1).astype(np.int64)
        events["anonymous_id"] = np.where(nameless, anonymous_ids(people)[who], b"")
    else:
        events["user"] = np.full(len(who), -1, dtype=np.int64)
        events["anonymous_id"] = anonymous_ids(people)[who]
    arrived = events["received_at"] <= instants(np.array([period.until]))
    return journeys, {name: column[arrived] for name, column in events.items()}


def anonymous_ids(people: People) -> NDArray[np.bytes_]:
    """What the app calls somebody before it knows who it is."""
    return hexadecimal(b"anon-", then(people.bits, 212))


def links(people: People, journeys: Journeys, period: Period) -> Columns:
    """Which user an anonymous id turned out to be: said at once by most clients, a day later by some."""
    linked = uniform(then(people.bits, 210)) >= 0.06
    late = uniform(then(people.bits, 213)) < 0.04
    at = journeys.account_at + np.where(late, DAY, SECOND)
    linked &= at <= period.until
    return {
        "user": np.flatnonzero(linked),
        "anonymous_id": anonymous_ids(people)[linked],
        "linked_at": instants(at[linked]),
    }


def sent(
    people: People,
    who: NDArray[np.intp],
    true_at: NDArray[np.int64],
    event: Bits,
    period: Period,
    *,
    sitting: NDArray[np.int64],
    columns: Columns,
) -> Columns:
    """What the server stores of events that happened at `true_at`: ids, the client's clock, how late they came, their trace.

    Nine of ten come within a second or two, the others after the phone was back online, so they come out of order. One client in
    thirty has a wrong clock; where it said when it sent, the server has corrected that, otherwise the error of minutes stays.
    """
    wrong = uniform(then(people.bits, 220)) < 0.033
    wrong &= ~people.is_named
    old = uniform(then(people.bits, 221)) < 0.06
    skew = np.where(wrong, (np.where(old, 200.0, 4 * 3600.0) * normal(then(people.bits, 222)) * SECOND), 0).astype(np.int64)
    offline = uniform(then(event, 3)) < 0.07
    lag = np.where(offline, 90 * np.exp(1.7 * normal(then(event, 4))), 0.08 + 1.6 * uniform(then(event, 4)) ** 3)
    received = true_at + (np.minimum(lag, 6 * 24 * 3600) * 1000).astype(np.int64) * 1000
    skew_of_event = skew[who]
    occurred = np.where(old[who], true_at + skew_of_event, true_at)
    occurred = np.minimum(occurred, period.until)
    sent_at = np.where(old[who], -1, received - 60_000 + skew_of_event)
    session = then(people.bits[who], 223, sitting)
    traced = uniform(then(people.bits, 224)) < 0.75
    trace = hexadecimal(b"00-", then(session, 1), then(session, 2), then(event, 5))
    shown = np.char.add(np.char.add(trace.astype("S35"), b"-"), _tail(trace, 16))
    return {
        "event_id": uuids(then(event, 6), then(event, 7)),
        "session_id": hexadecimal(b"session-", session),
        "occurred_at": instants(occurred),
        "sent_at": instants(sent_at),
        "received_at": instants(received),
        "platform": text([each.value for each in PLATFORMS])[people.platform[who]],
        "acquisition_channel": text(list(CHANNELS))[people.channel[who]],
        "traceparent": np.where(traced[who], np.char.add(shown, b"-01"), b""),
        **columns,
    }


def _tail(values: NDArray[np.bytes_], length: int) -> NDArray[np.bytes_]:
    width = values.dtype.itemsize
    octets = values.view(np.uint8).reshape(len(values), width)[:, width - length :]
    return np.ascontiguousarray(octets).view(f"S{length}").ravel()


def _error_codes(draw: Bits, hit: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(people, steps) position in GIVES_UP_AFTER_ERROR of the error that a step would show first."""
    step = np.broadcast_to(np.arange(draw.shape[1])[None, :], draw.shape)
    return _error_codes_of_events(then(draw, 4).ravel(), step.ravel(), np.repeat(hit, draw.shape[1])).reshape(draw.shape)


def _error_codes_of_events(bits: Bits, step: NDArray[np.intp], hit: NDArray[np.bool_]) -> NDArray[np.int64]:
    codes = list(GIVES_UP_AFTER_ERROR)
    weights = np.array([[HABITS[each].errors.get(code, 0.0) for code in codes] for each in STEPS])
    cumulative = np.cumsum(weights, axis=1) / weights.sum(axis=1, keepdims=True)
    chosen = (uniform(bits)[:, None] >= cumulative[step]).sum(axis=1)
    broken = hit & (step == STEPS.index(OnboardingStep.EQUIPMENT))
    return np.where(broken, codes.index("network_timeout"), chosen).astype(np.int64)
