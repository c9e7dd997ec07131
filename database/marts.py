"""What Python reads from the marts: the queries and the columns that they name; a test holds these against the dbt contracts."""

from typing import Final

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "user_payloads": ("user_key", "resource", "payload"),
    "user_days": (
        "user_key",
        "local_date",
        "workouts",
        "training_minutes",
        "sets",
        "reps",
        "volume_kg",
        "rpe_sum",
        "rpe_sets",
        "record_events",
        "first_workout_at",
        "last_workout_at",
    ),
}
"""By model."""

READ_MANY: Final = """
select
  build.build_key,
  known.user_key,
  case when wanted.resource = 'plan' then (
    select plans.plan_id || '/' || extract(epoch from plans.generated_at)
    from plans.plans
    where plans.user_key = known.user_key
    order by plans.as_of desc
    limit 1
  ) else found.payload end as payload,
  hashtextextended(found.payload, 0) as payload_hash
from unnest($1::text[], $2::text[]) with ordinality as wanted (user_id, resource, position)
left join (
  select build_key from ops.builds where kind = 'marts' and succeeded order by build_key desc limit 1
) as build on true
left join app.users as known on known.user_id = wanted.user_id
left join marts.user_payloads as found on found.user_key = known.user_key and found.resource = wanted.resource
order by wanted.position
"""
"""Payloads of many (user id, resource) at once, in their order, each with the current build's key; null where there is none.

The resource `plan` has no payload; in its place stands which plan is the current one: its id, a slash, and when it was made (epoch).

The hash is taken here because Postgres has a core to itself: 700 bytes cost the API's core more than all of its own bookkeeping.
"""

READ_BUILD: Final = "select as_of, coalesce(finished_at, started_at) as finished_at from ops.builds where build_key = $1"

READ_WINDOW: Final = """
with build as (
  select build_key, as_of, coalesce(finished_at, started_at) as finished_at
  from ops.builds where kind = 'marts' and succeeded order by build_key desc limit 1
),
window_of_user as (
  select
    users.user_key,
    $2::text::date as first_on,
    coalesce($3::text::date, (build.as_of at time zone users.time_zone)::date) as last_on,
    (build.as_of at time zone users.time_zone)::date as today_on
  from app.users cross join build where users.user_id = $1
),
numbers as (
  select
    window_of_user.first_on as "from",
    window_of_user.last_on as "to",
    coalesce(sum(days.workouts) filter (where is_inside), 0) as "workouts",
    count(*) filter (where is_inside) as "activeDays",
    coalesce(sum(days.training_minutes) filter (where is_inside), 0) as "trainingMinutes",
    coalesce(sum(days.sets) filter (where is_inside), 0) as "sets",
    coalesce(sum(days.reps) filter (where is_inside), 0) as "reps",
    coalesce(sum(days.volume_kg) filter (where is_inside), 0) as "volumeKg",
    sum(days.rpe_sum) filter (where is_inside) / nullif(sum(days.rpe_sets) filter (where is_inside), 0) as "avgRpe",
    coalesce(sum(days.record_events) filter (where is_inside), 0) as "recordEvents",
    to_char(min(days.first_workout_at) filter (where is_inside) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as "firstWorkoutAt",
    to_char(max(days.last_workout_at) filter (where is_inside) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') as "lastWorkoutAt",
    coalesce(sum(days.workouts) filter (where not is_inside), 0) as "previousWorkouts",
    coalesce(sum(days.volume_kg) filter (where not is_inside), 0) as "previousVolumeKg",
    100 * (coalesce(sum(days.volume_kg) filter (where is_inside), 0) / nullif(sum(days.volume_kg) filter (where not is_inside), 0) - 1)
      as "volumeChangePct"
  from window_of_user
  left join lateral (
    select user_days.*, user_days.local_date >= window_of_user.first_on as is_inside
    from marts.user_days as user_days
    where user_days.user_key = window_of_user.user_key
      and user_days.local_date between window_of_user.first_on - least(
        window_of_user.last_on - window_of_user.first_on + 1, window_of_user.first_on - date '0001-01-01'
      )
        and least(window_of_user.last_on, window_of_user.today_on)
  ) as days on true
  group by window_of_user.first_on, window_of_user.last_on
)
select
  build.*,
  exists (select from app.users where user_id = $1) as is_known,
  (select last_on < first_on from window_of_user) as is_reversed,
  payload.text as payload,
  hashtextextended(payload.text, 0) as payload_hash
from (select row_to_json(numbers)::text as text from (select) as one left join numbers on true) as payload
left join build on true
"""
"""The numbers of user $1 from local date $2 to $3 (null: today as of the build) and of the window before, as a payload; nothing after that today."""

READ_TIMELINE: Final = """
with build as (
  select build_key, as_of, coalesce(finished_at, started_at) as finished_at
  from ops.builds where kind = 'marts' and succeeded order by build_key desc limit 1
),
window_of_user as (
  select
    users.user_key,
    $2::text::date as first_on,
    coalesce($3::text::date, (build.as_of at time zone users.time_zone)::date) as last_on,
    (build.as_of at time zone users.time_zone)::date as today_on
  from app.users cross join build where users.user_id = $1
),
weeks as (
  select
    days.local_date - (extract(isodow from days.local_date)::int - 1) as "weekOn",
    sum(days.workouts) as "workouts",
    count(*) as "activeDays",
    sum(round(days.training_minutes * 60)) / 60 as "trainingMinutes",
    sum(days.sets) as "sets",
    sum(days.reps) as "reps",
    sum(round(days.volume_kg * 100000000)) / 100000000 as "volumeKg",
    sum(days.record_events) as "recordEvents"
  from window_of_user
  join marts.user_days as days
    on days.user_key = window_of_user.user_key
    and days.local_date between window_of_user.first_on and least(window_of_user.last_on, window_of_user.today_on)
  group by 1
),
numbers as (
  select
    first_on as "from",
    last_on as "to",
    coalesce((select json_agg(weeks order by weeks."weekOn") from weeks), '[]') as "weeks"
  from window_of_user
)
select
  build.*,
  exists (select from app.users where user_id = $1) as is_known,
  (select last_on < first_on from window_of_user) as is_reversed,
  payload.text as payload,
  hashtextextended(payload.text, 0) as payload_hash
from (select row_to_json(numbers)::text as text from (select) as one left join numbers on true) as payload
left join build on true
"""
"""Weeks of user $1 over the local dates from $2 to $3 (null: today as of the build), as a payload; nothing after that today."""
