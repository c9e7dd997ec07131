"""The one way to open the database: psycopg 3 for Python, URLs for everything else."""

from enum import StrEnum

import psycopg
from sqlalchemy import URL, make_url


class Role(StrEnum):
    """Who connects, and so what may be touched (migrations 0001 and 0012 grant it)."""

    OWNER = "owner"
    """Migrations and dbt: owns every schema."""
    PIPELINE = "pipeline"
    """Plans and operations: reads everything, writes `plans`, `ops` and the states of plan requests."""
    API = "api"
    """Reads `marts` and `plans`; inserts the few things that the app sends."""
    APP = "app"
    """The app's own servers: write users, profiles, workouts and what was opened (docs/writing.md)."""
    ANALYST = "analyst"
    """Reads `marts`, in read-only transactions."""

    @property
    def role_name(self) -> str:
        """Its name in Postgres; prefixed, because roles are shared by all databases of a cluster."""
        return f"mesocycle_{self.value}"


def connect(url: str, *, autocommit: bool = False, application_name: str = "mesocycle") -> psycopg.Connection:
    """Open a connection in UTC. `with connect(url) as connection:` commits at the end, or rolls back on an error."""
    connection = psycopg.connect(url, autocommit=autocommit, application_name=application_name, connect_timeout=10)
    connection.execute("set time zone 'UTC'")
    if not autocommit:
        connection.commit()
    return connection


def url_for(url: str, *, role: Role | None = None, password: str | None = None, database: str | None = None) -> str:
    """`url` with another role, password or database; everything else of it stays."""
    parsed: URL = make_url(url)
    if role is not None:
        parsed = parsed.set(username=role.role_name)
    if password is not None:
        parsed = parsed.set(password=password)
    if database is not None:
        parsed = parsed.set(database=database)
    return parsed.render_as_string(hide_password=False)
