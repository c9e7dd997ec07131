"""The queue of plan requests, as the worker sees it: claim, hold, finish; and what is overdue."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg
from psycopg.types.json import Jsonb

CHANNEL: Final = "plan_requests"
MOST_ATTEMPTS: Final = 3
BACKOFF_SECONDS: Final = (1, 5)
"""Before the second and the third attempt."""
ORPHAN_SECONDS: Final = 2
"""A running job whose row nobody locks for this long lost its worker (between claiming and locking lie milliseconds)."""
LOSSES_IN_COMPANY: Final = 3
"""A job that lost its worker so often may be why: it is taken up alone from then on, so that it holds nobody else up."""
MOST_LOSSES: Final = 6
"""Then it is given up. More than MOST_ATTEMPTS, because workers also end for reasons that are no job's fault."""

ORPHANED: Final = "status = 'running' and started_at < now() - make_interval(secs => %(orphan)s)"
DUE: Final = f"(status = 'queued' and not_before <= now()) or ({ORPHANED} and attempts < %(company)s)"
SUSPECTED: Final = f"{ORPHANED} and attempts >= %(company)s"


@dataclass(frozen=True)
class Claimed:
    """A request that this worker holds."""

    job_id: uuid.UUID
    user_key: int
    attempts: int


@dataclass(frozen=True)
class Failure:
    """Why there is no plan: a stable code, a sentence, and whether trying again could help."""

    code: str
    message: str
    final: bool = False


@dataclass
class BatchReport:
    """What one batch did."""

    users: int = 0
    failures: int = 0
    seconds: float = 0.0


class ClaimLost(RuntimeError):
    """Another worker took these requests over while this one was away (frozen, or cut off from Postgres); its work is discarded."""


def claim(connection: psycopg.Connection, token: uuid.UUID, at_most: int) -> int:
    """Mark up to `at_most` due requests as running under `token` and commit; how many. Rows that somebody holds are passed over.

    Where nothing else is due, one of those that lost their worker again and again is taken, by itself, or given up.
    """
    with connection.transaction():
        claimed = _take(connection, DUE, token, at_most)
        if not claimed:
            _give_up(connection)
            claimed = _take(connection, SUSPECTED, token, 1)
        return claimed


def _take(connection: psycopg.Connection, due: str, token: uuid.UUID, at_most: int) -> int:
    cursor = connection.execute(
        f"""
        with due as (
            select job_id from app.plan_requests where {due} order by not_before, job_id limit %(at_most)s for update skip locked
        )
        update app.plan_requests r
        set status = 'running', started_at = clock_timestamp(), attempts = r.attempts + 1, claim = %(token)s
        from due
        where r.job_id = due.job_id
        """,  # noqa: S608 - `due` is one of this module's conditions
        {"orphan": ORPHAN_SECONDS, "company": LOSSES_IN_COMPANY, "at_most": at_most, "token": token},
    )
    return cursor.rowcount


def _give_up(connection: psycopg.Connection) -> None:
    """Fail the jobs that lost a worker MOST_LOSSES times."""
    failure = Failure("worker.lost", f"No plan could be made: {MOST_LOSSES} attempts ended without an outcome.")
    given_up = connection.execute(
        f"""
        with lost as (
            select job_id from app.plan_requests where {ORPHANED} and attempts >= %(most)s for update skip locked
        )
        update app.plan_requests r
        set status = 'failed', finished_at = clock_timestamp(), failure_code = %(code)s, failure_message = %(message)s
        from lost
        where r.job_id = lost.job_id
        returning r.user_key, r.job_id
        """,  # noqa: S608 - a condition of this module
        {"most": MOST_LOSSES, "orphan": ORPHAN_SECONDS, "code": failure.code, "message": failure.message},
    ).fetchall()
    for user_key, job_id in given_up:
        _announce_failure(connection, user_key, job_id, failure)
    if given_up:
        connection.execute("select pg_notify('plan_jobs', '')")


def hold(connection: psycopg.Connection, token: uuid.UUID) -> list[Claimed]:
    """Lock the requests of `token` for the transaction that the caller is in: as long as it lives, nobody else takes them."""
    rows = connection.execute(
        """
        select job_id, user_key, attempts
        from app.plan_requests
        where claim = %s and status = 'running'
        order by job_id
        for update skip locked
        """,
        [token],
    ).fetchall()
    return [Claimed(*row) for row in rows]


def finish(
    connection: psycopg.Connection, token: uuid.UUID, requests: Sequence[Claimed], failures: dict[int, Failure], plan_as_of: datetime
) -> None:
    """Write the outcome of held requests and its events, in the caller's transaction. `failures` is by user_key; the rest succeeded.

    A failure that isn't final goes back to the queue with a pause until its third attempt; where the user has asked again meanwhile,
    that newer request takes its place. Raises ClaimLost where a row is no longer this worker's.
    """
    done = [request for request in requests if request.user_key not in failures]
    cursor = connection.execute(
        """
        update app.plan_requests
        set status = 'succeeded', finished_at = clock_timestamp(), plan_as_of = %(as_of)s, failure_code = null, failure_message = null
        where job_id = any(%(jobs)s) and claim = %(token)s and status = 'running'
        """,
        {"as_of": plan_as_of, "jobs": [request.job_id for request in done], "token": token},
    )
    if cursor.rowcount != len(done):
        raise ClaimLost(ClaimLost.__doc__)
    if done:
        connection.execute(
            """
            insert into app.plan_events (event_type, user_key, job_id, data)
            select 'PlanGenerated', r.user_key, r.job_id, jsonb_build_object('asOf', %(as_of)s::text)
            from app.plan_requests r where r.job_id = any(%(jobs)s)
            """,
            {"as_of": plan_as_of.isoformat(), "jobs": [request.job_id for request in done]},
        )
    for request in requests:  # failures are few: the engine refuses by type, so these are defects or absurd input
        if request.user_key in failures:
            _fail(connection, token, request, failures[request.user_key])
    connection.execute("select pg_notify('plan_jobs', '')")


def _fail(connection: psycopg.Connection, token: uuid.UUID, request: Claimed, failure: Failure) -> None:
    again = not failure.final and request.attempts < MOST_ATTEMPTS
    if again:
        pause = BACKOFF_SECONDS[min(request.attempts, len(BACKOFF_SECONDS)) - 1]
        cursor = connection.execute(
            """
            update app.plan_requests r
            set status = 'queued', started_at = null, not_before = now() + make_interval(secs => %(pause)s),
                failure_code = %(code)s, failure_message = %(message)s
            where r.job_id = %(job)s and r.claim = %(token)s and r.status = 'running'
              and not exists (select 1 from app.plan_requests q where q.user_key = r.user_key and q.status = 'queued')
            """,
            {"pause": pause, "code": failure.code, "message": failure.message, "job": request.job_id, "token": token},
        )
        if cursor.rowcount:
            return
    cursor = connection.execute(
        """
        update app.plan_requests
        set status = 'failed', finished_at = clock_timestamp(), failure_code = %(code)s, failure_message = %(message)s
        where job_id = %(job)s and claim = %(token)s and status = 'running'
        """,
        {"code": failure.code, "message": failure.message, "job": request.job_id, "token": token},
    )
    if not cursor.rowcount:
        raise ClaimLost(ClaimLost.__doc__)
    _announce_failure(connection, request.user_key, request.job_id, failure)


def _announce_failure(connection: psycopg.Connection, user_key: int, job_id: uuid.UUID, failure: Failure) -> None:
    connection.execute(
        "insert into app.plan_events (event_type, user_key, job_id, data) values ('PlanGenerationFailed', %s, %s, %s)",
        [user_key, job_id, Jsonb({"code": failure.code, "message": failure.message})],
    )


def overdue(connection: psycopg.Connection, seconds: float) -> int:
    """How many requests have been open for longer than `seconds`."""
    row = connection.execute(
        """
        select count(*) from app.plan_requests
        where status in ('queued', 'running') and requested_at < now() - make_interval(secs => %s)
        """,
        [seconds],
    ).fetchone()
    return int(row[0]) if row else 0
