"""Looks over a platform: what is wrong, and what a person can do about it."""

import json
import shutil
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from database.builds import last_build
from database.connection import Role, connect
from database.migrate import newest_revision
from stack.embedded_postgres import EmbeddedPostgres
from stack.home import Home
from stack.platform import Platform

LEAST_FREE_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    fine: bool
    what: str
    remedy: str = ""


def examine(home: Home) -> list[Finding]:
    """All findings, in the order in which things depend on each other."""
    return list(_examine(home))


def _examine(home: Home) -> Iterator[Finding]:
    if not home.state_file.exists():
        yield Finding(False, f"No platform was ever started in {home.folder}.", "mesocycle up")
        return
    yield _disk(home)
    yield _secrets(home)
    supervisor = home.supervisor
    yield Finding(supervisor is not None, f"Supervisor {'runs' if supervisor else 'does not run'}.", "" if supervisor else "mesocycle up")
    platform = Platform.recorded(home)
    connection, finding = _database(home, platform)
    yield finding
    if connection is None:
        return
    with connection:
        yield from _contents(connection)
    for name in home.state().get("processes", {}):
        recorded = home.recorded(name)
        runs = bool(recorded and recorded.running)
        log = home.logs_folder / f"{name}.log"
        yield Finding(runs, f"{name} {'runs' if runs else 'does not run'}.", "" if runs else f"The supervisor restarts it; its log: {log}")
    if supervisor is not None:
        yield _answers(platform, "api", "/readyz", home)
        yield _answers(platform, "dagster", "/server_info", home)


def _disk(home: Home) -> Finding:
    free = shutil.disk_usage(home.folder).free
    fine = free >= LEAST_FREE_BYTES
    return Finding(
        fine, f"{free / 1024**3:.1f} GiB free where {home.folder} lies.", "" if fine else "Free some space; Postgres stops when it's full."
    )


def _secrets(home: Home) -> Finding:
    if not home.secrets_file.exists():
        return Finding(
            False, "The file with the secrets is missing.", "mesocycle reset, then mesocycle up (or restore the file from a backup)"
        )
    open_to_others = home.secrets_file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    remedy = f"chmod 600 {home.secrets_file}" if open_to_others else ""
    return Finding(not open_to_others, f"Secrets are {'readable by others' if open_to_others else 'readable by their owner only'}.", remedy)


def _database(home: Home, platform: Platform) -> tuple[psycopg.Connection | None, Finding]:
    embedded = platform.external_url is None
    if embedded and EmbeddedPostgres(home.postgres_folder, 0).pid is None:
        return None, Finding(False, "PostgreSQL does not run.", f"mesocycle up; its log: {home.postgres_folder.parent / 'postgres.log'}")
    try:
        connection = connect(platform.url(Role.OWNER), autocommit=True)
    except (psycopg.OperationalError, KeyError) as error:
        return None, Finding(
            False,
            f"PostgreSQL doesn't let us in: {str(error).strip()}",
            "Is the port taken by another server? mesocycle down, mesocycle up",
        )
    return connection, Finding(True, f"PostgreSQL {connection.info.parameter_status('server_version')} answers.")


def _contents(connection: psycopg.Connection) -> Iterator[Finding]:
    if connection.execute("select to_regclass('public.alembic_version') is null").fetchone() == (True,):
        yield Finding(False, "The database is empty.", "mesocycle up makes the schema")
        return
    row = connection.execute("select version_num from public.alembic_version").fetchone()
    revision, newest = (row[0] if row else "none"), newest_revision()
    yield Finding(
        revision == newest,
        f"Schema is at migration {revision}.",
        "" if revision == newest else f"mesocycle down, then mesocycle up, migrates it to {newest}",
    )
    build = last_build(connection)
    if build is None:
        yield Finding(False, "The marts were never built.", "mesocycle refresh")
    else:
        seconds = (datetime.now(UTC) - build[1]).total_seconds()
        failed = connection.execute(
            "select count(*) from ops.builds where kind = 'marts' and succeeded is false and finished_at > %s", [build[1]]
        ).fetchone()
        trouble = bool(failed and failed[0])
        remedy = "Look at the failed runs in the Dagster UI, then mesocycle refresh" if trouble else ""
        text = f"Marts were built {seconds / 60:.0f} min ago, as of {build[0]:%Y-%m-%d %H:%M} UTC"
        yield Finding(not trouble, f"{text}{f'; {failed[0]} build(s) failed since' if trouble and failed else ''}.", remedy)
    row = connection.execute("select count(*) from app.rejected_rows").fetchone()
    yield Finding(True, f"{row[0] if row else 0:,} rows could not be used and are kept with their reason (app.rejected_rows).")
    row = connection.execute(
        "select count(*) from app.plan_requests where status in ('queued', 'running') and requested_at < now() - interval '5 minutes'"
    ).fetchone()
    late = row[0] if row else 0
    yield Finding(
        not late, f"{late} plan request(s) wait longer than five minutes.", "Does the plan worker run? mesocycle status" if late else ""
    )


def _answers(platform: Platform, service: str, path: str, home: Home) -> Finding:
    url = platform.address(service) + path
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            return Finding(response.status == 200, f"{url} answers.")
    except urllib.error.HTTPError as error:
        try:
            detail = json.loads(error.read()).get("detail", "")
        except ValueError:
            detail = ""
        return Finding(False, f"{url} answers {error.code}. {detail}".strip(), f"Its log: {home.logs_folder}")
    except OSError as error:
        return Finding(False, f"{url} does not answer ({error}).", f"mesocycle status; logs: {home.logs_folder}")
