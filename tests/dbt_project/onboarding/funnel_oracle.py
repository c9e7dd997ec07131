"""The plain, slow funnel of one user: reads the definition aloud, knows no SQL. Oracle for the macro."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import mean, median

Event = tuple[datetime, str, str | None]
"""When, which step, and the segment's value."""


@dataclass(frozen=True)
class Question:
    """A funnel as the macro takes it; exclusions are (event, from, to) with 0-based positions."""

    steps: tuple[str, ...]
    order: str = "ordered"
    entry: str = "first"
    window_seconds: float = 1209600
    exclusions: tuple[tuple[str, int, int], ...] = ()
    optional_steps: tuple[str, ...] = ()

    @property
    def required(self) -> list[str]:
        return [step for step in self.steps if step not in self.optional_steps]


@dataclass(frozen=True)
class Way:
    """How far one entry led: the times of the required steps (None from where it stopped) and its segment."""

    entered_at: datetime
    closes_at: datetime
    segment: str
    times: list[datetime | None]
    excluded: bool = False

    @property
    def depth(self) -> int:
        return sum(time is not None for time in self.times)

    @property
    def last(self) -> datetime:
        return max(time for time in self.times if time is not None)


def walk(question: Question, events: Sequence[Event]) -> dict[int, tuple[datetime, datetime | None, str]] | None:
    """What one user did: {position from 1: (when, when of the step before, segment)}, or None for a user who counts nowhere."""
    events = sorted((event for event in events), key=lambda event: event[0])
    opening = set(question.steps) if question.order == "unordered" else {question.steps[0]}
    entries = sorted({at for at, step, _ in events if step in opening})
    if question.entry == "first":
        entries = entries[:1]
    ways = [_way(question, events, entered_at, opening) for entered_at in entries]
    ways = [way for way in ways if not way.excluded]
    if not ways:
        return None
    best = max(ways, key=lambda way: (way.depth, -way.last.timestamp(), way.entered_at))
    taken: dict[int, tuple[datetime, datetime | None, str]] = {}
    order = 0
    for position, step in enumerate(question.steps, start=1):
        if step in question.optional_steps:
            since = best.times[order - 1]
            until = best.times[order] if order < len(best.times) else None
            found = [at for at, name, _ in events if name == step and since is not None and since <= at <= (until or best.closes_at)]
            if found:
                taken[position] = (min(found), since, best.segment)
        else:
            at = best.times[order]
            if at is not None:
                taken[position] = (at, best.times[order - 1] if order else None, best.segment)
            order += 1
    return taken


def _way(question: Question, events: Sequence[Event], entered_at: datetime, opening: set[str]) -> Way:
    closes_at = entered_at + timedelta(seconds=question.window_seconds)
    inside = [event for event in events if entered_at <= event[0] <= closes_at and event[1] not in question.optional_steps]
    values = [segment for at, step, segment in inside if at == entered_at and step in opening and segment is not None]
    segment = min(values) if values else "(none)"
    if question.order == "unordered":
        times: list[datetime | None] = sorted(_filled_in_any_order(question.required, inside))
        times += [None] * (len(question.required) - len(times))
        for name, _, until in question.exclusions:
            end = times[until]
            if any(step == name and entered_at < at and (at < end if end else at <= closes_at) for at, step, _ in inside):
                times = [times[0]] + [None] * (len(times) - 1)
                break
        return Way(entered_at, closes_at, segment, times)
    times = _filled_in_order(question, inside)
    excluded = False
    for name, since, until in question.exclusions:
        begin, end = times[since], times[until]
        if begin is not None:
            excluded |= any(step == name and begin < at and (at < end if end else at <= closes_at) for at, step, _ in inside)
    return Way(entered_at, closes_at, segment, times, excluded)


def _filled_in_any_order(steps: Sequence[str], inside: Sequence[Event]) -> list[datetime]:
    left = list(steps)
    times = []
    for at, step, _ in inside:
        if step in left:
            left.remove(step)
            times.append(at)
    return times


def _filled_in_order(question: Question, inside: Sequence[Event]) -> list[datetime | None]:
    """Each step takes the earliest unused event at or after the one before; strict: with nothing in between."""
    unused = list(inside)
    times: list[datetime | None] = []
    now = inside[0][0]
    for step in question.required:
        if question.order == "strict" and times:
            later = [at for at, _, _ in inside if at > now]
            allowed = {now} | ({min(later)} if later else set())
        else:
            allowed = {at for at, _, _ in inside if at >= now}
        found = [event for event in unused if event[1] == step and event[0] in allowed and event[0] >= now]
        if not found:
            break
        unused.remove(found[0])
        now = found[0][0]
        times.append(now)
    return times + [None] * (len(question.required) - len(times))


Row = tuple[str | None, int, int, float | None, float | None]
"""Segment, position, users, average seconds, median seconds."""


def funnel(question: Question, journeys: dict[str, list[Event]], *, by_segment: bool = False) -> list[Row]:
    """The macro's rows, one user at a time."""
    walked = [taken for events in journeys.values() if (taken := walk(question, events)) is not None]
    segments: list[str | None] = sorted({taken[1][2] for taken in walked}) if by_segment else [None]
    rows: list[Row] = []
    for segment in segments:
        for position in range(1, len(question.steps) + 1):
            those = [taken for taken in walked if segment is None or taken[1][2] == segment]
            hits = [taken[position] for taken in those if position in taken]
            seconds = [(at - since).total_seconds() for at, since, _ in hits if since is not None]
            rows.append((segment, position, len(hits), mean(seconds) if seconds else None, median(seconds) if seconds else None))
    return rows
