"""Bring a database to the newest migration, as its owner."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(owner_url: str) -> None:
    """Run every migration that this database doesn't have yet; each in its own transaction. Safe to run again."""
    command.upgrade(_config(owner_url), "head")


def newest_revision() -> str:
    """The revision that a migrated database is at."""
    head = ScriptDirectory.from_config(_config("")).get_current_head()
    assert head is not None
    return head


def _config(url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    return config
