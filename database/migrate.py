"""Bring a database to the newest migration, as its owner."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from database.connection import connect

MIGRATIONS = Path(__file__).parent / "migrations"
LEARN_TIME_ZONES = """
insert into app.time_zones (name)
select name from pg_timezone_names where name !~ '^(posix|right)/' and name not in ('posixrules', 'localtime', 'Factory')
on conflict do nothing
"""
"""Names come with releases of Postgres or of the machine's time zone data."""


def migrate(owner_url: str) -> None:
    """Run every migration that this database doesn't have yet, each in its own transaction, and learn new time zones. Safe to run again."""
    command.upgrade(alembic_config(owner_url), "head")
    with connect(owner_url) as connection:
        connection.execute(LEARN_TIME_ZONES)


def newest_revision() -> str:
    """The revision that a migrated database is at."""
    head = ScriptDirectory.from_config(alembic_config("")).get_current_head()
    assert head is not None
    return head


def alembic_config(url: str) -> Config:
    """What Alembic's commands need for the database at `url`."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    return config
