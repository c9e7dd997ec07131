"""Onboarding events on their way in: what an event must be, the correction of client clocks, and the writer that stores many at once."""

import asyncio
import contextlib
import json
import logging
import re
import uuid
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Final

import asyncpg
import orjson
from pydantic import AfterValidator, AwareDatetime, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from api.auth import Principal
from api.dependencies import Shape, UserId, without_control_characters
from api.errors import FORBIDDEN, INVALID, OVERLOADED, UNAVAILABLE, Problem
from api.postgres import Database
from domain.vocabulary import OnboardingEventType, Platform

log = logging.getLogger("mesocycle.api")

MOST_EVENTS: Final = 500
"""In one batch."""
FUTURE_TOLERANCE: Final = timedelta(minutes=5)
"""An event may lie so far ahead of the server's clock (after correction); further ahead a clock is wrong beyond repair."""
EARLIEST: Final = datetime(2000, 1, 1, tzinfo=UTC)
"""Before it a device's clock was never set."""
COLUMNS: Final = 17
"""Of a row of `_row`."""
MOST_AT_ONCE: Final = 2000
"""Events in one transaction."""
MOST_WAITING: Final = 20_000
"""Events that may wait for a transaction; requests beyond them are refused at once."""
WRITERS: Final = 2
"""Transactions at a time: while one waits for the disk, the other gathers."""
TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
RAW_CHARACTERS: Final = 8192
"""As much of a refused event is kept."""


def _as_text(value: Any) -> Any:
    """Instants and ids come as text; a bare number would be guessed to be seconds or milliseconds."""
    if not isinstance(value, str):
        raise ValueError("It must be text.")
    return value


def _valid_traceparent(value: Any) -> str | None:
    """The trace context, or None where it isn't one: W3C says that an invalid one counts as absent, so it costs no event."""
    return value if isinstance(value, str) and TRACEPARENT.fullmatch(value) else None


Instant = Annotated[AwareDatetime, BeforeValidator(_as_text)]
EventId = Annotated[uuid.UUID, BeforeValidator(_as_text)]
Word = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.\-]{0,59}$")]
Label = Annotated[str, AfterValidator(without_control_characters), Field(min_length=1, max_length=100)]


class Event(Shape):
    """What step and error events have in common. Members that aren't known here are ignored."""

    model_config = ConfigDict(extra="ignore")

    event_id: EventId = Field(description="Made by the client, once per event: a retry sends the same one and nothing is counted twice")
    user_id: UserId | None = Field(
        None, min_length=1, max_length=128, description="The app's id of the user; a user's own token stands for it"
    )
    anonymous_id: UserId | None = Field(
        None,
        min_length=1,
        max_length=128,
        description="The device's id before there is an account. Sent together with userId, it links all that came before to the user",
    )
    session_id: Label | None = None
    flow: Word = "onboarding"
    flow_version: int = Field(1, ge=1, le=32767)
    step: Word = Field(examples=["goal"])
    occurred_at: Instant = Field(description="By the client's clock, with its offset from UTC", examples=["2026-03-01T06:00:00.000Z"])
    duration_ms: int | None = Field(None, ge=0, le=2**31 - 1, description="How long the step was on the screen")
    platform: Platform | None = None
    app_version: Label | None = Field(None, examples=["3.4.1"])
    acquisition_channel: Label | None = Field(None, examples=["search_ads"])
    traceparent: Annotated[str | None, BeforeValidator(_valid_traceparent)] = Field(
        None, description="W3C trace context of the step; the request's header counts where it's missing"
    )


class StepEvent(Event):
    """What happened in a step."""

    event_type: OnboardingEventType = Field(examples=["completed"])
    error_code: Label | None = Field(None, description="For errors: what went wrong, as a word of the app's choice")


class ErrorEvent(Event):
    """Something went wrong in a step."""

    error_code: Label = Field(examples=["email_taken"], description="What went wrong, as a word of the app's choice")

    @property
    def event_type(self) -> OnboardingEventType:
        return OnboardingEventType.ERROR


class Sent(Shape):
    """Where the sender says what time it has, its clock is corrected."""

    model_config = ConfigDict(extra="ignore")

    sent_at: Instant | None = Field(
        None,
        description="The client's clock when it sends: what it is off is taken from every occurredAt",
        examples=["2026-03-01T06:00:01.000Z"],
    )


class OneStepEvent(StepEvent, Sent):
    """A single step event."""


class OneErrorEvent(ErrorEvent, Sent):
    """A single error event."""


class StepEvents(Sent):
    """A batch of step events."""

    events: list[StepEvent] = Field(min_length=1, max_length=MOST_EVENTS)


class ErrorEvents(Sent):
    """A batch of error events."""

    events: list[ErrorEvent] = Field(min_length=1, max_length=MOST_EVENTS)


class EventStatus(StrEnum):
    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """The eventId was stored before: nothing to do."""
    REJECTED = "rejected"
    """Refused for good; sending it again doesn't help."""


class EventResult(Shape):
    event_id: str | None = Field(description="As it was sent; null where it had none")
    status: EventStatus
    reason: str | None = Field(None, description="Why it was rejected")


class EventsTaken(Shape):
    """What became of each event, in their order. Accepted ones are stored; the funnel shows them with the next build."""

    accepted: int
    duplicates: int
    rejected: int
    results: list[EventResult]


class Envelope(Shape):
    """A body before its events are looked at."""

    model_config = ConfigDict(extra="ignore")

    sent_at: Instant | None = None
    events: list[Any] | None = Field(None, max_length=MOST_EVENTS)

    @model_validator(mode="before")
    @classmethod
    def _list_is_a_batch(cls, value: Any) -> Any:
        return {"events": value} if isinstance(value, list) else value


class Forbidden(ValueError):
    """This token opens its own user's data only."""


@dataclass
class Incoming:
    """One event of a request: the row to store, or why it isn't stored; then its status."""

    raw: Any
    row: tuple[Any, ...] | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    reason: str | None = None
    is_forbidden: bool = False
    status: EventStatus = EventStatus.REJECTED

    @property
    def event_id(self) -> str | None:
        given = self.raw.get("eventId") if isinstance(self.raw, Mapping) else None
        return given[:100] if isinstance(given, str) else None

    @property
    def refusal(self) -> Problem | None:
        """What the only event of a request is answered where it was rejected."""
        if self.reason is None:
            return None
        if self.is_forbidden:
            return Problem(FORBIDDEN, self.reason)
        return Problem(INVALID, self.reason, errors=[{"field": "body", "message": self.reason}])


def parse(
    shape: type[StepEvent] | type[ErrorEvent],
    items: Iterable[Any],
    *,
    caller: Principal,
    sent_at: datetime | None,
    received_at: datetime,
    traceparent: str | None,
) -> list[Incoming]:
    """Each item as a row or with the reason against it. `traceparent` is the request's own, for events without one.

    The corrected instant is occurred_at + (received_at - sent_at): what the client's clock is off, and the way, which is short.
    """
    skew = received_at - sent_at if sent_at is not None else timedelta(0)
    traceparent = _valid_traceparent(traceparent)
    incoming = []
    for raw in items:
        item = Incoming(raw)
        incoming.append(item)
        try:
            event = shape.model_validate(raw)
            item.user_id = event.user_id
            item.anonymous_id = event.anonymous_id
            if item.user_id is None and item.anonymous_id is None:
                item.user_id = caller.own_user_id
            if item.user_id is not None and not caller.may_open(item.user_id):
                raise Forbidden(Forbidden.__doc__)
            item.row = _row(event, item, skew, sent_at, received_at, traceparent)
        except Forbidden as error:
            item.reason, item.is_forbidden = str(error), True
        except ValidationError as error:
            item.reason = _sentence(error)
        except (ValueError, OverflowError) as error:
            item.reason = str(error)
    return incoming


def _row(
    event: StepEvent | ErrorEvent,
    item: Incoming,
    skew: timedelta,
    sent_at: datetime | None,
    received_at: datetime,
    traceparent: str | None,
) -> tuple[Any, ...]:
    if item.user_id is None and item.anonymous_id is None:
        raise ValueError("It names nobody: send userId or anonymousId.")
    try:
        occurred_at = event.occurred_at + skew
    except OverflowError:
        raise ValueError("occurredAt and sentAt don't fit together.") from None
    if occurred_at > received_at + FUTURE_TOLERANCE:
        ahead = int((occurred_at - received_at).total_seconds())
        raise ValueError(f"It lies {ahead} seconds in the future. Send sentAt, so that the client's clock can be corrected.")
    if occurred_at < EARLIEST:
        raise ValueError("It lies before the year 2000: the client's clock was never set.")
    return (
        event.event_id,
        item.user_id,
        item.anonymous_id,
        event.session_id,
        event.flow,
        event.flow_version,
        event.step,
        event.event_type.value,
        occurred_at,
        sent_at,
        received_at,
        event.duration_ms,
        event.error_code if event.event_type is OnboardingEventType.ERROR else None,
        event.platform.value if event.platform else None,
        event.app_version,
        event.acquisition_channel,
        event.traceparent or traceparent,
    )


def answer_to(incoming: list[Incoming]) -> bytes:
    """An `EventsTaken` about events that the writer is done with."""
    statuses = [item.status for item in incoming]
    return orjson.dumps(
        {
            "accepted": statuses.count(EventStatus.ACCEPTED),
            "duplicates": statuses.count(EventStatus.DUPLICATE),
            "rejected": statuses.count(EventStatus.REJECTED),
            "results": [{"eventId": item.event_id, "status": item.status, "reason": item.reason} for item in incoming],
        }
    )


def _sentence(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'event'}: {fault['msg'].removeprefix('Value error, ')}" for fault in faults[:3])


STORE: Final = """
with given as materialized (
  select * from unnest(
    $1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::smallint[], $7::text[], $8::text[], $9::timestamptz[],
    $10::timestamptz[], $11::timestamptz[], $12::int[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[]
  ) as given (
    event_id, user_id, anonymous_id, session_id, flow, flow_version, step, event_type, occurred_at, sent_at, received_at, duration_ms,
    error_code, platform, app_version, acquisition_channel, traceparent
  )
),
known as materialized (select user_id, user_key from app.users where user_id = any($18::text[])),
-- Onboarding is where the platform meets people first.
met as (
  insert into app.users (user_id)
  select wanted.user_id from unnest($18::text[]) as wanted (user_id)
  where not exists (select from known where known.user_id = wanted.user_id)
  order by wanted.user_id
  on conflict do nothing
  returning user_id, user_key
),
keyed as materialized (
  select given.*, people.user_key
  from given left join (select * from known union all select * from met) as people on people.user_id = given.user_id
),
linked as (
  insert into app.identity_links (anonymous_id, user_key)
  select distinct on (anonymous_id) anonymous_id, user_key from keyed
  where anonymous_id is not null and user_key is not null order by anonymous_id, event_id
  on conflict do nothing
),
stored as (
  insert into app.onboarding_events (
    event_id, user_key, anonymous_id, session_id, flow, flow_version, step, event_type, occurred_at, sent_at, received_at, duration_ms,
    error_code, platform, app_version, acquisition_channel, traceparent
  )
  select
    event_id, user_key, anonymous_id, session_id, flow, flow_version, step, event_type, occurred_at, sent_at, received_at, duration_ms,
    error_code, platform, app_version, acquisition_channel, traceparent
  from keyed where user_id is null or user_key is not null
  order by event_id
  on conflict (event_id) do nothing
  returning event_id
),
refused as (
  insert into app.rejected_rows (source, raw_text, reason) select 'onboarding', * from unnest($19::text[], $20::text[])
)
select event_id, true from stored
union all
select event_id, false from keyed where user_id is not null and user_key is null
"""
"""Everything of a group in one statement, which is one transaction and one way to Postgres and back. Users, links and events are written
in order, so that two statements that meet wait for each other instead of dying. (event, true) for what was stored; (event, false) where
another transaction was adding the same user just then: its key isn't to be seen before the next statement."""


@dataclass
class _Submission:
    items: list[Incoming]
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class EventWriter:
    """Stores the events of the requests that wait in one transaction; a request is answered when its events are durable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: deque[_Submission] = deque()
        self._waiting = 0
        self._more = asyncio.Event()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._write_for_ever()) for _ in range(WRITERS)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for submission in self._pending:
                if not submission.done.done():
                    submission.done.set_exception(Problem(UNAVAILABLE))

    async def store(self, items: list[Incoming]) -> None:
        """Store the items and set their status. Problems: OVERLOADED, UNAVAILABLE; then they should be sent again."""
        await self.submit(items)

    def submit(self, items: list[Incoming]) -> asyncio.Future[None]:
        """What `store` waits for. Raises Problem OVERLOADED at once."""
        if self._waiting + len(items) > MOST_WAITING:
            raise Problem(OVERLOADED)
        submission = _Submission(items)
        self._pending.append(submission)
        self._waiting += len(items)
        self._more.set()
        return submission.done

    async def _write_for_ever(self) -> None:
        while True:
            await self._more.wait()
            group = self._take()
            if not group:
                continue
            try:
                await self._write(group)
            except asyncio.CancelledError:
                for submission in group:
                    if not submission.done.done():
                        submission.done.set_exception(Problem(UNAVAILABLE))
                raise

    def _take(self) -> list[_Submission]:
        group: list[_Submission] = []
        size = 0
        while self._pending and (not group or size + len(self._pending[0].items) <= MOST_AT_ONCE):
            submission = self._pending.popleft()
            self._waiting -= len(submission.items)
            if submission.done.cancelled():
                continue
            size += len(submission.items)
            group.append(submission)
        if not self._pending:
            self._more.clear()
        return group

    async def _write(self, group: list[_Submission]) -> None:
        try:
            await self._transact([item for submission in group for item in submission.items])
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            if len(group) > 1:  # one request's value must not fail the others
                for submission in group:
                    await self._write([submission])
                return
            try:
                for item in group[0].items:
                    await self._store_or_keep(item)
            except Exception as again:
                log.warning("an onboarding event could be neither stored nor kept: %s", error)
                self._finish(group, again)
            else:
                self._finish(group, None)
        except Exception as error:  # whatever it is, the requests that wait must hear of it and the writer must go on
            self._finish(group, error)
        else:
            self._finish(group, None)

    async def _store_or_keep(self, item: Incoming) -> None:
        """One event by itself; where Postgres refuses a value that the shapes let pass, the event is kept with that reason."""
        try:
            await self._transact([item])
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            item.row, item.reason, item.status = None, f"A value can't be stored: {error.args[0]}", EventStatus.REJECTED
            await self._transact([item])

    @staticmethod
    def _finish(group: list[_Submission], error: Exception | None) -> None:
        for submission in group:
            if submission.done.done():
                continue
            if error is None:
                submission.done.set_result(None)
            else:
                submission.done.set_exception(error)

    async def _transact(self, items: list[Incoming]) -> None:
        waiting = {item.row[0]: item.row for item in reversed(items) if item.row is not None}  # of an id that comes twice, the first
        rejected = [item for item in items if item.row is None]
        stored: set[uuid.UUID] = set()
        while waiting or rejected:
            columns: list[list[Any]] = [list(column) for column in zip(*waiting.values(), strict=True)] or [[] for _ in range(COLUMNS)]
            users = list({row[1] for row in waiting.values() if row[1] is not None})
            raw, reasons = [_raw_text(item.raw) for item in rejected], [(item.reason or "")[:1000] for item in rejected]
            records = await self._database.fetch(STORE, *columns, users, raw, reasons)
            stored |= {event_id for event_id, is_stored in records if is_stored}
            waiting = {event_id: waiting[event_id] for event_id, is_stored in records if not is_stored}
            rejected = []
        for item in items:
            if item.row is not None:
                item.status = EventStatus.ACCEPTED if item.row[0] in stored else EventStatus.DUPLICATE
                stored.discard(item.row[0])


def _raw_text(raw: Any) -> str:
    try:
        return orjson.dumps(raw).decode()[:RAW_CHARACTERS]
    except TypeError:  # an integer beyond 64 bits
        return json.dumps(raw, ensure_ascii=False, separators=(",", ":"))[:RAW_CHARACTERS]  # as orjson writes: an erasure looks for ids
