{{
    config(
        materialized="maintained_table",
        primary_key=["user_key", "exercise_key", "record_type"],
        replaces=["user_key"],
        change_kinds=["workout", "exercise", "user", "arrival"],
    )
}}
-- depends_on: {{ ref("changes") }}
-- Improvements only ever grow, so the last one up to today holds the record.
with
    numbered as (
        select
            events.*,
            max(session_number) filter (where improves_weight) over whole as last_weight,
            max(session_number) filter (where improves_e1rm) over whole as last_e1rm,
            max(session_number) filter (where improves_reps) over whole as last_reps,
            max(session_number) filter (where improves_set_volume) over whole as last_set_volume,
            max(session_number) filter (where improves_workout_volume) over whole as last_workout_volume
        from {{ ref("personal_record_events") }} as events
        join {{ ref("user_zones") }} as users on users.user_key = events.user_key
        where
            events.local_date <= ({{ as_of() }} at time zone users.time_zone)::date
            {%- if is_partial() %} and events.user_key in {{ changed_keys(["user_key"]) }} {%- endif %}
        window whole as (partition by events.user_key, events.exercise_key)
    )

select
    numbered.user_key,
    numbered.workout_key,
    numbered.started_at as achieved_at,
    records.value,
    records.weight_kg,
    numbered.exercise_key,
    numbered.local_date as achieved_on,
    records.reps,
    records.record_type
from numbered
cross join
    lateral(
        values
            (session_number = last_weight, 'weight', weight_kg, weight_kg, weight_reps),
            (
                session_number = last_e1rm,
                'e1rm',
                e1rm_kg,
                {{ exact_weight("e1rm_kg * case when e1rm_reps = 1 then 1 else 30.0 / (30 + e1rm_reps) end") }},
                e1rm_reps
            ),
            (
                session_number = last_reps,
                'reps',
                most_reps::double precision,
                nullif({{ exact_weight("most_reps_weight_kg") }}, 0),
                most_reps
            ),
            (
                session_number = last_set_volume,
                'set_volume',
                set_volume_kg,
                {{ exact_weight("set_volume_kg / nullif(set_volume_reps, 0)") }},
                set_volume_reps
            ),
            (session_number = last_workout_volume, 'workout_volume', workout_volume_kg, null, null)
    ) as records(is_held, record_type, value, weight_kg, reps)
where records.is_held
