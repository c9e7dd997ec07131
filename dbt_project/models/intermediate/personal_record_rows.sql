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

{%- for record_type, value, weight, reps in [
        ("weight", "weight_kg", "weight_kg", "weight_reps"),
        (
            "e1rm",
            "e1rm_kg",
            exact_weight("e1rm_kg * case when e1rm_reps = 1 then 1 else 30.0 / (30 + e1rm_reps) end"),
            "e1rm_reps",
        ),
        ("reps", "most_reps", "nullif(" ~ exact_weight("most_reps_weight_kg") ~ ", 0)", "most_reps"),
        (
            "set_volume",
            "set_volume_kg",
            exact_weight("set_volume_kg / nullif(set_volume_reps, 0)"),
            "set_volume_reps",
        ),
        ("workout_volume", "workout_volume_kg", "null::double precision", "null::int"),
    ] %}
    {%- if not loop.first %}
        union all
    {%- endif %}
    select
        user_key,
        workout_key,
        started_at as achieved_at,
        {{ value }}::double precision as value,
        {{ weight }} as weight_kg,
        exercise_key,
        local_date as achieved_on,
        {{ reps }} as reps,
        '{{ record_type }}' as record_type
    from numbered
    where session_number = last_{{ record_type }}
{%- endfor %}
