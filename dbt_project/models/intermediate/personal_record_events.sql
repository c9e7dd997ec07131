{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "exercise_key", "session_number"],
        replaces=["user_key"],
        change_kinds=["workout", "exercise", "user"],
        emits=["user_key", "local_date"],
    )
}}
-- Each session of an exercise against everything before it. Only sessions that improved something are kept, so the
-- last of
-- them holds the record. Where nothing came before, anything is an improvement.
with
    sessions as (
        select
            sessions.*,
            case when exercises.load_type <> 'assisted' then sessions.top_weight_kg end as weight,
            case when exercises.load_type <> 'assisted' then sessions.e1rm_kg end as e1rm,
            case when exercises.load_type <> 'assisted' then sessions.set_volume_kg end as set_volume,
            case
                when exercises.load_type <> 'assisted' and sessions.volume_e8 > 0 then sessions.volume_e8
            end as workout_volume
        from {{ ref("exercise_sessions") }} as sessions
        join {{ ref("stg_exercises") }} as exercises on exercises.exercise_key = sessions.exercise_key
        where
            sessions.sets > 0
            {%- if is_partial() %} and sessions.user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
    ),

    compared as (
        select
            *,
            row_number() over earlier as session_number,
            weight > coalesce(max(weight) over before, 0) as improves_weight,
            e1rm > coalesce(max(e1rm) over before, 0) as improves_e1rm,
            most_reps > coalesce(max(most_reps) over before, 0) as improves_reps,
            set_volume > coalesce(max(set_volume) over before, 0) as improves_set_volume,
            workout_volume > coalesce(max(workout_volume) over before, 0) as improves_workout_volume
        from sessions
        window
            earlier as (partition by user_key, exercise_key order by started_at, workout_key),
            before as (
                partition by user_key, exercise_key
                order by started_at, workout_key
                rows between unbounded preceding and 1 preceding
            )
    )

select
    user_key,
    workout_key,
    started_at,
    weight as weight_kg,
    e1rm as e1rm_kg,
    set_volume as set_volume_kg,
    workout_volume / 100000000 as workout_volume_kg,
    most_reps_weight_kg,
    exercise_key,
    session_number::int as session_number,
    local_date,
    top_weight_reps as weight_reps,
    e1rm_reps,
    set_volume_reps,
    most_reps,
    coalesce(improves_weight, false) as improves_weight,
    coalesce(improves_e1rm, false) as improves_e1rm,
    coalesce(improves_reps, false) as improves_reps,
    coalesce(improves_set_volume, false) as improves_set_volume,
    coalesce(improves_workout_volume, false) as improves_workout_volume,
    session_number > 1 and (coalesce(improves_weight, false) or coalesce(improves_e1rm, false)) as is_record_event
from compared
where improves_weight or improves_e1rm or improves_reps or improves_set_volume or improves_workout_volume
