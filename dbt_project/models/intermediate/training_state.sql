{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "exercise_key"],
        replaces=["user_key"],
        change_kinds=["workout", "user"],
    )
}}
-- depends_on: {{ ref("changes") }}
-- What the planning engine reads, packed so that a user costs a copy of bytes: an array would be written and read
-- element by element. Which sessions count at an instant (deloads, the future) is for the reader to say, so nothing
-- here slides with the clock; two sessions more than the engine looks at are there for that.
with
    recent as (
        select *
        from
            (
                select
                    user_key,
                    exercise_key,
                    workout_key,
                    started_at,
                    local_date,
                    row_number() over (
                        partition by user_key, exercise_key order by started_at desc, workout_key desc
                    ) as recency
                from {{ ref("exercise_sessions") }}
                where sets > 0 {%- if is_partial() %} and user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
            ) as numbered
        where recency <= 8
    ),

    done as (
        select
            recent.user_key,
            recent.exercise_key,
            recent.recency,
            timestamptz_send(recent.started_at)
            || date_send(recent.local_date)
            || int2send(count(*)::smallint) as session,
            string_agg(
                float4send(coalesce(sets.weight_kg, 0)::real)
                || int2send(sets.reps::smallint)
                || float4send(coalesce(sets.rpe, 'NaN')::real),
                ''::bytea
                order by sets.position
            ) as sets
        from recent
        join
            {{ ref("stg_workout_sets") }} as sets
            on sets.workout_key = recent.workout_key
            and sets.exercise_key = recent.exercise_key
        where sets.is_working
        group by
            recent.user_key,
            recent.exercise_key,
            recent.workout_key,
            recent.started_at,
            recent.local_date,
            recent.recency
    )

select
    user_key,
    exercise_key,
    string_agg(session, ''::bytea order by recency) as sessions,
    string_agg(sets, ''::bytea order by recency) as sets
from done
group by user_key, exercise_key
