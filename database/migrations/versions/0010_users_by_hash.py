"""Who is meant by an app's id, asked with every read: a hash finds the row without comparing texts along a tree."""

from alembic import op

from database.migrations.scripts import run_script

revision = "0010"
down_revision = "0009"

USERS_BY_HASH = """
create index users_user_id_hash on app.users using hash (user_id);
"""


def upgrade() -> None:
    run_script(op.get_bind(), USERS_BY_HASH)
