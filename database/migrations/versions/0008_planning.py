"""Planning: the key of plans answers what regeneration asks of old plans; a workout that moves leaves a trace with its old user."""

from alembic import op

from database.migrations.scripts import run_script

revision = "0008"
down_revision = "0007"

PLANS = """
alter table plans.plans drop constraint plans_pkey;
alter table plans.plans add primary key (user_key, as_of)
  include (inputs_hash, planned_on, starts_on, mesocycle_started_on, goal, refusal, deload_week);
"""
"""Regeneration asks every user's history of plans for its deload weeks: from the index, not from rows of 3 kB."""

MOVES = """
create function app.log_moved_workout() returns trigger language plpgsql security definer set search_path = app, pg_temp as $$
begin
  insert into app.workout_deletions (workout_key, user_key) values (old.workout_key, old.user_key);
  return null;
end $$;
create trigger log_move after update of user_key on app.workouts
  for each row when (old.user_key <> new.user_key) execute function app.log_moved_workout();
comment on table app.workout_deletions is
  'Keys of workouts that a user no longer has, removed for good or moved to somebody else, so that an incremental build sees it.';
"""


def upgrade() -> None:
    for part in (PLANS, MOVES):
        run_script(op.get_bind(), part)
