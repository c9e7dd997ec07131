"""Onboarding's marts, one person at a time in plain Python: knows no SQL and no incremental build. Oracle for the dbt models."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from math import floor, sqrt
from statistics import mean
from typing import Any


@dataclass(frozen=True)
class TraceEvent:
    """One row of app.onboarding_events, with the person that it belongs to."""

    person: int
    flow: str
    version: int
    step: str
    kind: str
    at: datetime
    event_id: str
    error_code: str | None = None
    platform: str | None = None
    app_version: str | None = None
    channel: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True)
class Flow:
    name: str
    version: int
    steps: tuple[tuple[str, bool], ...]
    """Name and whether it is required, in order."""
    window_seconds: int


@dataclass
class Step:
    person: int
    flow: Flow
    position: int
    name: str
    is_required: bool
    entered_at: datetime
    ready_at: datetime
    events: list[TraceEvent]
    done_at: datetime | None
    is_skipped: bool
    outcome: str

    @property
    def errors(self) -> list[TraceEvent]:
        return [event for event in self.events if event.kind == "error"]

    @property
    def is_recovered(self) -> bool:
        return bool(self.errors) and self.done_at is not None and self.errors[0].at <= self.done_at


@dataclass
class Journey:
    person: int
    flow: Flow
    entry: TraceEvent
    steps: list[Step]
    is_mature: bool
    status: str
    furthest: Step
    last: Step
    completed_at: datetime | None
    next_event: TraceEvent | None = None
    segments: dict[str, str] = field(default_factory=dict)

    @property
    def cohort(self) -> date:
        return self.entry.at.date()

    @property
    def last_event_at(self) -> datetime:
        return max(event.at for step in self.steps for event in step.events)


def journey(person: int, flow: Flow, everything: Sequence[TraceEvent], as_of: datetime) -> Journey | None:
    """One person's way through one flow, or None where it was never entered."""
    own = sorted((e for e in everything if (e.flow, e.version) == (flow.name, flow.version)), key=lambda e: (e.at, e.event_id))
    first_step = flow.steps[0][0]
    entries = [event for event in own if event.step == first_step]
    if not entries:
        return None
    entry = entries[0]
    closes_at = entry.at + timedelta(seconds=flow.window_seconds)
    inside = [event for event in own if entry.at <= event.at <= closes_at]
    is_mature = as_of > closes_at

    done: dict[int, datetime | None] = {0: entry.at}
    last_required = 0
    for position, (name, is_required) in enumerate(flow.steps, start=1):
        if is_required:
            since = done[last_required]
            hits = [e.at for e in inside if e.step == name and e.kind == "completed" and since is not None and e.at >= since]
            done[position] = min(hits, default=None)
            last_required = position

    steps: list[Step] = []
    for position, (name, is_required) in enumerate(flow.steps, start=1):
        before = max(p for p in done if p < position)
        after = min((p for p in done if p > position), default=None)
        ready = done[before]
        until = done[after] if after is not None else None
        if ready is None:
            continue
        events = [e for e in inside if e.step == name and e.at >= ready and (is_required or until is None or e.at <= until)]
        if not events:
            continue
        ends = [e for e in events if e.kind == "completed" or (e.kind == "skipped" and not is_required)]
        done_at = min((e.at for e in ends), default=None)
        is_skipped = bool(ends) and not any(e.kind == "completed" and e.at == done_at for e in ends)
        if done_at is not None:
            outcome = "skipped" if is_skipped else "completed"
        elif not is_mature and (is_required or until is None):
            outcome = "in_progress"
        else:
            outcome = "blocked" if any(e.kind == "error" for e in events) else "abandoned"
        steps.append(Step(person, flow, position, name, is_required, entry.at, ready, events, done_at, is_skipped, outcome))

    required = [step for step in steps if step.is_required]
    completed_at = done[last_required]
    status = "completed" if completed_at is not None else "dropped" if is_mature else "in_progress"
    found = Journey(person, flow, entry, steps, is_mature, status, required[-1], steps[-1], completed_at)
    found.segments = {
        "(all)": "(all)",
        "platform": entry.platform or "(none)",
        "app_version": entry.app_version or "(none)",
        "acquisition_channel": entry.channel or "(none)",
    }
    if status == "dropped":
        later = sorted((e for e in everything if e.at > found.last_event_at), key=lambda e: (e.at, e.event_id))
        found.next_event = later[0] if later else None
    return found


def journeys(flows: Sequence[Flow], events: Iterable[TraceEvent], as_of: datetime) -> list[Journey]:
    people: dict[int, list[TraceEvent]] = defaultdict(list)
    known = {(flow.name, flow.version, step) for flow in flows for step, _ in flow.steps}
    for event in events:
        if event.at <= as_of and (event.flow, event.version, event.step) in known:
            people[event.person].append(event)
    found = [journey(person, flow, own, as_of) for person, own in people.items() for flow in flows]
    return [each for each in found if each is not None]


def seconds(later: datetime | None, earlier: datetime) -> float | None:
    return None if later is None else (later - earlier).total_seconds()


def journey_rows(found: Iterable[Journey]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """marts.onboarding_journeys by key."""
    rows = {}
    for each in found:
        errors = sorted((e.at, e.error_code or "(none)") for step in each.steps for e in step.errors)
        traces = [(e.at, e.trace_id) for step in each.steps for e in step.events if e.trace_id]
        rows[(each.person, each.flow.name, each.flow.version)] = {
            "user_key": each.person if each.person > 0 else None,
            "entered_at": each.entry.at,
            "cohort_on": each.cohort,
            "platform": each.segments["platform"],
            "app_version": each.segments["app_version"],
            "acquisition_channel": each.segments["acquisition_channel"],
            "matured_at": each.entry.at + timedelta(seconds=each.flow.window_seconds),
            "is_mature": each.is_mature,
            "status": each.status,
            "furthest_position": each.furthest.position,
            "furthest_step": each.furthest.name,
            "last_step": each.last.name,
            "completed_at": each.completed_at,
            "total_seconds": seconds(each.completed_at, each.entry.at),
            "attempts": max(1, sum(e.kind == "started" for e in each.steps[0].events)),
            "errors": len(errors),
            "skips": sum(e.kind == "skipped" for step in each.steps for e in step.events),
            "last_error_code": errors[-1][1] if errors else None,
            "last_error_at": errors[-1][0] if errors else None,
            "last_event_at": each.last_event_at,
            "next_event": f"{each.next_event.flow} / {each.next_event.step} {each.next_event.kind}" if each.next_event else None,
            "next_event_at": each.next_event.at if each.next_event else None,
            "trace_id": max(traces)[1] if traces else None,
        }
    return rows


def traces_of(step: Step) -> list[tuple[datetime, str]]:
    return [(e.at, e.trace_id) for e in step.events if e.trace_id]


def step_rows(found: Iterable[Journey]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """marts.onboarding_steps by key."""
    rows = {}
    for each in found:
        for step in each.steps:
            first = {kind: min((e.at for e in step.events if e.kind == kind), default=None) for kind in ("started", "completed", "skipped")}
            errors = sorted((e.at, e.error_code or "(none)") for e in step.errors)
            rows[(each.person, each.flow.name, each.flow.version, step.position)] = {
                "step": step.name,
                "is_required": step.is_required,
                "cohort_on": each.cohort,
                "cohort_week_on": each.cohort - timedelta(days=each.cohort.weekday()),
                "entered_at": step.entered_at,
                "reached_at": step.events[0].at,
                "started_at": first["started"],
                "completed_at": first["completed"],
                "skipped_at": first["skipped"],
                "done_at": step.done_at,
                "last_event_at": step.events[-1].at,
                "outcome": step.outcome,
                "starts": sum(e.kind == "started" for e in step.events),
                "skips": sum(e.kind == "skipped" for e in step.events),
                "errors": len(errors),
                "first_error_code": errors[0][1] if errors else None,
                "first_error_at": errors[0][0] if errors else None,
                "last_error_code": errors[-1][1] if errors else None,
                "last_error_at": errors[-1][0] if errors else None,
                "is_recovered": step.is_recovered,
                "seconds_in_step": seconds(step.done_at, step.events[0].at),
                "seconds_from_previous": seconds(step.done_at, step.ready_at),
                "seconds_from_entry": seconds(step.done_at, step.entered_at),
                "trace_id": max(traces_of(step))[1] if traces_of(step) else None,
            }
    return rows


def percentile(values: Sequence[float], share: float) -> float | None:
    """Linear interpolation between the two nearest ranks."""
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = floor(place)
    return ordered[low] + (ordered[min(low + 1, len(ordered) - 1)] - ordered[low]) * (place - low)


def wilson(hits: int, trials: int) -> tuple[float | None, float | None]:
    """Wilson (1927): the p for which |hits/trials - p| = z sqrt(p (1 - p) / trials), z of 95 %."""
    if not trials:
        return None, None
    z = 1.959963984540054
    share = hits / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


Cell = tuple[str, int, str, date, str, str]
"""Flow, version, grain, cohort, segment_by, segment."""


def cohorts(found: Iterable[Journey]) -> dict[Cell, list[Journey]]:
    cells: dict[Cell, list[Journey]] = defaultdict(list)
    for each in found:
        for grain, start in (("day", each.cohort), ("week", each.cohort - timedelta(days=each.cohort.weekday()))):
            for by, value in each.segments.items():
                cells[(each.flow.name, each.flow.version, grain, start, by, value)].append(each)
    return cells


def error_rows(found: Iterable[Journey]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """marts.onboarding_errors by key."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for cell, members in cohorts(found).items():
        here: dict[tuple[int, str], list[tuple[Journey, Step]]] = defaultdict(list)
        for each in members:
            for step in each.steps:
                for code in {e.error_code or "(none)" for e in step.errors}:
                    here[(step.position, code)].append((each, step))
        for (position, code), hit in here.items():
            reached = [(each, step) for each in members for step in each.steps if step.position == position and each.is_mature]
            with_error = [step for each, step in hit if each.is_mature]
            without = [step for _, step in reached if all(step is not other for other in with_error)]
            recovery = []
            for _, step in hit:
                first = min(e.at for e in step.errors if (e.error_code or "(none)") == code)
                if step.done_at is not None and step.done_at >= first:
                    recovery.append((step.done_at - first).total_seconds())
            yes, yes_done = len(with_error), sum(step.done_at is not None for step in with_error)
            no, no_done = len(without), sum(step.done_at is not None for step in without)
            odds = None
            if yes and no:
                odds = ((yes - yes_done + 0.5) / (yes_done + 0.5)) / ((no - no_done + 0.5) / (no_done + 0.5))
            rows[(*cell, position, code)] = {
                "users": len(hit),
                "hits": sum((e.error_code or "(none)") == code for _, step in hit for e in step.errors),
                "blocked": sum(step.outcome == "blocked" for _, step in hit),
                "recovered": len(recovery),
                "median_seconds_to_recover": percentile(recovery, 0.5),
                "conversion_with_error": yes_done / yes if yes else None,
                "conversion_without_error": no_done / no if no else None,
                "drop_odds_ratio": odds,
            }
    return rows


def funnel_rows(found: Sequence[Journey]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """marts.onboarding_funnel by key."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    errors = error_rows(found)
    through: dict[tuple[str, int], datetime] = {}
    for each in found:
        key = (each.flow.name, each.flow.version)
        through[key] = max(through.get(key, each.last_event_at), each.last_event_at)
    for cell, members in cohorts(found).items():
        mature = [each for each in members if each.is_mature]
        previous = len(mature)
        for position, (name, is_required) in enumerate(members[0].flow.steps, start=1):
            here = [(each, step) for each in members for step in each.steps if step.position == position]
            done = [(each, step) for each, step in here if step.done_at is not None]
            mature_done = sum(each.is_mature for each, _ in done)
            times = [(step.done_at - step.ready_at).total_seconds() for _, step in done]  # type: ignore[operator]
            stopped = [each for each, step in here if step is (each.furthest if is_required else each.last)]
            codes = {key[-1]: row for key, row in errors.items() if key[:-2] == cell and key[-2] == position}
            top = min(codes, key=lambda code: (-codes[code]["users"], -codes[code]["blocked"], code), default=None)
            from_start, from_previous = wilson(mature_done, len(mature)), wilson(mature_done, previous)
            rows[(*cell, position)] = {
                "step": name,
                "is_required": is_required,
                "entered": len(members),
                "mature_entered": len(mature),
                "reached": len(here),
                "completed": len(done),
                "skipped": sum(step.is_skipped for _, step in done),
                "dropped": sum(each.status == "dropped" for each in stopped),
                "in_progress": sum(each.status == "in_progress" for each in stopped),
                "mature_reached": sum(each.is_mature for each, _ in here),
                "mature_completed": mature_done,
                "mature_previous": previous,
                "conversion_from_start": mature_done / len(mature) if mature else None,
                "conversion_from_start_low": from_start[0],
                "conversion_from_start_high": from_start[1],
                "conversion_from_previous": mature_done / previous if previous else None,
                "conversion_from_previous_low": from_previous[0],
                "conversion_from_previous_high": from_previous[1],
                "average_seconds": mean(times) if times else None,
                "p25_seconds": percentile(times, 0.25),
                "median_seconds": percentile(times, 0.5),
                "p75_seconds": percentile(times, 0.75),
                "p90_seconds": percentile(times, 0.9),
                "p95_seconds": percentile(times, 0.95),
                "users_with_errors": sum(bool(step.errors) for _, step in here),
                "blocked": sum(step.outcome == "blocked" for _, step in here),
                "recovered": sum(step.is_recovered for _, step in here),
                "top_error": top,
                "top_error_users": codes[top]["users"] if top else 0,
                "window_seconds": members[0].flow.window_seconds,
                "data_through": through[(cell[0], cell[1])],
            }
            if is_required:
                previous = mature_done
    for key, row in rows.items():
        flow, version, grain, start, by, value, position = key
        before = rows.get((flow, version, grain, start - timedelta(days=1 if grain == "day" else 7), by, value, position))
        for rate in ("conversion_from_start", "conversion_from_previous"):
            known = before is not None and row[rate] is not None and before[rate] is not None
            row[f"{rate}_change"] = row[rate] - before[rate] if known else None  # type: ignore[index]
    return rows
