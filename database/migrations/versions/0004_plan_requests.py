"""Plans on request: an idempotent, coalescing queue, and the events that tell what became of each request.

The API may only call `app.request_plan`: request and event commit together, and NOTIFY announces both. A worker's claim is a row
lock: when its connection ends, for whatever reason, Postgres gives the rows to the next one at once.
"""

from alembic import op

from database.migrations.scripts import run_script

revision = "0004"
down_revision = "0003"

QUEUE = """
alter table app.plan_requests
  add column not_before timestamptz not null default now(),
  add column claim uuid,
  add column plan_as_of timestamptz;
comment on column app.plan_requests.job_id is 'UUIDv7: sorts by time of request.';
comment on column app.plan_requests.attempts is 'How often a worker took it up; the third failure is final.';
comment on column app.plan_requests.not_before is 'A retry waits until then.';
comment on column app.plan_requests.claim is 'Token of the worker that took it up last: a worker that wakes up late finds another one here.';
comment on column app.plan_requests.plan_as_of is 'Instant that the resulting plan takes for now.';

-- A queue: its rows change state three times within a second, so dead entries are cleared away early.
alter table app.plan_requests set (
  fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0
);
create index plan_requests_queue on app.plan_requests (not_before, job_id) where status in ('queued', 'running');
create index plan_requests_user on app.plan_requests (user_key, job_id);

create table app.plan_request_keys (
  caller text not null,
  idempotency_key text not null check (char_length(idempotency_key) between 1 and 255),
  body_hash bytea not null,
  job_id uuid not null references app.plan_requests on delete cascade,
  created_at timestamptz not null default now(),
  primary key (caller, idempotency_key)
);
create index plan_request_keys_job on app.plan_request_keys (job_id);
comment on table app.plan_request_keys is 'Idempotency keys that callers sent, and the job that each stands for.';
"""

EVENTS = """
create table app.plan_events (
  position bigint generated always as identity primary key,
  event_id uuid not null default gen_random_uuid() unique,
  event_type text not null check (event_type in ('PlanGenerationRequested', 'PlanGenerated', 'PlanGenerationFailed')),
  user_key bigint not null references app.users on delete cascade,
  job_id uuid not null,
  occurred_at timestamptz not null default clock_timestamp(),
  data jsonb not null default '{}',
  xid xid8 not null default pg_current_xact_id()
);
create index plan_events_xid on app.plan_events (xid, position);
comment on table app.plan_events is 'What happened to plan requests; append-only. One row per event. Read it through app.read_plan_events.';

create function app.refuse_change() returns trigger language plpgsql as $$
begin
  if current_setting('mesocycle.erasing', true) = 'on' then
    return coalesce(new, old);
  end if;
  raise exception '% is append-only', tg_table_name;
end $$;
create trigger append_only before update on app.plan_events for each row execute function app.refuse_change();
create trigger no_truncate before truncate on app.plan_events execute function app.refuse_truncate();

create function app.read_plan_events(after_xid xid8 default '0', after_position bigint default 0, at_most integer default 1000)
returns table (xid xid8, "position" bigint, cloud_event jsonb)
language sql stable as $$
  select e.xid, e.position, jsonb_build_object(
    'specversion', '1.0',
    'id', e.event_id,
    'source', '/mesocycle/plans',
    'type', e.event_type,
    'subject', u.user_id,
    'time', to_char(e.occurred_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'datacontenttype', 'application/json',
    'data', e.data || jsonb_build_object('jobId', e.job_id, 'userId', u.user_id)
  )
  from app.plan_events e
  join app.users u using (user_key)
  where (e.xid, e.position) > (after_xid, after_position)
    and e.xid < pg_snapshot_xmin(pg_current_snapshot())
  order by e.xid, e.position
  limit at_most
$$;
comment on function app.read_plan_events is
  'CloudEvents 1.0 after a place in the log, in an order in which nothing appears before the place once it was read: events of transactions that are still open wait.';
"""

REQUEST = """
create function app.request_plan(
  p_user_id text, p_job_id uuid, p_reason text, p_caller text, p_idempotency_key text, p_body_hash bytea
) returns table (outcome text, job_id uuid, status text, requested_at timestamptz)
language plpgsql security definer set search_path = app, pg_temp as $$
declare
  v_user_key bigint;
  v_job uuid;
  v_hash bytea;
begin
  select u.user_key into v_user_key from app.users u where u.user_id = p_user_id;
  if v_user_key is null then
    return query select 'unknown_user', null::uuid, null::text, null::timestamptz;
    return;
  end if;

  if p_idempotency_key is not null then
    -- Two calls with one key at once: the second waits here until the first has committed, then finds its job.
    perform pg_advisory_xact_lock(hashtextextended(p_caller || chr(31) || p_idempotency_key, 42));
    select k.job_id, k.body_hash into v_job, v_hash
    from app.plan_request_keys k where k.caller = p_caller and k.idempotency_key = p_idempotency_key;
    if v_job is not null then
      return query
        select case when v_hash = p_body_hash then 'repeated' else 'key_conflict' end, r.job_id, r.status, r.requested_at
        from app.plan_requests r where r.job_id = v_job;
      return;
    end if;
  end if;

  loop
    insert into app.plan_requests (job_id, user_key, reason) values (p_job_id, v_user_key, p_reason)
    on conflict (user_key) where plan_requests.status = 'queued' do nothing
    returning plan_requests.job_id into v_job;
    if v_job is not null then
      insert into app.plan_events (event_type, user_key, job_id, data)
      values ('PlanGenerationRequested', v_user_key, v_job, jsonb_build_object('reason', p_reason));
      perform pg_notify('plan_requests', '');
      outcome := 'created';
      exit;
    end if;
    -- Seen as queued here means: its worker reads the user's rows later than this, so this request is part of it.
    select r.job_id into v_job from app.plan_requests r where r.user_key = v_user_key and r.status = 'queued';
    if v_job is not null then
      outcome := 'coalesced';
      exit;
    end if;
  end loop;

  if p_idempotency_key is not null then
    insert into app.plan_request_keys (caller, idempotency_key, body_hash, job_id) values (p_caller, p_idempotency_key, p_body_hash, v_job);
  end if;
  return query select request_plan.outcome, r.job_id, r.status, r.requested_at from app.plan_requests r where r.job_id = v_job;
end $$;
comment on function app.request_plan is 'Records a request for a new plan and its event. At most one queued job per user: a second request gets the first''s job.';

create function app.plan_request_status(p_job_ids uuid[])
returns table (
  job_id uuid, user_id text, status text, reason text, requested_at timestamptz, started_at timestamptz, finished_at timestamptz,
  attempts smallint, failure_code text, failure_message text, queue_position bigint
) language sql stable security definer set search_path = app, pg_temp as $$
  select r.job_id, u.user_id, r.status, r.reason, r.requested_at, r.started_at, r.finished_at, r.attempts, r.failure_code, r.failure_message,
    case when r.status = 'queued' then
      (select count(*) from app.plan_requests q where q.status = 'queued' and (q.not_before, q.job_id) <= (r.not_before, r.job_id))
    end
  from app.plan_requests r join app.users u using (user_key)
  where r.job_id = any(p_job_ids)
$$;
comment on function app.plan_request_status is 'Plan jobs; queue_position counts from 1, the job itself included, while it is queued.';
"""

GRANTS = """
revoke insert, select on app.plan_requests from mesocycle_api;
revoke execute on function app.request_plan, app.plan_request_status from public;
grant execute on function app.request_plan, app.plan_request_status to mesocycle_api, mesocycle_pipeline;
grant insert on app.plan_events to mesocycle_pipeline;
"""


def upgrade() -> None:
    for part in (QUEUE, EVENTS, REQUEST, GRANTS):
        run_script(op.get_bind(), part)
