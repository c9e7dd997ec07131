{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "plan_id", "week", "session"],
        replaces=["user_key"],
        change_kinds=["workout", "user", "plan", "day", "arrival"],
    )
}}
-- depends_on: {{ ref("changes") }}
with
    people as materialized(
        select zones.user_key, ({{ as_of() }} at time zone zones.time_zone)::date as today_on
        from {{ ref("user_zones") }} as zones
        where
            exists (select from {{ source("plans", "plans") }} as plans where plans.user_key = zones.user_key)
            {%- if is_partial() %} and zones.user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
    ),

    -- Sessions up to today, numbered in the order in which they take their workouts.
    sessions as materialized(
        select
            sessions.user_key,
            sessions.plan_id,
            sessions.week,
            sessions.session,
            sessions.session_on,
            sessions.exercise_keys,
            row_number() over (
                partition by sessions.user_key
                order by sessions.session_on, sessions.plan_id, sessions.week, sessions.session
            ) as number
        from people
        join {{ source("plans", "planned_sessions") }} as sessions on sessions.user_key = people.user_key
        where sessions.session_on <= people.today_on
    ),

    workouts as (
        select
            done.user_key,
            done.workout_key,
            done.local_date,
            min(done.started_at) as started_at,
            array_agg(done.exercise_key) as exercise_keys
        from people
        join {{ ref("exercise_sessions") }} as done on done.user_key = people.user_key
        {%- if is_partial() %}
            join
                (select user_key, min(session_on) as first_on from sessions group by user_key) as planned
                on planned.user_key = people.user_key
                and done.started_at >= {{ earliest_start("planned.first_on - 1") }}
        {%- endif %}
        -- An exercise that was only warmed up for was not done.
        where done.local_date <= people.today_on and done.sets > 0
        group by done.user_key, done.workout_key, done.local_date
    ),

    -- Within a day, with at least half of the session's exercises.
    candidates as (
        select sessions.user_key, sessions.number, workouts.workout_key, workouts.started_at
        from sessions
        join
            workouts
            on workouts.user_key = sessions.user_key
            and workouts.local_date between sessions.session_on - 1 and sessions.session_on + 1
        cross join
            lateral(
                select
                    count(*) as planned,
                    count(*) filter (where planned.exercise_key = any(workouts.exercise_keys)) as done
                from (select distinct unnest(sessions.exercise_keys) as exercise_key) as planned
            ) as overlap
        where overlap.planned > 0 and 2 * overlap.done >= overlap.planned
    ),

    matches as (
        select user_key, plans.match_sessions(number, workout_key order by number, started_at, workout_key) as pairs
        from candidates
        group by user_key
    ),
    matched as (
        select matches.user_key, - matches.pairs[place] as number, matches.pairs[place + 1] as workout_key
        from matches
        cross join generate_series(1, cardinality(matches.pairs), 2) as place
    )

select sessions.user_key, sessions.plan_id, sessions.week, sessions.session, sessions.session_on, matched.workout_key
from sessions
left join matched on matched.user_key = sessions.user_key and matched.number = sessions.number
