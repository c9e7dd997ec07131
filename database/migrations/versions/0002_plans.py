"""Training plans: one row per plan with its slots as arrays, history kept, newest by instant; views that unnest them."""

from alembic import op

from database.migrations.scripts import run_script

revision = "0002"
down_revision = "0001"

PLANS = """
create table plans.plans (
  user_key bigint not null references app.users on delete cascade,
  as_of timestamptz not null,
  plan_id bigint generated always as identity,
  generated_at timestamptz not null default now(),
  inputs_hash bigint not null,
  planned_on date not null,
  starts_on date not null,
  mesocycle_started_on date not null,
  engine_version text not null,
  goal smallint not null check (goal between 0 and 4),
  in_pounds boolean not null,
  split smallint not null check (split between 0 and 1),
  refusal smallint not null check (refusal between 0 and 3),
  deload_week smallint not null check (deload_week between 1 and 4),
  session_day smallint[] not null,
  session_slots smallint[] not null,
  session_minutes smallint[] not null,
  exercise_key integer[] not null,
  rep_min smallint[] not null,
  rep_max smallint[] not null,
  rest_seconds smallint[] not null,
  superset smallint[] not null,
  warmup_sets smallint[] not null,
  exercise_reason smallint[] not null,
  sets_reason smallint[] not null,
  numbers real[] not null,
  sets smallint[] not null,
  load_kg real[] not null,
  reserve smallint[] not null,
  load_reason smallint[] not null,
  primary key (user_key, as_of) include (inputs_hash, starts_on, mesocycle_started_on, goal, engine_version),
  constraint a_plan_has_sessions_or_a_refusal check ((refusal = 0) = (cardinality(exercise_key) > 0)),
  constraint slots_agree check (
    cardinality(rep_min) = cardinality(exercise_key) and cardinality(rep_max) = cardinality(exercise_key)
    and cardinality(sets) = 4 * cardinality(exercise_key) and cardinality(load_kg) = 4 * cardinality(exercise_key)
    and cardinality(session_minutes) = 4 * cardinality(session_day)
  ),
  constraint no_week_starts_after_its_plan check (starts_on <= planned_on)
) with (toast_tuple_target = 8160);

comment on table plans.plans is 'Training plans, one row per user and instant. The newest as_of is the user''s current plan; older ones stay.';
comment on column plans.plans.as_of is 'The instant whose data the plan rests on. A plan made from older data sorts behind a newer one, whenever it is written.';
comment on column plans.plans.inputs_hash is 'Hash of everything that the plan depends on, engine version and catalogue included: equal hash, equal plan.';
comment on column plans.plans.planned_on is 'The user''s local date at as_of.';
comment on column plans.plans.starts_on is 'First day of the four weeks; week w (1-4) starts 7 (w - 1) days later.';
comment on column plans.plans.mesocycle_started_on is 'First day of the mesocycle that runs on through the user''s plans.';
comment on column plans.plans.goal is 'Index into strength, hypertrophy, general_fitness, fat_loss, powerlifting.';
comment on column plans.plans.refusal is '0 a plan; 1 session too short, 2 no exercise fits, 3 no training day.';
comment on column plans.plans.session_day is 'Per session: days after the start of the week.';
comment on column plans.plans.session_slots is 'Per session: how many of the slots below are its own, in their order.';
comment on column plans.plans.session_minutes is 'Sessions x 4 weeks.';
comment on column plans.plans.numbers is 'Slots x 4: the numbers of the first week''s load reason.';
comment on column plans.plans.sets is 'Slots x 4 weeks, as are load_kg, reserve and load_reason.';
comment on column plans.plans.load_kg is 'Slots x 4 weeks, kg; NaN where no load is named (body weight, bands).';
comment on column plans.plans.reserve is 'Slots x 4 weeks: repetitions in reserve.';
comment on column plans.plans.rep_min is 'Per slot; seconds instead of repetitions for exercises measured in seconds.';

-- Arrays of a plan are read together with its row and are small: neither compressed nor moved out.
alter table plans.plans
  alter column session_minutes set storage main, alter column exercise_key set storage main, alter column rep_min set storage main,
  alter column rep_max set storage main, alter column rest_seconds set storage main, alter column superset set storage main,
  alter column warmup_sets set storage main, alter column exercise_reason set storage main, alter column sets_reason set storage main,
  alter column numbers set storage main, alter column sets set storage main, alter column load_kg set storage main,
  alter column reserve set storage main, alter column load_reason set storage main;
"""

EXAMINED = """
create table plans.examined (
  bucket smallint primary key check (bucket between 0 and 63),
  xid xid8 not null,
  as_of timestamptz not null,
  engine_version text not null
);
comment on table plans.examined is
  'Up to where each bucket of users (user_key % 64) was looked at in full: everything written at or after xid is still to be seen.';
"""

VIEWS = """
create view plans.plan_periods as
select
  user_key,
  as_of,
  plan_id,
  refusal,
  planned_on as current_from,
  lead(planned_on) over newer as current_until,
  lead(generated_at) over newer as superseded_at,
  starts_on,
  deload_week
from plans.plans
window newer as (partition by user_key order by as_of);
comment on view plans.plan_periods is
  'From which local date each plan was the user''s current one, and until (exclusive; null: still). One row per plan.';

create view plans.deload_weeks as
select user_key, starts_on + 7 * (deload_week - 1) as from_on, starts_on + 7 * (deload_week - 1) + 6 as until_on
from plans.plan_periods
where refusal = 0
  and current_from <= starts_on + 7 * (deload_week - 1) + 6
  and (current_until is null or current_until > starts_on + 7 * (deload_week - 1));
comment on view plans.deload_weeks is
  'Weeks that were planned as deloads while their plan was current: their sessions stay out of progress. First and last local date.';

create view plans.sessions as
select
  plans.user_key,
  plans.plan_id,
  plans.as_of,
  week.number as week,
  session.number as session,
  plans.starts_on + 7 * (week.number - 1) + session.day as session_on,
  week.number = plans.deload_week as is_deload,
  plans.session_minutes[session.number][week.number] as minutes,
  plans.exercise_key[session.last_slot - session.slots + 1 : session.last_slot] as exercise_keys
from plans.plans
cross join lateral (
  select
    day.number::int,
    day.value as day,
    plans.session_slots[day.number] as slots,
    sum(plans.session_slots[day.number]) over (order by day.number)::int as last_slot
  from unnest(plans.session_day) with ordinality as day (value, number)
) as session
cross join generate_series(1, 4) as week (number);
comment on view plans.sessions is 'Planned sessions, unnested. One row per plan, week and session.';

create view plans.planned_sessions as
select sessions.*
from plans.sessions
join plans.plan_periods using (user_key, as_of)
where sessions.session_on >= plan_periods.current_from
  and (plan_periods.current_until is null or sessions.session_on < plan_periods.current_until);
comment on view plans.planned_sessions is
  'Sessions of the plan that was current on their date: what a user was asked to do. One row per user and session.';

create view plans.prescriptions as
select
  plans.user_key,
  plans.plan_id,
  plans.as_of,
  week.number as week,
  session.number as session,
  plans.starts_on + 7 * (week.number - 1) + session.day as session_on,
  week.number = plans.deload_week as is_deload,
  slot.number as slot,
  plans.exercise_key[slot.number] as exercise_key,
  plans.sets[slot.number][week.number] as sets,
  plans.rep_min[slot.number] as rep_min,
  plans.rep_max[slot.number] as rep_max,
  nullif(plans.load_kg[slot.number][week.number], 'NaN') as load_kg,
  plans.reserve[slot.number][week.number] as reserve,
  plans.rest_seconds[slot.number] as rest_seconds,
  nullif(plans.superset[slot.number], 0) as superset,
  plans.warmup_sets[slot.number] as warmup_sets,
  plans.load_reason[slot.number][week.number] as load_reason,
  plans.exercise_reason[slot.number] as exercise_reason,
  plans.sets_reason[slot.number] as sets_reason
from plans.plans
cross join lateral (
  select
    day.number::int,
    day.value as day,
    plans.session_slots[day.number] as slots,
    sum(plans.session_slots[day.number]) over (order by day.number)::int as last_slot
  from unnest(plans.session_day) with ordinality as day (value, number)
) as session
cross join lateral generate_series(session.last_slot - session.slots + 1, session.last_slot) as slot (number)
cross join generate_series(1, 4) as week (number);
comment on view plans.prescriptions is
  'Every prescription, unnested for analysts: exercise, sets, repetitions, load, rest and reasons. One row per plan, week, session and slot.';

create view plans.current_plans as
select distinct on (user_key) * from plans.plans order by user_key, as_of desc;
comment on view plans.current_plans is 'Each user''s newest plan. One row per user.';
"""

GRANTS = """
grant select, insert, update, delete on plans.plans, plans.examined to mesocycle_pipeline;
grant select on all tables in schema plans to mesocycle_pipeline, mesocycle_api;
"""


def upgrade() -> None:
    for part in (PLANS, EXAMINED, VIEWS, GRANTS):
        run_script(op.get_bind(), part)
