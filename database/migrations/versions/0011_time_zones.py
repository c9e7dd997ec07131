"""Time zones by their IANA names: Postgres also takes abbreviations and POSIX rules, whose UTC+3 lies three hours west of Greenwich."""

from alembic import op

from database.migrate import LEARN_TIME_ZONES
from database.migrations.scripts import run_script

revision = "0011"
down_revision = "0010"

TIME_ZONES = """
create table app.time_zones (name text primary key);
create unique index time_zones_in_lower_case on app.time_zones (lower(name));
comment on table app.time_zones is 'IANA names of time zones that this Postgres knows, as of the last `migrate`. One row per name.';
comment on column app.time_zones.name is 'Such as Europe/Berlin or UTC.';
grant select on app.time_zones to mesocycle_pipeline, mesocycle_api;
"""

USERS = """
create function app.name_time_zone() returns trigger language plpgsql security definer set search_path = app, pg_temp as $$
declare
  known constant text := (select name from app.time_zones where lower(name) = lower(new.time_zone));
begin
  if known is null then
    raise exception using
      errcode = 'check_violation', schema = 'app', table = 'users', column = 'time_zone', constraint = 'time_zone_is_known',
      message = format('%L is no IANA name of a time zone', new.time_zone),
      hint = 'Use a name such as Europe/Berlin or America/New_York; app.time_zones has them all.';
  end if;
  new.time_zone := known;
  return new;
end $$;
comment on function app.name_time_zone is 'Spells a time zone as IANA does and refuses what is none.';
create trigger name_time_zone_of_new before insert on app.users
  for each row when (new.time_zone <> 'UTC') execute function app.name_time_zone();
create trigger name_time_zone before update of time_zone on app.users
  for each row when (new.time_zone <> old.time_zone) execute function app.name_time_zone();
update app.users u set time_zone = z.name from app.time_zones z where lower(z.name) = lower(u.time_zone) and z.name <> u.time_zone;
"""
"""Users with an abbreviation or a rule keep it until somebody says what was meant: their dates stay as they are."""

DAYS = """
update app.workouts w set started_at = w.started_at at time zone i.time_zone at time zone u.time_zone, updated_at = now()
from app.imports i, app.users u
where not w.has_start_time and i.import_key = w.import_key and u.user_key = w.user_key
  and (w.started_at at time zone i.time_zone)::time = '12:00' and (w.started_at at time zone u.time_zone)::time <> '12:00';

create function app.keep_days() returns trigger language plpgsql security definer set search_path = app, pg_temp as $$
begin
  update app.workouts set started_at = started_at at time zone old.time_zone at time zone new.time_zone, updated_at = now()
  where user_key = new.user_key and not has_start_time;
  return null;
end $$;
comment on function app.keep_days is 'A workout of which only the date is known stays on it when its user''s time zone changes.';
create trigger keep_days after update of time_zone on app.users
  for each row when (new.time_zone <> old.time_zone) execute function app.keep_days();
"""
"""Such a workout stands at noon of its day in the user's zone; earlier versions stored some at noon in the zone of their import."""


def upgrade() -> None:
    for part in (TIME_ZONES, LEARN_TIME_ZONES, USERS, DAYS):
        run_script(op.get_bind(), part)
