{{
    config(
        materialized="change_capture",
        needs=["intermediate.exercise_sessions", "intermediate.user_zones", "marts.user_days"],
        post_hook="{{ remember_exercises() }}",
    )
}}
-- What changed since the last capture, as keys of the marts. The marts themselves are read as they stand, without a
-- ref, because they are built from this; so are plans, which are made from the training state.
{%- set sessions = "intermediate.exercise_sessions" %}
{%- set known_users = "intermediate.user_zones" %}

with
    changed_users as materialized(
        select users.user_key, users.time_zone
        from {{ source("app", "users") }} as users
        where {{ not_yet_seen("users.xid") }}
    ),

    changed_workouts as materialized(
        select workouts.workout_key, workouts.user_key
        from {{ source("app", "workouts") }} as workouts
        where {{ not_yet_seen("workouts.xid") }}
        union
        select deletions.workout_key, deletions.user_key
        from {{ source("app", "workout_deletions") }} as deletions
        where {{ not_yet_seen("deletions.xid") }}
        union
        -- Another time zone, other dates.
        select workouts.workout_key, workouts.user_key
        from changed_users
        join {{ known_users }} as known on known.user_key = changed_users.user_key
        join {{ source("app", "workouts") }} as workouts on workouts.user_key = changed_users.user_key
        where changed_users.time_zone <> known.time_zone
    ),

    -- Where the marts count a workout now, where they will, and where a model that failed in the last build may still
    -- count it.
    places as (
        select user_key, workout_key, null::date as local_date
        from changed_workouts
        union
        select sessions.user_key, sessions.workout_key, sessions.local_date
        from {{ sessions }} as sessions
        join changed_workouts on changed_workouts.workout_key = sessions.workout_key
        union
        select workouts.user_key, workouts.workout_key, workouts.local_date
        from changed_workouts
        join {{ ref("stg_workouts") }} as workouts on workouts.workout_key = changed_workouts.workout_key
        union
        select queue.user_key, queue.workout_key, queue.local_date
        from {{ change_queue() }} as queue
        join changed_workouts on changed_workouts.workout_key = queue.workout_key
    ),

    -- New users get their row of zeros; who is gone loses every row.
    people as (
        select user_key
        from changed_users
        union
        select deletions.user_key
        from {{ source("app", "user_deletions") }} as deletions
        where {{ not_yet_seen("deletions.xid") }}
    ),

    planned as (select distinct plans.user_key from plans.plans as plans where {{ not_yet_seen("plans.xid") }}),

    profiled as (
        select profiles.user_key
        from {{ source("app", "profiles") }} as profiles
        where {{ not_yet_seen("profiles.xid") }}
    ),

    -- Who lifts with an exercise that is another one now: assisted, other muscles, another name.
    changed_exercises as materialized(
        select exercises.exercise_key
        from {{ source("app", "exercises") }} as exercises
        join staging.known_exercises as known on known.exercise_key = exercises.exercise_key
        where {{ not_yet_seen("exercises.xid") }} and known.fingerprint <> {{ exercise_fingerprint("exercises") }}
    ),
    lifters as (
        select distinct sessions.user_key
        from {{ sessions }} as sessions
        join changed_exercises on changed_exercises.exercise_key = sessions.exercise_key
        union
        -- Or is asked to lift with it: planned sets by muscle. Plans are looked at only where an exercise changed.
        select distinct plans.user_key
        from plans.plans as plans
        where
            (select count(*) from changed_exercises) > 0
            and plans.exercise_key && (select array_agg(exercise_key) from changed_exercises)
    ),

    -- A day passed (or a replay went back): windows slide for everybody who trained, or had a plan, in the two years
    -- before.
    moved_zones as materialized(
        select
            zones.time_zone,
            least((as_of at time zone time_zone)::date, (next_as_of at time zone time_zone)::date) as earlier_on,
            greatest((as_of at time zone time_zone)::date, (next_as_of at time zone time_zone)::date) as later_on
        from (select distinct time_zone from {{ known_users }}) as zones
        cross join {{ change_cursor() }} as clock
        where (as_of at time zone time_zone)::date <> (next_as_of at time zone time_zone)::date
    ),
    slid as (
        select known.user_key, bool_or(days.local_date > moved_zones.earlier_on) as gains_or_loses_workouts
        from moved_zones
        join {{ known_users }} as known on known.time_zone = moved_zones.time_zone
        join marts.user_days as days on days.user_key = known.user_key
        where days.local_date between moved_zones.earlier_on - 740 and moved_zones.later_on
        group by known.user_key
    ),
    slid_plans as (
        select known.user_key
        from moved_zones
        join {{ known_users }} as known on known.time_zone = moved_zones.time_zone
        join plans.plans as plans on plans.user_key = known.user_key
        where plans.starts_on between moved_zones.earlier_on - 770 and moved_zones.later_on
        group by known.user_key
    ),

    -- A workout that was logged with a start after the last build's as_of is in the past now (or, in a replay, in the
    -- future again).
    begun as (
        select days.user_key
        from {{ change_cursor() }} as clock
        join
            marts.user_days as days
            on days.last_workout_at > least(clock.as_of, clock.next_as_of)
            and days.first_workout_at <= greatest(clock.as_of, clock.next_as_of)
        where clock.as_of <> clock.next_as_of
    )

select 'workout' as kind, user_key, workout_key, local_date, null::bigint as person_key
from places
union all
select 'user', user_key, null, null, null
from people
union all
select 'exercise', user_key, null, null, null
from lifters
union all
select 'plan', user_key, null, null, null
from planned
union all
select 'profile', user_key, null, null, null
from profiled
union all
select case when gains_or_loses_workouts then 'arrival' else 'day' end, user_key, null, null, null
from slid
union all
select 'day', user_key, null, null, null
from slid_plans
union all
select 'arrival', user_key, null, null, null
from begun
union all
select 'person', null, null, null, person_key
from ({{ onboarding_changes() }}) as journeys
union all
select 'usage', user_key, null, null, null
from ({{ usage_changes() }}) as openings
