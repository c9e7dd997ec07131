"""A user's erasure: everything about a person goes from every schema at once, views included, and it is proved by a search."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from database.builds import LOCK
from database.connection import connect

ERASED = "mesocycle_erased"
"""The channel on which an erasure names its user, so that no process remembers an answer about them."""
GONE = "select wanted.user_id from unnest($1::text[]) as wanted (user_id) where not exists (select from app.users where users.user_id = wanted.user_id)"
"""Who of these users isn't known any more: for a process that may have missed an announcement."""
DERIVED = ("staging", "intermediate", "marts")
SCHEMAS = ("app", "plans", "ops", "staging", "intermediate", "marts")
KEPT = {"app.erasures", "app.user_deletions", "app.workout_deletions", "app.onboarding_removals", "staging.changes"}
"""They hold keys that lead nowhere any more: an erasure's proof, and what incremental builds still have to see."""

REFUSED_EVENTS = """
delete from app.rejected_rows
where source = 'onboarding' and user_key is null and exists (
  select from
    (select unnest(array['userId', 'user_id']) as name, %(user_id)s::text as value
     union all
     select * from unnest(array['anonymousId', 'anonymous_id']) as name cross join unnest(%(anonymous)s::text[]) as value) as member
  where strpos(raw_text, format('"%%s":%%s', name, to_json(value))) > 0
)
"""
"""Refused events belong to no user_key (what they say of whose they are may be what was wrong): the ids are in their text."""

QUEUE_COHORTS = """
insert into staging.changes (batch, kind, cohort_on, cohort_week_on)
select distinct clock.batch + 1, %s, person.cohort_on, person.cohort_week_on
from {} as person cross join staging.change_cursor as clock
where person.{} = any(%s)
"""
"""As if the model itself had emitted the cohorts whose person it lost."""


class ErasureIncomplete(RuntimeError):
    """Something about the user was found after the removal; the erasure was rolled back. The message names the relations."""


def forget(owner_url: str, user_id: str) -> dict[str, int]:
    """Remove everything about a user and keep the proof in `app.erasures`; returns rows removed by relation.

    Connects as the owner. One transaction: rows of `app` and `plans` go (by cascade), with them the anonymous events that were
    linked to the user, refused events that name one of their ids, the rows of every table that dbt keeps, and at last every
    materialised view that holds the user is refreshed (concurrently: readers don't wait). Then every relation with a user's key, or
    with one of the person's keys of onboarding, is searched; where anything is found, nothing is committed and ErasureIncomplete is
    raised. Safe to run again; a user who isn't known leaves a proof with no rows.
    """
    with connect(owner_url, application_name="mesocycle erasure") as connection:
        return _forget(connection, [user_id])[user_id]


def forget_requested(owner_url: str) -> int:
    """Carry out the open requests in `app.erasures`; returns how many people asked.

    All in one transaction, because refreshing the views takes as long for many as for one. Where somebody can't be forgotten, each in
    their own: who fails stays open and doesn't hold up the others; the errors are raised at the end.
    """
    with connect(owner_url, application_name="mesocycle erasure") as connection:
        requests = connection.execute("select user_id from app.erasures where finished_at is null order by erasure_key")
        people = [user_id for (user_id,) in requests]
        if not people:
            return 0
        with contextlib.suppress(ErasureIncomplete, psycopg.Error), connection.transaction():
            _forget(connection, people)
            return len(people)
    failures: list[Exception] = []
    for user_id in people:
        try:
            forget(owner_url, user_id)
        except (ErasureIncomplete, psycopg.Error) as error:
            failures.append(error)
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(people)} erasures failed; their requests stay open", failures)
    return len(people)


def traces(connection: psycopg.Connection, user_key: int, people: Sequence[int] = ()) -> dict[str, int]:
    """Rows of a user in each table and materialised view of every schema; relations without any are left out.

    `people` are keys of onboarding under which the user is known besides their own (see app.anonymous_key).
    """
    found: dict[str, int] = {}
    for column, keys in (("user_key", [user_key]), ("person_key", [user_key, *people])):
        for relation in _relations(connection, ("r", "p", "m"), column=column):
            count = _count(connection, relation, column, keys)
            if count and relation not in KEPT:
                found[relation] = max(count, found.get(relation, 0))
    return found


@dataclass(frozen=True)
class _Person:
    """Under which keys a known user is found."""

    user_key: int
    anonymous: list[str]
    people: list[int]


def _forget(connection: psycopg.Connection, user_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """Rows removed by relation, of each user."""
    connection.execute(f"select pg_advisory_xact_lock({LOCK})")  # a build would write the rows back
    removed: dict[str, dict[str, int]] = {user_id: {} for user_id in user_ids}
    known = {user_id: person for user_id in user_ids if (person := _person(connection, user_id)) is not None}
    for user_id, person in known.items():
        removed[user_id] = _remove(connection, person)
    found = {relation for rows in removed.values() for relation in rows}
    views = {*_relations(connection, ("m",)), *_relations(connection, ("m",), column="person_key")} & found
    # A concurrent refresh looks for equal rows by sorting whole ones, and comparing two of them takes long. They come mostly in order:
    # sorted in small portions, most of which are in order already, they are compared less often than all at once.
    connection.execute("set local work_mem = '8MB'")
    for view in sorted(views):
        connection.execute(_statement("refresh materialized view concurrently {}", view))
    for person in known.values():
        if left := traces(connection, person.user_key, person.people):
            raise ErasureIncomplete(f"Nothing was removed, because rows would have stayed in {', '.join(sorted(left))}.")
    for user_id, rows in removed.items():
        one = known.get(user_id)
        refused = connection.execute(REFUSED_EVENTS, {"user_id": user_id, "anonymous": one.anonymous if one else []}).rowcount
        if refused > 0:
            rows["app.rejected_rows"] = rows.get("app.rejected_rows", 0) + refused
        _keep_proof(connection, user_id, one.user_key if one else None, rows)
        connection.execute("select pg_notify(%s, %s)", [ERASED, user_id])  # delivered with the commit
    return removed


def _person(connection: psycopg.Connection, user_id: str) -> _Person | None:
    row = connection.execute("select user_key from app.users where user_id = %s for update", [user_id]).fetchone()
    if row is None:
        return None
    anonymous = [name for (name,) in connection.execute("select anonymous_id from app.identity_links where user_key = %s", row)]
    people = [int(key) for (key,) in connection.execute("select app.anonymous_key(unnest(%s::text[]))", [anonymous])]
    return _Person(int(row[0]), anonymous, people)


def _remove(connection: psycopg.Connection, person: _Person) -> dict[str, int]:
    """Rows by relation: those of tables are gone, those of materialised views go with their refresh."""
    removed = traces(connection, person.user_key, person.people)
    events = connection.execute("delete from app.onboarding_events where anonymous_id = any(%s)", [person.anonymous]).rowcount
    if events > 0:
        removed["app.onboarding_events"] = max(events, removed.get("app.onboarding_events", 0))
    connection.execute("delete from app.workouts where user_key = %s", [person.user_key])  # before the user's own exercises
    connection.execute("delete from app.users where user_key = %s", [person.user_key])
    _remove_derived(connection, person.user_key, [person.user_key, *person.people], removed)
    return removed


def _remove_derived(connection: psycopg.Connection, user_key: int, people: Sequence[int], removed: dict[str, int]) -> None:
    """Rows of the tables that dbt keeps, at once; what is counted from them is handed to the next build to count again."""
    queue = connection.execute("select to_regclass('staging.changes'), to_regclass('staging.change_cursor')").fetchone()
    if queue is None or None in queue:
        return  # nothing was built yet
    connection.execute("alter table staging.changes add column if not exists cohort_on date")  # an earlier release built it without
    cohorts = set(_relations(connection, ("r",), schemas=DERIVED, column="cohort_week_on"))
    for column, keys in (("person_key", list(people)), ("user_key", [user_key])):
        for relation in _relations(connection, ("r", "p"), schemas=DERIVED, column=column):
            if relation in KEPT:
                continue
            if relation in cohorts:
                connection.execute(_statement(QUEUE_COHORTS, relation, column), [relation.split(".")[1], keys])
            count = connection.execute(_statement("delete from {} where {} = any(%s)", relation, column), [keys]).rowcount
            if count:
                removed[relation] = max(count, removed.get(relation, 0))
                connection.execute(
                    "update staging.model_state set changed_batch = (select batch + 1 from staging.change_cursor) where model = %s",
                    [relation.split(".")[1]],
                )


def _keep_proof(connection: psycopg.Connection, user_id: str, user_key: int | None, removed: Mapping[str, int]) -> None:
    proof: dict[str, Any] = {"rows": dict(removed), "searched_schemas": list(SCHEMAS), "found_afterwards": 0}
    parameters = [user_key, Jsonb(proof), user_id]
    updated = connection.execute(
        "update app.erasures set user_key = %s, removed = %s, finished_at = now(), user_id = null where user_id = %s", parameters
    )
    if not updated.rowcount:
        connection.execute("insert into app.erasures (user_key, removed, finished_at) values (%s, %s, now())", parameters[:2])


def _relations(
    connection: psycopg.Connection, kinds: Sequence[str], *, schemas: Sequence[str] = SCHEMAS, column: str = "user_key"
) -> list[str]:
    """Relations of these kinds that have the column, as schema.name."""
    rows = connection.execute(
        """
        select n.nspname || '.' || c.relname
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attname = %s and not a.attisdropped
        where n.nspname = any(%s) and c.relkind = any(%s) and not c.relispartition
        order by 1
        """,
        [column, list(schemas), list(kinds)],
    )
    return [name for (name,) in rows]


def _count(connection: psycopg.Connection, relation: str, column: str, keys: Sequence[int]) -> int:
    row = connection.execute(_statement("select count(*) from {} where {} = any(%s)", relation, column), [list(keys)]).fetchone()
    assert row is not None
    return int(row[0])


def _statement(template: str, relation: str, *columns: str) -> sql.Composed:
    return sql.SQL(template).format(sql.Identifier(*relation.split(".")), *map(sql.Identifier, columns))
