"""The last successful build of a kind, asked with every batch of reads: one look, whatever failed or was of another kind after it."""

from alembic import op

from database.migrations.scripts import run_script

revision = "0009"
down_revision = "0008"

LAST_BUILD = """
create index builds_last on ops.builds (kind, build_key desc) where succeeded;
"""


def upgrade() -> None:
    run_script(op.get_bind(), LAST_BUILD)
