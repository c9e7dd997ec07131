"""Whether a build would find anything to do, asked in a few milliseconds, so that an idle platform never starts dbt."""

from collections.abc import Sequence

import psycopg

SOURCES = (
    "app.users",
    "app.workouts",
    "app.workout_deletions",
    "app.exercises",
    "app.profiles",
    "app.onboarding_events",
    "app.onboarding_removals",
    "app.identity_links",
    "app.usage_events",
    "app.user_deletions",
    "plans.plans",
)
"""Tables whose rows carry the transaction that wrote them last (indexed), and that a model reads."""


def anything_changed(connection: psycopg.Connection) -> bool:
    """True where a build is due: nothing was built yet, the last build left work, a source moved, somebody's day passed, or the window
    of somebody's journey did.

    Exact, not a guess: a row counts when the last build's snapshot could not see it, so a late commit is found and a processed
    row isn't found twice. Reads the wall clock (a schedule asks it); costs one index probe per source and per time zone.
    The platform's records of itself (plan requests, latencies) are no reason for a build: they are brought along by the next one.
    """
    if connection.execute("select to_regclass('staging.change_cursor') is null").fetchone() == (True,):
        return True
    found = connection.execute(
        """
        select snapshot is null
            or pg_snapshot_xmin(snapshot) > pg_snapshot_xmax(pg_current_snapshot())
            or exists (select from staging.model_state where consumed_batch < batch)
            or not exists (select from staging.model_state)
        from staging.change_cursor
        """
    ).fetchone()
    if found is None or found[0]:
        return True
    return _moved(connection, SOURCES) or _a_day_passed(connection) or _a_journey_matured(connection)


def plans_moved(connection: psycopg.Connection) -> bool:
    """True where the marts of an earlier build don't know of plans that were written since the last search for changes."""
    query = (
        "select to_regclass('staging.change_cursor') is not null and to_regclass('intermediate.planned_session_completions') is not null"
    )
    return connection.execute(query).fetchone() == (True,) and _moved(connection, ["plans.plans"])


def captured_snapshot(connection: psycopg.Connection) -> str | None:
    """What the last search for changes could see; None before the first one."""
    row = connection.execute("select snapshot::text from staging.change_cursor").fetchone()
    return row[0] if row else None


def unseen(source: str) -> str:
    """SQL's condition that a row of `source` was written after what parameter `snapshot` (of `captured_snapshot`) could see.

    A parameter, not a join with the cursor: only of a value that it knows does Postgres know that next to no rows are newer, and takes
    the index instead of reading the table.
    """
    return f"({source}.xid >= pg_snapshot_xmin(%(snapshot)s::pg_snapshot) and not pg_visible_in_snapshot({source}.xid, %(snapshot)s::pg_snapshot))"


def _moved(connection: psycopg.Connection, sources: Sequence[str]) -> bool:
    snapshot = captured_snapshot(connection)
    queries = (f"select exists (select from {name} as source where {unseen('source')})" for name in sources)  # noqa: S608 - our own names
    return any(connection.execute(query, {"snapshot": snapshot}).fetchone() == (True,) for query in queries)


def _a_day_passed(connection: psycopg.Connection) -> bool:
    """True where now and the last build's as_of lie on different local dates of any user."""
    # From each zone to the next one by its index: as many probes as zones, however many users there are.
    row = connection.execute(
        """
        with recursive zones (time_zone) as (
            select min(time_zone) from intermediate.user_zones
            union all
            select (select min(later.time_zone) from intermediate.user_zones as later where later.time_zone > zones.time_zone)
            from zones where zones.time_zone is not null
        )
        select exists (
            select from zones, staging.change_cursor
            where (now() at time zone time_zone)::date <> (as_of at time zone time_zone)::date
        )
        """
    ).fetchone()
    return bool(row and row[0])


def _a_journey_matured(connection: psycopg.Connection) -> bool:
    """True where a journey's window ended after the last build's as_of: in progress then, it is dropped now, or completed for good."""
    if connection.execute("select to_regclass('marts.onboarding_journeys') is null").fetchone() == (True,):
        return False
    row = connection.execute(
        """
        select exists (
            select from marts.onboarding_journeys
            where matured_at >= (select as_of from staging.change_cursor) and matured_at < now()
        )
        """
    ).fetchone()
    return bool(row and row[0])
