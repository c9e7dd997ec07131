"""The clock of a build and the log of builds: what instant the numbers describe, and when that was computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from database.connection import connect

LOCK = "hashtext('mesocycle.build')"
"""SQL of the advisory lock that whoever writes the marts holds."""


class BuildRunning(RuntimeError):
    """Another build of the marts is running and did not end in time; wait for it, or look at its run in the Dagster UI."""


def set_clock(connection: psycopg.Connection, as_of: datetime) -> None:
    """Write the instant that models and plans take for now (aware; stored in UTC)."""
    if as_of.tzinfo is None:
        raise ValueError(f"as_of needs an offset, as in {as_of.isoformat()}Z")
    connection.execute(
        """
        insert into ops.build_clock (as_of) values (%s)
        on conflict (is_current) do update set as_of = excluded.as_of, set_at = now()
        """,
        [as_of.astimezone(UTC)],
    )


@contextmanager
def between_builds(url: str, *, wait_seconds: int = 900) -> Iterator[psycopg.Connection]:
    """A connection that sees the marts as a finished build left them, and no later change, until it is closed.

    Waits for a running build; the next one needn't wait for the reader. Raises BuildRunning like `build`.
    """
    with connect(url, autocommit=True, application_name="mesocycle reader between builds") as connection:
        _wait_for_lock(connection, wait_seconds)
        connection.execute("begin isolation level repeatable read, read only")
        connection.execute(f"select pg_advisory_unlock({LOCK})")  # the transaction's first statement: it takes the snapshot
        yield connection


@contextmanager
def build(owner_url: str, *, kind: str, as_of: datetime, wait_seconds: int = 900) -> Iterator[dict[str, Any]]:
    """Hold the builds' lock, set the clock, log the build; what the caller puts into the yielded dict becomes its details.

    Builds of one database run one after another, whoever starts them: two of them would replace the same rows.
    """
    with connect(owner_url, autocommit=True, application_name="mesocycle build") as connection:
        _wait_for_lock(connection, wait_seconds)
        # A build that was killed left its row open; holding the lock, we know that it runs no more.
        connection.execute("update ops.builds set finished_at = now(), succeeded = false where finished_at is null and kind = %s", [kind])
        set_clock(connection, as_of)
        row = connection.execute("insert into ops.builds (kind, as_of) values (%s, %s) returning build_key", [kind, as_of]).fetchone()
        assert row is not None
        details: dict[str, Any] = {}
        succeeded = False
        try:
            yield details
            succeeded = True
        finally:
            connection.execute(
                "update ops.builds set finished_at = now(), succeeded = %s, details = %s where build_key = %s",
                [succeeded, Jsonb(details), row[0]],
            )


def _wait_for_lock(connection: psycopg.Connection, wait_seconds: int) -> None:
    connection.execute(f"set lock_timeout = '{int(wait_seconds)}s'")
    try:
        connection.execute(f"select pg_advisory_lock({LOCK})")
    except psycopg.errors.LockNotAvailable as error:
        raise BuildRunning(BuildRunning.__doc__) from error


def last_build(connection: psycopg.Connection, kind: str = "marts") -> tuple[datetime, datetime] | None:
    """(as_of, finished_at) of the last successful build, or None."""
    row = connection.execute(
        "select as_of, finished_at from ops.builds where succeeded and kind = %s order by build_key desc limit 1", [kind]
    ).fetchone()
    return (row[0], row[1]) if row else None
