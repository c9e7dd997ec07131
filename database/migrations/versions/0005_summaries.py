"""What lossless summaries and erasures need: plans and deleted users leave a trace, and sessions are matched with workouts."""

from alembic import op

from database.migrations.scripts import run_script

revision = "0005"
down_revision = "0004"

DELETED_USERS = """
create table app.user_deletions (
  user_key bigint not null,
  deleted_at timestamptz not null default now(),
  xid xid8 not null default pg_current_xact_id()
);
create index user_deletions_xid on app.user_deletions (xid);
comment on table app.user_deletions is 'Keys (and nothing else) of users that were removed, so that an incremental build sees it.';

create function app.log_user_deletions() returns trigger language plpgsql security definer set search_path = app, pg_temp as $$
begin
  insert into app.user_deletions (user_key) select user_key from removed;
  return null;
end $$;
create trigger log_deletions after delete on app.users referencing old table as removed
  for each statement execute function app.log_user_deletions();
create trigger refuse_truncate before truncate on app.users execute function app.refuse_truncate();
"""

ERASURES = """
create table app.erasures (
  erasure_key bigint generated always as identity primary key,
  user_id text,
  user_key bigint,
  requested_at timestamptz not null default now(),
  finished_at timestamptz,
  removed jsonb,
  constraint an_open_request_names_the_user check (finished_at is not null or user_id is not null),
  constraint a_finished_one_keeps_no_id check (finished_at is null or user_id is null)
);
create unique index erasures_open on app.erasures (user_id) where finished_at is null;
comment on table app.erasures is 'Requests to forget a user, and the proof that it was done. One row per request; the app inserts (user_id).';
comment on column app.erasures.user_id is 'Who is to be forgotten; null once it is done.';
comment on column app.erasures.user_key is 'The platform''s key of who was forgotten: a number that leads nowhere any more.';
comment on column app.erasures.removed is 'Rows removed by relation, and that a search of every schema found nothing afterwards.';
"""

PLANS = """
alter table plans.plans add column xid xid8 not null default pg_current_xact_id();
create index plans_xid on plans.plans (xid);
comment on column plans.plans.xid is 'Transaction that wrote the plan, for lossless increments.';

create function plans.match_once(matched bigint[], session_number bigint, workout_key bigint) returns bigint[]
language sql immutable parallel safe
return case
  when -session_number = any (matched) or workout_key = any (matched) then matched
  else matched || array[-session_number, workout_key]
end;
create aggregate plans.match_sessions (bigint, bigint) (sfunc = plans.match_once, stype = bigint[], initcond = '{}', parallel = safe);
comment on aggregate plans.match_sessions (bigint, bigint) is
  'First come, first served: pairs (session number > 0, workout key > 0) in the given order, each session and each workout at most once. Returns -session, workout, -session, workout, …';
"""

GRANTS = """
grant select on app.user_deletions, app.erasures to mesocycle_pipeline;
grant select, insert on app.erasures to mesocycle_api;
"""


def upgrade() -> None:
    for part in (DELETED_USERS, ERASURES, PLANS, GRANTS):
        run_script(op.get_bind(), part)
