"""A role for the app's own servers: what happened is theirs to write, what was computed from it isn't."""

from alembic import op

from database.migrations.scripts import run_script

revision = "0012"
down_revision = "0011"

GRANTS = """
grant usage on schema app to mesocycle_app;
grant select, insert, update, delete on app.users, app.profiles, app.workouts, app.workout_sets to mesocycle_app;
grant select, insert, update on app.exercises to mesocycle_app;
grant select, insert on app.usage_events, app.identity_links to mesocycle_app;
grant select on app.time_zones, app.plan_requests, app.imports, app.rejected_rows, app.erasures to mesocycle_app;
grant insert (user_id) on app.erasures to mesocycle_app;
"""


def upgrade() -> None:
    run_script(op.get_bind(), GRANTS)
