"""What has to stand before the first migration: the roles and the databases. Needs an administrator's URL."""

import contextlib
from collections.abc import Mapping

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from database.connection import Role, connect, url_for

OLDEST_SERVER = 150000
"""Postgres 15: `nulls not distinct` and `security_invoker` are used."""


class ServerTooOld(RuntimeError):
    """The Postgres server is older than version 15, which Mesocycle needs at least."""


def bootstrap(admin_url: str, *, database: str, passwords: Mapping[Role, str], storage_database: str | None = None) -> dict[Role, str]:
    """Create or update the roles, create the databases where absent; returns each role's URL for `database`.

    `storage_database` is Dagster's own (runs, events, schedules), owned by the pipeline role. Safe to run again.
    """
    with connect(admin_url, autocommit=True) as connection:
        if connection.info.server_version < OLDEST_SERVER:
            raise ServerTooOld(f"This is Postgres {connection.info.server_version // 10000}; Mesocycle needs 15 or newer.")
        for role in Role:
            _ensure_role(connection, role, passwords[role])
        if _ensure_database(connection, database, Role.OWNER):
            _close_side_doors(url_for(admin_url, database=database))
        if storage_database:
            _ensure_database(connection, storage_database, Role.PIPELINE)
            # Dagster writes an event at a time, each its own commit; after a crash the last half second of its history may be missing.
            connection.execute(sql.SQL("alter database {} set synchronous_commit = off").format(sql.Identifier(storage_database)))
    return {role: url_for(admin_url, role=role, password=passwords[role], database=database) for role in Role}


def _ensure_role(connection: psycopg.Connection, role: Role, password: str) -> None:
    name = sql.Identifier(role.role_name)
    found = connection.execute("select 1 from pg_roles where rolname = %s", [role.role_name]).fetchone()
    verb = sql.SQL("alter" if found else "create")
    # Hashed here, so that no server that logs its statements writes a password down.
    hashed = connection.pgconn.encrypt_password(password.encode(), role.role_name.encode()).decode()
    connection.execute(sql.SQL("{} role {} login password {}").format(verb, name, sql.Literal(hashed)))
    if role is Role.ANALYST:
        connection.execute(sql.SQL("alter role {} nocreatedb nocreaterole connection limit {}").format(name, ANALYST_CONNECTIONS))
        for setting, value in ANALYST_SETTINGS.items():
            # Without superuser an administrator (a hosted Postgres) may not give some of them; the others still hold.
            with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                connection.execute(sql.SQL("alter role {} set {} = {}").format(name, sql.Identifier(setting), sql.Literal(value)))


ANALYST_CONNECTIONS = 20
ANALYST_SETTINGS = {
    # A session may change the settings for itself, except temp_file_limit: they guard against accidents. What guards against intent
    # are privileges (the role may select from marts and nothing else) and the limits on connections and temporary files.
    "default_transaction_read_only": "on",
    "statement_timeout": "5min",
    "idle_in_transaction_session_timeout": "15min",
    "work_mem": "64MB",
    "temp_file_limit": "2GB",
    "search_path": "marts",
    "timezone": "UTC",
}


def _ensure_database(connection: psycopg.Connection, database: str, owner: Role) -> bool:
    """Whether it was created now."""
    is_new = connection.execute("select 1 from pg_database where datname = %s", [database]).fetchone() is None
    if is_new:
        _create_database(connection, database, owner)
    for role in Role if owner is Role.OWNER else (Role.PIPELINE,):
        may = connection.execute("select has_database_privilege(%s, %s, 'connect')", [role.role_name, database]).fetchone()
        if may == (False,):
            connection.execute(
                sql.SQL("grant connect on database {} to {}").format(sql.Identifier(database), sql.Identifier(role.role_name))
            )
    return is_new


def _create_database(connection: psycopg.Connection, database: str, owner: Role) -> None:
    connection.execute(sql.SQL("grant {} to current_user").format(sql.Identifier(owner.role_name)))
    connection.execute(
        sql.SQL("create database {} owner {} encoding 'UTF8' template template0").format(
            sql.Identifier(database), sql.Identifier(owner.role_name)
        )
    )
    connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(database)))


def _close_side_doors(admin_url: str) -> None:
    """Take from everybody, in a database of our own, the functions that write or block without any privilege.

    Large objects can be made by any role, and an advisory lock could hold up builds for ever.
    """
    others = sql.SQL(", ").join(sql.Identifier(role.role_name) for role in Role if role is not Role.ANALYST)
    with connect(admin_url, autocommit=True) as connection:
        functions = connection.execute(
            """
            select oid::regprocedure::text from pg_proc
            where pronamespace = 'pg_catalog'::regnamespace and (proname ~ '^pg_(try_)?advisory_' or proname in ('lo_creat', 'lo_create', 'lo_from_bytea'))
            """
        ).fetchall()
        for (function,) in functions:
            with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                connection.execute(sql.SQL("revoke execute on function {} from public").format(sql.SQL(function)))
                connection.execute(sql.SQL("grant execute on function {} to {}").format(sql.SQL(function), others))


def database_name(url: str) -> str:
    """The database that a URL names ("postgres" where it names none)."""
    return make_url(url).database or "postgres"
