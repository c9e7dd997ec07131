{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "workout_key", "exercise_key"],
        replaces=["user_key"],
        change_kinds=["workout", "user", "exercise", "arrival"],
    )
}}
-- depends_on: {{ ref("changes") }}
-- Whatever improved something is in personal_record_events, so the best of the rows before is the best before.
with
    improvements as (
        select
            events.*,
            max(events.weight_kg) over before as previous_weight_kg,
            max(events.e1rm_kg) over before as previous_e1rm_kg
        from {{ ref("personal_record_events") }} as events
        join {{ ref("user_zones") }} as users on users.user_key = events.user_key
        where
            events.local_date <= ({{ as_of() }} at time zone users.time_zone)::date
            {%- if is_partial() %} and events.user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
        window
            before as (
                partition by events.user_key, events.exercise_key
                order by events.started_at, events.workout_key
                rows between unbounded preceding and 1 preceding
            )
    )

select
    improvements.user_key,
    improvements.workout_key,
    improvements.exercise_key,
    case when improvements.exercise_key <= 100000 then exercises.exercise_id else 'custom' end as exercise_id,
    case
        when improvements.exercise_key <= 100000 then exercises.exercise_name else '(custom exercise)'
    end as exercise_name,
    improvements.started_at as achieved_at,
    improvements.local_date as achieved_on,
    improvements.improves_weight as is_weight_record,
    improvements.weight_kg,
    improvements.weight_reps,
    improvements.previous_weight_kg,
    improvements.improves_e1rm as is_e1rm_record,
    improvements.e1rm_kg,
    improvements.previous_e1rm_kg
from improvements
join {{ ref("stg_exercises") }} as exercises on exercises.exercise_key = improvements.exercise_key
where improvements.is_record_event
