"""Onboarding: what a change of an event or a link leaves behind, and the indexes by which one person's events are found."""

from alembic import op

from database.migrations.scripts import run_script

revision = "0003"
down_revision = "0002"

PEOPLE = """
create function app.anonymous_key(anonymous_id text) returns bigint
  language sql immutable parallel safe strict
  return -1 - (hashtextextended(anonymous_id, 0) & 9223372036854775807);
comment on function app.anonymous_key is
  'Key of somebody who has no account yet: negative, the same for the same anonymous id, and no way back to it.';

create index onboarding_events_nobody on app.onboarding_events (app.anonymous_key(anonymous_id)) where user_key is null;
create index identity_links_user on app.identity_links (user_key);
create index onboarding_events_time on app.onboarding_events using brin (occurred_at) with (autosummarize = on);
create index usage_events_user on app.usage_events (user_key, occurred_at);
"""

REMOVALS = """
create table app.onboarding_removals (
  person_key bigint not null,
  xid xid8 not null default pg_current_xact_id()
);
create index onboarding_removals_xid on app.onboarding_removals (xid);
comment on table app.onboarding_removals is 'Whose onboarding events or links were changed or removed, so that an incremental build sees it.';
comment on column app.onboarding_removals.person_key is 'user_key, or app.anonymous_key() of somebody without an account.';

create function app.log_onboarding_events() returns trigger language plpgsql security definer set search_path = app, pg_temp as $$
begin
  insert into app.onboarding_removals (person_key)
  select distinct coalesce(removed.user_key, links.user_key, app.anonymous_key(removed.anonymous_id))
  from removed left join app.identity_links links on links.anonymous_id = removed.anonymous_id and removed.user_key is null;
  return null;
end $$;
create trigger log_removals after delete on app.onboarding_events referencing old table as removed
  for each statement execute function app.log_onboarding_events();
create trigger log_changes after update on app.onboarding_events referencing old table as removed
  for each statement execute function app.log_onboarding_events();
create trigger stamp before update on app.onboarding_events for each row execute function app.stamp_row();

create function app.log_identity_links() returns trigger language plpgsql security definer set search_path = app, pg_temp as $$
begin
  insert into app.onboarding_removals (person_key)
  select user_key from removed union select app.anonymous_key(anonymous_id) from removed;
  return null;
end $$;
create trigger log_removals after delete on app.identity_links referencing old table as removed
  for each statement execute function app.log_identity_links();
create trigger log_changes after update on app.identity_links referencing old table as removed
  for each statement execute function app.log_identity_links();
create trigger refuse_truncate before truncate on app.onboarding_events execute function app.refuse_truncate();
create trigger refuse_truncate_links before truncate on app.identity_links execute function app.refuse_truncate();
"""


def upgrade() -> None:
    for part in (PEOPLE, REMOVALS):
        run_script(op.get_bind(), part)
