"""Whether a build would find anything to do, asked in a few milliseconds, so that an idle platform never starts dbt."""

import psycopg
from psycopg import sql

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
    row isn't found twice. Reads the wall clock (a schedule asks it); costs one index probe per source and one scan of users' zones.
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
    return any(_moved(connection, source) for source in SOURCES) or _a_day_passed(connection) or _a_journey_matured(connection)


def plans_moved(connection: psycopg.Connection) -> bool:
    """True where the marts of an earlier build don't know of plans that were written since the last search for changes."""
    query = (
        "select to_regclass('staging.change_cursor') is not null and to_regclass('intermediate.planned_session_completions') is not null"
    )
    return connection.execute(query).fetchone() == (True,) and _moved(connection, "plans.plans")


def _moved(connection: psycopg.Connection, source: str) -> bool:
    query = sql.SQL(
        """
        select exists (
            select from {} as source, (select snapshot from staging.change_cursor offset 0) as seen
            where source.xid >= (select pg_snapshot_xmin(snapshot) from staging.change_cursor)
              and not pg_visible_in_snapshot(source.xid, seen.snapshot)
        )
        """
    ).format(sql.Identifier(*source.split(".")))
    row = connection.execute(query).fetchone()
    return bool(row and row[0])


def _a_day_passed(connection: psycopg.Connection) -> bool:
    """True where now and the last build's as_of lie on different local dates of any user."""
    row = connection.execute(
        """
        select exists (
            select from (select distinct time_zone from intermediate.user_zones) as zones, staging.change_cursor
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
