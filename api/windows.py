"""Custom windows: one query over `marts.user_days` that answers in the shape of a ready payload."""

import time
from datetime import date

from api.errors import CONTRADICTION, NOT_BUILT, USER_NOT_FOUND, Problem
from api.postgres import Database
from api.representation import Build, Representation, represent
from database.marts import READ_TIMELINE, READ_WINDOW


async def read_window(database: Database, user_id: str, first: date, last: date | None) -> Representation:
    """The numbers of the local dates `first` … `last` (None: today as of the build), beside those of the window just before."""
    return await _read(database, READ_WINDOW, "window", user_id, first, last)


async def read_timeline(database: Database, user_id: str, first: date, last: date | None) -> Representation:
    """The weeks of the local dates `first` … `last` (None: today as of the build)."""
    return await _read(database, READ_TIMELINE, "weeks", user_id, first, last)


async def _read(database: Database, query: str, resource: str, user_id: str, first: date, last: date | None) -> Representation:
    if last is not None and last < first:
        raise _reversed()
    # As text: asyncpg sends the first and the last date that Python knows as infinity.
    row = await database.fetchrow(query, user_id, str(first), last and str(last))
    if row is None or not row["is_known"]:
        raise Problem(USER_NOT_FOUND)
    if row["build_key"] is None:
        raise Problem(NOT_BUILT)
    if row["is_reversed"]:
        raise _reversed()
    build = Build.of(row["build_key"], row["as_of"], row["finished_at"])
    return represent(user_id, resource, row["payload"], row["payload_hash"], build, time.monotonic())


def _reversed() -> Problem:
    return Problem(CONTRADICTION, "from lies after to.", errors=[{"field": "query.from", "message": "It lies after to."}])
